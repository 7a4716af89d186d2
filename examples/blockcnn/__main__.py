"""`python -m examples.blockcnn deblock IN.jpg OUT.png`; `encode IN.png OUT.bin`, `decode OUT.bin BACK.png`,
`residual OUT.bin OUT.jpg`; `train`, `train-predictor`, `tables`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from examples.lic.commands import (
    BITSTREAM,
    add_write,
    compared,
    free_door,
    printed,
    read_bytes,
    refuse_other_suffix,
    summary,
)
from examples.lic.pictures import PNG, Picture, psnr, read_picture, write_picture
from examples.lic.running import SCHEDULES
from examples.lic.sheet import Sheet
from overlapcalc import InputError, OverlapcalcError
from overlapcalc.io.atomic import Door, begins, complete, free_place

from . import tables, train
from .checkpoint import FOLDER, PREDICTOR, load, load_predictor, path_of, trained
from .combinations import combinations
from .deblock import Deblocked, How, deblock, nearest
from .jpeg import QUALITIES, Quality
from .predictive import ORDERS, decode, encode, predictive, residual_file
from .rows import has_pyvips

BAD_INPUT = 2
JPEG_FILE = begins("a JPEG file", b"\xff\xd8\xff")
TABLES: dict[str, Callable[[Path], Sheet]] = {
    "removal": tables.removal,
    "combinations": combinations,
    "overlaps": lambda _: tables.overlaps(),
    "agreement": lambda _: tables.agreement(),
}
DECODERS = ("pillow", "pyvips")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for a bad file or wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m examples.blockcnn", description=__doc__)
    commands = parser.add_subparsers(required=True)
    to_picture = commands.add_parser("deblock", help="a JPEG file to a PNG file without its artefacts")
    to_picture.add_argument("source", type=Path, metavar="IN.jpg")
    to_picture.add_argument("target", type=Path, metavar="OUT.png")
    to_picture.add_argument("--block", type=int, default=How.block, help="rows of a band of a stream; else each way")
    to_picture.add_argument("--schedule", choices=SCHEDULES, default=How.schedule)
    to_picture.add_argument("--exact", action="store_true", help="the same bytes for every block and schedule; slow")
    to_picture.add_argument("--decoder", choices=DECODERS, help="pyvips, which decodes by rows, where it is installed")
    to_picture.add_argument("--quality", type=int, help="take the net of this quality, whatever the file's tables")
    to_picture.add_argument("--checkpoints", type=Path, metavar="FOLDER", default=FOLDER, help="ours if absent")
    to_picture.add_argument("--overwrite", action="store_true", help="replace OUT.png, where it is a PNG file")
    to_picture.set_defaults(does=_deblock)
    _add_coding(commands)
    train.add_command(commands)
    to_table = commands.add_parser(
        "tables",
        help="gains by quality and picture, with and without prediction, what the nets read, blocks against the whole",
    )
    to_table.add_argument("table", choices=TABLES)
    to_table.add_argument("--checkpoints", type=Path, metavar="FOLDER", default=FOLDER, help="ours if absent")
    add_write(to_table)
    to_table.set_defaults(
        does=lambda given: printed(given.table, lambda: TABLES[given.table](given.checkpoints), given.write)
    )
    given = parser.parse_args(arguments)
    try:
        print(given.does(given))
    except OverlapcalcError as error:
        print(f"blockcnn: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _add_coding(commands: Any) -> None:
    """Adds the commands of predictive coding."""
    to_bytes = commands.add_parser("encode", help="a picture to a bitstream, by predictive coding")
    to_bytes.add_argument("--quality", type=int, required=True, help="of libjpeg, 1 to 100")
    to_bytes.add_argument("--no-check", action="store_true", help="do not decode what was written: no PSNR")
    to_bytes.set_defaults(does=_encode, kind=BITSTREAM)
    to_picture = commands.add_parser("decode", help="a bitstream to a PNG")
    to_picture.add_argument("--reference", type=Path, metavar="PNG", help="the picture that was coded, for PSNR")
    to_picture.add_argument("--deblock", action="store_true", help="remove artefacts, by the net of the quality")
    to_picture.add_argument("--checkpoints", type=Path, metavar="FOLDER", default=FOLDER, help="of nets to remove by")
    to_picture.set_defaults(does=_decode, kind=PNG)
    to_residual = commands.add_parser("residual", help="the JPEG file in a bitstream: what was not predicted")
    to_residual.set_defaults(does=_residual, kind=JPEG_FILE, checkpoint=None)
    for command in (to_bytes, to_picture, to_residual):
        command.add_argument("source", type=Path, metavar="IN")
        command.add_argument("target", type=Path, metavar="OUT")
        command.add_argument("--overwrite", action="store_true", help="replace OUT, where it is of the same kind")
    for command in (to_bytes, to_picture):
        command.add_argument("--order", choices=ORDERS, default=ORDERS[0], help="of blocks; it changes the time alone")
        command.add_argument("--checkpoint", type=Path, metavar="FILE", default=PREDICTOR, help="ours if absent")


def _encode(given: argparse.Namespace) -> str:
    if given.quality not in QUALITIES:
        raise InputError(f"--quality: {given.quality}; expected 1 to 100")
    door = free_door(given)
    picture = read_picture(given.source)
    own = predictive(load_predictor(given.checkpoint))
    data = encode(own, picture, given.quality, given.order)
    decoded = None if given.no_check else decode(own, data, given.order).picture
    complete(given.target, lambda file: file.write(data), BITSTREAM, door)
    return summary(data, picture.shape[:2], None if decoded is None else psnr(picture, decoded))


def _decode(given: argparse.Namespace) -> str:
    door = free_door(given)
    data = read_bytes(given.source)
    reference = None if given.reference is None else read_picture(given.reference)
    own = predictive(load_predictor(given.checkpoint))
    try:
        picture, quality = decode(own, data, given.order)
    except InputError as error:
        raise InputError(f"{given.source}: {error}") from error
    words = f"; {quality}"
    if given.deblock:
        picture, words = _cleaned(picture, quality, given.checkpoints)
    decibels = None if reference is None else compared(reference, picture)
    write_picture(given.target, picture, door)
    return summary(data, picture.shape[:2], decibels) + words


def _cleaned(picture: Picture, quality: Quality, checkpoints: Path) -> tuple[Picture, str]:
    qualities = trained(checkpoints)
    net = nearest(quality, qualities)
    if net is None:
        return picture, f"; {quality}: above {qualities[-1]}, the highest that a net was trained for; it is not cleaned"
    return tables.cleaned(load(path_of(net, halved=False, folder=checkpoints)), picture), (
        f"; {quality}: cleaned by the net of quality {net}"
    )


def _residual(given: argparse.Namespace) -> str:
    door = free_door(given)
    try:
        data = residual_file(read_bytes(given.source))
    except InputError as error:
        raise InputError(f"{given.source}: {error}") from error
    complete(given.target, lambda file: file.write(data), JPEG_FILE, door)
    return f"{len(data)} bytes"


def _deblock(given: argparse.Namespace) -> str:
    if given.block < 1:
        raise InputError(f"--block: {given.block}; expected at least 1")
    by_rows = has_pyvips() if given.decoder is None else given.decoder == "pyvips"
    if by_rows and not has_pyvips():
        raise InputError("--decoder: this needs pyvips: pip install 'pyvips[binary]'")
    door = Door(str(given.target), given.overwrite, "--overwrite", (given.source,))
    refuse_other_suffix(given.target)
    free_place(given.target, PNG, door)
    how = How(given.block, given.schedule, given.exact, by_rows, given.quality, given.checkpoints)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("cleaning")
        done = deblock(
            given.source,
            given.target,
            door,
            how,
            told=lambda rows, height: progress.update(task, completed=rows, total=height),
        )
    return _words(done)


def _words(done: Deblocked) -> str:
    header = done.header
    about = f"{header.size[1]}x{header.size[0]}, {header.sampling}, {header.quality}"
    if done.net is None:
        return f"{about}: above {done.highest}, the highest that a net was trained for; the picture is unchanged"
    return f"{about}: cleaned by the net of quality {done.net}"


if __name__ == "__main__":
    sys.exit(main())
