"""The three nets of the codec, on blocks as positions, and their published shapes.

Kamisli, "End-to-End Learned Block-Based Image Compression with Block-Level Masked Convolutions and Asymptotic Closed
Loop Training". Pictures are RGB from -0.5 to 0.5; the nets see them by `blocks_to_channels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from examples.lic.blocks import causal
from examples.lic.gdn import GDN

KERNELS = ("3111", "3311")


@dataclass(frozen=True)
class Shape:
    """block: samples of a block, each way. n, m: channels of the hidden layers, and of the latents of a block.

    kernels: of the four layers, as the paper writes them. The first is that of the masked convolutions of all three
    nets; the second is that of the second layer of `Entropy`, and of nothing else. Raises ValueError.
    """

    block: int
    n: int
    m: int
    kernels: str = "3111"

    def __post_init__(self) -> None:
        if self.block < 1 or self.m < 1 or self.n < 8 or self.n % 8:
            raise ValueError(f"{self}: block and m must be at least 1, n a multiple of 8")
        if self.kernels not in KERNELS:
            raise ValueError(f"{self}: expected kernels {' or '.join(KERNELS)}")

    @property
    def samples(self) -> int:
        """Channels of a block of the picture."""
        return 3 * self.block**2

    @property
    def reach(self) -> int:
        """How many blocks away, up or to either side, `Entropy` may read; the others read one away."""
        return sum(int(kernel) // 2 for kernel in self.kernels)


PUBLISHED = {
    "low rates": Shape(8, 768, 96, "3111"),
    "high rates": Shape(8, 1152, 128, "3311"),
    "B16": Shape(16, 1280, 192, "3111"),
    "B4": Shape(4, 512, 96, "3311"),
}
SMALL = Shape(8, 96, 48, "3111")
"""Of the checkpoint that comes with the example."""


class Transform(nn.Module):
    """What a block is, and the reconstruction of the blocks before it, to what the block becomes."""

    def __init__(self, shape: Shape, inputs: int, outputs: int, *, inverse: bool) -> None:
        super().__init__()
        n, less, least = shape.n, 7 * shape.n // 8, 6 * shape.n // 8
        self.own = nn.Conv2d(inputs, n, 1)
        self.context = causal(shape.samples, n, int(shape.kernels[0]), own=False)
        self.rest = nn.Sequential(
            GDN(n, inverse=inverse),
            nn.Conv2d(n, less, 1),
            GDN(less, inverse=inverse),
            nn.Conv2d(less, least, 1),
            GDN(least, inverse=inverse),
            nn.Conv2d(least, outputs, 1),
        )

    def forward(self, block: Tensor, reconstruction: Tensor) -> Tensor:
        return self.rest(self.own(block) + self.context(reconstruction))


class Analysis(Transform):
    """t_a: the picture and its reconstruction to latents."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape.samples, shape.m, inverse=False)


class Synthesis(Transform):
    """t_s: decoded latents and the reconstruction to the reconstruction, not yet clamped."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape.m, shape.samples, inverse=True)


class Entropy(nn.Sequential):
    """n: the reconstruction to scales and means of the latents, one after the other."""

    def __init__(self, shape: Shape) -> None:
        n, first, second = shape.n, 12 * shape.n // 8, 10 * shape.n // 8
        super().__init__(
            causal(shape.samples, first, int(shape.kernels[0]), own=False),
            nn.LeakyReLU(0.01),
            causal(first, second, int(shape.kernels[1]), own=True),
            nn.LeakyReLU(0.01),
            nn.Conv2d(second, n, 1),
            nn.LeakyReLU(0.01),
            nn.Conv2d(n, 2 * shape.m, 1),
        )


class Nets(NamedTuple):
    """The nets of one codec: with weights of their own, or the exact forms of such."""

    analysis: nn.Module
    synthesis: nn.Module
    entropy: nn.Module


def nets(shape: Shape) -> Nets:
    return Nets(Analysis(shape), Synthesis(shape), Entropy(shape))
