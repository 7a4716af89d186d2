"""PSNR of a picture by the bytes that another codec takes for it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from overlapcalc import InputError

from .extra import extra
from .pictures import Picture, psnr


class Point(NamedTuple):
    """A coded picture: bytes, and PSNR in dB."""

    size: int
    decibels: float


def curve(picture: Picture, options: dict[str, Any]) -> list[Point]:
    """A picture by Pillow, at every quality from 1 to 95."""
    image, found = extra("PIL.Image"), []
    for quality in range(1, 96):
        file = io.BytesIO()
        image.fromarray(picture).save(file, quality=quality, **options)
        found.append(Point(len(file.getvalue()), psnr(picture, np.array(image.open(file).convert("RGB")))))
    return found


def at_size(points: Sequence[Point], size: int) -> float:
    """PSNR at a size, between the nearest points, by the logarithm of sizes. Raises InputError beyond them."""
    points = sorted(points)
    if not points[0].size <= size <= points[-1].size:
        raise InputError(f"{size} bytes; the other codec reaches {points[0].size} to {points[-1].size}")
    sizes, decibels = ([point[i] for point in points] for i in (0, 1))
    return float(np.interp(math.log(size), np.log(sizes), decibels))
