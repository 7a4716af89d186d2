"""Normalisation and softmax: an obstacle over space, bookkeeping over channels."""

from __future__ import annotations

from dataclasses import replace

from ..call import Call
from ..facts import describe
from ..kind import Kind, Masking
from ..law import Law, Link, Place, channel_groups, keep, per_channel, whole
from ..registry import rule
from ..slab import Slab, Tensor, on_slab


def over(call: Call, dims: tuple[int, ...], what: str) -> Law:
    """Each sample reads itself, and everything along `dims`."""
    n = len(call.shapes[0])
    mixed = {d: whole(d, d, what) for d in dims}
    first = min(dims, default=n)
    places = [p for name in ("weight", "bias") for p in call.place(name, {i: first + i for i in range(n - first)})]
    return Law((Link(0, keep(n)), Link(0, keep(n, but=mixed))), places=tuple(places))


@rule("aten::softmax", "aten::_softmax", "aten::log_softmax", "aten::_log_softmax", "aten::softmin",
      "aten::_safe_softmax", shown=False)  # fmt: skip
def softmax(call: Call) -> Law:
    return over(call, (call.dim(),), "softmax over the axis")


describe("aten::softmax", "aten::_softmax", "aten::_safe_softmax", masking=Masking.SOFTENS)


@rule("aten::layer_norm", "aten::native_layer_norm", "aten::rms_norm", "aten::_fused_rms_norm", shown=False,
      sizes=("normalized_shape",))  # fmt: skip
def layer_norm(call: Call) -> Law:
    n = len(call.shapes[0])
    return over(call, tuple(range(n - len(call["normalized_shape"]), n)), "layer norm takes statistics over the axis")


@rule("aten::group_norm", "aten::native_group_norm", shown=False, sizes=("N", "HxW"))
def group_norm(call: Call) -> Law:
    groups = int(call["num_groups"] or call["group"])
    return _statistics(call, groups, "group norm takes statistics over the whole axis")


@rule("aten::instance_norm", shown=False)
def instance_norm(call: Call) -> Law:
    if not call["use_input_stats"]:
        return _by_channel(call)
    return _statistics(call, call.shape[1], "instance norm takes statistics over the whole axis")


def _statistics(call: Call, groups: int, what: str) -> Law:
    if call.node.result:  # the statistics themselves
        return Law(())
    n, channels = len(call.shape), call.shape[1]
    mixed = {d: whole(d, d, what) for d in range(2, n)}
    mixed[1] = channel_groups(channels, channels, groups, 1, what)
    return Law((Link(0, keep(n)), Link(0, keep(n, but=mixed))), places=_of_channels(call))


CHANNELWISE = ("weight", "bias", "running_mean", "running_var")


def _of_channels(call: Call) -> tuple[Place, ...]:
    return tuple(p for name in CHANNELWISE for p in call.place(name, {0: 1}))


def _by_channel(call: Call) -> Law:
    return Law((Link(0, per_channel(len(call.shape))),), places=_of_channels(call))


@rule("aten::batch_norm", "aten::native_batch_norm", "aten::_native_batch_norm_legit",
      "aten::_native_batch_norm_legit_functional", "aten::cudnn_batch_norm", "aten::_batch_norm_with_update",
      "aten::_batch_norm_with_update_functional", shown=False)  # fmt: skip
def batch_norm(call: Call) -> Law:
    if call.node.result:
        return Law(())
    training = call["training"] if call["training"] is not None else True
    if call["running_mean"] is not None and not training:
        return _by_channel(call)
    n = len(call.shape)
    what = "batch norm without running statistics takes them over the whole axis"
    mixed = {d: whole(d, d, what) for d in range(n) if d != 1}
    return Law((Link(0, keep(n)), Link(0, keep(n, but=mixed))), places=_of_channels(call))


describe("aten::batch_norm", "aten::native_batch_norm", "aten::_native_batch_norm_legit",
         "aten::_native_batch_norm_legit_functional", "aten::cudnn_batch_norm", "aten::miopen_batch_norm",
         "aten::_batch_norm_with_update", "aten::_batch_norm_with_update_functional",
         kind=Kind.NORM, training="takes the statistics of its input and updates its own")  # fmt: skip
describe("aten::_native_batch_norm_legit_no_training", "aten::_batch_norm_no_update", kind=Kind.NORM)
describe("aten::layer_norm", "aten::native_layer_norm", "aten::rms_norm", "aten::_fused_rms_norm",
         "aten::native_group_norm", kind=Kind.NORM)  # fmt: skip
describe("aten::group_norm", kind=Kind.NORM, word="group norm")
describe("aten::instance_norm", kind=Kind.NORM, word="instance norm")


@rule("aten::_native_batch_norm_legit_no_training", "aten::_batch_norm_no_update", shown=False)
def batch_norm_eval(call: Call) -> Law:
    return _by_channel(call)


@rule("aten::linalg_cross", "aten::cross", shown=False)
def cross(call: Call) -> Law:
    """The cross product of vectors along one dimension: the first of length 3, where none is given."""
    shape = call.shape
    d = shape.index(3) if call["dim"] is None else int(call["dim"]) % len(shape)
    law = call.broadcast()
    mixed = whole(d, d, "cross product over the axis")
    links = [
        replace(link, dims=tuple(replace(mixed, source=dim.source) if dim.target == d else dim for dim in link.dims))
        for link in law.links
    ]
    return replace(law, links=tuple(links))


@on_slab("aten::layer_norm", "aten::native_layer_norm", "aten::rms_norm", "aten::_fused_rms_norm")
def layer_norm_on_slab(slab: Slab) -> Tensor:
    """Statistics over channels, and over axes that are not cut, run as they are."""
    n = len(slab.call.shape)
    over = range(n - len(slab.call["normalized_shape"]), n)
    if any(slab.span(d) is not None and not slab.is_whole(0, d) for d in over):
        raise slab.none("takes statistics over an axis")
    return slab.run()
