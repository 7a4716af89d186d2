"""What the commands share: arguments for the model, loading it, writing the report."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..analysis.spelled import Entry, arranged, entry, value_of
from ..errors import Argument, InputError, OverlapcalcError
from ..io.atomic import TEXT, Door, free_place, write_complete
from ..stages import at_stage
from .progress import hide
from .wording import shell

if TYPE_CHECKING:  # what needs torch is imported when it is needed: --help answers at once
    from ..analysis.analysis import Analysis
    from ..analysis.pair import Pair

T = TypeVar("T")

OK, NOT_SO, BAD_INPUT, OBSTACLE = 0, 1, 2, 3
"""Exit codes: holds; a claim does not hold; bad input or a model that cannot be analysed; an obstacle."""
PIPED_WIDTH = 120
FIGURES_ONLY = ("csv", "json", "junit")
"""Formats without room for a note, which goes to standard error instead."""

EPILOG = """exit codes: 0 no obstacle, 2 wrong usage or input, or a model that cannot be analysed, 3 an obstacle on a
requested axis"""


def subject_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of every command that analyses a model and reports on it."""
    model_arguments(command)
    command.add_argument(
        "--input", action="append", default=[], type=parsed_input, metavar="[NAME=]SHAPE",
        help="shape of an input, such as 1x3x256x256; once per input; guessed from the first layer when absent, that "
        "of a saved program its own; by name also an entry of a dictionary or list, batch.image=1x3x64x64 or "
        "feats[0]=1x8x32x32, and whatever else forward takes: scale=2, mask=none, mode=bilinear",
    )  # fmt: skip
    axis_arguments(command, "analyse")
    output_arguments(command)
    debug_argument(command)


def model_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments that name a model."""
    command.add_argument(
        "spec", metavar="SPEC",
        help="FILE.py:NAME or PACKAGE.MODULE:NAME - a class, a function or a module - with .SUBMODULE behind it; or "
        "FILE.pt2, a program that torch.export.save wrote",
    )  # fmt: skip
    command.add_argument(
        "--kwargs", default="{}", type=parsed_kwargs, metavar="JSON", help="arguments of the class or function"
    )


def axis_arguments(command: argparse.ArgumentParser, what: str) -> None:
    """Adds the arguments about dimensions. what: what is done with an axis, in the help."""
    command.add_argument(
        "--layout", action="append", default=[], metavar="LETTERS",
        help="what the dimensions of an input are, such as NHWC or CHW: N batch, C channels, D, H, W or L an axis, any "
        "other letter none; once per input, or once for all; NCHW and the like when absent",
    )  # fmt: skip
    command.add_argument(
        "--axis", action="append", default=[], metavar="AXIS",
        help=f"{what} only this axis: D, H, W or L; may be repeated; all when absent",
    )  # fmt: skip


def output_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    overwrite_argument(command)


def overwrite_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--overwrite", action="store_true",
        help="replace an existing file of the same kind; without this option it is refused",
    )  # fmt: skip


def debug_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--debug", action="store_true", help="show Python tracebacks")


@dataclass(frozen=True)
class NamedModel:
    """The model that the arguments name, and its inputs. note: where the input shapes come from."""

    model: Any
    inputs: Any
    axes: list[str] | None
    layout: list[str] | None
    note: str


@contextlib.contextmanager
def subject_of(arguments: argparse.Namespace) -> Iterator[NamedModel]:
    """The model and the shapes of its inputs, which are guessed if none is given; errors as in `loaded`."""
    if arguments.output:
        check_output(arguments)
    with loaded(arguments) as model:
        layout, note = arguments.layout or None, ""
        inputs: Any = arguments.input
        if not inputs:
            from ..analysis.guess import guess_inputs

            inputs, note = guess_inputs(model, layout[0] if layout else None, shell)
        elif any(isinstance(one, Entry) for one in inputs):
            model, inputs = net_and_inputs(model, inputs)
        try:
            yield NamedModel(model, inputs, arguments.axis or None, layout, note)
        except OverlapcalcError as error:
            if note and _of_the_guess(str(error), inputs):
                raise type(error)(*error.args, f" ({note})") from error
            raise


def net_and_inputs(model: Any, given: Sequence[Any], *, run: bool = False) -> tuple[Any, Any]:
    """The net as it is called with what is given, some of it by name, and its tensors or shapes. Raises InputError."""
    from ..analysis.called import followed

    named = [one for one in given if isinstance(one, Entry)]
    if named and not hasattr(model, "parameters"):
        raise InputError("a saved program takes shapes one after the other; leave out the name in ", Argument("inputs"))
    return followed(model, *arranged(model, [one for one in given if not isinstance(one, Entry)], named), run=run)


@contextlib.contextmanager
def loaded(arguments: argparse.Namespace) -> Iterator[Any]:
    """The model that SPEC names; every error of overlapcalc inside says which model it is about."""
    with _stdout_to_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at_stage(f"loading {arguments.spec}")
        from ..io.spec import load

        model = load(arguments.spec, arguments.kwargs)
        try:
            yield model
        except OverlapcalcError as error:
            raise type(error)(f"{arguments.spec}: ", *error.args) from error


def _of_the_guess(message: str, shape: Any) -> bool:
    """Whether an error is about the guessed input: it mentions the shape."""
    return "x".join(map(str, shape)) in message or str(tuple(shape)) in message


def analysis_of(arguments: argparse.Namespace) -> tuple[Analysis, str]:
    """The analysis that the arguments ask for, and a note on where its input shape comes from."""
    from ..analysis.analyze import analyze

    with subject_of(arguments) as subject:
        return analyze(subject.model, subject.inputs, axes=subject.axes, layout=subject.layout), subject.note


def pairs_of(analysis: Analysis, text: str) -> list[Pair]:
    """The pairs that `OUTPUT:INPUT` names."""
    output, _, input = text.partition(":")
    outputs = [_named(output, analysis.outputs)] if output else list(analysis.outputs)
    inputs = [_named(input, analysis.inputs)] if input else list(analysis.inputs)
    return [analysis.between(o, i) for o in outputs for i in inputs]


def _named(text: str, names: Iterable[str]) -> str | int:
    return int(text) if text not in names and text.lstrip("-").isdigit() else text


def write(
    thing: T,
    render: Callable[..., None],
    texts: Mapping[str, Callable[[T], str]],
    arguments: argparse.Namespace,
    note: str,
) -> None:
    """Print it with `render`, or as one of `texts`, by the requested format."""
    from rich.console import Console

    form, output = arguments.format, arguments.output
    if form in texts:
        text = texts[form](thing)
        if note and form in FIGURES_ONLY:
            print(f"overlapcalc: {note}", file=sys.stderr)
    elif output or not sys.stdout.isatty():
        buffer = io.StringIO()
        width = PIPED_WIDTH if output or "COLUMNS" not in os.environ else None
        render(thing, Console(file=buffer, width=width, no_color=True, highlight=False), note=note)
        text = "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())
    else:
        console = Console(highlight=False)
        with console.capture() as captured:
            render(thing, console, note=note)
        text = captured.get()
    hide()
    if output:
        write_complete(Path(output), text, door_of(arguments, f"--output {output}"))
    else:
        sys.stdout.write(text)


def door_of(arguments: argparse.Namespace, called: str) -> Door:
    """What the file that an argument names may replace: none of the files that the command reads."""
    spec = getattr(arguments, "spec", "")
    source = spec.rpartition(":")[0]
    module = getattr(sys.modules.get(source), "__file__", None)
    reads = [name for name in (spec, source, module) if name and Path(name).is_file()]  # PACKAGE is a directory, too
    reads += [getattr(arguments, name, None) for name in ("weights", "config")]
    reads += getattr(arguments, "images", [])
    return Door(called, arguments.overwrite, "--overwrite", tuple(Path(name) for name in reads if name))


def check_output(arguments: argparse.Namespace) -> None:
    """Checks, before the work begins, that a report may be written to its place. Raises InputError."""
    called = f"--output {arguments.output}"
    free_place(Path(arguments.output), TEXT, door_of(arguments, called))


def parsed_kwargs(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--kwargs {text!r} is not JSON ({error}); expected for example '{{\"N\": 192}}'") from error
    if not isinstance(value, dict):
        raise InputError(f"--kwargs {text!r}: expected an object such as '{{\"N\": 192}}'")
    return value


def parsed_input(text: str) -> tuple[int, ...] | Entry:
    named = entry(text)
    return parsed_shape(text) if named is None else Entry(named[0], value_of(named[1]))


def parsed_shape(text: str) -> tuple[int, ...]:
    parts = text.lower().replace(",", "x").split("x")
    if not all(p.strip().isdecimal() and int(p) >= 1 for p in parts):
        raise InputError(f"--input {text!r}: expected sizes of at least 1 joined by x, such as 1x3x256x256, or 1")
    return tuple(int(p) for p in parts)


def parsed_depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of path components, 0 for every row, not {text!r}")
    return int(text)


@contextlib.contextmanager
def _stdout_to_stderr() -> Any:
    """Keeps what a model prints while it is imported and traced out of the report."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
