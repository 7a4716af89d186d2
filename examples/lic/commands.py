"""What the commands of several codecs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from overlapcalc import InputError
from overlapcalc.io.atomic import REWRITTEN, Door, begins, free_place, write_complete

from .bitstream import MAGIC
from .pictures import PNG, Picture, psnr
from .sheet import Sheet, markdown, put_into

BITSTREAM = begins("a coded picture", MAGIC)


def door_of(given: argparse.Namespace) -> Door:
    """The place of OUT, which may replace nothing that the command reads."""
    reads = (given.source, given.checkpoint, getattr(given, "reference", None))
    return Door(str(given.target), given.overwrite, "--overwrite", tuple(path for path in reads if path is not None))


def free_door(given: argparse.Namespace) -> Door:
    """The place of OUT, once it is known to be free. Raises InputError."""
    door = door_of(given)
    if given.kind is PNG:
        refuse_other_suffix(given.target)
    free_place(given.target, given.kind, door)
    return door


def refuse_other_suffix(target: Path) -> None:
    """Raises InputError where a PNG file would get a name that says it is something else."""
    if target.suffix.lower() not in ("", ".png"):
        raise InputError(f"{target}: what is written is a PNG file; name it {target.with_suffix('.png').name}")


def read_bytes(path: Path) -> bytes:
    """Raises InputError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise InputError(f"{path}: the file is empty")
    return data


def compared(reference: Picture, picture: Picture) -> float:
    """PSNR in dB. Raises InputError for pictures of different sizes."""
    if reference.shape != picture.shape:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in (reference, picture))
        raise InputError(f"--reference: the pictures are of {sizes}; give the one that was coded")
    return psnr(reference, picture)


def summary(data: bytes, size: tuple[int, ...], decibels: float | None) -> str:
    """size: height and width."""
    bits = 8 * len(data) / (size[0] * size[1])
    found = f"{size[1]}x{size[0]}, {len(data)} bytes, {bits:.3f} bits per pixel"
    return found if decibels is None else f"{found}, PSNR {decibels:.2f} dB"


def add_write(parser: argparse.ArgumentParser) -> None:
    """Adds `--write PAGE` to a command that prints a table."""
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put it into this page, too, between its marks")


def printed(name: str, table: Callable[[], Sheet], write: Path | None) -> str:
    """A table as Markdown, and into the page `write`. name: of its place there, which is looked for before the table is
    made: that may take minutes. Raises InputError."""
    if write is None:
        return markdown(table())
    try:
        page = read_bytes(write).decode()
        put_into(page, Sheet(name, "", (), ()))
    except ValueError as error:
        raise InputError(f"{write}: {error}") from error
    sheet = table()
    write_complete(write, put_into(page, sheet), REWRITTEN)
    return markdown(sheet)
