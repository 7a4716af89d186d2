"""The arguments of a call on a slab, and the call itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from torch import Tensor

from ...ops.graph import Constant, Data
from ...ops.place import At, place_of
from ...trace.in_place import in_place
from ...trace.runnable import Fixed, Invocation
from .fetch import Reader
from .frame import extents
from .memory import memory
from .spare import fits


class Arguments(Reader):
    """The part of a call on a slab that puts its arguments together."""

    def _run(self, invocation: Invocation | None, changes: dict[str, Any], *, over: bool = False) -> Tensor:
        """over: write the result where the first operand was, if it may be, and fits."""
        if invocation is None or self.invocation is None:
            raise self.none("is a step of another operator")
        values = {}
        taken = iter(range(len(self.node.operands)))
        for name, template in self.invocation.values.items():
            values[name] = self._filled((name, None), self.node.args.get(name), template, taken, name in changes)
        if values.get("device") is not None:
            values["device"] = self.frame.constants.device
        if over:
            invocation = replace(invocation, target=self._target(values))
        return invocation({**values, **changes})

    def _target(self, values: Mapping[str, Any]) -> Any:
        """The operator, or the one that writes to its first operand."""
        assert self.invocation is not None
        target = self.invocation.target
        name, x = next(iter(values.items()), ("", None))
        operand, found = self.node.args.get(name), in_place(target)
        if found is None or not isinstance(operand, Data) or operand.node not in self.spare:
            return target
        return found if fits(x, values.values(), extents(self.layout, self.region)) else target

    def owns(self, result: Tensor) -> bool:
        """Whether the memory of the result was taken in this run: now, or for an operand."""
        at = memory(result)
        taken = all(own for other, own, _ in self._memories if other == at)
        return taken and all(memory(value) != at for value in self._constants())

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        free = all(spare for other, _, spare in self._memories if other == memory(x))
        return x.sub_(y) if free and fits(x, (x, y), tuple(x.shape)) and self.owns(x) else x.sub(y)

    def _constants(self) -> Iterator[Tensor]:
        waiting = [] if self.invocation is None else list(self.invocation.values.values())
        while waiting:
            template = waiting.pop()
            if isinstance(template, (list, tuple)):
                waiting += template
            elif isinstance(template, Fixed):
                value = self.frame.constants.value(template.node)
                if isinstance(value, Tensor):
                    yield value

    def _own(self, template: Any) -> Tensor | None:
        """A constant argument, whole."""
        return None if template is None else self.frame.constants.value(template.node)

    def _filled(self, at: At, argument: Any, template: Any, taken: Any, changed: bool) -> Any:
        if isinstance(argument, Data):
            operand = next(taken)
            return None if changed else self.fetch(operand)
        if isinstance(template, Fixed):
            if changed:
                return None
            value = self.frame.constants.value(template.node)
            placed = isinstance(argument, Constant) and isinstance(value, Tensor)
            return self._laid(value, at) if placed else value
        if isinstance(template, (list, tuple)) and isinstance(argument, (list, tuple)):
            items = enumerate(zip(argument, template, strict=True))
            return [self._filled((at[0], i), a, t, taken, changed) for i, (a, t) in items]
        return template

    def _laid(self, value: Tensor, at: At) -> Tensor:
        """The region of a constant operand, by where its rule says that it lies."""
        place = place_of(self.frame.value(self.node.name).law, at)
        return value if place is None else self._sliced(value, dict(place.targets))

    def _sliced(self, value: Tensor, targets: Mapping[int, int]) -> Tensor:
        """A constant whose dimension s lies along dimension `targets[s]` of the output: its region."""
        for s, d in targets.items():
            places = self.layout.places(d)
            cut = [i for i in places if self.layout.labels[i] in self.region]
            whole = prod(self.layout.sizes[i] for i in places)
            if not cut or value.shape[s] == 1:
                continue
            if value.shape[s] != whole:
                raise self.none("has a constant that is longer or shorter than its axis")
            shape = value.shape
            parts = value.reshape(*shape[:s], *(self.layout.sizes[i] for i in places), *shape[s + 1 :])
            for k, i in enumerate(places):
                if i in cut:
                    span = self.region[self.layout.labels[i]]
                    parts = parts.narrow(s + k, span.start, span.length)
            value = parts.reshape(*shape[:s], prod(parts.shape[s : s + len(places)]), *shape[s + 1 :])
        return value
