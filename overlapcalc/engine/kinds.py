"""What a fingerprint takes as it is, what it looks into, and what says nothing about a net."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from enum import Enum
from functools import cache
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodWrapperType, ModuleType
from typing import Any
from weakref import CallableProxyType, ProxyType, ReferenceType

import torch
from torch import Tensor, nn

PLAIN = (bool, int, str, bytes, complex, type(None), type(Ellipsis), torch.dtype, torch.device, torch.Size,
         torch.layout, torch.memory_format, range, slice, PurePath)  # fmt: skip
OPAQUE = frozenset({"torch", "logging", "threading", "_thread", "concurrent", "multiprocessing", "asyncio", "weakref",
                    "builtins", "contextvars", "_contextvars", "io", "_io", "socket", "ctypes", "_ctypes", "inspect",
                    "abc"})  # fmt: skip
"""Packages whose objects say nothing about a net: those that log, wait or write, and torch's own."""
SEQUENCES = (list, tuple, deque)
FILLED = (list, dict, set, deque)
PROXIES = (ProxyType, CallableProxyType)
NUMBERS_OF_C = (ctypes._SimpleCData, ctypes.Structure, ctypes.Union, ctypes.Array)
OF_MEMBERS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
ATOMS = frozenset(PLAIN)
CODE = (FunctionType, BuiltinFunctionType, staticmethod, classmethod, property, type)
OF_MODULES = frozenset(vars(nn.Module()))
OF_CLASSES = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__abstractmethods__",
                         "_abc_impl", "__slots__", "__parameters__", "__orig_bases__"})  # fmt: skip


def held_by(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)


def referent(proxy: Any) -> Any:
    """The object behind a weak proxy; None where it is gone."""
    try:
        return proxy.__init__.__self__
    except ReferenceError:
        return None


def bound(value: Any) -> bool:
    """Whether it is a bound method of a built-in type: each access creates a new one."""
    methods = isinstance(value, (BuiltinFunctionType, MethodWrapperType))
    return methods and not isinstance(value.__self__, (ModuleType, type(None)))


def behind(value: Any) -> Iterator[tuple[str, Any]]:
    """What can be read through an object that otherwise counts by identity: a reference, a bound method, a context or
    thread variable, a C number, the attributes of an enumeration member."""
    if isinstance(value, ReferenceType):
        yield "()", value()
    elif bound(value):
        yield "__self__", value.__self__
    elif isinstance(value, ContextVar):
        yield "get", value.get(None)
    elif isinstance(value, (threading.local, Enum)):
        yield from sorted((name, v) for name, v in vars(value).items() if name not in OF_MEMBERS)
    elif isinstance(value, NUMBERS_OF_C):
        yield "bytes", ctypes.string_at(ctypes.addressof(value), ctypes.sizeof(value))


@cache
def opaque(module: str) -> bool:
    """Whether objects of a module count by identity, whatever they hold."""
    return module.partition(".")[0] in OPAQUE


@cache
def namespaces() -> tuple[tuple[tuple[str, ...], Any], ...]:
    """Torch's functions, which anybody may replace."""
    places: tuple[Any, ...] = (torch, nn.functional, torch._C.TensorBase, torch.special, torch.fft, torch.linalg)
    found = [(tuple(n for n, v in vars(place).items() if callable(v)), vars(place)) for place in places]
    inherited = dict.fromkeys([*vars(Tensor), *vars(torch._C.TensorBase)])  # where one of a base class may be hidden
    return (*found, (tuple(inherited), vars(Tensor)))
