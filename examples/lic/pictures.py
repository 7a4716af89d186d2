"""Pictures: files to arrays of (height, width, 3) bytes and back, and dead leaves made from a seed.

Dead leaves - shapes of random size that hide each other - have the edges and the spectrum of photographs (Lee, Mumford
and Huang, 2001). Here they carry gradients, stripes and noise, so that a codec has something of each to learn.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from overlapcalc import InputError
from overlapcalc.io.atomic import Door, begins, complete

from .bitstream import MOST_PIXELS
from .extra import extra

Picture = npt.NDArray[np.uint8]
PNG = begins("a PNG file", b"\x89PNG\r\n\x1a\n")
REPLACING = Door(overwrite=True)
"""An earlier picture is replaced, and nothing but a picture."""


def read_picture(path: Path) -> Picture:
    """RGB of 8 bits, turned as its camera says; grey and palettes become RGB. Raises InputError."""
    image, turned = extra("PIL.Image"), extra("PIL.ImageOps").exif_transpose
    image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        with image.open(path) as file:
            if getattr(file, "n_frames", 1) > 1:
                raise InputError(f"{path}: {file.n_frames} pictures in one file; expected one: take it out")
            if file.mode not in ("RGB", "L", "P", "1"):
                raise InputError(f"{path}: a picture of mode {file.mode}; expected RGB or grey of 8 bits: convert it")
            if "transparency" in file.info:
                raise InputError(f"{path}: a picture with a transparent colour; expected none: convert it")
            return np.array(turned(file).convert("RGB"), np.uint8)
    except InputError:
        raise
    except Exception as error:  # Pillow raises many unrelated types for a bad file
        raise InputError(f"{path}: it cannot be read as a picture ({_reason(error)})") from error


def write_picture(path: Path, picture: Picture, door: Door = REPLACING) -> None:
    """As PNG, complete or not at all. Raises InputError."""
    made = extra("PIL.Image").fromarray(picture)
    complete(path, lambda file: made.save(file, "PNG", optimize=True), PNG, door)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def psnr(a: Picture, b: Picture) -> float:
    """Of pictures of 8 bits, in dB; infinite for equal ones."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def dead_leaves(height: int, width: int, *, seed: int, leaves: int = 600) -> Picture:
    """The same picture for the same seed."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    made = np.broadcast_to(random.uniform(0, 1, 3).astype(np.float32), (height, width, 3)).copy()
    largest = max(height, width, 48) / 3
    for _ in range(leaves):
        y, x = random.uniform(0, height), random.uniform(0, width)
        radius = 8 / math.sqrt(random.uniform((8 / largest) ** 2, 1))  # density as 1 / radius^3
        turn, flat = random.uniform(0, math.pi), random.uniform(0.3, 1)
        reach = math.ceil(1.5 * radius)
        part = (
            slice(max(0, int(y) - reach), max(0, int(y) + reach + 1)),
            slice(max(0, int(x) - reach), max(0, int(x) + reach + 1)),
        )
        down, right = rows[part] - y, columns[part] - x
        along, across = down * math.sin(turn) + right * math.cos(turn), down * math.cos(turn) - right * math.sin(turn)
        round_ = random.random() < 0.6
        size = np.hypot(along, across / flat) if round_ else np.maximum(abs(along), abs(across) / flat)
        inside = np.clip((radius - size) / 2 + 0.5, 0, 1)[..., None]
        made[part] = inside * _leaf(random, along / radius, across / radius, radius) + (1 - inside) * made[part]
    made += random.normal(0, 0.004, made.shape)
    return np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)


def _leaf(random: np.random.Generator, along: Any, across: Any, radius: float) -> Any:
    """Colours of a leaf: plain, with a gradient, and sometimes with stripes or grain."""
    colour = random.uniform(0.15, 0.85) + random.normal(0, 0.07, 3)
    gradient = random.normal(0, 0.12) + random.normal(0, 0.03, 3)
    made = colour + gradient * along[..., None]
    kind = random.random()
    if kind < 0.25:
        waves = np.sin(across * radius * random.uniform(0.3, 1.5))[..., None]
        made = made + waves * random.normal(0, 0.05, 3)
    elif kind < 0.4:
        made = made + random.normal(0, 0.025, (*along.shape, 1))
    return made


def waves(height: int, width: int, *, seed: int) -> Picture:
    """Smooth all over, each channel for itself, from black to full: what dead leaves have nothing of."""
    random = np.random.default_rng(seed)
    rows, columns = (at / max(height, width) for at in np.mgrid[0:height, 0:width])
    made = np.empty((height, width, 3))
    for channel in range(3):
        down, right = random.uniform(-12, 12, 2)
        bend, start = random.normal(0, 8), random.uniform(0, 2 * math.pi)
        made[..., channel] = 0.5 + 0.6 * np.sin(down * rows + right * columns + bend * rows * columns + start)
    return np.clip(np.rint(made * 255), 0, 255).astype(np.uint8)
