"""A net of each operator family, for tests: at a size that divides by nothing, on every axis and in 1-D to 3-D."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import nn

from shared.nets import GDN, ChannelsLast, Do

Case = tuple[str, nn.Module, tuple[int, ...], bool]
CASES: list[Case] = []


def case(name: str, net: nn.Module, *shape: int, zero_taps: bool = False) -> None:
    CASES.append((name, net, shape, zero_taps))


for k, s, p, d in [(1, 1, 0, 1), (3, 1, 1, 1), (4, 2, 1, 1), (5, 3, 4, 2), (3, 2, 5, 3), (2, 3, 0, 1)]:
    case(f"conv k{k} s{s} p{p} d{d}", nn.Conv1d(2, 2, k, s, p, d), 1, 2, 47)
    case(f"conv3d k{k} s{s} p{p} d{d}", nn.Conv3d(1, 2, (k, 1, 2), (s, 1, 2), (p, 0, 1), (d, 1, 1)), 1, 1, 21, 5, 9)
    for extra in {0, s - 1}:
        case(
            f"tconv k{k} s{s} op{extra} d{d}",
            nn.ConvTranspose1d(2, 2, k, s, min(p, k - 1), extra, 1, True, d),
            1,
            2,
            17,
        )
    case(f"tconv2d k{k} s{s}", nn.ConvTranspose2d(2, 4, (k, 3), (s, 1), (min(p, k - 1), 1), groups=2), 1, 2, 15, 8)
for mode in ("zeros", "reflect", "replicate"):
    case(f"conv {mode}", nn.Conv2d(2, 2, 5, 2, 2, padding_mode=mode), 1, 2, 23, 14)
    case(f"conv same {mode}", nn.Conv1d(2, 2, 4, padding="same", dilation=3, padding_mode=mode), 1, 2, 33)
case("conv asymmetric", nn.Conv2d(2, 2, (3, 5), (2, 1), (0, 3), (3, 1)), 1, 2, 29, 17)
case("depthwise", nn.Conv2d(4, 4, 3, padding=1, groups=4), 1, 4, 13, 11)
for ceil in (False, True):
    for k, s, p in [(2, 2, 0), (3, 2, 1), (4, 3, 2), (2, 3, 1)]:
        case(f"max-pool {k} {s} {p} {ceil}", nn.MaxPool1d(k, s, p, ceil_mode=ceil), 1, 2, 38)
        case(f"max-pool dilated {k} {s} {p} {ceil}", nn.MaxPool2d(k, s, p, dilation=2, ceil_mode=ceil), 1, 1, 24, 13)
        for include in (False, True):
            pool = nn.AvgPool2d(k, s, p, ceil_mode=ceil, count_include_pad=include)
            case(f"avg-pool {k} {s} {p} {ceil} {include}", pool, 1, 2, 22, 15)
    case(f"max-pool 3-D {ceil}", nn.MaxPool3d(2, ceil_mode=ceil), 1, 1, 9, 7, 11)
    case(f"avg-pool 3-D {ceil}", nn.AvgPool3d(3, 2, 1, ceil_mode=ceil), 1, 1, 9, 12, 11)
case("max-pool with indices", Do("", lambda x: F.max_pool2d(x, 2, return_indices=True)[0]), 1, 1, 13, 9)
for mode, pads in [
    ("constant", (3, -2)),
    ("constant", (-4, -1)),
    ("reflect", (4, 0)),
    ("reflect", (2, 5)),
    ("replicate", (3, 6)),
]:
    case(f"pad {mode} {pads}", Do("", lambda x, m=mode, q=pads: F.pad(x, q, m)), 1, 2, 19)
case("pad 2-D", Do("", lambda x: F.pad(x, (1, 2, 3, 0), "reflect")), 1, 2, 19, 12)
case("pad modules", nn.Sequential(nn.ReflectionPad2d(2), nn.ReplicationPad2d(1), nn.ZeroPad2d(1), nn.ConstantPad2d(1, 2.0)),
     1, 1, 15, 12)  # fmt: skip
for text, cut in [
    ("[3:]", slice(3, None)),
    ("[:-4]", slice(None, -4)),
    ("[2:-3:2]", slice(2, -3, 2)),
    ("[1::3]", slice(1, None, 3)),
]:
    case(f"slice {text}", Do("", lambda x, c=cut: x[..., c]), 1, 2, 34)
case("narrow", Do("", lambda x: x.narrow(2, 2, x.shape[2] - 5)), 1, 2, 34)
for r in (2, 3):
    case(f"nearest {r}", nn.Upsample(scale_factor=r), 1, 2, 13)
    case(f"bilinear {r}", nn.Upsample(scale_factor=r, mode="bilinear"), 1, 2, 9, 7, zero_taps=True)
    case(f"trilinear {r}", nn.Upsample(scale_factor=r, mode="trilinear"), 1, 1, 5, 6, 4, zero_taps=True)
    case(f"bicubic {r}", nn.Upsample(scale_factor=r, mode="bicubic"), 1, 1, 11, 9, zero_taps=True)
    case(f"nearest down {r}", Do("", lambda x, r=r: F.interpolate(x, scale_factor=1 / r)), 1, 2, 12 * r)
    case(f"linear down {r}", Do("", lambda x, r=r: F.interpolate(x, scale_factor=1 / r, mode="linear")), 1, 2, 11 * r,
         zero_taps=True)  # fmt: skip
for factor in (1.5, 0.75, 2.5):
    case(f"nearest {factor}", nn.Upsample(scale_factor=factor), 1, 2, 31)
    case(f"nearest-exact {factor}", nn.Upsample(scale_factor=factor, mode="nearest-exact"), 1, 2, 31)
    case(f"linear {factor}", nn.Upsample(scale_factor=factor, mode="linear"), 1, 2, 31, zero_taps=True)
case("nearest by sizes", Do("", lambda x: F.interpolate(x, size=[2 * n for n in x.shape[2:]])), 1, 2, 9, 11)
case("repeat_interleave", Do("", lambda x: x.repeat_interleave(3, 2)), 1, 2, 14)
case("pixel shuffle", nn.PixelShuffle(3), 1, 9, 7, 5)
case("pixel unshuffle", nn.PixelUnshuffle(2), 1, 2, 16, 10)
case("pixel unshuffle, then one", Do("", lambda x: F.pixel_unshuffle(x, 2)[:, 1:2]), 1, 1, 16, 10)
case("shuffle back", nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), 1, 1, 16, 10)
case("shuffle, then odd rows", nn.Sequential(nn.PixelShuffle(2), Do("", lambda x: x[:, :, 1::2])), 1, 4, 9, 8)
for module in (
    nn.ReLU(),
    nn.PReLU(3),
    nn.Hardswish(),
    nn.ReLU6(),
    nn.Mish(),
    nn.BatchNorm2d(3),
    nn.Dropout(),
    nn.Softplus(),
    nn.ELU(),
    nn.RReLU(),
):
    case(type(module).__name__, module, 1, 3, 9, 8)
case("layer norm over channels", ChannelsLast(3, 2), 1, 3, 9, 8)
case("softmax over channels", nn.Softmax(dim=1), 1, 3, 9, 8)
case("GDN", GDN(3, 2), 1, 3, 9, 8)
case("y - conv(y)", Do("", lambda x: x - F.avg_pool2d(x, 3, 1, 1)), 1, 2, 13, 9)
case("clamp, where", Do("", lambda x: torch.where(x > 0, x.clamp(max=2), x * 0.5)), 1, 2, 9, 8)
case(
    "norms over channels",
    Do("", lambda x: x / x.norm(dim=1, keepdim=True) + x.mean(1, True) + x.amax(1, True)),
    1,
    3,
    9,
    8,
)
case("mean without keepdim", Do("", lambda x: x.mean(1).unsqueeze(1)), 1, 3, 9, 8)
case("linear channels-last", nn.Sequential(Do("", lambda x: x.permute(0, 2, 3, 1)), nn.Linear(3, 4), nn.GELU(),
     Do("", lambda x: x.permute(0, 3, 1, 2))), 1, 3, 9, 8)  # fmt: skip
case("transpose and back", nn.Sequential(Do("", lambda x: x.transpose(1, 3)), nn.LayerNorm(3), Do("", lambda x: x.transpose(1, 3))),
     1, 3, 9, 8)  # fmt: skip
case("spatial transpose and back", nn.Sequential(Do("", lambda x: x.transpose(2, 3)), nn.Conv2d(1, 1, (3, 1)),
     Do("", lambda x: x.mT)), 1, 1, 12, 7)  # fmt: skip
case("squeeze, unsqueeze", Do("", lambda x: x.unsqueeze(2).squeeze(2)), 1, 1, 9, 8)
case(
    "matmul over channels",
    Do("", lambda x: (x.movedim(1, -1) @ torch.ones(3, 2, dtype=x.dtype)).movedim(-1, 1)),
    1,
    3,
    9,
    8,
)
case(
    "cat with constants",
    Do("", lambda x: torch.cat([x.new_zeros(x.shape[0], 2, 3), x, x.new_ones(x.shape[0], 2, 2)], 2)),
    1,
    2,
    15,
)
case("zeros_like", Do("", lambda x: torch.cat([torch.zeros_like(x), x], 1)), 1, 2, 15)
case("in place", Do("", lambda x: F.relu_(x * 1).add_(1)), 1, 2, 15)
case("written channels", Do("", lambda x: _written(x)), 1, 3, 15)


def _written(x: torch.Tensor) -> torch.Tensor:
    y = F.pad(x, (1, 1))
    y[:, :2] += 2 * y[:, 1:].tanh()
    return y[:, :1]


def one_of_each_kind() -> list[Case]:
    """Of cases whose names differ by numbers, the one in the middle."""
    kinds: dict[str, list[Case]] = {}
    for one in CASES:
        kinds.setdefault(re.split(r" [(\[]?[ksp]?-?\d+(?!-D)", one[0])[0], []).append(one)
    return [cases[len(cases) // 2] for cases in kinds.values()]
