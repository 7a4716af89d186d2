"""What is measured, by name: the four nets, and the nets of examples/ for memory."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn

from . import fournets

EXAMPLES = {
    "examples/unet": ("unet", "UNet", ""),
    "examples/superres": ("superres", "SuperResolver", ""),
    "examples/codec.g_a": ("codec", "Codec", "g_a"),
    "examples/codec.g_s": ("codec", "Codec", "g_s"),
    "examples/obstacle": ("obstacle", "Denoiser", ""),
}
"""Module, class and part. The codec's synthesis has latents of 192 channels as its input."""
LATENTS = 192


def names() -> list[str]:
    return [*fournets.names(), *EXAMPLES]


def build(name: str) -> nn.Module:
    """In eval mode. Raises KeyError."""
    if name in fournets.NETS:
        return fournets.build(name)
    module, kind, part = EXAMPLES[name]
    torch.manual_seed(0)
    net: nn.Module = getattr(importlib.import_module(f"examples.{module}"), kind)()
    return net.get_submodule(part).eval()


def shape(name: str, height: int, width: int) -> tuple[int, ...]:
    """Of the input that belongs to an image."""
    if name in fournets.NETS:
        return fournets.shape(name, height, width)
    if name == "examples/codec.g_s":
        return (1, LATENTS, height // fournets.LATENT, width // fournets.LATENT)
    return (1, fournets.IMAGE, height, width)


def small(name: str, dtype: torch.dtype) -> Tensor:
    """An input to warm up with: everything is loaded after it, and it takes little."""
    return example(shape(name, 64, 64), dtype)


def example(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
