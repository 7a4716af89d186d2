"""Has a net changed since it was traced? What its forward can see, as a value: equal values mean the same trace.

Weights are not part of it, but their shapes and types are. All other tensors count by their bytes (buffers, constants,
whatever is in an attribute, a list, a closure or a global), functions by their code and what they refer to, and
objects by what they hold. Whatever is met twice counts once.
"""

from __future__ import annotations

import array
import ctypes
import hashlib
import operator
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _disable_current_modes

from .code import installed, library, names_in
from .kinds import (
    ATOMS,
    CODE,
    FILLED,
    OF_CLASSES,
    OF_MODULES,
    PLAIN,
    PROXIES,
    SEQUENCES,
    behind,
    bound,
    held_by,
    namespaces,
    opaque,
    referent,
)

MOST_VALUES = 200_000
"""More than this is not walked: the net counts as changed, so it is traced again at every call."""
SMALL = 256
"""Tensors of up to this many bytes are stored as they are; longer ones are hashed."""


class TooMuchError(Exception):
    """There is more to a net than can be inspected on every call."""


class Fingerprint:
    """The state of a net when it was inspected. `same(other)` where nothing that was seen differs.

    values: plain values in the order in which they were met. things: objects that count by identity.
    """

    def __init__(self, values: list[Any], things: list[Any]) -> None:
        self._values, self._things = values, things

    def __deepcopy__(self, memo: Any) -> Fingerprint:
        """Not copied: a copy of a net is another net."""
        return Fingerprint([object()], [])

    def same(self, other: Fingerprint) -> bool:
        return (
            len(self._things) == len(other._things)
            and self._values == other._values
            and all(map(operator.is_, self._things, other._things))
        )


def fingerprint(model: nn.Module) -> Fingerprint | None:
    """The fingerprint of a module as it is now; None where there is too much to inspect."""
    walk = _Walk()
    try:
        with _disable_current_modes():  # what is done here is none of the caller's business
            walk.settings()
            walk.value(model)
            walk.finish()
    except (TooMuchError, RecursionError):
        return None
    return Fingerprint(walk.values, walk.things)


class _Walk:
    def __init__(self) -> None:
        self.values: list[Any] = []
        self.things: list[Any] = []
        self._met: dict[int, tuple[int, Any]] = {}
        self._classes: dict[int, type] = {}
        self._spaces: dict[tuple[int, int], ModuleType] = {}
        self._elsewhere: list[Tensor] = []

    def settings(self) -> None:
        """The global settings that change what torch makes of the same code."""
        self.values += [torch.get_default_dtype(), torch.get_default_device(), torch.is_autocast_enabled("cpu")]
        self.values += [torch.get_autocast_dtype("cpu")] if self.values[-1] else []
        if torch.cuda.is_available():
            self.values += [torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")]
        for names, space in namespaces():
            self.things += map(space.get, names)
        for name, hooks in vars(nn.modules.module).items():
            if name.startswith("_global_"):
                self.value(hooks)

    def finish(self) -> None:
        """Fetch tensors from other devices, all of them in one copy."""
        by_device: dict[torch.device, list[Tensor]] = {}
        for t in self._elsewhere:
            by_device.setdefault(t.device, []).append(t.detach().contiguous().reshape(-1).view(torch.uint8))
        for parts in by_device.values():
            self._bytes(torch.cat(parts).cpu())

    def value(self, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS or isinstance(value, PLAIN):
            self.values += (kind, value)
        elif kind is float:
            self.values.append(value.hex())
        else:
            self._compound(value, kind)

    def _compound(self, value: Any, kind: type) -> None:
        if kind in PROXIES:
            self.values.append(kind)
            value = referent(value)
            kind = type(value)
        known = self._met.setdefault(id(value), (len(self._met), value))
        if len(self._met) + len(self.values) > MOST_VALUES:
            raise TooMuchError
        if known[0] != len(self._met) - 1:
            self.values.append(known[0])
            return
        if isinstance(value, nn.Module):
            self._module(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, SEQUENCES):
            self._items(kind, value)
        elif isinstance(value, Mapping):
            self._items(kind, [part for pair in value.items() for part in pair])
        elif isinstance(value, (set, frozenset)):
            self._items(kind, sorted(value, key=repr))
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, MethodType):
            self.value(value.__func__)
            self.value(value.__self__)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self.value(part)
        elif isinstance(value, type):
            self._class(value)
        else:
            self._object(value)

    def _module(self, module: nn.Module) -> None:
        """A module except for its mode: a net is traced and run in eval mode."""
        self._class(type(module))
        for key, value in vars(module).items():
            if key == "_parameters":
                for name, p in value.items():
                    self.values.append(name)
                    self._parameter(p)
            elif key != "training" and (key not in OF_MODULES or value):
                self.values.append(key)
                self.value(value)

    def _parameter(self, p: Tensor | None) -> None:
        if p is None or is_lazy(p):
            self.values.append(None)
            return
        self.values += (type(p), p.shape, p.dtype, p.device, p.requires_grad)
        self.values.append(self._met.setdefault(id(p), (len(self._met), p))[0])  # which weights are shared

    def _tensor(self, t: Tensor) -> None:
        self.values += (type(t), t.shape, t.dtype, t.device, t.requires_grad, t.is_conj(), t.is_neg())
        if isinstance(t, nn.Parameter) and t.numel() > SMALL:
            self.things.append(t)  # a weight that a list or closure holds
        if t.device.type == "meta" or not t.numel():
            return
        if t.layout is not torch.strided or type(t) not in (Tensor, nn.Parameter, nn.Buffer):
            raise TooMuchError  # its bytes are elsewhere
        if t.device.type != "cpu":
            self._elsewhere.append(t)
        else:
            self._bytes(t if t.is_contiguous() else t.detach().contiguous())

    def _bytes(self, t: Tensor) -> None:
        size = t.numel() * t.element_size()
        if size <= SMALL:
            self.values.append(ctypes.string_at(t.data_ptr(), size))
        else:
            self.values.append(hashlib.sha256((ctypes.c_char * size).from_address(t.data_ptr())).digest())

    def _items(self, kind: type, items: Sequence[Any]) -> None:
        if len(self.values) + len(items) > MOST_VALUES:
            raise TooMuchError
        self.values += (kind, len(items))
        for item in items:
            self.value(item)

    def _function(self, function: FunctionType) -> None:
        """Its code, and what that refers to: its closure, its globals, and the attributes of modules that it names.
        Functions of installed packages are not followed into others."""
        self.things.append(function.__code__)
        if library(function.__module__):
            return
        for part in (function.__defaults__, function.__kwdefaults__, function.__dict__):
            if part:
                self.value(part)
        for cell in function.__closure__ or ():
            try:
                self.value(cell.cell_contents)
            except ValueError:
                self.values.append(None)  # empty
        names, space = names_in(function.__code__), function.__globals__
        follow = not installed(function.__code__.co_filename)
        for name in names:
            if name in space:
                self._named(name, space[name], names, follow)

    def _named(self, name: str, value: Any, names: tuple[str, ...], follow: bool) -> None:
        self.values.append(name)
        if not isinstance(value, ModuleType):
            self.value(value) if follow or not isinstance(value, CODE) else self.things.append(value)
            return
        key = id(value), id(names)
        if key in self._spaces:
            return
        self._spaces[key] = value
        inside = vars(value)
        for inner in names:
            if inner in inside:
                known = library(value.__name__)
                if known and type(inside[inner]) in FILLED and len(inside[inner]) <= SMALL:
                    self.value(inside[inner])  # a list, say, which anybody may fill
                elif known and not isinstance(inside[inner], ModuleType):
                    self.things.append(inside[inner])
                elif not known:
                    self._named(inner, inside[inner], names, follow)

    def _class(self, kind: type) -> None:
        """The class itself, and what it and its bases define, once."""
        self.things.append(kind)
        if type(kind) is not type and not library(type(kind).__module__):
            self._class(type(kind))
        for base in kind.__mro__:
            if id(base) in self._classes or base.__module__ == "builtins":
                continue
            self._classes[id(base)] = base
            whole = not library(base.__module__)
            for name, value in list(vars(base).items()):
                if whole and name not in OF_CLASSES:
                    self._member(value)
                elif not whole and isinstance(value, CODE):
                    self.things.append(value)

    def _member(self, value: Any) -> None:
        if isinstance(value, (staticmethod, classmethod)):
            self.value(value.__func__)
        elif isinstance(value, property):
            for function in (value.fget, value.fset):
                self.value(function)
        else:
            self.value(value)

    def _object(self, value: Any) -> None:
        """An object of a project or a package counts by what it holds, any other by identity."""
        kind = type(value)
        if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tobytes"):
            if value.dtype.hasobject:
                raise TooMuchError  # its bytes are addresses
            self.values += (kind, value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())
            return
        if isinstance(value, (bytearray, array.array)):
            self.values += (kind, bytes(value))
            return
        if isinstance(value, Enum) or opaque(kind.__module__):
            if bound(value):
                self.values += (kind, value.__name__)
            else:
                self.things.append(value)
            for name, item in behind(value):
                self.values.append(name)
                self.value(item)
            if isinstance(value, Enum):
                self._class(kind)
            return
        self._class(kind)
        held = list(held_by(value))
        if not held:
            self.things.append(value)
        for name, item in held:
            self.values.append(name)
            self.value(item)
