"""Calls whose operands come in bands: what an engine gives a reduction, made of tensors that a test cuts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from overlapcalc.algebra.spans import Span
from overlapcalc.ops import Call, find
from overlapcalc.ops.graph import Constant, Data, Node
from overlapcalc.ops.parts import STATISTICS, Partial, Reduction, reduction_of
from overlapcalc.trace.naming import operator_name


class In(NamedTuple):
    """A data operand, and the dimension along which it is cut."""

    tensor: Tensor
    cut: int | None


@dataclass(frozen=True)
class Whole:
    """A call of an operator on whole operands. Other tensors among its arguments are constants."""

    target: Any
    args: dict[str, Any]
    result: int | None = None

    @property
    def operands(self) -> list[In]:
        return [v for value in self.args.values() for v in _listed(value) if isinstance(v, In)]

    @property
    def cut(self) -> tuple[int | None, ...]:
        return tuple(x.cut for x in self.operands)

    @property
    def length(self) -> int:
        return next(x.tensor.shape[x.cut] for x in self.operands if x.cut is not None)

    def run(self, operands: Sequence[Tensor] | None = None, /, **changes: Any) -> Tensor:
        """The operator, on other operands and with other arguments if given."""
        rest = iter([x.tensor for x in self.operands] if operands is None else operands)
        values = {name: _mapped(v, lambda one: next(rest) if isinstance(one, In) else one)
                  for name, v in self.args.items()}  # fmt: skip
        found = self.target(**{**values, **changes})
        return found if self.result is None else found[self.result]

    def of_type(self, change: Callable[[Tensor], Tensor]) -> Whole:
        """The same call on changed tensors."""

        def changed(one: Any) -> Any:
            if isinstance(one, In):
                return In(change(one.tensor), one.cut)
            return change(one) if isinstance(one, Tensor) else one

        return replace(self, args={name: _mapped(v, changed) for name, v in self.args.items()})

    @cached_property
    def dtype(self) -> torch.dtype:
        return self.run().dtype

    @cached_property
    def call(self) -> Call:
        names = (f"x{k}" for k in range(len(self.operands)))

        def seen(one: Any) -> Any:
            if isinstance(one, In):
                return Data(next(names))
            if isinstance(one, Tensor):
                return Constant(tuple(one.shape), (None,) * one.dim())
            return str(one) if isinstance(one, torch.dtype) else one

        given = {}
        for a in self.target._schema.arguments:  # in the order of the schema, as in a trace
            value = _mapped(self.args.get(a.name, a.default_value), seen)
            given[a.name] = tuple(value) if isinstance(value, list) else value
        shape = tuple(self.run().shape)
        node = Node("y", operator_name(self.target), given, shape, result=self.result or 0)
        return Call(node, tuple(tuple(x.tensor.shape) for x in self.operands))

    @property
    def how(self) -> Reduction:
        found = reduction_of(operator_name(self.target))
        assert found is not None
        return found

    @property
    def fits(self) -> bool:
        return self.how.fits(self.call, self.cut)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


class FakeBand:
    """See `ops.parts.Band`."""

    def __init__(self, whole: Whole, call: Call, span: Span) -> None:
        self.call, self.cut, self.begins, self._whole = call, whole.cut, span.start, whole
        self._bands = [x.tensor if x.cut is None else x.tensor.narrow(x.cut, span.start, span.length)
                       for x in whole.operands]  # fmt: skip

    def operand(self, k: int = 0) -> Tensor:
        return self._bands[k]

    def pieces(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        return ((i, min(step, size - i)) for i in range(0, size, step))

    def run(self, /, **changes: Any) -> Tensor:
        return self._whole.run(self._bands, **changes)


class FakeSlab:
    """What `apply` uses of `ops.slab.Slab`."""

    def __init__(self, whole: Whole, call: Call, span: Span, dtype: torch.dtype) -> None:
        (x,) = whole.operands
        self._law = find(call.node.op).law(call)
        node = replace(call.node, args={**call.node.args, STATISTICS: Data("statistics")})
        self.call = replace(call, node=node, shapes=(*call.shapes, ()))
        self._whole, self._span, self._dtype, self._cut = whole, span, dtype, x.cut
        self._band = x.tensor.narrow(x.cut, span.start, span.length)

    def fetch(self, operand: int = 0, *, last: bool = False) -> Tensor:
        assert operand == 0
        return self._band

    def placed(self, argument: str) -> Tensor | None:
        value = self._whole.args.get(argument)
        if value is None:
            return None
        (place,) = [p for p in self._law.places if p.argument == argument]
        for s, d in place.targets:
            if d == self._cut and value.shape[s] > 1:
                value = value.narrow(s, self._span.start, self._span.length)
        return value

    def typed(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        return x - y

    def scaled_and_shifted(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return x * scale + shift


def spans(edges: Sequence[int], length: int) -> list[Span]:
    """The bands between edges, the ends of the axis included."""
    at = sorted({0, length, *(edge for edge in edges if 0 < edge < length)})
    return [Span(a, b) for a, b in pairwise(at)]


def started(whole: Whole, bands: Sequence[Span]) -> list[Partial]:
    call = whole.call
    return [whole.how.start(FakeBand(whole, call, span)) for span in bands]


Combine = Callable[[Partial, Partial], Partial]


def folded(partials: Sequence[Partial], combine: Combine) -> Partial:
    total, *rest = partials
    for one in rest:
        total = combine(total, one)
    return total


def finished(whole: Whole, partial: Partial, bands: Sequence[Span]) -> Tensor:
    """What becomes of a partial result: the operator's result, put together band by band where it has the axis."""
    call, wanted = whole.call, whole.dtype
    found = whole.how.finish(call, partial)
    if whole.how.apply is None:
        return found.to(wanted)
    slabs = [whole.how.apply(FakeSlab(whole, call, span, wanted), found) for span in bands]
    return torch.cat(slabs, whole.operands[0].cut)


def by_bands(whole: Whole, bands: Sequence[Span]) -> Tensor:
    return finished(whole, folded(started(whole, bands), whole.how.combine), bands)
