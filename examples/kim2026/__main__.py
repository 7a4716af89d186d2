"""`python -m examples.kim2026 encode IN.png OUT.bin --codec elic --block 256 --schedule trim`, and decode."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.lic.bitstream import unpacked
from examples.lic.coding import decode, encode
from examples.lic.commands import BITSTREAM, compared, door_of, read_bytes, summary
from examples.lic.pictures import PNG, psnr, read_picture, write_picture
from examples.lic.running import SCHEDULES, Running
from overlapcalc import InputError, OverlapcalcError
from overlapcalc.io.atomic import complete, free_place

from .checkpoint import load_coding, path_of
from .coding import CODECS

BAD_INPUT = 2


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for a bad file, a bad bitstream or wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m examples.kim2026", description=__doc__)
    commands = parser.add_subparsers(required=True)
    to_bytes = commands.add_parser("encode", help="a picture to a bitstream")
    to_bytes.add_argument("--codec", choices=CODECS, default="elic")
    to_bytes.add_argument("--no-check", action="store_true", help="do not decode what was written: no PSNR")
    to_bytes.set_defaults(does=_encode, kind=BITSTREAM)
    to_picture = commands.add_parser("decode", help="a bitstream to a PNG")
    to_picture.add_argument("--reference", type=Path, metavar="PNG", help="the picture that was coded, for PSNR")
    to_picture.set_defaults(does=_decode, kind=PNG)
    for command in (to_bytes, to_picture):
        command.add_argument("source", type=Path, metavar="IN")
        command.add_argument("target", type=Path, metavar="OUT")
        command.add_argument("--checkpoint", type=Path, metavar="FILE", help="the codec's small one when absent")
        command.add_argument("--block", type=_block, metavar="N", help="in samples of the picture; whole when absent")
        command.add_argument("--schedule", choices=SCHEDULES, default="crop")
        command.add_argument("--overwrite", action="store_true", help="replace OUT, where it is of the same kind")
    given = parser.parse_args(arguments)
    try:
        free_place(given.target, given.kind, door_of(given))
        print(given.does(given))
    except OverlapcalcError as error:
        print(f"kim2026: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _encode(given: argparse.Namespace) -> str:
    picture = read_picture(given.source)
    coding = load_coding(given.checkpoint or path_of(given.codec))
    running = Running(given.block, given.schedule)
    data = encode(coding, picture, running)
    decoded = None if given.no_check else decode(coding, data, running)
    complete(given.target, lambda file: file.write(data), BITSTREAM, door_of(given))
    return summary(data, picture.shape[:2], None if decoded is None else psnr(picture, decoded))


def _decode(given: argparse.Namespace) -> str:
    data = read_bytes(given.source)
    reference = None if given.reference is None else read_picture(given.reference)
    try:
        coded = unpacked(data)
        if given.checkpoint is None and coded.codec not in CODECS:
            raise InputError(f"it was coded by {coded.codec!r}; there is {', '.join(CODECS)}, or give --checkpoint")
        coding = load_coding(given.checkpoint or path_of(coded.codec))
        picture = decode(coding, data, Running(given.block, given.schedule))
    except InputError as error:
        raise InputError(f"{given.source}: {error}") from error
    decibels = None if reference is None else compared(reference, picture)
    write_picture(given.target, picture, door_of(given))
    return summary(data, picture.shape[:2], decibels)


def _block(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of samples")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
