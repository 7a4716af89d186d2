"""Family factors: resampling by factors that are no small fractions, and sizes that are divided and rounded."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard

FACTORS = (
    1.3333334, 1.3333333333333333, 0.6666667, 2.000001, 1.999999, math.sqrt(2), 1.1, 0.9, 1.7, 0.4999999, 0.3333333,
    1.5000001, 2.5, 0.75, 1.2, 3.0000001, math.pi / 2, 0.1 + 0.2 + 0.7, 1 / 1.2,
)  # fmt: skip
MODES = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")


def _resize(factor: float, mode: str, **more: Any) -> Any:
    if mode in ("bilinear", "bicubic"):
        more = {"align_corners": False, **more}
    return lambda net, x: F.interpolate(x, scale_factor=factor, mode=mode, **more)


for _factor in FACTORS:
    for _mode in MODES:
        hazard("factors", name=f"{_mode} {_factor!r}")(_resize(_factor, _mode))
        if _mode != "area":
            hazard("factors", name=f"{_mode} {_factor!r} recomputed")(
                _resize(_factor, _mode, recompute_scale_factor=True)
            )
    for _mode in ("bilinear", "bicubic"):
        hazard("factors", name=f"{_mode} {_factor!r} antialias")(_resize(_factor, _mode, antialias=True))
hazard("factors", name="of two")(_resize((1.3333334, 2.0), "nearest"))  # type: ignore[arg-type]
hazard("factors", name="of two linear")(_resize((1.0, 1.1), "bilinear"))  # type: ignore[arg-type]


def _to_size(factor: float, mode: str) -> Any:
    def function(net: Any, x: Tensor) -> Tensor:
        return F.interpolate(x, (int(x.shape[2] * factor), int(x.shape[3] * factor)), mode=mode)

    return function


def _there_and_back(factor: float, mode: str) -> Any:
    def function(net: Any, x: Tensor) -> Tensor:
        small = F.interpolate(x, (int(x.shape[2] / factor), int(x.shape[3] / factor)), mode=mode)
        return x + F.interpolate(F.avg_pool2d(small, 3, 1, 1), x.shape[2:], mode=mode)

    return function


for _factor in (1.1, 1.2, 1.25, 1.3333334, math.sqrt(2), 1.5, 2.0, 2.5, 3.0, 0.5):
    for _mode in ("nearest", "bilinear", "nearest-exact"):
        hazard("factors", name=f"int(h * {_factor!r}) {_mode}")(_to_size(_factor, _mode))
        hazard("factors", name=f"int(h / {_factor!r}) and back {_mode}")(_there_and_back(_factor, _mode))


@hazard("factors")
def pyramid(net: Any, x: Tensor) -> Tensor:
    found, y = x, x
    for _ in range(2):
        y = F.interpolate(y, (int(y.shape[2] / 1.2), int(y.shape[3] / 1.2)), mode="bilinear")
        found = found + F.interpolate(y, x.shape[2:], mode="bilinear")
    return found


@hazard("factors")
def pyramid_by_factor(net: Any, x: Tensor) -> Tensor:
    y = F.interpolate(x, scale_factor=1 / 1.2, mode="bilinear")
    return x + F.interpolate(y, x.shape[2:], mode="bilinear")


@hazard("factors")
def resize_by_pool(net: Any, x: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(x, 2, 2, ceil_mode=True), x.shape[2:], mode="nearest")


@hazard("factors")
def crop_third(net: Any, x: Tensor) -> Tensor:
    h, w = round(x.shape[2] * 0.9), round(x.shape[3] * 0.9)
    return x[:, :, :h, :w]


@hazard("factors")
def crop_centre(net: Any, x: Tensor) -> Tensor:
    h, w = (x.shape[2] // 3) * 2, (x.shape[3] // 3) * 2
    top, left = (x.shape[2] - h) // 2, (x.shape[3] - w) // 2
    return x[:, :, top : top + h, left : left + w]


@hazard("factors")
def pad_to_multiple(net: Any, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return F.avg_pool2d(F.pad(x, (0, -w % 3, 0, -h % 5)), (5, 3))


@hazard("factors")
def pad_a_tenth(net: Any, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return F.pad(x, (int(w * 0.1), int(w * 0.1), int(h * 0.1), int(h * 0.1)))


@hazard("factors")
def adaptive_half(net: Any, x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))


@hazard("factors")
def adaptive_max_tenth(net: Any, x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, (int(x.shape[2] / 1.1), x.shape[3]))


@hazard("factors")
def corners(net: Any, x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True)


@hazard("factors")
def corners_same_size(net: Any, x: Tensor) -> Tensor:
    return F.interpolate(x, x.shape[2:], mode="bilinear", align_corners=True)


@hazard("factors")
def like_another(net: Any, x: Tensor) -> Tensor:
    y = F.conv2d(x, torch.ones(x.shape[1], x.shape[1], 3, 3, dtype=x.dtype), stride=3, padding=1)
    return x * F.interpolate(y, x.shape[2:], mode="nearest")


@hazard("factors")
def upsampled_then_cropped(net: Any, x: Tensor) -> Tensor:
    y = F.interpolate(x[:, :, ::2, ::2], scale_factor=2, mode="bilinear")
    return x + y[:, :, : x.shape[2], : x.shape[3]]


@hazard("factors")
def indices_by_factor(net: Any, x: Tensor) -> Tensor:
    """Nearest resampling by hand."""
    w = x.shape[3]
    return x[..., (torch.arange(int(w * 1.3)) / 1.3).long().clamp(max=w - 1)]


@hazard("factors")
def stride_by_index(net: Any, x: Tensor) -> Tensor:
    return x[..., torch.arange(0, x.shape[3], 3)]


@hazard("factors")
def in_float32(net: Any, x: Tensor) -> Tensor:
    return F.interpolate(x.float(), scale_factor=1.3333334).to(x.dtype)


@hazard("factors")
def linear_in_float32(net: Any, x: Tensor) -> Tensor:
    return F.interpolate(x.float(), scale_factor=1.1, mode="bilinear").to(x.dtype)
