"""A net that is looked at many times is traced once: what a test costs is most of all to export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

from torch import nn

from overlapcalc.analysis import analyze


class Traces:
    """What was traced so far: a net is traced, and compared with itself, once at each shape and type, whoever asks.

    For tests that run or prove one net in several ways. A net whose tensors were changed is another one; a net whose
    forward changes, or whose rules do, is not for these tests.
    """

    def __init__(self) -> None:
        self._made: dict[Any, tuple[nn.Module, tuple[Callable[..., Any], ...]]] = {}
        self._tracers: dict[Any, Any] = {}
        self._of_module, self._new_tracer = analyze._of_module, analyze._Tracer

    @contextmanager
    def once(self) -> Iterator[None]:
        with (
            mock.patch.object(analyze, "_of_module", self._functions),
            mock.patch.object(analyze, "_Tracer", self._tracer),
        ):
            yield

    def _functions(self, model: nn.Module, *more: Any) -> tuple[Callable[..., Any], ...]:
        key = (id(model), tuple(map(str, more)), _state(model))
        if key not in self._made:  # with the model, for its id to stay its own
            self._made[key] = model, tuple(map(cache, self._of_module(model, *more)))
        return self._made[key][1]

    def _tracer(self, *functions: Callable[..., Any]) -> Any:
        if functions[:3] not in self._tracers:
            self._tracers[functions[:3]] = self._new_tracer(*functions)
        return self._tracers[functions[:3]]


def _state(model: nn.Module) -> tuple[Any, ...]:
    modes = tuple(module.training for module in model.modules())
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return modes, tuple((name, t.data_ptr(), t._version, t.dtype, t.shape) for name, t in tensors)
