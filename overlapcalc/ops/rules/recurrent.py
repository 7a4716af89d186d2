"""Recurrent layers: they read the axis that they run along from one end to the other."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ...errors import RuleError
from ..call import Call
from ..law import DimRead, Law, Link, carried, drawn, whole
from ..registry import rule


@rule("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")
def recurrent(call: Call) -> Law:
    """Input (time, batch, features), or batch first. The first result keeps the time; the others are final states."""
    time, batch = (1, 0) if call["batch_first"] else (0, 1)
    along = "runs along the whole axis, step by step"
    states = call.node.result > 0
    if states and len(call.shape) != 3:  # torch 2.11 gives those of an LSTM one dimension too many when it traces
        traced = "x".join(map(str, call.shape))
        raise RuleError(
            f"{call.node.layer}: this torch traces final states as {traced}, which they are not; use another"
        )
    last = 1 if states else batch
    links = []
    for k, shape in enumerate(call.shapes):
        features = whole(2, 2, "mixes all positions of the axis")
        if k == call.position("input"):
            if states or call["bidirectional"]:
                steps = whole(time, None if states else time, along)
            else:
                steps = carried(time, time, along)
            dims = [steps, DimRead(batch, last, IndexMap.identity()), features]
            # a time step reads only what its direction has passed: a bound, except for the last one
            links.append(Link(k, (*dims, DimRead(None, 0)) if states else tuple(dims), exact=states))
        elif len(shape) == 3:  # an initial state: (layers, batch, features)
            at, other = (1, 0) if states else (batch, time)
            links.append(
                Link(k, (whole(0, None, along), DimRead(1, at, IndexMap.identity()), features, DimRead(None, other)))
            )
    places = [p for name in ("hx", "cx") for p in call.place(name, {1: last})]
    places += [*call.place("input", {batch: last}), *call.place("params")]
    random = call["train"] and call["dropout"]
    return Law(tuple(links), obstructions=drawn(len(call.shape)) if random else (), places=tuple(places))
