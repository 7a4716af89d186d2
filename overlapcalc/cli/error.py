"""The command `error`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..analysis.spelled import Entry
from ..errors import InputError
from ..planning.image_size import parsed_image
from .blocks import at_image, block_argument
from .common import NOT_SO, OK, check_output, loaded, subject_arguments, subject_of, write
from .images import give_weights, images_argument, read_images, refuse_missing, weights_argument
from .interrupted import Partial, partly_shown
from .progress import progress

if TYPE_CHECKING:
    from ..prove.error_curve import ErrorCurve

EPILOG = """exit codes: 0 measured, 1 the tile that should be exact leaves more than rounding, 2 wrong usage or input,
or the net runs on no shorter tile, 3 an obstacle leaves no blocks"""


def add(commands: Any) -> None:
    error = commands.add_parser(
        "error",
        help="how wrong blocks are with less overlap than the exact one",
        description="Run the net whole and by blocks, on tiles from the bare block to the exact one, and print the "
        "error that each leaves at the seams. In float64; for the given image and weights alone: it is no bound.",
        epilog=EPILOG,
    )
    subject_arguments(error)
    images_argument(error, required=False, absent="; noise when absent")
    weights_argument(error)
    error.add_argument(
        "--image", type=parsed_image, metavar="WIDTHxHEIGHT",
        help="the size of the image that is drawn, such as 512x384: of the finer of input and output",
    )  # fmt: skip
    block_argument(error)
    error.add_argument(
        "--below", type=threshold, default=Fraction(1, 255), metavar="ERROR",
        help="search the smallest overlap that leaves less, such as 1e-3; 1/255 when absent",
    )  # fmt: skip
    error.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    error.add_argument("--format", choices=("table", "json"), default="table")
    error.set_defaults(run=_error)


def _error(arguments: argparse.Namespace) -> int:
    with partly_shown(arguments, _rows):
        return _measured(arguments)


def _rows(found: dict[str, list[Any]]) -> Partial:
    from ..report import render_points

    points = sorted(found.get("point", []), key=lambda point: sum(sides.total for sides in point.tile.values()))
    figures = {"points": [point.to_dict() for point in points]}
    if not points:
        return Partial(None, figures, ["the error of every tile"])
    render = partial(render_points, points)
    return Partial(render, figures, ["the tiles that had not been run, and so from which on the error is small enough"])


def _measured(arguments: argparse.Namespace) -> int:
    shapes = [one for one in arguments.input if not isinstance(one, Entry) or isinstance(one.value, tuple)]
    if arguments.images and (shapes or arguments.image):
        other = "--input" if shapes else "--image"
        raise InputError(f"--in and {other} exclude each other: an image has its size")
    refuse_missing(arguments.images)  # before torch is imported
    from ..engine.store import whole_image
    from ..prove.seams import error_curve
    from ..report import error_curve_json, render_error_curve

    options: dict[str, Any] = {
        "block": arguments.block, "below": float(arguments.below), "device": arguments.device,
    }  # fmt: skip
    note = ""
    if arguments.images:
        if arguments.output:
            check_output(arguments)
        with loaded(arguments) as model:
            give_weights(model, arguments.weights)
            net, read = read_images(model, arguments.images, arguments.input)
            images = [whole_image(image) for image in read]
            options |= {"axes": arguments.axis or None, "layout": arguments.layout or None}
            curve = _shown(error_curve, net, images, options)
    else:
        with subject_of(arguments) as subject:
            give_weights(subject.model, arguments.weights)
            note = "" if arguments.image else subject.note
            curve = _shown(error_curve, subject.model, at_image(subject, arguments), options)
    write(curve, render_error_curve, {"json": error_curve_json}, arguments, note)
    return OK if curve.consistent else NOT_SO


def _shown(error_curve: Callable[..., ErrorCurve], model: Any, inputs: Any, options: Mapping[str, Any]) -> ErrorCurve:
    """The curve, and meanwhile how far it is."""
    with progress(ABOUT) as advance:
        return error_curve(model, inputs, after=advance, **options)


ABOUT = 20
"""How many tile lengths are run, where many are possible."""


def threshold(text: str) -> Fraction:
    """An error: `1e-3`, or `1/255`.

    >>> threshold("1/255"), float(threshold("1e-3"))
    (Fraction(1, 255), 0.001)
    """
    try:
        found = Fraction(text)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if found <= 0 or not isfinite(float(found)):
        raise argparse.ArgumentTypeError(f"expected an error above 0, such as 1e-3 or 1/255, not {text!r}")
    return found
