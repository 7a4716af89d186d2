"""What the header of a JPEG file says: size, sampling, tables, and the quality that they were made for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from examples.lic.bitstream import MOST_PIXELS
from examples.lic.extra import extra
from overlapcalc import InputError

LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""ITU-T T.81, table K.1, row by row."""
QUALITIES = range(1, 101)


@cache
def table_of(quality: int) -> tuple[int, ...]:
    """The table of luma that libjpeg makes for a quality.

    >>> table_of(50) == LUMA, table_of(100)[:3], table_of(10)[:3]
    (True, (1, 1, 1), (80, 55, 50))
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(255, max(1, (step * percent + 50) // 100)) for step in LUMA)


@dataclass(frozen=True)
class Quality:
    """of_libjpeg: whether the table is exactly the one that libjpeg makes for this quality, or only nearest to it."""

    value: int
    of_libjpeg: bool

    def __str__(self) -> str:
        return f"quality {self.value}" if self.of_libjpeg else f"quality {self.value} or so (it has its own tables)"


def quality_of(table: Sequence[int]) -> Quality:
    """By the table of luma, row by row: the quality whose steps differ least, by the mean of their ratios.

    >>> quality_of(table_of(37)), quality_of([20] * 64).of_libjpeg
    (Quality(value=37, of_libjpeg=True), False)
    """
    own = tuple(table)
    for quality in QUALITIES:
        if table_of(quality) == own:
            return Quality(quality, True)
    logarithms = [math.log(step) for step in own]

    def distance(quality: int) -> float:
        return sum(abs(a - math.log(b)) for a, b in zip(logarithms, table_of(quality), strict=True))

    return Quality(min(QUALITIES, key=distance), False)


@dataclass(frozen=True)
class Header:
    """size: rows and columns, as they are stored. sampling: of chroma, such as 4:2:0; "grey" where there is none.
    exif, profile: bytes that are passed on as they are; None where the file has none."""

    size: tuple[int, int]
    sampling: str
    quality: Quality
    exif: bytes | None = None
    profile: bytes | None = None

    @property
    def grey(self) -> bool:
        return self.sampling == GREY

    @property
    def halved(self) -> bool:
        """Whether chroma has half as many rows and columns, which has nets of its own. Of 4:2:2 and others, those for
        4:4:4 restore more."""
        return self.sampling == HALVED


GREY, FULL, HALVED = "grey", "4:4:4", "4:2:0"
SAMPLINGS = {(1, 1): FULL, (2, 1): "4:2:2", (2, 2): HALVED, (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}
"""How many columns and rows of luma there are for one of chroma."""


def opened(path: Path) -> Any:
    """Pillow's image, not yet decoded. Raises InputError."""
    image = extra("PIL.Image")
    image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        file = image.open(path, formats=("JPEG",))
    except Exception as error:  # Pillow raises many unrelated types for a bad file
        unknown = isinstance(error, extra("PIL").UnidentifiedImageError)
        reason = "its header is none of such a file" if unknown else getattr(error, "strerror", None) or error
        raise InputError(f"{path}: it cannot be read as a JPEG file ({reason})") from error
    if file.mode not in ("L", "RGB"):
        mode = file.mode
        file.close()
        raise InputError(f"{path}: a JPEG file of mode {mode}; expected grey or three colours: convert it")
    return file


def header_of(file: Any, path: Path) -> Header:
    """file: what `opened` gives. Raises InputError."""
    try:
        quality = quality_of(file.quantization[file.layer[0][3]])
        sampling = _sampling([(columns, rows) for _, columns, rows, _ in file.layer])
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: a JPEG file without the tables that its picture needs; it is damaged") from error
    width, height = file.size
    exif, profile = (file.info.get(name) or None for name in ("exif", "icc_profile"))
    return Header((height, width), sampling, quality, exif, profile)


def _sampling(layers: Sequence[tuple[int, int]]) -> str:
    """layers: columns and rows of every component, in units of the coarsest. Raises ValueError."""
    if len(layers) == 1:
        return GREY
    (columns, rows), *chroma = layers
    per = {(columns / c, rows / r) for c, r in chroma}
    if len(per) > 1:
        return "uneven chroma"
    (one,) = per
    return SAMPLINGS.get((int(one[0]), int(one[1])), f"{one[0]:g}x{one[1]:g} luma a chroma")
