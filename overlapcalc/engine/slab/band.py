"""A call on bands of its operands, or on whole ones: for operators that end a stage (see ops/parts.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...algebra.spans import Span
from ...ops import Call
from ...ops.graph import Node
from ...ops.parts import Cut
from ...trace.runnable import Fixed, Invocation
from .call import SlabCall
from .frame import Frame, dims_of


class BandCall:
    """See `ops.parts.Band`. bands: one tensor per operand."""

    def __init__(
        self, frame: Frame, node: Node, invocation: Invocation | None, bands: Sequence[Tensor], cut: Cut, begins: int
    ) -> None:
        self.call = Call(node, tuple(tuple(dims_of(frame.value(name).layout)) for name in node.operands))
        self.cut, self.begins = cut, begins
        self._bands, self._inner = bands, _OnBands(frame, node, invocation, bands, self.call)

    def operand(self, k: int = 0) -> Tensor:
        return self._bands[k]

    def run(self, /, **changes: Any) -> Tensor:
        return self._inner.run(**changes)

    def run_all(self, /, **changes: Any) -> tuple[Tensor, ...]:
        return self._inner.run_all(**changes)

    def given(self, argument: str) -> Any:
        return self._inner.given(argument)

    def pieces(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        return self._inner.pieces(size, step)

    def joined(self, pieces: Sequence[Tensor], dim: int) -> Tensor:
        return self._inner.joined(pieces, dim)

    def typed(self, x: Tensor) -> Tensor:
        """A result in the operator's own type."""
        return self._inner.typed(x)


class _OnBands(SlabCall):
    """A call that takes its operands as they are given. It is on no region, so its constants stay whole."""

    def __init__(
        self, frame: Frame, node: Node, invocation: Invocation | None, bands: Sequence[Tensor], call: Call
    ) -> None:
        self.frame, self.node, self.invocation, self.call, self._bands = frame, node, invocation, call, bands
        self.region = {}

    def fetch(
        self,
        operand: int = 0,
        spans: Mapping[int, Span] | None = None,
        *,
        fill: float | str = 0.0,
        last: bool = False,
    ) -> Tensor:
        return self._bands[operand]

    def given(self, argument: str) -> Any:
        """A constant argument, or a list of them."""
        assert self.invocation is not None
        return self._valued(self.invocation.values[argument])

    def _valued(self, template: Any) -> Any:
        if isinstance(template, (list, tuple)):
            return [self._valued(one) for one in template]
        return self.frame.constants.value(template.node) if isinstance(template, Fixed) else template

    def _laid(self, value: Tensor, at: Any) -> Tensor:
        return value
