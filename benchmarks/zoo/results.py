"""The files of one survey: a record in JSON, and the page that is made of it. Both are written after every model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import overlapcalc as oc

from .. import page as pages
from ..page import Origin
from .page import page
from .zoofile import Zoo

Record = dict[str, Any]
PACKAGES = ("networkx", "timm", "torchvision", "segmentation-models-pytorch")


class Results:
    """out: without its ending; None where nothing is written. render: the page, from zoo, origin and records."""

    def __init__(
        self,
        out: Path | None,
        zoo: Zoo,
        module: str,
        argv: Sequence[str] | None,
        *,
        checked: bool,
        render: Callable[[str, Origin, dict[str, Record]], str] = page,
    ) -> None:
        self._render = render
        self._stem = out.with_suffix("") if out is not None and out.suffix in (".json", ".md") else out
        self._zoo, self._checked, self._code = zoo.label, checked, _fingerprint()
        self._origin = pages.origin(module, argv, packages=[p for p in PACKAGES if pages.installed(p)])

    def kept(self, names: list[str], *, any_code: bool) -> dict[str, Record]:
        """Models that are there already, of this zoo, of the same versions and, unless any_code, of the same code."""
        if self._stem is None or not self._file(".json").exists():
            return {}
        before = json.loads(self._file(".json").read_text())
        header = before["header"]
        same = (header["zoo"], header["checked"]) == (self._zoo, self._checked)
        same = same and header.get("versions") == list(self._origin.versions)
        if not same or not (any_code or header["code"] == self._code):
            return {}
        models = {n: before["models"][n] for n in names if n in before["models"]}
        if models and header["code"] != self._code:  # the page must not say that all is of one commit
            self._origin = replace(self._origin, commit=f"{header['commit']}, then {self._origin.commit}")
        return models

    def write(self, models: dict[str, Record]) -> None:
        if self._stem is None:
            return
        header = {"zoo": self._zoo, "checked": self._checked, "code": self._code, **asdict(self._origin)}
        pages.write(json.dumps({"header": header, "models": models}, indent=1) + "\n", self._file(".json"))
        pages.write(self._render(self._zoo, self._origin, models), self._file(".md"))

    def _file(self, ending: str) -> Path:
        assert self._stem is not None
        return self._stem.with_suffix(ending)


def _fingerprint() -> str:
    """Of all code that the results depend on."""
    digest = hashlib.sha256()
    for file in sorted([*Path(oc.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]
