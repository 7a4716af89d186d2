"""The nets that are measured, by name: four for tiling, and those of `examples/`.

The four have 3 image channels, 32 hidden ones, and random weights of the scale that keeps the size of the signal: with
torch's own initial weights activations fade from layer to layer, and what comes in at a seam is hard to see.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

import overlapcalc as oc

IMAGE, HIDDEN, LATENTS = 3, 32, 192
"""Channels of images, within the four nets, and of what the example codec's synthesis reads."""
FINER = 16
"""Image samples per sample of a decoder's input."""
Run = Callable[[Tensor], Tensor]


def stack() -> nn.Module:
    """Ten 3x3 convolutions with ReLU between."""
    widths = [IMAGE, *[HIDDEN] * 9, IMAGE]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _level(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


class UNet(nn.Module):
    """Three levels of 16, 32 and 64 channels, skips by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = _level(IMAGE, 16), _level(16, 32), _level(32, 64)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.merge2 = nn.ConvTranspose2d(64, 32, 2, 2), _level(64, 32)
        self.up1, self.merge1 = nn.ConvTranspose2d(32, 16, 2, 2), _level(32, 16)
        self.out = nn.Conv2d(16, IMAGE, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        coarse = self.down2(self.pool(fine))
        up = self.up2(self.bottom(self.pool(coarse)))
        up = self.up1(self.merge2(torch.cat([up, coarse], 1)))
        out: Tensor = self.out(self.merge1(torch.cat([up, fine], 1)))
        return out


def encoder() -> nn.Module:
    """Four 5x5 convolutions of stride 2."""
    return nn.Sequential(*(nn.Conv2d(c, HIDDEN, 5, 2, 2) for c in (IMAGE, HIDDEN, HIDDEN, HIDDEN)))


def decoder() -> nn.Module:
    """Four 5x5 transposed convolutions of stride 2. Its output is the image."""
    return nn.Sequential(*(nn.ConvTranspose2d(HIDDEN, c, 5, 2, 2, 1) for c in (HIDDEN, HIDDEN, HIDDEN, IMAGE)))


FOUR: dict[str, Callable[[], nn.Module]] = {"stack": stack, "unet": UNet, "encoder": encoder, "decoder": decoder}
EXAMPLES = {
    "examples/unet": ("unet", "UNet", ""),
    "examples/superres": ("superres", "SuperResolver", ""),
    "examples/codec.g_a": ("codec", "Codec", "g_a"),
    "examples/codec.g_s": ("codec", "Codec", "g_s"),
    "examples/obstacle": ("obstacle", "Denoiser", ""),
}
"""Module, class and part."""


def names() -> list[str]:
    return [*FOUR, *EXAMPLES]


def build(name: str) -> nn.Module:
    """In eval mode, the same weights every time. Raises KeyError."""
    if name in FOUR:
        return _lively(FOUR[name]().eval())
    module, kind, part = EXAMPLES[name]
    torch.manual_seed(0)
    net: nn.Module = getattr(importlib.import_module(f"examples.{module}"), kind)()
    return net.get_submodule(part).eval()


def _lively(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                deviation = math.sqrt(2.0 / _terms(layer))
                for p in layer.parameters():
                    p.copy_(torch.randn(p.shape, generator=generator) * (deviation if p.dim() > 1 else 0.1))
    return net


def _terms(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """How many products one output is the sum of, on average."""
    taps = math.prod(layer.kernel_size)
    return layer.in_channels * taps / (math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1)


def shape(name: str, height: int, width: int) -> tuple[int, int, int, int]:
    """Of the input, so that input or output is an image of height x width samples.

    >>> shape("decoder", 512, 768)
    (1, 32, 32, 48)
    """
    latents = {"decoder": HIDDEN, "examples/codec.g_s": LATENTS}.get(name)
    return (1, latents, height // FINER, width // FINER) if latents else (1, IMAGE, height, width)


def example(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def small(name: str, dtype: torch.dtype) -> Tensor:
    """An input to warm up with: everything is loaded after it, and it takes little."""
    return example(shape(name, 64, 64), dtype)


def by_blocks(net: nn.Module, shape: tuple[int, ...], schedule: str, block: int) -> Run:
    """The net by blocks, planned for inputs of this shape, with one block run."""
    tiled = oc.tiled(net, schedule=schedule, block=block)
    x = torch.zeros(shape, dtype=next(net.parameters()).dtype)
    next(iter(tiled.blocks(x)))
    return lambda x: tiled(x)
