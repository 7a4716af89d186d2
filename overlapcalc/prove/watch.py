"""Watched runs of a net: whole and on tiles as the user wrote it, or call by call."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from ..analysis.variants import Variants
from ..engine.machine import Machine
from ..ops.graph import Node, data_in
from ..planning.plan import Plan
from ..trace.places import foreign
from ..trace.runnable import Invocation, Runnable
from .questions import question
from .result import OperatorPlace
from .spread import Spread
from .twin.call import bound, tensors, written
from .twin.mode import FACTORIES
from .twin.storages import Storages


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """One run of a net. Its questions about data are numbered in order.

    inputs: the tensors that it is given. names: layer -> path, to say where. types: those of floating data, and where
    each was seen first.
    """

    def __init__(self, spread: Spread, inputs: Iterable[Tensor], names: Mapping[nn.Module, str] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.types: dict[torch.dtype, OperatorPlace] = {}
        self._spread, self._names, self._count = spread, names or {}, 0
        self._storages = Storages()
        for x in inputs:
            self._storages.mark(x, data=True)

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            result = func(*args, **kwargs)  # an operator that runs parts of the net
            for t in tensors(result):
                self._storages.mark(t, data=True)
            return result
        call = bound(func, args, kwargs, self._is_data, "")
        data = {name for name, v in call.values.items() if any(self._is_data(t) for t in tensors(v))}
        if not data or call.name in FACTORIES:
            return func(*args, **kwargs)
        over = written(func)
        if "out" in over or question(call.name, call.values, data) is None:
            result = func(*args, **kwargs)
        else:
            self._count += 1
            result = self._spread.call(
                self._count,
                call.name,
                call.values,
                data,
                lambda values: _called(func, values),
                lambda: self._place(call.name),
                in_place=bool(over),
            )
        for t in [*tensors(result), *(t for name in over for t in tensors(call[name]))]:
            if t.layout == torch.strided:
                self._storages.mark(t, data=True)
            if (t.is_floating_point() or t.is_complex()) and t.dtype not in self.types:
                self.types[t.dtype] = self._place(call.name)
        return result

    def _is_data(self, t: Tensor) -> bool:
        return t.layout == torch.strided and bool(self._storages.holds_data(t))

    def _place(self, op: str) -> OperatorPlace:
        """The innermost layer whose forward is running, and the innermost line of the user's code."""
        frame, layer, source = sys._getframe(1), "", ""
        while frame is not None and not layer:
            file = frame.f_code.co_filename
            if not source and not foreign(file):
                source = f"{file}:{frame.f_lineno}"
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module):
                layer = self._names.get(module, "")
            frame = frame.f_back  # type: ignore[assignment]
        return OperatorPlace(layer, f"aten::{op}", source)


def _called(func: OpOverload, values: Mapping[str, Any]) -> Any:
    positional, named = [], {}
    for a in func._schema.arguments:
        if a.kwarg_only:
            named[a.name] = values[a.name]
        else:
            positional.append(values[a.name])
    return func(*positional, **named)


class WatchedMachine(Machine):
    """Runs every tile, or every call, under watch."""

    def __init__(self, model: nn.Module, variants: Variants, plan: Plan, spread: Spread) -> None:
        super().__init__(model, variants, plan)
        self._spread = spread

    @cached_property
    def calls(self) -> Runnable:
        return watched(self.variants.runnable(self.plan.one_image), self.variants, self._spread)

    def _noted(self, *tiles: Tensor) -> Any:
        with Watching(self._spread, tiles):
            return super()._noted(*tiles)


def watched(calls: Runnable, variants: Variants, spread: Spread) -> Runnable:
    """The same calls, watched, and identified by their nodes."""
    graph = variants.net.graph
    found = {}
    for name, made in calls.calls.items():
        if name not in graph.nodes:
            continue
        own = made.target, made.values, made.result, made.dtype, made.strides
        found[name] = _Watched(*own, spread=spread, node=graph[name])
    return replace(calls, calls=found)


@dataclass(frozen=True, kw_only=True)
class _Watched(Invocation):
    spread: Spread
    node: Node

    def __call__(self, values: Mapping[str, Any]) -> Tensor:
        data = {name for name, v in self.node.args.items() if any(True for _ in data_in([v]))}
        place = OperatorPlace(self.node.layer, self.node.op, self.node.source)
        op = self.node.op.partition("::")[2] if self.node.op.startswith("aten::") else self.node.op
        found: Tensor = self.spread.call(self.node.name, op, values, data, super().__call__, lambda: place)
        return found
