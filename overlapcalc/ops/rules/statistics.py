"""Norms that take statistics over an axis, in parts: moments of all bands, then one affine map of each sample.

What `finish` gives is in float64: the means, and one over the standard deviations.
"""

from __future__ import annotations

from ..accumulate import Moments, added, in_groups, moments, pair, pooled, precise, wide, working
from ..call import Call
from ..parts import Band, Cut, Partial, in_parts
from ..slab import Slab, Tensor


def epsilon(call: Call) -> float:
    """cuDNN spells it out."""
    given = call["eps"] if call["eps"] is not None else call["epsilon"]
    return float(given)


def finished(call: Call, given: Moments) -> Tensor:
    return pair(given.mean, (given.squares / given.samples + epsilon(call)).rsqrt())


# ---- statistics of channels -----------------------------------------------------------------------------------


def per_channel(slab: Slab, argument: str, dims: int) -> Tensor:
    """A constant with one value per channel; None where there is none."""
    value = slab.placed(argument)
    return None if value is None else precise(value).reshape(-1, *[1] * (dims - 2))


def apply_to_channels(slab: Slab, statistics: Tensor) -> Tensor:
    """One difference per sample, then one multiplication and addition in its place."""
    x, mean, scale = slab.fetch(0, last=True), statistics[0], statistics[1]
    weight, bias = (per_channel(slab, name, x.dim()) for name in ("weight", "bias"))
    return slab.typed(moved(slab, x, mean, scale if weight is None else scale * weight, bias))


def moved(slab: Slab, x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor = None) -> Tensor:
    """`(x - mean) * scale + bias`. The mean as it is rounded is taken off first, or a mean of many deviations would
    cost digits; what is added makes up for its rounding, and belongs to the scale as that is rounded."""
    scale, near = working(scale, x), working(mean, x)
    shift = (precise(near) - mean) * precise(scale)
    return slab.scaled_and_shifted(slab.difference(x, near), scale, working(shift if bias is None else shift + bias, x))


def takes_group_norm(call: Call, cut: Cut) -> bool:
    """Whether the cut lies behind the channels, weights are constants, and the normalised samples are meant."""
    return len(cut) == 1 and cut[0] is not None and cut[0] >= 2 and call.node.result == 0


def takes_instance_norm(call: Call, cut: Cut) -> bool:
    """One that updates running statistics does not fit."""
    return takes_group_norm(call, cut) and bool(call["use_input_stats"]) and call["running_mean"] is None


def takes_batch_norm(call: Call, cut: Cut) -> bool:
    """One that has running statistics either uses or updates them."""
    fresh = call["running_mean"] is None and call["running_var"] is None
    return len(cut) == 1 and cut[0] not in (None, 1) and call.node.result == 0 and fresh


def start_channels(band: Band) -> Partial:
    x = wide(band.operand())
    return moments(band, x, list(range(2, x.dim())))


def start_batch(band: Band) -> Partial:
    x = wide(band.operand())
    return moments(band, x, [d for d in range(x.dim()) if d != 1])


def finish_groups(call: Call, partial: Partial) -> Tensor:
    return finished(call, in_groups(Moments(*partial), int(call["num_groups"] or call["group"])))


def finish_each(call: Call, partial: Partial) -> Tensor:
    return finished(call, Moments(*partial))


in_parts("aten::group_norm", "aten::native_group_norm", fits=takes_group_norm, start=start_channels, combine=pooled,
         finish=finish_groups, apply=apply_to_channels)  # fmt: skip
in_parts("aten::instance_norm", fits=takes_instance_norm, start=start_channels, combine=pooled, finish=finish_each,
         apply=apply_to_channels)  # fmt: skip
in_parts("aten::batch_norm", "aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::cudnn_batch_norm",
         fits=takes_batch_norm, start=start_batch, combine=pooled, finish=finish_each,
         apply=apply_to_channels)  # fmt: skip

# ---- statistics of the last dimensions ------------------------------------------------------------------------


def normalised(call: Call) -> list[int]:
    n = len(call.shapes[0])
    return list(range(n - len(call["normalized_shape"]), n))


def takes_layer_norm(call: Call, cut: Cut) -> bool:
    return len(cut) == 1 and cut[0] in normalised(call) and call.node.result == 0


def start_layer(band: Band) -> Partial:
    return moments(band, wide(band.operand()), normalised(band.call))


def weighed(slab: Slab, y: Tensor) -> Tensor:
    """Times the weight, plus the bias, where they are given: their regions."""
    weight, bias = slab.placed("weight"), slab.placed("bias")
    if weight is not None:
        y = y.mul_(weight)
    return y if bias is None else y.add_(bias)


def apply_to_layer(slab: Slab, statistics: Tensor) -> Tensor:
    return slab.typed(weighed(slab, moved(slab, slab.fetch(0, last=True), statistics[0], statistics[1])))


in_parts("aten::layer_norm", "aten::native_layer_norm", fits=takes_layer_norm, start=start_layer, combine=pooled,
         finish=finish_each, apply=apply_to_layer)  # fmt: skip

# ---- root mean squares ----------------------------------------------------------------------------------------


def start_squares(band: Band) -> Partial:
    """The sum of squares, how many there are, and the number of bytes of a sample."""
    x = wide(band.operand())
    total = (x * x).sum(normalised(band.call), keepdim=True)
    return precise(total), x.numel() // total.numel(), x.element_size()


def combine_squares(a: Partial, b: Partial) -> Partial:
    return (*added(a[:2], b[:2]), a[2])


def finish_squares(call: Call, partial: Partial) -> Tensor:
    """Where no epsilon is given, it is that of the type in which torch computes."""
    total, count, size = partial
    own = 2.0**-52 if size == 8 else 2.0**-23
    return (total / count + (own if call["eps"] is None else epsilon(call))).rsqrt()


def apply_to_squares(slab: Slab, statistics: Tensor) -> Tensor:
    x = slab.fetch(0)
    return slab.typed(weighed(slab, x.mul(working(statistics, x))))


in_parts("aten::rms_norm", "aten::_fused_rms_norm", fits=takes_layer_norm, start=start_squares,
         combine=combine_squares, finish=finish_squares, apply=apply_to_squares)  # fmt: skip
