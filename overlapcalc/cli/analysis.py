"""The commands `analyze` and `explain`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OverlapcalcError
from .common import EPILOG, OBSTACLE, OK, analysis_of, pairs_of, parsed_depth, subject_arguments, subject_of, write
from .interrupted import Partial, partly_shown
from .wording import shell

if TYPE_CHECKING:
    from ..analysis.analysis import Analysis
    from ..analysis.sizes import Sizes


def add(commands: Any) -> None:
    analyze = commands.add_parser(
        "analyze",
        help="receptive field, scale, context and tile of every layer, or what is in the way",
        description="Print what each layer of a net needs of its input, and whether the net can run block by block.",
        epilog=EPILOG,
    )
    subject_arguments(analyze)
    analyze.add_argument(
        "--format", choices=("table", "markdown", "csv", "json"), default="table",
        help="csv and json give every row, and every figure in a field of its own",
    )  # fmt: skip
    analyze.add_argument(
        "--depth", type=parsed_depth, metavar="N",
        help="fold the table: one row per module for layers below N path components (layer1.0 for layer1.0.conv1 and "
        "its like with 2); 0 shows every row; when absent, long tables fold blocks that repeat",
    )  # fmt: skip
    analyze.add_argument(
        "--sizes", action="store_true",
        help="say which sizes the net accepts as well, found by running it on shapes alone",
    )  # fmt: skip
    for name, axis, what in (("--rate", "L", "samples"), ("--fps", "D", "frames")):
        analyze.add_argument(
            name, type=parsed_rate, metavar="N",
            help=f"{what} per second along {axis}: say look-ahead, history and step in milliseconds as well",
        )  # fmt: skip
    analyze.set_defaults(run=_analyze)
    explain = commands.add_parser(
        "explain",
        help="why: what each layer adds to a side of the context, what sets the step and the tile",
        description="Print why a net needs the context it needs, or what stands in the way and where.",
        epilog=EPILOG,
    )
    subject_arguments(explain)
    explain.add_argument("--format", choices=("table", "json"), default="table")
    explain.add_argument(
        "--pair", action="append", default=[], metavar="OUTPUT:INPUT",
        help="only this output against this input, by name or index; either may be left out; may be repeated",
    )  # fmt: skip
    explain.set_defaults(run=_explain)


def _analyze(arguments: argparse.Namespace) -> int:
    with partly_shown(arguments, _answers):
        return _analyzed(arguments)


def _answers(found: dict[str, list[Any]]) -> Partial:
    from ..report import analysis_json, render_answers

    if not found.get("analysis"):
        return Partial(None, {}, ["every answer"])
    analysis = found["analysis"][-1]
    missing = ["the table of layers"] if analysis.size_verified else ["the comparison with other sizes"]
    return Partial(partial(render_answers, analysis), analysis_json(analysis), missing)


def _analyzed(arguments: argparse.Namespace) -> int:
    from ..report import render, to_csv, to_json, to_markdown

    analysis, note = analysis_of(arguments)
    sizes, rates = _sizes(arguments) if arguments.sizes else None, _rates(arguments, analysis)
    cost = "" if arguments.format in ("json", "csv") else _cost(analysis)
    markdown = partial(
        to_markdown, note=note, depth=arguments.depth, spelling=shell, cost=cost, sizes=sizes, rates=rates
    )
    texts: dict[str, Callable[[Analysis], str]] = {
        "json": partial(to_json, sizes=sizes, rates=rates),
        "csv": to_csv,
        "markdown": markdown,
    }
    table = partial(render, depth=arguments.depth, spelling=shell, cost=cost, sizes=sizes, rates=rates)
    write(analysis, table, texts, arguments, note)
    return OK if analysis.blocking_free else OBSTACLE


def parsed_rate(text: str) -> float:
    """A number of samples per second."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; expected a number such as 48000 or 23.976")
    return found


def _rates(arguments: argparse.Namespace, analysis: Analysis) -> dict[str, float]:
    """Samples per second of the axes in time. Raises InputError for a rate of an axis that the net does not have."""
    found = {axis: rate for axis, rate in (("L", arguments.rate), ("D", arguments.fps)) if rate is not None}
    for axis in found:
        if axis not in analysis.axes:
            option = "--rate" if axis == "L" else "--fps"
            raise InputError(
                f"{option} is of the axis {axis}; this net is analysed along {', '.join(analysis.axes)}; leave it out, "
                f"or say with --layout which dimension is {axis}"
            )
    return found


def _sizes(arguments: argparse.Namespace) -> dict[str, Sizes]:
    from ..analysis.trying import sizes

    with subject_of(arguments) as subject:
        return sizes(subject.model, subject.inputs, layout=subject.layout)


def _cost(analysis: Analysis) -> str:
    """What it takes to run a net with obstacles; "" where that is not known."""
    from ..engine.plan import plan_of
    from ..planning.byte_size import bytes_text
    from ..planning.options import Blocking

    if analysis.blocking_free:
        return ""
    try:
        plan = plan_of(analysis, Blocking())
    except OverlapcalcError:
        return ""
    if plan.memory is None or plan.full_memory is None:
        return ""
    held = f"{bytes_text(plan.memory.activations)} instead of {bytes_text(plan.full_memory.activations)}"
    stored = f", {bytes_text(plan.passes.disk)} on disk" if plan.passes is not None and plan.passes.disk else ""
    return f"{held}{stored}"


def _explain(arguments: argparse.Namespace) -> int:
    from ..report import Explained, explained_json, render_explained

    analysis, note = analysis_of(arguments)
    pairs = [pair for text in arguments.pair for pair in pairs_of(analysis, text)] or analysis.pairs
    explained = Explained(analysis, tuple(dict.fromkeys(pairs)))
    write(explained, render_explained, {"json": explained_json}, arguments, note)
    return OK if explained.blocking_free else OBSTACLE
