"""A zoo of our own: small nets of the kinds that are run by blocks, in plain torch. Nothing else is needed.

It follows the protocol of `zoofile`: `names()`, `kind(name)`, `build(name)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[int, ...]]
ZOO: dict[str, tuple[str, Callable[[], Made]]] = {}


def entry(name: str, kind: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def add(make: Callable[[], Made]) -> Callable[[], Made]:
        ZOO[name] = (kind, make)
        return make

    return add


def names() -> Sequence[str]:
    return list(ZOO)


def kind(name: str) -> str:
    return ZOO[name][0]


def build(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    model, shape = ZOO[name][1]()
    return model.eval(), (torch.zeros(shape),)


# ---- parts --------------------------------------------------------------------------------------------------


class GDN(nn.Module):
    """x / sqrt(beta + gamma * x^2), mixing channels at each position; or times that root."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta, self.gamma = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.rand(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x * x, self.gamma.abs()[:, :, None, None], self.beta.abs())
        return x * torch.sqrt(norm) if self.inverse else x * torch.rsqrt(norm)


class Residual(nn.Module):
    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class ChannelNorm(nn.Module):
    """Layer norm over channels only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.mix(x.mean((2, 3), keepdim=True)))


def conv(a: int, b: int, k: int = 3, s: int = 1, d: int = 1) -> nn.Conv2d:
    return nn.Conv2d(a, b, k, s, d * (k // 2), d)


class UNet(nn.Module):
    """Two levels, in two or three dimensions."""

    def __init__(self, n: int, norm: Callable[[int], nn.Module], c: int = 8) -> None:
        super().__init__()
        one, up = (nn.Conv2d, nn.ConvTranspose2d) if n == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        self.pool: nn.Module = nn.MaxPool2d(2) if n == 2 else nn.MaxPool3d(2)

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(one(a, b, 3, padding=1), norm(b), nn.ReLU(), one(b, b, 3, padding=1), norm(b))

        self.a, self.b, self.c = block(1, c), block(c, 2 * c), block(2 * c, 4 * c)
        self.up_b, self.dec_b = up(4 * c, 2 * c, 2, 2), block(4 * c, 2 * c)
        self.up_a, self.dec_a = up(2 * c, c, 2, 2), block(2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(self.pool(a))
        b = self.dec_b(torch.cat([self.up_b(self.c(self.pool(b))), b], 1))
        out: Tensor = self.dec_a(torch.cat([self.up_a(b), a], 1))
        return out


# ---- restoration and super-resolution -----------------------------------------------------------------------


@entry("restoration/dncnn", "restoration")
def _dncnn() -> Made:
    middle = [m for _ in range(6) for m in (conv(12, 12), nn.BatchNorm2d(12), nn.ReLU())]
    return Residual(conv(3, 12), nn.ReLU(), *middle, conv(12, 3)), (1, 3, 48, 56)


@entry("restoration/nafnet", "restoration")
def _nafnet() -> Made:
    """Simple gates and channel attention, which reads the whole image."""
    block = [Residual(ChannelNorm(12), conv(12, 12), nn.GELU(), Gate(12), conv(12, 12, 1)) for _ in range(2)]
    return Residual(conv(3, 12), *block, conv(12, 3)), (1, 3, 48, 56)


@entry("restoration/reflect-unshuffle", "restoration")
def _unshuffle() -> Made:
    body = [nn.PixelUnshuffle(2), nn.Conv2d(12, 16, 5, padding=2, padding_mode="reflect"), nn.LeakyReLU(0.1)]
    return nn.Sequential(*body, conv(16, 16), nn.LeakyReLU(0.1), conv(16, 12), nn.PixelShuffle(2)), (1, 3, 48, 56)


@entry("superres/espcn", "super-resolution")
def _espcn() -> Made:
    return nn.Sequential(conv(1, 16, 5), nn.Tanh(), conv(16, 8), nn.Tanh(), conv(8, 9), nn.PixelShuffle(3)), (
        1,
        1,
        30,
        34,
    )


@entry("superres/edsr-nearest", "super-resolution")
def _edsr() -> Made:
    blocks = [Residual(conv(12, 12), nn.ReLU(), conv(12, 12)) for _ in range(4)]
    up = [nn.Upsample(scale_factor=2), conv(12, 12), nn.LeakyReLU(0.2)]
    return nn.Sequential(conv(3, 12), *blocks, *up, nn.Upsample(scale_factor=2), conv(12, 3)), (1, 3, 28, 36)


@entry("superres/bilinear-skip", "super-resolution")
def _bilinear() -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(3, 12), nn.ReLU(), nn.ConvTranspose2d(12, 3, 4, 2, 1))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.body(x) + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            return out

    return Net(), (1, 3, 30, 34)


# ---- codecs and image generation ----------------------------------------------------------------------------


@entry("codec/analysis", "codec")
def _analysis() -> Made:
    return nn.Sequential(conv(3, 12, 5, 2), GDN(12), conv(12, 12, 5, 2), GDN(12), conv(12, 16, 5, 2)), (1, 3, 96, 112)


@entry("codec/synthesis", "codec")
def _synthesis() -> Made:
    def up(a: int, b: int) -> nn.Module:
        return nn.ConvTranspose2d(a, b, 5, 2, 2, 1)

    return nn.Sequential(up(16, 12), GDN(12, inverse=True), up(12, 12), GDN(12, inverse=True), up(12, 3)), (
        1,
        16,
        9,
        11,
    )


@entry("codec/masked-context", "codec")
def _context() -> Made:
    """The causal context model of an autoregressive entropy coder: half of the kernel is zero for good."""

    class Masked(nn.Conv2d):
        mask: Tensor

        def __init__(self, a: int, b: int) -> None:
            super().__init__(a, b, 5, padding=2)
            mask = torch.ones(1, 1, 5, 5)
            mask[..., 2, 2:] = 0
            mask[..., 3:, :] = 0
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight * self.mask, self.bias, padding=2)

    return nn.Sequential(Masked(8, 16), nn.ReLU(), conv(16, 8, 1)), (1, 8, 24, 28)


@entry("diffusion/vae-decoder", "diffusion")
def _vae() -> Made:
    """Group norm over space, as diffusion models have it: the whole image."""
    up = [nn.Upsample(scale_factor=2), conv(16, 16), nn.GroupNorm(4, 16), nn.SiLU()]
    return nn.Sequential(conv(4, 16), nn.GroupNorm(4, 16), nn.SiLU(), *up, conv(16, 3)), (1, 4, 24, 28)


@entry("diffusion/vae-decoder-channel-norm", "diffusion")
def _vae_local() -> Made:
    up = [nn.Upsample(scale_factor=2), conv(16, 16), ChannelNorm(16), nn.SiLU()]
    return nn.Sequential(conv(4, 16), ChannelNorm(16), nn.SiLU(), *up, conv(16, 3)), (1, 4, 24, 28)


# ---- segmentation and the rest ------------------------------------------------------------------------------


@entry("segmentation/unet", "segmentation")
def _unet() -> Made:
    return UNet(2, nn.BatchNorm2d), (1, 1, 64, 72)


@entry("segmentation/dilated-max", "segmentation")
def _dilated() -> Made:
    stem = [conv(3, 12, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    rest = [conv(12, 12, 3, 1, d) for d in (1, 2, 4)]
    up = nn.Upsample(scale_factor=4, mode="bilinear")
    return nn.Sequential(*stem, *rest, conv(12, 4, 1), up), (1, 3, 64, 72)


@entry("segmentation/aspp-image-pooling", "segmentation")
def _aspp() -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(conv(3, 12, 3, 2), nn.ReLU())
            self.near, self.far, self.pooled = conv(12, 8), conv(12, 8, 3, 1, 6), conv(12, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            whole = self.pooled(F.adaptive_avg_pool2d(y, 1)).expand(-1, -1, *y.shape[2:])
            return F.interpolate(torch.cat([self.near(y), self.far(y), whole], 1), scale_factor=2)

    return Net(), (1, 3, 64, 72)


@entry("medical/unet3d", "medical 3-D")
def _unet3d() -> Made:
    return UNet(3, nn.BatchNorm3d, 4), (1, 1, 16, 24, 28)


@entry("medical/unet3d-instance-norm", "medical 3-D")
def _unet3d_instance() -> Made:
    return UNet(3, nn.InstanceNorm3d, 4), (1, 1, 16, 24, 28)


@entry("audio/causal-tcn", "audio")
def _tcn() -> Made:
    layers = [
        m for d in (1, 2, 4, 8) for m in (nn.ConstantPad1d((2 * d, 0), 0.0), nn.Conv1d(8, 8, 3, dilation=d), nn.ReLU())
    ]
    return nn.Sequential(nn.Conv1d(2, 8, 1), *layers), (1, 2, 160)


@entry("classifier/small", "classifier")
def _classifier() -> Made:
    layers = [conv(3, 12, 3, 2), nn.ReLU(), Gate(12), conv(12, 12, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(12, 10)), (1, 3, 64, 72)
