"""A net that is looked at many times is traced once: what a test costs is most of all to export."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import nn

from overlapcalc.analysis import analyze
from overlapcalc.ops import registry

PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, enum.Enum)
"""Types of values that are the same wherever they are equal."""
TENSORS = ("_parameters", "_buffers", "_modules")


class Traces:
    """What was traced so far: a net is traced, and compared with itself, once at each shape and type, whoever asks.

    For tests that run or prove one net in several ways, or that make the same net again: of the same classes, with the
    same attributes, and with parameters of the same shapes, whose values nobody reads. Buffers count by their values. A
    net under other rules is another one. One whose forward changes is not for these tests; nor is one that looks at
    variables which are no attributes of it, if a test changes them.
    """

    def __init__(self) -> None:
        self._made: dict[Any, tuple[tuple[Callable[..., Any], ...], Any]] = {}
        self._tracers: dict[Any, Any] = {}
        self._of_module, self._new_tracer = analyze._of_module, analyze._Tracer

    @contextmanager
    def once(self, same: object = None) -> Iterator[None]:
        """same: nets that are loaded afresh, with classes of their own, are the same where this is, and their state."""
        with (
            mock.patch.object(analyze, "_of_module", lambda model, *more: self._functions(same, model, *more)),
            mock.patch.object(analyze, "_Tracer", self._tracer),
        ):
            yield

    def _functions(self, same: object, model: nn.Module, *more: Any) -> tuple[Callable[..., Any], ...]:
        rules = dict(registry._OPERATORS)
        said = tuple((op, id(rule)) for op, rule in rules.items())
        key = same, said, tuple(map(str, more)), _net(model, by_name=same is not None)
        if key not in self._made:  # with the model and the rules, for what they are known by to stay their own
            self._made[key] = tuple(map(cache, self._of_module(model, *more))), (model, rules)
        return self._made[key][0]

    def _tracer(self, *functions: Callable[..., Any]) -> Any:
        if functions[:3] not in self._tracers:
            self._tracers[functions[:3]] = self._new_tracer(*functions)
        return self._tracers[functions[:3]]


def _net(model: nn.Module, *, by_name: bool) -> tuple[Any, ...]:
    """What a net is known by. by_name: its classes by their names, and not by what they are."""
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    first: dict[int, str] = {}
    for name, t in tensors:
        first.setdefault(id(t), name)
        first.setdefault(_place(t), name)

    def known(t: torch.Tensor | None) -> Any:
        """A parameter by its shape, a buffer by its values, and either by the first tensor that it is or shares."""
        if t is None:
            return None
        said = (type(t), t.shape, t.stride(), t.dtype) if isinstance(t, nn.Parameter) else _value(t)
        return said, str(t.device), first[id(t)], first[_place(t)]

    def layer(path: str, module: nn.Module) -> tuple[Any, ...]:
        kind = type(module).__qualname__ if by_name else id(type(module))
        own = {name: value for name, value in vars(module).items() if name not in TENSORS}
        held = (tuple((name, known(t)) for name, t in vars(module)[place].items()) for place in TENSORS[:2])
        return path, kind, *held, _value(own)

    return tuple(layer(*named) for named in model.named_modules(remove_duplicate=False))


def _place(t: torch.Tensor) -> int:
    """Of the memory; negative, so that it is no identity."""
    return -t.untyped_storage()._cdata


def _value(value: Any) -> Any:
    """Equal where values are; of what cannot be compared, its identity, which lasts as long as its net is kept."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_value, value))
    if isinstance(value, dict):
        return type(value), tuple((_value(k), _value(v)) for k, v in value.items())
    if isinstance(value, set) and all(isinstance(v, str) for v in value):
        return set, tuple(sorted(value))
    if type(value) is torch.Tensor and value.layout == torch.strided and value.device.type == "cpu":
        return value.shape, value.stride(), value.dtype, tuple(value.detach().flatten().tolist())
    return id(value)
