"""A zoo of models that took long to analyse: restoration nets of spandrel, video autoencoders of diffusers.

Needs both packages, without their weights: `pip install --no-deps spandrel==0.4.2 diffusers==0.42.1 einops`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]
Made = tuple[nn.Module, tuple[int, ...]]


def names() -> tuple[str, ...]:
    return tuple(_MODELS)


def kind(name: str) -> str:
    return "video" if name.endswith("coder") else "restoration"


def preload() -> None:
    with contextlib.suppress(ImportError):
        import_module("tvstub")  # beside a torch for CPUs alone, torchvision needs one
    import_module("spandrel")
    import_module("diffusers")


def build(name: str) -> Built:
    model, shape = _MODELS[name]()
    return model.eval(), (torch.randn(shape),)


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


def _restoration(module: str, name: str, shape: tuple[int, ...], **options: Any) -> Callable[[], Made]:
    return lambda: (getattr(import_module(f"spandrel.architectures.{module}"), name)(**options), shape)


def _swin(module: str, name: str, window: int) -> Callable[[], Made]:
    depths: dict[str, Any] = {"depths": [6] * 6, "num_heads": [6] * 6, "embed_dim": 180, "mlp_ratio": 2.0}
    more: dict[str, Any] = {"window_size": window, "img_size": 64, "upscale": 2, "upsampler": "pixelshuffle"}
    return _restoration(module, name, (1, 3, 64, 64), **depths, **more)


def _video(part: type[nn.Module], name: str, shape: tuple[int, ...], **options: Any) -> Callable[[], Made]:
    return lambda: (part(getattr(import_module("diffusers"), name)(**options)), shape)


_NAFNET = {"width": 32, "enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1, 1, 1, 1]}
_WAN = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
_WAN |= {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
_LTX = {"latent_channels": 8, "block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
_LTX |= {"layers_per_block": (1,) * 5, "decoder_layers_per_block": (1,) * 5}
_SMALL = {"latent_channels": 4, "block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 2}
_MOCHI = {
    "encoder_block_out_channels": (32,) * 4,
    "decoder_block_out_channels": (32,) * 4,
    "layers_per_block": (1,) * 5,
}
_COSMOS = {"latent_channels": 4, "encoder_block_out_channels": (8,) * 4, "decode_block_out_channels": (8,) * 4}
_COSMOS |= {"num_layers": 1}

_MODELS: dict[str, Callable[[], Made]] = {
    "NAFNet": _restoration("NAFNet.__arch.NAFNet_arch", "NAFNet", (1, 3, 256, 256), **_NAFNET),
    "SwinIR": _swin("SwinIR.__arch.SwinIR", "SwinIR", 8),
    "HAT": _swin("HAT.__arch.HAT", "HAT", 16),
    "wan decoder": _video(Decoder, "AutoencoderKLWan", (1, 4, 3, 4, 4), **_WAN),
    "ltx decoder": _video(Decoder, "AutoencoderKLLTXVideo", (1, 8, 4, 4, 4), **_LTX),
    "ltx encoder": _video(Encoder, "AutoencoderKLLTXVideo", (1, 3, 17, 128, 128), **_LTX),
    "cogvideox decoder": _video(Decoder, "AutoencoderKLCogVideoX", (1, 4, 4, 8, 8), **_SMALL),
    "hunyuan decoder": _video(Decoder, "AutoencoderKLHunyuanVideo", (1, 4, 4, 8, 8), **_SMALL),
    "mochi decoder": _video(Decoder, "AutoencoderKLMochi", (1, 12, 3, 4, 4), **_MOCHI),
    "cosmos decoder": _video(Decoder, "AutoencoderKLCosmos", (1, 4, 4, 8, 8), **_COSMOS),
}
