"""`python -m examples.kamisli encode IN.png OUT.bin`, `decode OUT.bin BACK.png`, `train`, `tables`, `draw`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.lic.commands import BITSTREAM, add_write, compared, free_door, printed, read_bytes, summary
from examples.lic.pictures import PNG, psnr, read_picture, write_picture
from examples.lic.sheet import Sheet
from overlapcalc import InputError, OverlapcalcError
from overlapcalc.io.atomic import complete

from . import draw, speed, tables, train
from .checkpoint import SHIPPED, USUAL, load_coding
from .coding import ORDERS, WAVEFRONT, decode, encode

BAD_INPUT = 2
TABLES: dict[str, Callable[[Sequence[Path]], Sheet]] = {
    "cone": lambda _: tables.cone(),
    "wavefront": lambda _: tables.wavefront(),
    "speed": speed.speed,
    "training": tables.training,
    "acl": tables.acl,
    "rd": tables.rd,
}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for a bad file, a bad bitstream or wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m examples.kamisli", description=__doc__)
    commands = parser.add_subparsers(required=True)
    to_bytes = commands.add_parser("encode", help="a picture to a bitstream")
    to_bytes.add_argument("--order", choices=ORDERS, default=WAVEFRONT, help="of the blocks; the bitstream says it")
    to_bytes.add_argument("--no-check", action="store_true", help="do not decode what was written: no PSNR")
    to_bytes.set_defaults(does=_encode, kind=BITSTREAM)
    to_picture = commands.add_parser("decode", help="a bitstream to a PNG")
    to_picture.add_argument("--reference", type=Path, metavar="PNG", help="the picture that was coded, for PSNR")
    to_picture.set_defaults(does=_decode, kind=PNG)
    for command in (to_bytes, to_picture):
        command.add_argument("source", type=Path, metavar="IN")
        command.add_argument("target", type=Path, metavar="OUT")
        command.add_argument("--checkpoint", type=Path, metavar="FILE", default=USUAL, help="lambda 435.67 if absent")
        command.add_argument("--overwrite", action="store_true", help="replace OUT, where it is of the same kind")
    train.add_command(commands)
    to_table = commands.add_parser(
        "tables",
        help="blocks that are read, steps and seconds, what training measured, PSNR beside others",
    )
    to_table.add_argument("table", choices=TABLES)
    to_table.add_argument("--checkpoint", type=Path, metavar="FILE", help="all that are shipped if absent")
    add_write(to_table)
    to_table.set_defaults(does=_table)
    draw.add_command(commands)
    given = parser.parse_args(arguments)
    try:
        print(given.does(given))
    except OverlapcalcError as error:
        print(f"kamisli: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _encode(given: argparse.Namespace) -> str:
    door = free_door(given)
    picture = read_picture(given.source)
    coding = load_coding(given.checkpoint)
    data = encode(coding, picture, given.order)
    decoded = None if given.no_check else decode(coding, data)
    complete(given.target, lambda file: file.write(data), BITSTREAM, door)
    return summary(data, picture.shape[:2], None if decoded is None else psnr(picture, decoded))


def _decode(given: argparse.Namespace) -> str:
    door = free_door(given)
    data = read_bytes(given.source)
    reference = None if given.reference is None else read_picture(given.reference)
    try:
        picture = decode(load_coding(given.checkpoint), data)
    except InputError as error:
        raise InputError(f"{given.source}: {error}") from error
    decibels = None if reference is None else compared(reference, picture)
    write_picture(given.target, picture, door)
    return summary(data, picture.shape[:2], decibels)


def _table(given: argparse.Namespace) -> str:
    made = SHIPPED if given.checkpoint is None else [given.checkpoint]
    return printed(given.table, lambda: TABLES[given.table](made), given.write)


if __name__ == "__main__":
    sys.exit(main())
