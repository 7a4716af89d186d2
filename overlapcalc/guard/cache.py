"""Outcomes of models that have not changed, kept in a directory that may be deleted at any time.

An entry holds for the exact bytes of everything that its model was seen to read or to import, wherever it is installed,
and for whatever else it asked for (see pins.py). What cannot be pinned that way is not kept (see watch/).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.gc_pause import gc_paused
from .digests import Digests, digest_of, digest_of_text, write_text
from .pins import Pins, still
from .places import PACKAGE, installed

if TYPE_CHECKING:
    from .watch.reads import Seen

NAME = ".overlapcalc_cache"
DIGESTS = "digests"
SETTINGS = (
    "TORCH", "PYTORCH", "ATEN", "OMP_", "GOMP", "KMP_", "MKL", "ONEDNN", "DNNL", "OPENBLAS", "NPY_", "NUMPY", "CUDA",
    "CUBLAS", "CUDNN", "HIP_", "ROCM", "XPU", "LD_", "DYLD_", "PYTHON", "LC_", "LANG", "HF_", "TRANSFORMERS_",
    "TZ",
)  # fmt: skip
"""Prefixes of variables that libraries ask for when they are loaded, before anybody watches."""


class Cache:
    """Outcomes, as plain data, by the question that they answer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._digests = Digests(directory / DIGESTS)
        self._same: dict[str, bool] = {}

    def find(self, question: Any) -> Any:
        """The kept outcome; None where there is none, or where anything that it read has changed."""
        self._digests.look_again()
        with gc_paused():
            return self._found(question)

    def _found(self, question: Any) -> Any:
        try:
            kept = json.loads(self._entry(question).read_text(encoding="utf-8"))
            content, digest = kept["content"], kept["digest"]
            if digest != digest_of(content) or content["question"] != _plain(question):
                return None
            if not still(content["pins"], self._digests, os.environ) or not self._packages(content["packages"]):
                return None
            return content["outcome"]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None  # absent or damaged

    def keep(self, question: Any, outcome: Any, seen: Seen) -> None:
        """Keep an outcome, if it can be pinned and the directory can be written to."""
        if seen.unseen:
            return
        self._digests.look_again()
        with gc_paused():
            self._digests.announce(seen.files())
            pins = seen.pinned(self._digests)
            if pins is not None:
                self._write(question, outcome, pins)

    def _write(self, question: Any, outcome: Any, pins: Pins) -> None:
        own, packages = _parted(pins)
        listed = json.dumps(packages, sort_keys=True)
        name = digest_of_text(listed)
        content = {"question": _plain(question), "pins": own, "packages": name, "outcome": outcome}
        with contextlib.suppress(OSError):
            if not self._file(name).is_file():
                write_text(self._file(name), listed)
            write_text(self._entry(question), json.dumps({"digest": digest_of(content), "content": content}))
        self._digests.save()

    def _packages(self, name: str) -> bool:
        """Whether installed and imported packages are the same; many models share one list. Raises as `find` does."""
        if name not in self._same:
            text = self._file(name).read_text(encoding="utf-8")
            if digest_of_text(text) != name:
                return False
            pins: Pins = json.loads(text)
            self._digests.announce(pins.get("file", {}))
            self._same[name] = still(pins, self._digests, os.environ)
            self._digests.save()
        return self._same[name]

    def _entry(self, question: Any) -> Path:
        return self._directory / f"{digest_of(_plain(question))[:40]}.json"

    def _file(self, name: str) -> Path:
        return self._directory / f"{name[:40]}.packages"


def _parted(pins: Pins) -> tuple[Pins, Pins]:
    """The pins of this model alone, and those of packages."""
    own: Pins = {}
    packages: Pins = {}
    for kind, names in pins.items():
        for name, state in names.items():
            path = kind not in ("environment", "cwd") and os.path.isabs(name)
            (packages if path and installed(name) else own).setdefault(kind, {})[name] = state
    return own, packages


def _plain(question: Any) -> Any:
    """The question as JSON represents it; dates and the like as text."""
    return json.loads(json.dumps(question, sort_keys=True, default=repr))


@cache
def surroundings() -> Mapping[str, Any]:
    """What every outcome depends on: this overlapcalc, Python, the machine's kind, and all that is installed."""
    own = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        own.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + file.read_bytes())
    found = sorted(f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions())
    return {
        "overlapcalc": own.hexdigest(),
        "python": [sys.version, sys.flags.optimize],
        "machine": [sys.platform, platform.machine(), *_processor()],
        "installed": hashlib.sha256("\n".join(found).encode()).hexdigest(),
    }


def _processor() -> list[Any]:
    """What torch bases its choice of kernels on, found without torch: the processor's features, the possible number of
    threads, devices."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else "as torch chooses"
    return [digest_of_text(features), os.cpu_count(), threads, sorted(map(str, Path("/dev").glob("nvidia[0-9]*")))]


def question_of(root: Path, table: Mapping[str, Any]) -> Any:
    """What an outcome answers, apart from files: a model as configured, and its surroundings."""
    return [str(root), table, [os.path.abspath(place) for place in sys.path], _settings(), surroundings()]


def _settings() -> dict[str, str]:
    """Digests of the variables that libraries may have asked for already; values may be secret."""
    found = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    return {name: hashlib.sha256(value.encode(errors="replace")).hexdigest() for name, value in found.items()}
