"""What a zoo is: any Python file with three functions.

    names() -> the names of its models
    kind(name) -> a word to group them by ("codec", "cnn", ...)
    build(name) -> (model, inputs)   a torch.nn.Module in eval mode and its example tensors (or input shapes)

and, where it wants to, `preload()`, which imports what the models need (once, before the models are built in
processes of their own). Files that keep a registry `REG` of entries (with `.kind`, and `.zoo`, the library an entry
comes from) beside a `build(name)` are understood as well. If `build` takes `init`, it is asked for initialised weights.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

Built = tuple[nn.Module, tuple[Any, ...]]
OWN = Path(__file__).resolve().parent / "nets.py"


class ZooError(Exception):
    """The file is no zoo, or the names asked for are not in it."""


@dataclass(frozen=True)
class Zoo:
    """A loaded zoo file. `label` is its path without the directories of this machine."""

    label: str
    names: tuple[str, ...]
    kind: Callable[[str], str]
    build: Callable[[str], Built]
    preload: Callable[[], None]

    def chosen(self, names: Sequence[str], kinds: Sequence[str], limit: int | None) -> list[str]:
        """Names asked for (a trailing * stands for any ending), of the kinds asked for, in the zoo's order."""
        found = [n for n in self.names if not names or any(_fits(n, wanted) for wanted in names)]
        missing = [w for w in names if not any(_fits(n, w) for n in self.names)]
        if missing:
            raise ZooError(f"{self.label} has no model {', '.join(missing)}; --list names all")
        found = [n for n in found if not kinds or self.kind(n) in kinds]
        if not found:
            raise ZooError(f"{self.label} has no model of kind {', '.join(kinds)}; --list names all")
        return found[:limit]


def chosen_from(options: argparse.Namespace) -> tuple[Zoo, list[str]] | None:
    """The zoo and the names of its models that `add_choice` asked for. None where there are none: it is printed why."""
    try:
        zoo = load(options.zoo)
        return zoo, zoo.chosen(options.names, options.kinds, options.limit)
    except ZooError as error:
        print(error, file=sys.stderr)
        return None


def _fits(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def load(path: Path) -> Zoo:
    """The zoo in a file. Raises ZooError."""
    module = _imported(path)
    label = path.parent.name + "/" + path.name
    build = getattr(module, "build", None)
    if not callable(build):
        raise ZooError(f"{path}: a zoo needs names(), kind(name) and build(name); it has no build")
    make = _builder(build)
    preload = getattr(module, "preload", lambda: None)
    if callable(getattr(module, "names", None)) and callable(getattr(module, "kind", None)):
        return Zoo(label, tuple(module.names()), module.kind, make, preload)
    registry = getattr(module, "REG", None)
    if isinstance(registry, dict):
        libraries = sorted({str(getattr(e, "zoo", "")) for e in registry.values()})
        return Zoo(label, tuple(registry), lambda name: str(registry[name].kind), make, lambda: _import_all(libraries))
    raise ZooError(f"{path}: a zoo needs names(), kind(name) and build(name), or a registry REG beside build(name)")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """The options that pick models: see `chosen_from`."""
    parser.add_argument("--zoo", type=Path, default=OWN, metavar="FILE", help="a zoo (benchmarks/zoo/zoofile.py)")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="only these; NAME*: all that begin so")
    parser.add_argument("--kinds", nargs="+", default=[], metavar="KIND", help="only models of these kinds")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of them")


def add_run(parser: argparse.ArgumentParser, timeout: float) -> None:
    """The options of a run over a zoo that goes on where one before it ended: see `results.Results`."""
    parser.add_argument(
        "--timeout", type=float, default=timeout, metavar="S", help=f"seconds per model ({timeout:.0f})"
    )
    parser.add_argument("--out", type=Path, metavar="STEM", help="write STEM.json and STEM.md (an ending is dropped)")
    parser.add_argument("--fresh", action="store_true", help="do models again that are in the results")
    parser.add_argument("--resume", action="store_true", help="keep results of other versions of the code too")


def _imported(path: Path) -> ModuleType:
    if not path.is_file():
        raise ZooError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"zoo_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.append(str(path.resolve().parent))  # for what lies beside it
    spec.loader.exec_module(module)
    return module


def _builder(build: Callable[..., Any]) -> Callable[[str], Built]:
    initialised = {"init": True} if "init" in inspect.signature(build).parameters else {}

    def built(name: str) -> Built:
        torch.manual_seed(0)
        model, inputs = build(name, **initialised)
        if isinstance(inputs, torch.Tensor):
            inputs = (inputs,)
        given = tuple(x if isinstance(x, torch.Tensor) else torch.zeros(tuple(x)) for x in inputs)
        return model.eval(), given

    return built


def _import_all(libraries: Sequence[str]) -> None:
    for library in libraries:
        with contextlib.suppress(ImportError):
            if library:
                importlib.import_module(library)
