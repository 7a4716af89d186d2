"""One sample that is spread over an image in another form first: over one long dimension, or over columns and rows.

t.expand(1, 1, h * w).view(1, 1, h, w)  is  t.view(1, 1, 1, 1).expand(1, 1, h, w)
t.expand(1, 1, w, h).mT                 is  t.mT.expand(1, 1, h, w)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import Any

from ...algebra.cells import runs
from ..call import Call
from ..graph import Data, Node
from ..orders import PERMUTING, order_of
from ..together import Together, operand, together

Nodes = Mapping[str, Node]
Shape = tuple[int, ...]
SPREADING = ("aten::expand", "aten::expand_as", "aten::broadcast_to", "aten::repeat", "aten::tile",
             "aten::repeat_interleave")  # fmt: skip
VIEWS = ("aten::view", "aten::reshape", "aten::_unsafe_view", "aten::unflatten", "aten::unsqueeze")
MAKING = frozenset({*SPREADING, *VIEWS, *PERMUTING})


@dataclass(frozen=True)
class Spread:
    """A tensor that is made of another one by these steps, which give `low`, and then spread to `high`. loose: the
    calls that make it so far."""

    source: str
    steps: tuple[tuple[str, Mapping[str, Any], Shape], ...]
    low: Shape
    high: Shape
    loose: frozenset[str]


@together(*VIEWS, *PERMUTING)
def spread_then_viewed(node: Node, known: Nodes) -> Together | None:
    """Dimensions along which a sample is spread may be cut, joined and permuted as one likes. What lies as an image
    does already is left as it is: an image of the net may be turned in the same way. So are levels over (w, h) where
    the image is a square, which does not show."""
    inner = operand(node, "self")
    if inner is None or known[inner].op not in MAKING or not _like_an_image(node.shape, known):
        return None
    return None if _like_an_image(known[inner].shape, known) else _spread_last(node, known)


def _spread_last(node: Node, known: Nodes) -> Together | None:
    found = _spread(node, known)
    if found is None or not _one_sample(found.low, known):
        return None
    made, at = list[Node](), found.source
    for op, args, shape in found.steps:
        name = f"{node.name}.{len(made)}"
        made.append(replace(node, name=name, op=op, args={"self": Data(at), **args}, shape=shape, pointwise=False))
        at = name
    args = {"self": Data(at), "size": node.shape, "implicit": False}
    return Together("aten::expand", args, found.loose - {node.name}, tuple(made))


def _spread(node: Node, known: Nodes) -> Spread | None:
    """What is spread, by which calls; None where none is, or where some of it is no longer what it was."""
    inner = operand(node, "self")
    if inner is None or node.op not in MAKING:
        return None
    base = _spread(known[inner], known)
    if node.op in SPREADING:
        shape = known[inner].shape
        if node.op == "aten::repeat_interleave" and node.args.get("dim") is None:
            shape = (prod(shape),)
        base = base or Spread(inner, (), shape, shape, frozenset())
        low, high = ((1,) * (len(node.shape) - len(shape)) + one for one in (base.low, base.high))
        if len(low) != len(node.shape) or any(a not in (1, c) or (a > 1 and b != c)
                                        for a, b, c in zip(low, high, node.shape, strict=True)):  # fmt: skip
            return None
        return _reshaped(base, low, node)
    if base is None:
        return None
    if node.op in PERMUTING:
        order = order_of(Call(node, (base.high,)))
        low = tuple(base.low[d] for d in order)
        step = ("aten::permute", {"dims": tuple(order)}, low)
        return Spread(base.source, (*base.steps, step), low, node.shape, base.loose | {node.name})
    below: list[int] = []
    for old, new in runs(base.high, node.shape):
        if all(base.low[d] == 1 for d in old):
            below += [1] * len(new)
        elif [base.low[d] for d in old] == [node.shape[d] for d in new] == [base.high[d] for d in old]:
            below += [node.shape[d] for d in new]
        else:
            return None
    return _reshaped(base, tuple(below), node)


def _reshaped(base: Spread, low: Shape, node: Node) -> Spread:
    steps = base.steps if low == base.low else (*base.steps, ("aten::reshape", {"shape": low}, low))
    return Spread(base.source, steps, low, node.shape, base.loose | {node.name})


def _like_an_image(shape: Sequence[int], known: Nodes) -> bool:
    """Whether a tensor may lie as an input does, at a multiple or a fraction of its size."""
    images = [x for x in _inputs(known) if len(x.shape) == len(shape) and any(x.axes)]
    return any(
        all(not axis or (m > 1 and 0 in (m % n, n % m)) for m, n, axis in zip(shape, x.shape, x.axes, strict=True))
        for x in images
    )


def _one_sample(low: Shape, known: Nodes) -> bool:
    """Whether what is spread has one sample along every axis: a row that is spread over rows keeps its own."""
    images = (x for x in _inputs(known) if len(x.shape) == len(low))
    return not any(axis and n > 1 for x in images for axis, n in zip(x.axes, low, strict=True))


def _inputs(known: Nodes) -> Iterator[Node]:
    """They come before all calls."""
    return takewhile(lambda node: node.op == "input", known.values())
