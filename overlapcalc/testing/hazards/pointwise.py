"""Family constants: pointwise operators, each operand in turn a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard

BOTH = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "atan2": torch.atan2,
    "fmod": torch.fmod,
    "remainder": torch.remainder,
    "hypot": torch.hypot,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "copysign": torch.copysign,
    "logaddexp": torch.logaddexp,
    "logaddexp2": torch.logaddexp2,
    "xlogy": torch.xlogy,
    "heaviside": torch.heaviside,
    "floor_divide": torch.floor_divide,
    "xlog1py": torch.special.xlog1py,
    "zeta": lambda a, b: torch.special.zeta(a + 2, b),
    "dist": lambda a, b: (a - b).abs(),
    "square_error": lambda a, b: F.mse_loss(a, b, reduction="none"),
    "huber": lambda a, b: F.huber_loss(a, b, reduction="none"),
    "smooth_l1": lambda a, b: F.smooth_l1_loss(a, b, reduction="none"),
    "bce": lambda a, b: F.binary_cross_entropy_with_logits(a, b, reduction="none"),
    "kl": lambda a, b: F.kl_div(a, b, reduction="none"),
    "rsub": lambda a, b: torch.rsub(a, b),
    "true_divide": torch.true_divide,
    "gradient_ratio": lambda a, b: (a - b) / (a + b + 1),
    "div_floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "complex": lambda a, b: torch.complex(a, b).abs(),
    "angle": lambda a, b: torch.complex(a, b).angle(),
    "polar": lambda a, b: torch.polar(a, b).real,
    "vecdot": lambda a, b: torch.linalg.vecdot(a, b, dim=1)[:, None],
    "cosine": lambda a, b: F.cosine_similarity(a, b, 1)[:, None],
    "stack": lambda a, b: torch.stack([a, b], 2).flatten(1, 2),
    "cat": lambda a, b: torch.cat([a, b], 1),
    "cat_three": lambda a, b: torch.cat([a, b, a], 1),
    "einsum": lambda a, b: torch.einsum("nchw,nchw->nhw", a, b)[:, None],
    "outer_channels": lambda a, b: torch.einsum("nchw,ndhw->ncdhw", a, b).flatten(1, 2),
    "copy": lambda a, b: a.clone().copy_(b),
    "add_": lambda a, b: a.clone().add_(b),
    "mul_": lambda a, b: a.clone().mul_(b),
    "sub_slice": lambda a, b: a - b[..., :1, :],
    "allclose_by_place": lambda a, b: torch.isclose(a, b).to(torch.float64) + a,
    "igamma": torch.igamma,
    "float_power": torch.float_power,
    "xor_signs": lambda a, b: torch.logical_xor(a > 0.6, b > 0.6).to(torch.float64),
    "and_signs": lambda a, b: torch.logical_and(a > 0.6, b > 0.6).to(torch.float64) * 2 + a,
    "gt": lambda a, b: torch.gt(a, b).to(torch.float64),
    "eq": lambda a, b: torch.eq(a.round(), b.round()).to(torch.float64),
    "dstack": lambda a, b: torch.stack((a, b)).amax(0),
    "broadcast": lambda a, b: torch.broadcast_tensors(a, b)[0] + b,
    "column_stack": lambda a, b: torch.hstack((a, b)),
    "mul_transposed": lambda a, b: (a.mT * b.mT).mT,
    "renorm": lambda a, b: a / torch.linalg.vector_norm(b, dim=1, keepdim=True),
    "softmax_of_two": lambda a, b: torch.softmax(torch.stack([a, b]), 0)[0],
    "sort_of_two": lambda a, b: torch.stack([a, b]).sort(0)[0][1],
    "cumsum_of_two": lambda a, b: torch.stack([a, b]).cumsum(0)[1],
    "logsumexp_of_two": lambda a, b: torch.stack([a, b]).logsumexp(0),
}
"""Functions of two images."""
THREE: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "where": (lambda a, b, c: torch.where(a > 0.6, b, c), ("condition", "then", "other")),
    "where_scalar": (lambda a, b, c: torch.where(a > b, c, 0.25), ("left", "right", "then")),
    "addcmul": (lambda a, b, c: torch.addcmul(a, b, c, value=0.5), ("self", "one", "two")),
    "addcdiv": (lambda a, b, c: torch.addcdiv(a, b, c, value=0.5), ("self", "one", "two")),
    "lerp": (torch.lerp, ("self", "end", "weight")),
    "clamp": (lambda a, b, c: torch.clamp(a, b, b + c), ("self", "min", "span")),
    "clamp_min": (lambda a, b, c: torch.clamp_min(a, b) + c, ("self", "min", "more")),
    "masked_fill": (lambda a, b, c: a.masked_fill(b > 0.7, 0.5) + c, ("self", "mask", "more")),
    "fma": (lambda a, b, c: a * b + c, ("a", "b", "c")),
    "bce_weight": (
        lambda a, b, c: F.binary_cross_entropy_with_logits(a, b, weight=c, pos_weight=c, reduction="none"),
        ("input", "target", "weight"),
    ),
    "cross": (
        lambda a, b, c: torch.linalg.cross(torch.cat([a, b, c], 1)[:, :3], torch.cat([c, a, b], 1)[:, :3], dim=1),
        ("a", "b", "c"),
    ),
    "gaussian": (lambda a, b, c: F.gaussian_nll_loss(a, b, c, reduction="none"), ("input", "target", "var")),
    "iadd": (lambda a, b, c: _added(a, b, c), ("a", "b", "c")),
}
"""Functions of three images, and the names of their operands."""


def _added(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    a = a.clone()
    a[:] += b
    a[..., 1:] *= c[..., 1:]
    return a


def _two(function: Callable[..., Tensor]) -> Callable[[Any, Tensor], Tensor]:
    return lambda net, x: function(net.put("left", x), net.put("right", x * 0.5 + 0.2))


def _three(function: Callable[..., Tensor], positions: tuple[str, ...]) -> Callable[[Any, Tensor], Tensor]:
    a, b, c = positions
    return lambda net, x: function(net.put(a, x), net.put(b, x * 0.5 + 0.2), net.put(c, x * 0.25 + 0.4))


for _name, _function in BOTH.items():
    hazard("constants", "left", "right", name=_name)(_two(_function))
for _name, (_function, _positions) in THREE.items():
    hazard("constants", *_positions, name=_name)(_three(_function, _positions))


@hazard("constants", "self", "mask")
def masked_fill_bool(net: Any, x: Tensor) -> Tensor:
    return net.put("self", x).masked_fill(net.put("mask", x > 0.5, "bool"), 0.0)


@hazard("constants", "self", "mask")
def masked_fill_infinite(net: Any, x: Tensor) -> Tensor:
    return torch.tanh(net.put("self", x).masked_fill(net.put("mask", x > 0.5, "bool"), -torch.inf))


@hazard("constants", "condition", "then", "other")
def where_bool(net: Any, x: Tensor) -> Tensor:
    return torch.where(net.put("condition", x > 0.5, "bool"), net.put("then", x), net.put("other", -x))


@hazard("constants", "exponent", "mantissa")
def ldexp(net: Any, x: Tensor) -> Tensor:
    return torch.ldexp(net.put("mantissa", x), net.put("exponent", (x * 3).long(), "index", 4))


@hazard("constants", "left", "right")
def bitwise(net: Any, x: Tensor) -> Tensor:
    a, b = net.put("left", (x * 8).long(), "index", 16), net.put("right", (x * 5).long(), "index", 16)
    return (torch.bitwise_xor(a, b) + torch.bitwise_left_shift(a, b % 3)).to(x.dtype)


@hazard("constants", "left", "right")
def integers(net: Any, x: Tensor) -> Tensor:
    a, b = net.put("left", (x * 8).long(), "index", 16), net.put("right", (x * 5).long(), "index", 16)
    return (torch.gcd(a, b) + a // (b.abs() + 1)).to(x.dtype)


@hazard("constants", "slope")
def prelu(net: Any, x: Tensor) -> Tensor:
    return F.prelu(x - 0.6, net.put("slope", x[0, :, 0, 0] * 0 + 0.25))


@hazard("constants", "scale", "zero")
def fake_quantize_channels(net: Any, x: Tensor) -> Tensor:
    c = x.shape[1]
    scale = net.put("scale", torch.full((c,), 0.1, dtype=x.dtype)).float()
    zero = net.put("zero", torch.zeros(c, dtype=torch.int32), "index", 3).int()
    return torch.fake_quantize_per_channel_affine(x.float(), scale, zero, 1, -8, 7).to(x.dtype)


@hazard("constants", "scale", "zero")
def fake_quantize_rows(net: Any, x: Tensor) -> Tensor:
    h = x.shape[2]
    scale = net.put("scale", torch.full((h,), 0.1, dtype=x.dtype)).float()
    zero = net.put("zero", torch.zeros(h, dtype=torch.int32), "index", 3).int()
    return torch.fake_quantize_per_channel_affine(x.float(), scale, zero, 2, -8, 7).to(x.dtype)


@hazard("constants", "coordinates", "values")
def trapezoid_channels(net: Any, x: Tensor) -> Tensor:
    y = torch.cat([x, x * 2], 1)
    return torch.cumulative_trapezoid(net.put("values", y), net.put("coordinates", y + 1, "real"), dim=1)


@hazard("constants", "prepend", "append")
def diff(net: Any, x: Tensor) -> Tensor:
    edge = x[:, :1]
    return torch.diff(x, prepend=net.put("prepend", edge), append=net.put("append", edge * 2), dim=1)


@hazard("constants", "value")
def fill(net: Any, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, :, 1:3] = 0.5
    y[:, :1] = net.put("value", x[:, :1])
    return y
