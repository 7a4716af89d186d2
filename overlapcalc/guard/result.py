"""What a check found, model by model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .judgement import Judgement
from .lock_diff import Comparison
from .requirements import Requirements

SCHEMA_VERSION = 1
HOLDS, BROKEN, NOT_ANALYSED = 0, 1, 2


@dataclass(frozen=True)
class Checked:
    """One guarded model.

    file, line: where its class is defined, or where it is configured if that is not known. needs: None where it could
    not be analysed; error says why. comparison: with the lock; None where there is no lock, or where it does not have
    this model (then `unlocked`). kept: the outcome comes from the cache. trace: Python's traceback of the error.
    """

    name: str
    spec: str
    file: str
    line: int
    judgements: tuple[Judgement, ...] = ()
    needs: Requirements | None = None
    notes: tuple[str, ...] = ()
    error: str = ""
    comparison: Comparison | None = None
    unlocked: bool = False
    kept: bool = False
    trace: str = field(default="", repr=False, compare=False)

    @property
    def changed(self) -> bool:
        """The lock does not hold.

        >>> Checked("g_a", "codec.py:Codec.g_a", "codec.py", line=12, unlocked=True).changed  # it is not in the lock
        True
        """
        return self.unlocked or (self.comparison is not None and not self.comparison.same)

    @property
    def code(self) -> int:
        if self.error or any(judgement.error for judgement in self.judgements):
            return NOT_ANALYSED
        return HOLDS if not self.changed and all(judgement.holds for judgement in self.judgements) else BROKEN

    def to_dict(self) -> dict[str, Any]:
        comparison = self.comparison
        return {
            "name": self.name,
            "spec": self.spec,
            "holds": self.code == HOLDS,
            "claims": [judgement.to_dict() for judgement in self.judgements],
            "changes": [] if comparison is None else [str(change) for change in comparison.changes],
            "changed_layers": [] if comparison is None else [str(layer) for layer in comparison.layers],
            "in_lock": comparison is not None,
            "needs": None if self.needs is None else self.needs.to_dict(),
            "notes": list(self.notes),
            "error": self.error,
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Check:
    """All guarded models of a configuration: the frozen result of `overlapcalc.check`.

    repository: the directory to which paths in reports are relative. locked: there was a lock. gone: models in the
    lock that are not configured. written: the lock was written. dropped: models that were in it before and are not
    configured either.
    """

    config: Path
    lock: Path
    repository: Path
    locked: bool
    models: tuple[Checked, ...]
    gone: tuple[str, ...] = ()
    written: bool = False
    dropped: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """2 if a model or a claim could not be judged, else 1 if a claim or the lock does not hold, else 0.

        >>> g_a = Checked("g_a", "codec.py:Codec.g_a", "codec.py", line=12)
        >>> g_s = Checked("g_s", "codec.py:Codec.g_s", "codec.py", line=30, unlocked=True)
        >>> Check(Path("pyproject.toml"), Path("overlapcalc.lock"), Path(), locked=True, models=(g_a, g_s)).code
        1
        """
        return max((model.code for model in self.models), default=HOLDS) or (BROKEN if self.gone else HOLDS)

    @property
    def holds(self) -> bool:
        return self.code == HOLDS

    def __getitem__(self, name: str) -> Checked:
        return {model.name: model for model in self.models}[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "holds": self.holds,
            "code": self.code,
            "config": self.config.name,
            "lock": self.lock.name if self.locked or self.written else None,
            "written": self.written,
            "models": [model.to_dict() for model in self.models],
            "gone": list(self.gone),
            "dropped": list(self.dropped),
        }
