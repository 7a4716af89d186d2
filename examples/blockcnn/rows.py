"""A JPEG file decoded from the top, and a PNG file written from the top, with few rows in memory at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

import overlapcalc as oc
from examples.lic.extra import extra
from examples.lic.pictures import PNG, Picture
from overlapcalc import InputError
from overlapcalc.io.atomic import Door, unfinished

from .colour import picture, planes
from .jpeg import Header


class Canvas(Protocol):
    """A picture that is decoded from the top and replaced from the top.

    Rows are read once, in order; rows are put once, in order, after they were read.
    """

    def read(self, start: int, stop: int) -> Picture:
        """(rows, width, 3), or (rows, width) of a grey one."""
        ...

    def put(self, start: int, rows: Picture) -> None: ...

    def save(self, path: Path) -> None:
        """As PNG, once all rows are put. Raises OSError or InputError."""
        ...


class Decoded:
    """By Pillow, which decodes all rows at once. What is put replaces what was read, so no second picture is held."""

    def __init__(self, file: Any, header: Header, path: Path) -> None:
        try:
            file.load()
        except Exception as error:  # Pillow raises many unrelated types for a bad file
            raise InputError(f"{path}: it is damaged or cut ({_reason(error)})") from error
        self._image, self._header = file, header

    def read(self, start: int, stop: int) -> Picture:
        return np.array(self._image.crop((0, start, self._image.width, stop)), np.uint8)

    def put(self, start: int, rows: Picture) -> None:
        self._image.paste(extra("PIL.Image").fromarray(rows), (0, start))

    def save(self, path: Path) -> None:
        kept = {"exif": self._header.exif, "icc_profile": self._header.profile}
        self._image.save(path, "PNG", **{name: data for name, data in kept.items() if data is not None})


class ByRows:
    """By pyvips: rows are decoded when they are read, and wait in a file until the last one is there."""

    def __init__(self, header: Header, path: Path, waiting: Path) -> None:
        """waiting: where a file may be made; whoever gives it removes it."""
        self._vips = extra("pyvips")
        logging.getLogger("pyvips").setLevel(logging.ERROR)  # its warnings are errors here
        self._header, self._path, self._waiting = header, path, waiting
        self._file = waiting.open("wb")
        with self._said():
            image = self._vips.Image.jpegload(str(path), access="sequential", fail_on="warning")
            self._region = self._vips.Region.new(image)
        wanted = (header.size, 1 if header.grey else 3)
        if ((image.height, image.width), image.bands) != wanted:
            raise InputError(f"{path}: pyvips and Pillow read it as two different pictures; it is damaged")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except self._vips.Error as error:
            raise InputError(f"{self._path}: it is damaged or cut ({_reason(error)})") from error

    def read(self, start: int, stop: int) -> Picture:
        width = self._header.size[1]
        with self._said():
            data = self._region.fetch(0, start, width, stop - start)
        shape = (stop - start, width) if self._header.grey else (stop - start, width, 3)
        return np.frombuffer(data, np.uint8).reshape(shape)

    def put(self, start: int, rows: Picture) -> None:
        self._file.write(rows.tobytes())

    def save(self, path: Path) -> None:
        self._file.close()
        height, width = self._header.size
        vips, bands = self._vips, 1 if self._header.grey else 3
        raw = vips.Image.rawload(str(self._waiting), width, height, bands, access="sequential")
        made = raw.copy(interpretation="b-w" if self._header.grey else "srgb")
        for name, data in (("exif-data", self._header.exif), ("icc-profile-data", self._header.profile)):
            if data is not None:
                made.set_type(vips.GValue.blob_type, name, data)
        try:
            made.pngsave(str(path))
        except vips.Error as error:
            raise InputError(f"{path.name}: it cannot be written ({_reason(error)})") from error

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def canvas(file: Any, header: Header, path: Path, target: Path, door: Door, *, by_rows: bool) -> Iterator[Canvas]:
    """A canvas whose picture appears at `target` as PNG if all goes well. Raises InputError."""
    with unfinished(target, PNG, door) as made, contextlib.ExitStack() as stack:
        own: Canvas
        if by_rows:
            own = vips = ByRows(header, path, made.with_suffix(".rows"))
            stack.callback(vips.close)
        else:
            own = Decoded(file, header, path)
        yield own
        try:
            own.save(made)
        except OSError as error:
            raise InputError(f"{target}: {error.strerror or error}") from error


def has_pyvips() -> bool:
    try:
        extra("pyvips")
    except Exception:  # pyvips raises OSError and others where its library lacks
        return False
    return True


class Planes:
    """What a net reads by slices: planes of a canvas, (1, 3, height, width).

    Rows are decoded once and kept as long as a block can still ask for them: blocks come from the top, so what lies
    above the first row of the last request is not asked for again. A request for it raises.
    """

    def __init__(self, canvas: Canvas, size: tuple[int, int], dtype: torch.dtype) -> None:
        self.shape, self.dtype = (1, 3, *size), dtype
        self._canvas = canvas
        self._first = 0
        self._kept: Picture | None = None
        self.most = 0
        """Rows that were held at once, so far."""

    def __getitem__(self, place: tuple[slice, ...]) -> Tensor:
        samples, channels, high, wide = place
        start, stop, _ = high.indices(self.shape[2])
        if start < self._first:
            raise InputError(f"rows from {start} are asked for; those above {self._first} are not kept any more")
        last = self._first + (0 if self._kept is None else len(self._kept))
        if stop > last:
            new = self._canvas.read(last, stop)
            self._kept = new if self._kept is None else np.concatenate([self._kept, new])
        assert self._kept is not None
        self._kept, self._first = self._kept[start - self._first :], start
        self.most = max(self.most, len(self._kept))
        return planes(self._kept[: stop - start, wide], self.dtype)[samples, channels]


class Strip:
    """Puts blocks, which come row by row of blocks, on a canvas once all of their rows are whole."""

    def __init__(self, canvas: Canvas, header: Header) -> None:
        self._canvas, self._header = canvas, header
        self._rows: Picture | None = None
        self._missing = 0

    def put(self, high: oc.Span, wide: oc.Span, values: Tensor) -> None:
        made, width = picture(values, grey=self._header.grey), self._header.size[1]
        if self._rows is None:
            self._rows = np.empty((high.stop - high.start, width, *made.shape[2:]), np.uint8)
            self._missing = width
        if len(self._rows) != len(made):
            raise ValueError(f"a block of {len(made)} rows beside blocks of {len(self._rows)}")
        self._rows[:, wide.start : wide.stop] = made
        self._missing -= wide.stop - wide.start
        if self._missing == 0:
            self._canvas.put(high.start, self._rows)
            self._rows = None


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split())[:200]
