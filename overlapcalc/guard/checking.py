"""`overlapcalc.check` and `overlapcalc.lock`: every guarded model against its claims and its lock."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DamagedLockError
from ..io.atomic import ANY, REWRITTEN, write_complete
from . import cache
from .config import Config, GuardedModel, find_config, read_config
from .judgement import Judgement
from .lock_diff import compare
from .lockfile import lock_text, read_lock
from .requirements import Requirements
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

    config: a TOML file, or one that was read already; the nearest pyproject.toml with a [tool.overlapcalc] table when
    absent. models: only those with these names. update: rewrite the lock, all of it or, where a model cannot be
    analysed, not at all. keep: outcomes of models that have not changed are kept in `cache_dir` (.overlapcalc_cache
    beside the configuration when absent), which may be deleted at any time.

    A model whose code raises, whatever it raises, does not keep the others from being checked. Raises InputError where
    the configuration or the lock is wrong.
    """
    config = _configured(config)
    store = cache.Cache(Path(cache_dir) if cache_dir is not None else config.root / cache.NAME) if keep else None
    return _checked(config, config.chosen(models), store, update=update)


def lock(config: str | os.PathLike[str] | Config | None = None) -> Check:
    """Write what each guarded model needs to overlapcalc.lock beside the configuration: all models or none.

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
    """The models that are in the lock but not in the configuration. Raises InputError."""
    return tuple(sorted(set(read_lock(config.lock) or {}) - {model.name for model in config.models}))


def _configured(config: str | os.PathLike[str] | Config | None) -> Config:
    if isinstance(config, Config):
        return config
    return read_config(find_config(Path.cwd()) if config is None else Path(config))


def _locked(config: Config, update: bool) -> dict[str, Requirements] | None:
    try:
        return read_lock(config.lock)
    except DamagedLockError:
        if update:
            return None
        raise


def _repository(directory: Path) -> Path:
    """The nearest directory upward that is a git repository; the directory itself if none is."""
    return next((place for place in (directory, *directory.parents) if (place / ".git").exists()), directory)


NOTHING_HELD = "nothing is claimed and there is no lock, so nothing was held against anything"


def _against(found: Checked, locked: Mapping[str, Requirements] | None) -> Checked:
    """The outcome, compared with the lock."""
    if locked is None or found.needs is None:
        idle = locked is None and not found.judgements and not found.error
        return dataclasses.replace(found, notes=(*found.notes, NOTHING_HELD)) if idle else found
    if found.name not in locked:
        return dataclasses.replace(found, unlocked=True)
    return dataclasses.replace(found, comparison=compare(locked[found.name], found.needs))


# ---- one model ----------------------------------------------------------------------------------------------------


def _outcome(model: GuardedModel, config: Config, store: cache.Cache | None) -> Checked:
    """The outcome of one model: kept, or found now."""
    question = cache.question_of(config.root, model.table) if store is not None else None
    kept = store.find(question) if store is not None else None
    if kept is not None:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
            return _of_dict(model, config, kept)
    from ..ops.graph import graph_library
    from .isolation import isolated
    from .judging import found_of
    from .watch.hearing import watching  # only now is torch needed

    graph_library()
    with watching(config.root) as seen, isolated():
        found = found_of(model, config)
        if model.spec.endswith(".pt2"):
            seen.opened(str(config.root / model.spec))  # torch opens it where Python does not see it
        if store is not None:
            seen.settle()
        else:
            seen.let_go()
    certain = not found.error and not any(j.error for j in found.judgements) and not _elsewhere(model)
    if store is not None and certain:
        store.keep(question, _to_dict(found), seen)
    return found


def _elsewhere(model: GuardedModel) -> bool:
    """Whether the outcome depends on a device, which cannot be pinned."""
    return model.table.get("verify") == "cuda"


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
