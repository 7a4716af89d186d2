"""A zoo of models that took long to analyse: restoration nets of spandrel, video autoencoders of diffusers.

Needs both packages, without their weights: `pip install --no-deps spandrel==0.4.2 diffusers==0.42.1 einops`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]


def names() -> tuple[str, ...]:
    return tuple(_MODELS)


def kind(name: str) -> str:
    return "video" if name in _VIDEO else "restoration"


def build(name: str) -> Built:
    model, shape = _MODELS[name]()
    return model.eval(), (torch.randn(shape),)


def _spandrel(module: str, name: str, **options: Any) -> nn.Module:
    made: nn.Module = getattr(import_module(f"spandrel.architectures.{module}"), name)(**options)
    return made


def _diffusers(name: str, **options: Any) -> Any:
    return getattr(import_module("diffusers"), name)(**options)


class Decoder(nn.Module):
    """The way from latents to images alone."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.vae.decode(z).sample  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The way from images to the moments of latents alone."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.vae.encode(x).latent_dist.parameters  # type: ignore[no-any-return]


def _nafnet() -> tuple[nn.Module, tuple[int, ...]]:
    blocks = {"enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1, 1, 1, 1]}
    return _spandrel("NAFNet.__arch.NAFNet_arch", "NAFNet", width=32, **blocks), (1, 3, 256, 256)


def _swinir() -> tuple[nn.Module, tuple[int, ...]]:
    options = {"depths": [6] * 6, "num_heads": [6] * 6, "embed_dim": 180, "mlp_ratio": 2.0, "img_size": 64}
    return _spandrel("SwinIR.__arch.SwinIR", "SwinIR", window_size=8, upscale=2, upsampler="pixelshuffle", **options), (
        1,
        3,
        64,
        64,
    )


def _hat() -> tuple[nn.Module, tuple[int, ...]]:
    options = {"depths": [6] * 6, "num_heads": [6] * 6, "embed_dim": 180, "mlp_ratio": 2.0, "img_size": 64}
    return _spandrel("HAT.__arch.HAT", "HAT", window_size=16, upscale=2, upsampler="pixelshuffle", **options), (
        1,
        3,
        64,
        64,
    )


def _wan(part: type[nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    vae = _diffusers(
        "AutoencoderKLWan",
        base_dim=16,
        z_dim=4,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return part(vae), shape


def _ltx(part: type[nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    vae = _diffusers(
        "AutoencoderKLLTXVideo",
        block_out_channels=(16, 32, 32, 32),
        latent_channels=8,
        decoder_block_out_channels=(16, 32, 32, 32),
    )
    return part(vae), shape


_VIDEO: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "wan decoder": lambda: _wan(Decoder, (1, 4, 5, 8, 8)),
    "wan encoder": lambda: _wan(Encoder, (1, 3, 9, 64, 64)),
    "ltx decoder": lambda: _ltx(Decoder, (1, 8, 5, 4, 4)),
    "ltx encoder": lambda: _ltx(Encoder, (1, 3, 17, 128, 128)),
}
_MODELS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "NAFNet": _nafnet,
    "SwinIR": _swinir,
    "HAT": _hat,
    **_VIDEO,
}
