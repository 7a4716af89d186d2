"""Photographs with a free licence, out of packages that are installed: some to train on, others to test on.

They are read by their paths in `scikit-image` and `scikit-learn`; neither package is imported. What was a JPEG file
once is halved each way, so that the traces of its coding are no part of what is learned or measured.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.lic.pictures import Picture, read_picture
from overlapcalc import InputError


@dataclass(frozen=True)
class Photograph:
    """path: in the package. halved: each 2x2 samples become one."""

    package: str
    path: str
    licence: str
    halved: bool = False

    @property
    def name(self) -> str:
        return Path(self.path).stem


def _skimage(file: str, licence: str, *, halved: bool = False) -> Photograph:
    return Photograph("skimage", f"data/{file}", licence, halved)


def _sklearn(file: str) -> Photograph:
    return Photograph("sklearn", f"datasets/images/{file}", "CC BY 2.0, see README.txt beside it", halved=True)


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
HELD_OUT = (
    _skimage("chelsea.png", "CC0 (Stefan van der Walt)"),
    _skimage("coffee.png", "CC0 (Rachel Michetti)"),
    _sklearn("china.jpg"),
    _sklearn("flower.jpg"),
)
"""Nothing is ever trained on these."""


def read(photograph: Photograph) -> Picture:
    """Raises InputError where its package is missing, or has no such file."""
    found = importlib.util.find_spec(photograph.package)
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise InputError(f"{photograph.name}: this needs {photograph.package}: pip install scikit-image scikit-learn")
    picture = read_picture(Path(places[0]) / photograph.path)
    return halved(picture) if photograph.halved else picture


def halved(picture: Picture) -> Picture:
    """The means of 2x2 samples; a last odd row or column is left out."""
    height, width = (n // 2 for n in picture.shape[:2])
    parts = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).astype(np.float64)
    return np.rint(parts.mean((1, 3))).astype(np.uint8)
