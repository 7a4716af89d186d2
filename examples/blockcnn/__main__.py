"""`python -m examples.blockcnn deblock IN.jpg OUT.png`, `train`, `tables`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from examples.lic.pictures import PNG
from examples.lic.running import SCHEDULES
from examples.lic.sheet import Sheet, markdown
from overlapcalc import InputError, OverlapcalcError
from overlapcalc.io.atomic import Door, free_place

from . import tables, train
from .checkpoint import FOLDER
from .deblock import Deblocked, How, deblock
from .rows import has_pyvips

BAD_INPUT = 2
TABLES: dict[str, Callable[[Path], Sheet]] = {
    "removal": tables.removal,
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
    train.add_command(commands)
    to_table = commands.add_parser(
        "tables", help="gains by quality and picture, or what the nets read, or blocks against the whole"
    )
    to_table.add_argument("table", choices=TABLES)
    to_table.add_argument("--checkpoints", type=Path, metavar="FOLDER", default=FOLDER, help="ours if absent")
    to_table.set_defaults(does=lambda given: markdown(TABLES[given.table](given.checkpoints)))
    given = parser.parse_args(arguments)
    try:
        print(given.does(given))
    except OverlapcalcError as error:
        print(f"blockcnn: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _deblock(given: argparse.Namespace) -> str:
    if given.block < 1:
        raise InputError(f"--block: {given.block}; expected at least 1")
    by_rows = has_pyvips() if given.decoder is None else given.decoder == "pyvips"
    if by_rows and not has_pyvips():
        raise InputError("--decoder: this needs pyvips: pip install 'pyvips[binary]'")
    door = Door(str(given.target), given.overwrite, "--overwrite", (given.source,))
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
