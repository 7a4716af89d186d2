"""`overlapcalc.check` and `overlapcalc.lock`: every guarded model against its claims and its lock."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..analysis.analyze import analyze
from ..analysis.guess import guess_inputs
from ..errors import InputError, OverlapcalcError
from ..io.atomic import ANY, REWRITTEN, write_complete
from ..io.spec import load
from . import cache
from .claims import Subject
from .config import Config, GuardedModel, find_config, read_config
from .isolation import installed, isolated
from .judgement import Judgement
from .lock_diff import compare
from .lockfile import DamagedLock, lock_text, read_lock
from .requirements import Requirements, needs_of
from .result import Check, Checked


def check(
    config: str | os.PathLike[str] | Config | None = None,
    *,
    models: Sequence[str] | None = None,
    update: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    keep: bool = True,
) -> Check:
    """Check every guarded model of a configuration against its claims and against the lock beside it.

    config: a TOML file, read already or not; the nearest pyproject.toml with a [tool.overlapcalc] table when absent.
    models: only those of these names. update: write the lock anew, whole or not at all: not where a model cannot be
    analysed. keep: outcomes of models that have not changed are kept in `cache_dir` (.overlapcalc_cache beside the
    configuration when absent), which may be deleted at any time.

    A model whose code raises whatever it likes hides no other. Raises InputError where the configuration or the lock is
    wrong.
    """
    config = _configured(config)
    store = cache.Cache(Path(cache_dir) if cache_dir is not None else config.root / cache.NAME) if keep else None
    return _checked(config, config.chosen(models), store, update=update)


def lock(config: str | os.PathLike[str] | Config | None = None) -> Check:
    """Write what each guarded model needs to overlapcalc.lock beside the configuration, whole or not at all.

    Claims are not judged. Raises as `check` does.
    """
    config = _configured(config)
    bare = tuple(dataclasses.replace(model, claims=()) for model in config.models)
    return _checked(config, bare, None, update=True)


def _checked(config: Config, chosen: Sequence[GuardedModel], store: cache.Cache | None, *, update: bool) -> Check:
    locked = _locked(config, update)
    known = {model.name for model in config.models}
    found = [_outcome(model, config, store) for model in chosen]
    if not update:
        found = [_against(outcome, locked) for outcome in found]
    everything = len(chosen) == len(config.models)
    gone = () if update or not everything else no_longer_configured(config)
    result = Check(config.file, config.lock, _repository(config.root), locked is not None, tuple(found), gone)
    if not update or any(outcome.error for outcome in found):
        return result
    others = {} if everything else {name: needs for name, needs in (locked or {}).items() if name in known}
    now = {outcome.name: outcome.needs for outcome in found if outcome.needs is not None}
    write_complete(config.lock, lock_text(others | now), REWRITTEN, ANY)
    return dataclasses.replace(result, written=True, dropped=tuple(sorted(set(locked or {}) - known)))


def no_longer_configured(config: Config) -> tuple[str, ...]:
    """The models that the lock speaks of, and the configuration does not. Raises InputError."""
    return tuple(sorted(set(read_lock(config.lock) or {}) - {model.name for model in config.models}))


def _configured(config: str | os.PathLike[str] | Config | None) -> Config:
    if isinstance(config, Config):
        return config
    return read_config(find_config(Path.cwd()) if config is None else Path(config))


def _locked(config: Config, update: bool) -> dict[str, Requirements] | None:
    try:
        return read_lock(config.lock)
    except DamagedLock:
        if update:
            return None
        raise


def _repository(directory: Path) -> Path:
    """The nearest directory upward that is a git repository; the directory itself where none is."""
    return next((place for place in (directory, *directory.parents) if (place / ".git").exists()), directory)


NOTHING_HELD = "nothing is claimed and there is no lock, so nothing was held against anything"


def _against(found: Checked, locked: Mapping[str, Requirements] | None) -> Checked:
    """The outcome with what changed against the lock."""
    if locked is None or found.needs is None:
        idle = locked is None and not found.judgements and not found.error
        return dataclasses.replace(found, notes=(*found.notes, NOTHING_HELD)) if idle else found
    if found.name not in locked:
        return dataclasses.replace(found, unlocked=True)
    return dataclasses.replace(found, comparison=compare(locked[found.name], found.needs))


# ---- one model ----------------------------------------------------------------------------------------------------


def _outcome(model: GuardedModel, config: Config, store: cache.Cache | None) -> Checked:
    """What became of one model: kept, or found now."""
    question = cache.question_of(config.root, model.table) if store is not None else None
    kept = store.find(question) if store is not None else None
    if kept is not None:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
            return _of_dict(model, config, kept)
    with cache.watching(config.root) as seen, isolated():
        found = _found(model, config)
        if model.spec.endswith(".pt2"):
            seen.opened(str(config.root / model.spec))  # torch opens it where Python does not see it
        seen.settle()
    certain = not found.error and not any(j.error for j in found.judgements) and not _elsewhere(model)
    if store is not None and certain:
        store.keep(question, _to_dict(found), seen)
    return found


def _elsewhere(model: GuardedModel) -> bool:
    """Whether the outcome depends on a device, which nothing pins."""
    return model.table.get("verify") == "cuda"


def _found(model: GuardedModel, config: Config) -> Checked:
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
        raise InputError(f"{config.file}: models.{model.name}.spec: {error}") from error
    written = _defined(model, config, net)
    if written is not None:
        blank = dataclasses.replace(blank, file=written[0], line=written[1])
    inputs: Any = None if model.inputs is None else list(model.inputs)
    layout: Any = None if model.layout is None else list(model.layout)
    notes: list[str] = []
    if inputs is None:
        inputs, note = guess_inputs(net, layout[0] if layout else None)
        notes += [_in_keys(note)] if note else []
    analysis = analyze(net, inputs, axes=model.axes, layout=layout)
    if not analysis.size_verified:
        notes.append("size not verified: the net ran at no larger size, so this holds for this size alone")
    subject = Subject(net, analysis, layout, model.setting)
    judgements = tuple(_judgement(claim.key, claim.limit, claim.judge, subject) for claim in model.claims)
    return dataclasses.replace(blank, judgements=judgements, needs=needs_of(analysis), notes=tuple(notes))


def _judgement(key: str, limit: str, judge: Callable[[Subject], Judgement], subject: Subject) -> Judgement:
    """A claim that cannot be judged hides no other."""
    try:
        return judge(subject)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the model's code runs here, too
        return Judgement(key, limit, "cannot be judged", error=_said(error))


def _said(error: BaseException) -> str:
    """The message of our own errors; of others the type and the first line."""
    if isinstance(error, OverlapcalcError):
        return _in_keys(str(error))
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
    return said if isinstance(error, Exception) else f"the model's code raised {said}, which ends a program"


def _in_keys(message: str) -> str:
    """What is an option of other commands is a key here, with its value as TOML has it."""
    for option, key in OPTIONS:
        message = re.sub(option, key, message)
    return message


OPTIONS = (
    (r"--input, [0-9]+ times, such as --input ([0-9x]+)", r'input, such as input = ["\1", "\1"]'),
    (r"--input ([0-9x]+)", r'input = "\1"'),
    (r" \(--layout [A-Z]+\)", ""),
    (r"--kwargs '(\{.*\})'", r"kwargs = \1"),
    (r'"([A-Za-z_][A-Za-z_0-9]*)": \.\.\.', r"\1 = ..."),
    (r"--(input|kwargs|layout)\b", r"\1"),
)


def _defined(model: GuardedModel, config: Config, net: Any) -> tuple[str, int] | None:
    """Where a project wrote what a SPEC names: the class, function or value; else the class of the model, if there is
    one yet."""
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


def _to_dict(found: Checked) -> dict[str, Any]:
    assert found.needs is not None
    judgements = [judgement.to_dict() for judgement in found.judgements]
    return {
        "judgements": judgements,
        "needs": found.needs.to_dict(),
        "notes": list(found.notes),
        "file": found.file,
        "line": found.line,
    }


def _of_dict(model: GuardedModel, config: Config, data: Mapping[str, Any]) -> Checked:
    judgements = tuple(Judgement.from_dict(judgement) for judgement in data["judgements"])
    line = model.line if data["file"] == str(config.file) else data["line"]  # it may have moved in the configuration
    return Checked(
        model.name, model.spec, data["file"], line, judgements, Requirements.from_dict(data["needs"]),
        tuple(data["notes"]), kept=True,
    )  # fmt: skip
