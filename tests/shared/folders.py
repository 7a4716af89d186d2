"""A net for `overlapcalc run`, arrays on disk, and what lies in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlapcalc.io.files import KINDS

MODEL = "torch.nn:Conv2d"
KWARGS = '{"in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1}'
ZARR = KINDS[".zarr"]


def state(folder: Path) -> dict[str, bytes | str | None]:
    """Every name below a folder, with what is behind it."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def array(path: Path, shape: tuple[int, ...] = (3, 12, 14)) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.open(str(path), mode="w", shape=shape, dtype="float32")[:] = 1
