"""Photographs with a free licence, out of packages that are installed: to train on, to choose by, and to test on.

They are read by their paths; no package is imported. `make pictures` puts the packages into a folder of their own,
which goes on PYTHONPATH. What was a JPEG file once is halved each way, so that the traces of its coding are no part of
what is learned or measured.
"""

from __future__ import annotations

import bz2
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overlapcalc import InputError

from .pictures import Picture, read_picture

INSTALL = "make pictures, and .venv/pictures on PYTHONPATH"
"""The packages without what they need, for they are only read. scipy 1.11 is the last one with a picture."""


@dataclass(frozen=True)
class Photograph:
    """path: in the package. halved: each 2x2 samples become one. raw: height and width of what is no file of pictures
    but the samples, compressed by bz2."""

    package: str
    path: str
    licence: str
    halved: bool = False
    raw: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return Path(self.path).stem


def _skimage(file: str, licence: str, *, halved: bool = False) -> Photograph:
    return Photograph("skimage", f"data/{file}", licence, halved)


def _sklearn(file: str) -> Photograph:
    return Photograph("sklearn", f"datasets/images/{file}", "CC BY 2.0, see README.txt beside it", halved=True)


_PUBLIC = "public domain (www.public-domain-image.com)"
_NAVY = "public domain (US Navy; commons.wikimedia.org/wiki/File:Grace_Hopper.jpg)"


TRAINING = (
    _skimage("astronaut.png", "public domain (NASA)"),
    _skimage("rocket.jpg", "public domain (SpaceX)", halved=True),
    _skimage("retina.jpg", "CC0 (Häggström)", halved=True),
    _skimage("hubble_deep_field.jpg", "public domain (NASA)", halved=True),
    _skimage("camera.png", "CC0 (Lav Varshney)"),
    _skimage("brick.png", "CC0"),
    _skimage("grass.png", "CC0"),
    _skimage("gravel.png", "CC0"),
)
VALIDATION = (
    _skimage("chelsea.png", "CC0 (Stefan van der Walt)"),
    _skimage("coffee.png", "CC0 (Rachel Michetti)"),
    _sklearn("china.jpg"),
    _sklearn("flower.jpg"),
)
"""Nothing is trained on these, but the settings of training were chosen by what they cost."""
HELD_OUT = (
    Photograph("scipy", "misc/face.dat", _PUBLIC, halved=True, raw=(768, 1024)),
    _skimage("ihc.png", "no known copyright restrictions (CMMI)", halved=True),
    Photograph("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", _NAVY, halved=True),
)
"""Nothing was trained on these or chosen by them. A raccoon, tissue under a microscope (the file is a PNG, with the
edges of JPEG's blocks in it), a portrait."""
SETS = {"validation": VALIDATION, "held out": HELD_OUT}


def read(photograph: Photograph) -> Picture:
    """Raises InputError where its package is missing, or has no such file."""
    path = _found(photograph)
    picture = read_picture(path) if photograph.raw is None else _samples(path, photograph.raw)
    return halved(picture) if photograph.halved else picture


def _found(photograph: Photograph) -> Path:
    found = importlib.util.find_spec(photograph.package)
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise InputError(f"{photograph.name}: this needs {photograph.package}: {INSTALL}")
    path = Path(places[0]) / photograph.path
    if not path.is_file():
        raise InputError(f"{path}: this version of {photograph.package} has no such picture: {INSTALL}")
    return path


def _samples(path: Path, size: tuple[int, int]) -> Picture:
    try:
        data = bz2.decompress(path.read_bytes())
        return np.frombuffer(data, np.uint8).reshape(*size, 3)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: it holds no {size[1]}x{size[0]} samples ({error})") from error


def halved(picture: Picture) -> Picture:
    """The means of 2x2 samples; a last odd row or column is left out."""
    height, width = (n // 2 for n in picture.shape[:2])
    parts = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).astype(np.float64)
    return np.rint(parts.mean((1, 3))).astype(np.uint8)
