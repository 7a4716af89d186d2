"""The four nets that tiling is measured on: 3 image channels, 32 hidden ones.

`build(name)` gives the net in eval mode, `shape(name, height, width)` the input that belongs to an image. The weights
are random with the scale that keeps the size of the signal: with torch's own initial weights, activations fade from
layer to layer and what comes in at a seam is hard to see.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

IMAGE, HIDDEN = 3, 32
LATENT = 16
"""Image samples per sample of the decoder's input."""


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


NETS: dict[str, Callable[[], nn.Module]] = {"stack": stack, "unet": UNet, "encoder": encoder, "decoder": decoder}


def names() -> list[str]:
    return list(NETS)


def build(name: str) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    net = NETS[name]().eval()
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
    """Of the input, so that input or output is an image of height x width samples."""
    if name == "decoder":
        return (1, HIDDEN, height // LATENT, width // LATENT)
    return (1, IMAGE, height, width)
