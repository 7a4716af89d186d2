"""Who asks: whether the code on the stack is Python's, torch's, another installed package's, ours, or a project's.

An installed package may remember what it reads while a model is watched, because packages are imported only once. So
it counts for every later model of the process, too.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from ..places import PACKAGE, installed

PYTHON, TORCH, INSTALLED, OURS, PROJECT = "Python", "torch", "installed", "ours", "project"
STDLIB = Path(sysconfig.get_paths()["stdlib"])


class Caller(NamedTuple):
    """nearest: whose code asked, Python's own aside. shared: whether an installed package is involved. lines: whether
    it is only for the lines of a traceback that torch records of its caller, which nothing depends on. finder: whether
    it is Python looking for modules."""

    nearest: str
    shared: bool
    lines: bool
    finder: bool


def caller(frame: FrameType | None) -> Caller:
    """Who asks, from the asking frame up to the guard."""
    nearest, shared, lines, first = "", False, False, True
    finder = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
    while frame is not None:
        kind = kind_of(frame.f_code.co_filename)
        lines |= not nearest and frame.f_globals.get("__name__") == "linecache"
        shared |= kind == INSTALLED
        if kind != PYTHON and not nearest:
            nearest = kind
        if kind == OURS and not first:
            break
        first = False
        frame = frame.f_back
    return Caller(nearest, shared, lines and nearest in (TORCH, OURS), finder)


@cache
def kind_of(file: str) -> str:
    """Whose code a file holds."""
    if file.startswith("<frozen "):
        return PYTHON
    if file.startswith("<"):
        return PROJECT
    place = Path(os.path.abspath(file))
    if place.is_relative_to(PACKAGE):
        return OURS
    if not installed(file):
        return PROJECT
    if {"site-packages", "dist-packages"} & set(place.parts):
        return TORCH if _torch() in place.parents or "numpy" in place.parts else INSTALLED
    return TORCH if _torch() in place.parents else PYTHON


@cache
def _torch() -> Path:
    return Path(sys.modules["torch"].__file__ or "").absolute().parent
