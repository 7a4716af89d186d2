"""Random nets with masks, and what a cell of their outputs reads, found by differentiation.

All layers are linear with weights above zero, so that no path cancels another: an output reads a sample where its
derivative is not zero. Imports nothing of overlapcalc.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV = {2: F.conv2d, 3: F.conv3d}
TCONV = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Masked(nn.Module):
    """A convolution whose weight has zeros at random places of its kernel, the same for all channels or not."""

    def __init__(
        self, draw: random.Random, n: int, channels: int, out: int, *, stride: int = 1, up: bool = False
    ) -> None:
        super().__init__()
        self.kernel = tuple(draw.choice((1, 2, 3, 3, 4)) for _ in range(n))
        if stride > 1 and up:
            self.kernel = tuple(max(k, stride) for k in self.kernel)
        self.groups = draw.choice((1, 1, 2)) if channels % 2 == out % 2 == 0 else 1
        shape = (channels, out // self.groups) if up else (out, channels // self.groups)
        self.weight = nn.Parameter(torch.rand(*shape, *self.kernel, dtype=torch.float64) + 0.5)
        taps = [draw.random() < 0.6 for _ in range(torch.Size(self.kernel).numel())]
        taps[draw.randrange(len(taps))] = True
        self.register_buffer("mask", torch.tensor(taps, dtype=torch.float64).reshape(self.kernel))
        self.stride, self.up, self.n = stride, up, n
        self.mode = draw.choice(("constant", "constant", "constant", "replicate", "reflect"))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.mask
        if self.up:
            return TCONV[self.n](x, weight, stride=self.stride, groups=self.groups)
        sides = [side for k in reversed(self.kernel) for side in ((k - 1) // 2, k // 2)]
        return CONV[self.n](F.pad(x, sides, self.mode), weight, stride=self.stride, groups=self.groups)


class Beside(nn.Module):
    """Two branches over the same input, added or concatenated; or a slice of their channels."""

    def __init__(self, a: nn.Module, b: nn.Module, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = a, b, how

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        if self.how == "add":
            return a + b
        joined = torch.cat([a, b], 1)
        return joined if self.how == "cat" else joined[:, 1:-1]


def masked_net(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A net with one input, and a shape at which it runs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    n = draw.choice((2, 2, 2, 3))
    channels = first = draw.choice((1, 2))
    layers: list[nn.Module] = []
    down = 1
    for _ in range(draw.randint(1, 3 if n == 2 else 2)):
        kind = draw.choice(("conv", "conv", "beside", "down", "up", "nearest", "unshuffle", "shuffle"))
        if kind == "down" and down < 4:
            layers.append(Masked(draw, n, channels, 2, stride=2))
            down, channels = down * 2, 2
        elif kind == "up":
            layers.append(Masked(draw, n, channels, 2, stride=2, up=True))
            channels = 2
        elif kind == "nearest":
            layers.append(nn.Upsample(scale_factor=2))
        elif kind == "unshuffle" and n == 2 and down < 4:
            layers.append(nn.PixelUnshuffle(2))
            down, channels = down * 2, channels * 4
        elif kind == "shuffle" and n == 2:
            layers += [Masked(draw, n, channels, 8), nn.PixelShuffle(2)]
            channels = 2
        elif kind == "beside":
            how = draw.choice(("add", "cat", "slice"))
            layers.append(Beside(Masked(draw, n, channels, 2), Masked(draw, n, channels, 2), how))
            channels = {"add": 2, "cat": 4, "slice": 2}[how]
        else:
            layers.append(Masked(draw, n, channels, 2))
            channels = 2
    size = [down * draw.randint(5, 7) if n == 2 else down * 4 for _ in range(n)]
    return nn.Sequential(*layers), (1, first, *size)


def read_by(net: nn.Module, shape: Sequence[int], cell: Sequence[int], step: Sequence[int], out: Sequence[int]) -> set:
    """The cells of the input, of `step` samples, that a cell of the output, of `out` samples, reads."""
    x = torch.ones(*shape, dtype=torch.float64, requires_grad=True)
    here = tuple(slice(c * n, (c + 1) * n) for c, n in zip(cell, out, strict=True))
    net(x)[(..., *here)].sum().backward()
    assert x.grad is not None
    places = (x.grad != 0).flatten(0, 1).any(0).nonzero().tolist()
    return {tuple(i // n for i, n in zip(place, step, strict=True)) for place in places}
