"""An exported program that can be run call by call, with the model's present weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from ..errors import NoSlabError
from ..ops import Kind
from ..ops.graph import Constant, Data, Node
from ..ops.together import Together
from .constants import looked_at
from .naming import facts_of, overload_of


@dataclass(frozen=True)
class Fixed:
    """A placeholder for a tensor that depends on no input."""

    node: FxNode


@dataclass(frozen=True)
class Invocation:
    """One call: `values` by argument name, with `Fixed` for constants; data operands are None.

    result: which of its results is meant, None where it has only one. dtype: that of the result. strides: for an
    operator that reads memory as it lies, those of its first operand in the traced net; empty where that is a part of
    something else in memory.
    """

    target: Any
    values: Mapping[str, Any]
    result: int | None
    dtype: torch.dtype
    strides: tuple[int, ...] | None = None

    def __call__(self, values: Mapping[str, Any]) -> Tensor:
        """Call it with these arguments, with every `Fixed` replaced. Raises NoSlabError."""
        args, kwargs = [], {}
        if self.strides is not None:
            first = self.target._schema.arguments[0].name
            values = {**values, first: self._lying(values[first])}
        for argument in self.target._schema.arguments:
            if argument.kwarg_only:
                kwargs[argument.name] = values[argument.name]
            else:
                args.append(values[argument.name])
        found: Any = self.target(*args, **kwargs)
        result: Tensor = found if self.result is None else found[self.result]
        return result

    def _lying(self, x: Tensor) -> Tensor:
        """The operand with its dimensions in memory in the order in which they lay in the traced net."""
        assert self.strides is not None
        if len(self.strides) != x.dim():
            raise NoSlabError(f"{self.target}: reads memory beyond its operand; the net runs as a whole")
        order = sorted(range(x.dim()), key=lambda d: -self.strides[d])  # type: ignore[index]
        return x.permute(order).contiguous().permute(sorted(range(x.dim()), key=order.__getitem__))


def joined(node: Node, made: Together, found: Invocation) -> dict[str, Invocation]:
    """The calls, by name, that a node amounts to. found: its own. Their constants are among its own."""
    own = {id(a): t for a, t in _pairs(list(node.args.values()), [found.values[name] for name in node.args])}

    def value(v: Any) -> Any:
        if isinstance(v, (Data, Constant)):
            return own.get(id(v))
        return [value(one) for one in v] if isinstance(v, (tuple, list)) and any(map(_is_tensor, v)) else v

    calls = [*((step.name, step.op, step.args) for step in made.steps), (node.name, made.op, made.args)]
    return {
        name: replace(found, target=overload_of(op), values={k: value(v) for k, v in args.items()}, result=None)
        for name, op, args in calls
    }


def _pairs(args: Any, values: Any) -> Iterator[tuple[Constant, Any]]:
    """Constants of the layer graph, and where they are in the call."""
    for a, t in zip(args, values, strict=True):
        if isinstance(a, Constant):
            yield a, t
        elif isinstance(a, (tuple, list)) and any(map(_is_tensor, a)):
            yield from _pairs(a, t)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Data, Constant))


@dataclass(frozen=True)
class Runnable:
    """calls: node of the layer graph -> its call. places: placeholder of a constant -> the name of a parameter or
    buffer of the model, or the tensor itself. structure: that of the net's result, as a pytree of torch.
    weights: shapes and types of parameters and buffers. types: those of the inputs.
    """

    calls: Mapping[str, Invocation]
    places: Mapping[str, str | Tensor]
    structure: Any
    weights: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
    types: Sequence[torch.dtype]

    @property
    def resamples(self) -> bool:
        """Whether a call reads samples at positions that torch computes in their type."""
        return any(facts_of(call.target).kind is Kind.RESIZE for call in self.calls.values())


def type_matters(runnable: Runnable) -> bool:
    """Whether a trace in another floating type may be another net: one that casts, creates constants in a type or in
    that of its data, or resamples at positions that torch computes in the type of the samples."""
    made = any(isinstance(place, Tensor) for place in runnable.places.values())
    return made or runnable.resamples or any(map(_of_a_type, runnable.calls.values()))


def _of_a_type(call: Invocation) -> bool:
    waiting, seen = list(call.values.values()), set[FxNode]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.dtype) and (value.is_floating_point or value.is_complex):
            return True
        if isinstance(value, Fixed):
            value = value.node
        if isinstance(value, FxNode) and value not in seen:
            seen.add(value)
            if value.op == "call_function" and facts_of(value.target).kind in (Kind.LIKE, Kind.AS):
                return True
            waiting += [*value.args, *value.kwargs.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
    return False


@dataclass
class Constants:
    """Evaluates what depends on no input, once each. state: the model's parameters and buffers by name."""

    runnable: Runnable
    state: Mapping[str, Tensor]
    device: torch.device
    _known: dict[FxNode, Any] = field(default_factory=dict)

    def value(self, node: FxNode) -> Any:
        if node not in self._known:
            self._known[node] = self._evaluated(node)
        return self._known[node]

    def _evaluated(self, node: FxNode) -> Any:
        if node.op in ("placeholder", "get_attr"):
            place = self.runnable.places[node.name if node.op == "placeholder" else str(node.target)]
            return self.state[place] if isinstance(place, str) else place.to(self.device)
        seen = looked_at(node)

        def fetch(n: FxNode) -> Any:
            if n in seen:
                return self.value(n)
            fake = n.meta["val"]  # only its shape and type are used
            return torch.zeros((), dtype=fake.dtype, device=self.device).expand(fake.shape)

        args = torch.fx.map_arg(node.args, fetch)
        kwargs = dict(torch.fx.map_arg(node.kwargs, fetch))
        if kwargs.get("device") is not None:
            kwargs["device"] = self.device
        target: Any = node.target
        return target(*args, **kwargs)
