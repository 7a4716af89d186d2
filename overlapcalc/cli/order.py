"""The commands `cone` and `wavefront`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..planning.image_size import parsed_image
from .common import EPILOG, OK, analysis_of, pairs_of, subject_arguments, write

if TYPE_CHECKING:
    from ..analysis.analysis import Analysis

PAIR = "by name or index; either may be left out; may be repeated"


def add(commands: Any) -> None:
    cone = commands.add_parser(
        "cone",
        help="which cells a cell reads, over all axes at once, as a grid",
        description="Print which cells of an input a cell of an output reads, over all axes at once. Masked nets read "
        "less than the product of what they read along each axis.",
        epilog=EPILOG,
    )
    subject_arguments(cone)
    cone.add_argument("--format", choices=("table", "json"), default="table")
    cone.add_argument(
        "--pair", action="append", default=[], metavar="OUTPUT:INPUT",
        help=f"only this output against this input, {PAIR}",
    )  # fmt: skip
    cone.add_argument(
        "--phase", type=_phase, metavar="I,J",
        help="only of one sample of each cell of the output: its place in the cell, along each axis",
    )  # fmt: skip
    cone.set_defaults(run=_cone)
    wavefront = commands.add_parser(
        "wavefront",
        help="in how few steps the cells of an image can be made that read one another",
        description="Print the shortest order in which the cells of an image can be made, where an output is fed back "
        "as an input: a codec that predicts from what it has decoded, a net that samples value by value.",
        epilog=EPILOG,
    )
    subject_arguments(wavefront)
    wavefront.add_argument("--format", choices=("table", "json"), default="table")
    wavefront.add_argument(
        "--feed", action="append", default=[], metavar="OUTPUT:INPUT",
        help=f"this output is fed back as this input, {PAIR}; every output that reads the input waits for it. "
        "Inputs are made in the order in which they are named: an output of a later one may read the cell of an "
        "earlier one",
    )  # fmt: skip
    wavefront.add_argument(
        "--image", type=parsed_image, metavar="WIDTHxHEIGHT",
        help="the size of the image, such as 768x512: of the finer of input and output; the analysed size when absent",
    )  # fmt: skip
    wavefront.set_defaults(run=_wavefront)


def _phase(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers joined by commas, such as 0,1, not {text!r}")
    return tuple(map(int, parts))


def _cone(arguments: argparse.Namespace) -> int:
    from ..report import cones_json, render_cones

    analysis, note = analysis_of(arguments)
    pairs = [pair for text in arguments.pair for pair in pairs_of(analysis, text)] or analysis.pairs
    cones = tuple(pair.cone(arguments.phase) for pair in dict.fromkeys(pairs))
    write(cones, render_cones, {"json": cones_json}, arguments, note)
    return OK


def _wavefront(arguments: argparse.Namespace) -> int:
    from ..planning.fed_back import fed_back
    from ..planning.image_shapes import shapes_for_image
    from ..report import Fronts, fronts_json, render_fronts

    analysis, note = analysis_of(arguments)
    if arguments.image is not None:
        analysis = analysis.at(*shapes_for_image(analysis, arguments.image))
    front, order = fed_back(analysis, _makers(analysis, arguments.feed))
    write(Fronts(front, order), render_fronts, {"json": fronts_json}, arguments, note)
    return OK


def _makers(analysis: Analysis, texts: list[str]) -> dict[str, list[str]]:
    """The inputs that are made, in order, each with the outputs that it is made of."""
    if not texts:
        if len(analysis.outputs) == len(analysis.inputs) == 1:
            return {name: list(analysis.outputs) for name in analysis.inputs}
        raise InputError("--feed OUTPUT:INPUT: say which output is fed back as which input")
    found: dict[str, list[str]] = {}
    for text in texts:
        for pair in pairs_of(analysis, text):
            found.setdefault(pair.input, []).append(pair.output)
    return found
