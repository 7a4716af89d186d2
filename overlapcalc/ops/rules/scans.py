"""Running totals and recurrent layers, carried along a stream."""

from __future__ import annotations

from typing import Any

from ..call import Call
from ..parts import Cut
from ..scans import in_order
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


in_order("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu", fits=runs_forward, run=recurrent)
