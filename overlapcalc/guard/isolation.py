"""Loading a model leaves nothing behind in this process, and finds nothing that another model left.

Two models may each have a neighbour called `parts.py`, or register a rule for the same operator: what a model is must
not depend on what is guarded beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

from ..ops.registry import kept
from .places import installed


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Modules of projects are imported afresh inside, and restored afterwards; so are the path, the working directory,
    the environment, rules, torch's settings, and torch functions that projects replaced. What is printed inside goes
    to standard error.

    Modules that had already created a library of operators stay: torch allows creating one only once."""
    path, here, environment = list(sys.path), os.getcwd(), dict(os.environ)
    everything = {name: module for name, module in list(sys.modules.items()) if _of_a_project(name, module)}
    outside = {name: module for name, module in everything.items() if not _libraries(module)}
    dtype, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    writes, deep, functions, hooks = sys.dont_write_bytecode, sys.getrecursionlimit(), _functions(), _hooks()
    for name in outside:
        del sys.modules[name]
    sys.dont_write_bytecode = True  # Python would use bytecode of the same second and size for an edited file
    importlib.invalidate_caches()
    linecache.checkcache()
    try:
        with (
            kept(),
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sys.stderr),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, module in list(sys.modules.items()):
            if _of_a_project(name, module) and everything.get(name) is not module:
                del sys.modules[name]
                _forget_operators(module)
        sys.modules.update(outside)
        sys.dont_write_bytecode = writes
        sys.setrecursionlimit(deep)
        _unpatch(functions)
        for kept_hooks, before in hooks:
            kept_hooks.clear()
            kept_hooks.update(before)
        sys.path[:] = path
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


def _functions() -> list[tuple[Any, dict[str, Any]]]:
    """Torch's namespaces that projects patch, and their contents."""
    classes = {value for value in vars(torch.nn).values() if isinstance(value, type)}
    return [(place, dict(vars(place))) for place in (torch, torch.nn.functional, torch.Tensor, *classes)]


def _unpatch(known: list[tuple[Any, dict[str, Any]]]) -> None:
    """Undo what a project's code put there. What an installed package did stays: it is imported only once."""
    for place, before in known:
        for name, value in list(vars(place).items()):
            if value is before.get(name) or not _code_of_a_project(value):
                continue
            if name in before:
                setattr(place, name, before[name])
            else:
                delattr(place, name)


def _code_of_a_project(value: Any) -> bool:
    code = getattr(getattr(value, "__func__", value), "__code__", None)  # a static method wraps its function
    return code is not None and not installed(code.co_filename)


def _hooks() -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """The global hooks, which every module of the process calls, and their contents."""
    found = vars(torch.nn.modules.module).items()
    return [(hooks, dict(hooks)) for name, hooks in found if name.startswith("_global_") and isinstance(hooks, dict)]


def _of_a_project(name: str, module: ModuleType | None) -> bool:
    """Whether a module is neither Python's, nor installed, nor ours."""
    own = getattr(module, "__dict__", {})  # attributes that a module makes up on request mean nothing
    places = [own.get("__file__"), *(own.get("__path__") or ())]
    files = [place for place in places if isinstance(place, str)]
    return name != "__main__" and bool(files) and not any(map(installed, files))


def _libraries(module: ModuleType) -> list[torch.library.Library]:
    return [value for value in list(vars(module).values()) if isinstance(value, torch.library.Library)]


def _forget_operators(module: ModuleType) -> None:
    """Remove the operators that a module created, so that the next model can create them again."""
    for library in _libraries(module):
        destroy = getattr(library, "_destroy", None)  # without it the next model is refused by torch, by name
        if destroy is not None:
            destroy()
        for everyone, own in (("_defs", "_op_defs"), ("_impls", "_op_impls")):
            known, names = getattr(torch.library, everyone, None), getattr(library, own, None)
            if isinstance(known, set) and isinstance(names, set):
                known -= names
                names.clear()  # or, when it is collected, it removes what the next library of its name has created
