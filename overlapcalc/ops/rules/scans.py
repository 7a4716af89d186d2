"""Running totals and recurrent layers, carried along a stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..call import Call
from ..parts import Band, Cut
from ..scans import Way, in_order, to_and_fro
from ..slab import Slab, Tensor


def runs_along(call: Call, cut: Cut) -> bool:
    return len(cut) == 1 and cut[0] == call.dim() and call["dtype"] is None


def _totals(slab: Slab) -> tuple[Tensor, int]:
    return slab.run(self=slab.fetch()), slab.call.dim()


def _last(y: Tensor, d: int) -> Tensor:
    return y.narrow(d, y.shape[d] - 1, 1).clone()


def sums(slab: Slab, carried: Any) -> tuple[Tensor, Any]:
    y, d = _totals(slab)
    y = y if carried is None else y + carried
    return y, _last(y, d)


def products(slab: Slab, carried: Any) -> tuple[Tensor, Any]:
    y, d = _totals(slab)
    y = y if carried is None else y * carried
    return y, _last(y, d)


def logarithms(slab: Slab, carried: Any) -> tuple[Tensor, Any]:
    y, d = _totals(slab)
    y = y if carried is None else y.logaddexp(carried)
    return y, _last(y, d)


in_order("aten::cumsum", fits=runs_along, run=sums)
in_order("aten::cumprod", fits=runs_along, run=products)
in_order("aten::logcumsumexp", fits=runs_along, run=logarithms)


def runs_forward(call: Call, cut: Cut) -> bool:
    """Whether the samples of a layer in one direction are meant, and the axis is its time. A backward direction needs
    the end first."""
    time = 1 if call["batch_first"] else 0
    along = all(d is None or (k == call.position("input") and d == time) for k, d in enumerate(cut))
    return call.node.result == 0 and not call["bidirectional"] and call.position("input") is not None and along


def recurrent(slab: Slab, carried: Any) -> tuple[Tensor, Any]:
    """Cells of an LSTM have two states, all others one."""
    given: dict[str, Any] = {} if carried is None else {"hx": carried}
    found = slab.run_all(**given)
    states = [state.clone() for state in found[1:]]
    return found[0], states if len(states) > 1 else states[0]


RECURRENT = ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")
in_order(*RECURRENT, fits=runs_forward, run=recurrent)


def runs_both_ways(call: Call, cut: Cut) -> bool:
    """Whether the samples of a layer in both directions are meant, the axis is its time, and its first states are
    constants."""
    time = 1 if call["batch_first"] else 0
    return call.node.result == 0 and bool(call["bidirectional"]) and call.position("input") == 0 and cut == (time,)


def ways(call: Call) -> tuple[Way, ...]:
    """Of each layer forward, then backward, with both laid side by side as what the next layer reads."""
    found: list[Way] = []
    for layer in range(call["num_layers"]):
        read = len(found)
        found.append(Way((read,), False, partial(_forward, layer)))
        found.append(Way((read, read + 1), True, partial(_backward, layer)))
    return tuple(found)


def _forward(layer: int, band: Band, read: Sequence[Tensor], carried: Any) -> tuple[Tensor, Any]:
    return _one_direction(2 * layer, band, read[0], carried)


def _backward(layer: int, band: Band, read: Sequence[Tensor], carried: Any) -> tuple[Tensor, Any]:
    x, forward = read
    time = 1 if band.call["batch_first"] else 0
    y, states = _one_direction(2 * layer + 1, band, x.flip(time), carried)
    return band.joined([forward, y.flip(time)], 2), states


def _one_direction(direction: int, band: Band, x: Tensor, carried: Any) -> tuple[Tensor, Any]:
    """The layer of one direction, of which a call has two for each of its layers."""
    params, first = band.given("params"), band.given("hx")
    each = len(params) // (2 * band.call["num_layers"])
    if carried is None:
        states = first if isinstance(first, (list, tuple)) else [first]
        own = [state.narrow(0, direction, 1) for state in states]
        carried = own if isinstance(first, (list, tuple)) else own[0]
    found = band.run_all(
        input=x, hx=carried, params=params[direction * each : (direction + 1) * each], num_layers=1, bidirectional=False
    )
    states = [state.clone() for state in found[1:]]
    return found[0], states if len(states) > 1 else states[0]


to_and_fro(*RECURRENT, fits=runs_both_ways, ways=ways)
