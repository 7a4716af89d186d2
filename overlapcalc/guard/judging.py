"""One guarded model, loaded and checked against its claims."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..analysis.analyze import analyze
from ..analysis.called import followed
from ..analysis.guess import guess_inputs
from ..analysis.spelled import Entry, arranged
from ..errors import InputError, ModelCodeError, OverlapcalcError
from ..io.spec import load
from .claims import Subject
from .config import Config, GuardedModel
from .judgement import Judgement
from .needs import needs_of
from .places import installed
from .result import Checked
from .toml import toml


def found_of(model: GuardedModel, config: Config) -> Checked:
    file, line = _defined(model, config, None) or (str(config.file), model.line)
    blank = Checked(model.name, model.spec, file, line)
    try:
        return _judged(model, config, blank)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a model's code raises whatever it likes, SystemExit too
        return dataclasses.replace(blank, error=_said(error), trace="".join(traceback.format_exception(error)))


def _judged(model: GuardedModel, config: Config, blank: Checked) -> Checked:
    try:
        net = load(model.spec, model.kwargs, base=config.root)
    except InputError as error:
        raise type(error)(f"{config.file}: models.{model.name}.spec: ", *error.args) from error
    written = _defined(model, config, net)
    if written is not None:
        blank = dataclasses.replace(blank, file=written[0], line=written[1])
    inputs: Any = None if model.inputs is None else list(model.inputs)
    layout: Any = None if model.layout is None else list(model.layout)
    notes: list[str] = []
    if inputs is None:
        inputs, note = guess_inputs(net, layout[0] if layout else None, toml)
        notes += [note] if note else []
    elif any(isinstance(one, Entry) for one in inputs):
        net, inputs = followed(net, *arranged(net, (), inputs))
    analysis = analyze(net, inputs, axes=model.axes, layout=layout)
    if not analysis.size_verified:
        notes.append("size not verified: the net ran at no larger size, so this holds for this size alone")
    subject = Subject(net, analysis, model.setting)
    judgements = tuple(_judgement(claim.key, claim.limit, claim.judge, subject) for claim in model.claims)
    return dataclasses.replace(blank, judgements=judgements, needs=needs_of(analysis), notes=tuple(notes))


def _judgement(key: str, limit: str, judge: Callable[[Subject], Judgement], subject: Subject) -> Judgement:
    """The judgement of one claim; one that cannot be judged does not keep the others from it."""
    try:
        return judge(subject)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the model's code runs here, too
        return Judgement(key, limit, "cannot be judged", error=_said(error))


def _said(error: BaseException) -> str:
    """The message of our own errors, in keys of the configuration; for others, the type and the first line."""
    if isinstance(error, OverlapcalcError):
        where = " (`overlapcalc check --debug` shows where)" if isinstance(error, ModelCodeError) else ""
        return error.worded(toml) + where
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
    return said if isinstance(error, Exception) else f"the model's code raised {said}, which ends a program"


def _defined(model: GuardedModel, config: Config, net: Any) -> tuple[str, int] | None:
    """Where a project defines what a SPEC names: the class, function or value; else the class of the model, if it
    exists already."""
    place, _, path = model.spec.rpartition(":")
    module = sys.modules.get(place)
    file = config.root / place if module is None else Path(module.__file__ or "")
    line = _line_of(file, path.partition(".")[0])
    if line is not None and not installed(str(file)):
        return str(file), line
    if net is None:
        return None
    try:
        source = inspect.getsourcefile(type(net))
        return None if source is None or installed(source) else (source, inspect.getsourcelines(type(net))[1])
    except (OSError, TypeError):
        return None


def _line_of(file: Path, name: str) -> int | None:
    """The line where a file defines a name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return None
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return node.lineno
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.lineno
    return None
