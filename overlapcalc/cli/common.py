"""What the commands share: arguments for the model, loading it, writing the report."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError, OverlapcalcError
from ..io.atomic import TEXT, Door, free_place, write_complete
from .wording import shell

if TYPE_CHECKING:  # what needs torch is imported when it is needed: --help answers at once
    from ..analysis.analysis import Analysis

T = TypeVar("T")

OK, NOT_SO, BAD_INPUT, OBSTACLE = 0, 1, 2, 3
"""Exit codes: holds; a claim does not hold; bad input or a model that cannot be analysed; an obstacle."""
PIPED_WIDTH = 120
FIGURES_ONLY = ("csv", "json", "junit")
"""Formats without room for a note, which goes to standard error instead."""

EPILOG = """exit codes: 0 no obstacle, 1 a claim does not hold, 2 wrong usage or input, or a model that cannot be
analysed, 3 an obstacle on a requested axis"""


def model_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of every command that analyses a model."""
    command.add_argument(
        "spec", metavar="SPEC",
        help="FILE.py:NAME or PACKAGE.MODULE:NAME - a class, a function or a module - with .SUBMODULE behind it; or "
        "FILE.pt2, a program that torch.export.save wrote",
    )  # fmt: skip
    command.add_argument("--kwargs", default="{}", metavar="JSON", help="arguments of the class or function")
    command.add_argument(
        "--input", action="append", default=[], metavar="SHAPE",
        help="shape of an input, such as 1x3x256x256; once per input; guessed from the first layer when absent, that "
        "of a saved program its own",
    )  # fmt: skip
    command.add_argument(
        "--layout", action="append", default=[], metavar="LETTERS",
        help="what the dimensions of an input are, such as NHWC or CHW: N batch, C channels, D, H, W or L an axis, any "
        "other letter none; once per input, or once for all; NCHW and the like when absent",
    )  # fmt: skip
    command.add_argument("--axis", action="append", default=[], metavar="AXIS", help="D, H, W or L; may be repeated")
    output_arguments(command)
    command.add_argument("--debug", action="store_true", help="show Python tracebacks")


def output_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    command.add_argument(
        "--overwrite", action="store_true", help="replace a file that exists by one of its kind; refused when absent"
    )


@dataclass(frozen=True)
class Subject:
    """The model that the arguments name, and its inputs. note: where the input shapes come from."""

    model: Any
    inputs: Any
    axes: list[str] | None
    layout: list[str] | None
    note: str


@contextlib.contextmanager
def subject_of(arguments: argparse.Namespace) -> Iterator[Subject]:
    """Loads the model, and adds to every error of overlapcalc which model it is about."""
    if arguments.output:
        check_output(arguments)
    kwargs = _kwargs(arguments.kwargs)
    shapes = [parsed_shape(text) for text in arguments.input]
    with _stdout_to_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ..analysis.guess import guess_inputs
        from ..io.spec import load

        model = load(arguments.spec, kwargs)
        layout, note = arguments.layout or None, ""
        inputs: Any = shapes
        if not shapes:
            inputs, note = guess_inputs(model, layout[0] if layout else None, shell)
        try:
            yield Subject(model, inputs, arguments.axis or None, layout, note)
        except OverlapcalcError as error:
            hint = f" ({note})" if note and _of_the_guess(str(error), inputs) else ""
            raise type(error)(f"{arguments.spec}: ", *error.args, hint) from error


def _of_the_guess(message: str, shape: Any) -> bool:
    """Whether an error is about the guessed input: it mentions the shape."""
    return "x".join(map(str, shape)) in message or str(tuple(shape)) in message


def analysis_of(arguments: argparse.Namespace) -> tuple[Analysis, str]:
    """The analysis that the arguments ask for, and a note on where its input shape comes from."""
    from ..analysis.analyze import analyze

    with subject_of(arguments) as subject:
        return analyze(subject.model, subject.inputs, axes=subject.axes, layout=subject.layout), subject.note


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
        render(thing, Console(highlight=False), note=note)
        return
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
    images = getattr(arguments, "image", None)
    reads += images if isinstance(images, list) else []
    return Door(called, arguments.overwrite, "--overwrite", tuple(Path(name) for name in reads if name))


def check_output(arguments: argparse.Namespace) -> None:
    """Checks, before the work begins, that a report may be written to its place. Raises InputError."""
    called = f"--output {arguments.output}"
    free_place(Path(arguments.output), TEXT, door_of(arguments, called))


def _kwargs(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--kwargs {text!r} is not JSON ({error}); expected for example '{{\"N\": 192}}'") from error
    if not isinstance(value, dict):
        raise InputError(f"--kwargs {text!r}: expected an object such as '{{\"N\": 192}}'")
    return value


def parsed_shape(text: str) -> tuple[int, ...]:
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) < 2 or not all(p.strip().isdecimal() and int(p) >= 1 for p in parts):
        raise InputError(f"--input {text!r}: expected sizes of at least 1 joined by x, such as 1x3x256x256")
    return tuple(int(p) for p in parts)


def parsed_depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of path components, 0 for every row; {text!r} is none")
    return int(text)


@contextlib.contextmanager
def _stdout_to_stderr() -> Any:
    """Keeps what a model prints while it is imported and traced out of the report."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
