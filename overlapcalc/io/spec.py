"""SPEC -> model: `path/to/model.py:Net` or `package.module:make_net`, optionally followed by a submodule's path; or the
file of a saved program."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..errors import Argument, InputError, ModelCodeError
from . import saved_program

FORM = (
    "expected FILE.py:NAME or PACKAGE.MODULE:NAME, with .SUBMODULE behind it where a part is meant; or FILE.pt2, a "
    "program that torch.export.save wrote"
)


def load(
    spec: str, kwargs: Mapping[str, Any] | None = None, *, base: Path | None = None
) -> nn.Module | torch.export.ExportedProgram:
    """The model that a SPEC names; its file or package is looked up in `base`, the working directory when absent.

    NAME is a class or a function that returns a module (called with `kwargs`), or a module itself; whatever follows it
    after a dot is the path of a submodule. A model file may import its neighbours. Instead of a module it may be a
    program of torch.export, and FILE.pt2 is one that torch.export.save wrote. Raises InputError, and ModelCodeError
    where the code that is imported or called raises.
    """
    base = Path.cwd() if base is None else base
    if saved_program.SPEC.fullmatch(spec):
        return saved_program.load_program(spec, kwargs or {}, base)
    place, _, path = spec.rpartition(":")
    if not place or not path:
        raise InputError(f"SPEC {spec!r}: {FORM}")
    module = _import(place, spec, base)
    name, _, inner = path.partition(".")
    if not hasattr(module, name):
        raise InputError(f"SPEC {spec!r}: {place} has no {name!r}; it has {_offer(module)}")
    model = _build(getattr(module, name), spec, dict(kwargs or {}))
    if not inner:
        return model
    if not isinstance(model, nn.Module):
        raise InputError(f"SPEC {spec!r}: a program of torch.export is one whole net; it has no {inner!r} to choose")
    return _submodule(model, inner, spec)


def _import(place: str, spec: str, base: Path) -> ModuleType:
    file = base / place
    if place.endswith(".py") or "/" in place or file.is_file():
        if not file.is_file():
            raise InputError(f"SPEC {spec!r}: there is no file {place}")
        return _import_file(file, spec)
    if str(base) not in sys.path:
        sys.path.insert(0, str(base))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            raise InputError(f"SPEC {spec!r}: there is no module {error.name!r} here; {FORM}") from error
        raise ModelCodeError(f"SPEC {spec!r}: importing it failed: {_first_line(error)}") from error
    except Exception as error:
        raise ModelCodeError(f"SPEC {spec!r}: importing it failed: {_first_line(error)}") from error


def _import_file(file: Path, spec: str) -> ModuleType:
    """Imports a file; one inside a package as part of that package, so that its relative imports work."""
    file = file.resolve()
    root, parts = file.parent, [file.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = ".".join(parts)
    try:
        if len(parts) > 1:
            return importlib.import_module(name)
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None) == str(file):
            return loaded
        unique = name if loaded is None and importlib.util.find_spec(name) is None else f"overlapcalc_spec_{name}"
        found = importlib.util.spec_from_file_location(name if loaded is None else unique, file)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module
        try:
            found.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(found.name, None)
            raise
        return module
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelCodeError(f"SPEC {spec!r}: running {file.name} failed: {_first_line(error)}") from error


def _build(thing: Any, spec: str, kwargs: dict[str, Any]) -> nn.Module | torch.export.ExportedProgram:
    if isinstance(thing, (nn.Module, torch.export.ExportedProgram)):
        if kwargs:
            raise InputError(
                f"SPEC {spec!r} is a module already; ", Argument("kwargs"), " are for a class or a function"
            )
        return thing
    if not callable(thing):
        raise InputError(f"SPEC {spec!r} is of type {type(thing).__name__}; expected a module, a class or a function")
    _check_arguments(thing, spec, kwargs)
    try:
        model = thing(**kwargs)
    except (Exception, SystemExit) as error:
        raise ModelCodeError(f"SPEC {spec!r}: building it failed: {_first_line(error)}") from error
    if not isinstance(model, (nn.Module, torch.export.ExportedProgram)):
        raise InputError(f"SPEC {spec!r} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _check_arguments(thing: Any, spec: str, kwargs: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        needed = [
            p.name
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in kwargs
        ]
        takes = ", ".join(p.name for p in signature.parameters.values()) or "no arguments"
        where = f"SPEC {spec!r}: {getattr(thing, '__name__', thing)}"
        if not needed:
            raise InputError(f"{where} {error}; it takes {takes}") from error
        example = Argument("kwargs", dict.fromkeys(needed, ...))
        raise InputError(f"{where} needs {', '.join(needed)}; give them with ", example) from error


def _submodule(model: nn.Module, path: str, spec: str) -> nn.Module:
    here, walked = model, ""
    for part in path.split("."):
        children = dict(here.named_children())
        if part not in children:
            where = f"{type(model).__name__}{walked}"
            has = f"has no submodule {part!r}; it has {', '.join(children)}" if children else "has no submodules"
            raise InputError(f"SPEC {spec!r}: {where} ({type(here).__name__}) {has}")
        here, walked = children[part], f"{walked}.{part}"
    return here


def _offer(module: ModuleType) -> str:
    """The names in a module that may have been meant."""
    found = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, nn.Module)
            or (inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module.__name__)
            or (inspect.isfunction(value) and value.__module__ == module.__name__)
        )
    ]
    return ", ".join(found) or "no module, class or function of its own"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
