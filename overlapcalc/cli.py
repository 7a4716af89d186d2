"""The command line: parse, call one public function, map the result to an exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .errors import InputError, OverlapcalcError

if TYPE_CHECKING:  # what needs torch is imported when it is needed: --help answers at once
    from .analysis import Analysis, Pair

T = TypeVar("T")

OK, NOT_SO, BAD_INPUT, OBSTACLE = 0, 1, 2, 3
"""Exit codes: holds; a claim does not hold; bad input or a model that cannot be analysed; an obstacle."""
PIPED_WIDTH = 120
FIGURES_ONLY = ("csv", "json")
"""Formats without room for a note; it goes to standard error."""

EPILOG = """exit codes: 0 no obstacle, 1 a claim does not hold, 2 wrong usage or input, or a model that cannot be
analysed, 3 an obstacle on a requested axis"""


def main(argv: Sequence[str] | None = None) -> int:
    """The `overlapcalc` command. Returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except OverlapcalcError as error:
        if arguments.debug:
            raise
        return _refuse(str(error))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the process ends
        return OK
    except KeyboardInterrupt:
        return _refuse("interrupted")
    except Exception as error:
        if arguments.debug:
            raise
        text = str(error).strip().splitlines()
        return _refuse(
            f"unexpected {type(error).__name__}: {text[0] if text else ''}\n"
            "this is a defect of overlapcalc; --debug shows where it happened"
        )


def _refuse(message: str) -> int:
    print(f"overlapcalc: {message}", file=sys.stderr)
    return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    from .version import __version__

    parser = argparse.ArgumentParser(
        prog="overlapcalc",
        description="How much context each block of an image needs so that a CNN can run block by block, exactly.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"overlapcalc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="receptive field, scale, context and tile of every layer, or what is in the way",
        description="Print what each layer of a net needs of its input, and whether the net can run block by block.",
        epilog=EPILOG,
    )
    _model_arguments(analyze)
    analyze.add_argument(
        "--format", choices=("table", "markdown", "csv", "json"), default="table",
        help="csv and json give every row, and every figure in a field of its own",
    )  # fmt: skip
    analyze.add_argument(
        "--depth", type=_depth, metavar="N",
        help="fold the table: one row per module for layers below N path components (layer1.0 for layer1.0.conv1 and "
        "its like with 2); 0 shows every row; when absent, long tables fold blocks that repeat",
    )  # fmt: skip
    analyze.set_defaults(run=_analyze)
    explain = commands.add_parser(
        "explain",
        help="why: what each layer adds to a side of the context, what sets the step and the tile",
        description="Print why a net needs the context it needs, or what stands in the way and where.",
        epilog=EPILOG,
    )
    _model_arguments(explain)
    explain.add_argument("--format", choices=("table", "json"), default="table")
    explain.add_argument(
        "--pair", action="append", default=[], metavar="OUTPUT:INPUT",
        help="only this output against this input, by name or index; either may be left out; may be repeated",
    )  # fmt: skip
    explain.set_defaults(run=_explain)
    return parser


def _model_arguments(command: argparse.ArgumentParser) -> None:
    """What every command that analyses a model asks for."""
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
    command.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    command.add_argument("--debug", action="store_true", help="show Python tracebacks")


def _analyze(arguments: argparse.Namespace) -> int:
    from .report import render, to_csv, to_json, to_markdown

    analysis, note = _analysis(arguments)
    markdown = partial(to_markdown, note=note, depth=arguments.depth)
    texts: dict[str, Callable[[Analysis], str]] = {"json": to_json, "csv": to_csv, "markdown": markdown}
    _write(analysis, partial(render, depth=arguments.depth), texts, arguments, note)
    return OK if analysis.blocking_free else OBSTACLE


def _explain(arguments: argparse.Namespace) -> int:
    from .report import Explained, explained_json, render_explained

    analysis, note = _analysis(arguments)
    pairs = [pair for text in arguments.pair for pair in _pairs(analysis, text)] or analysis.pairs
    explained = Explained(analysis, tuple(dict.fromkeys(pairs)))
    _write(explained, render_explained, {"json": explained_json}, arguments, note)
    return OK if explained.blocking_free else OBSTACLE


def _pairs(analysis: Analysis, text: str) -> list[Pair]:
    """The pairs that `OUTPUT:INPUT` names."""
    output, _, input = text.partition(":")
    outputs = [_named(output, analysis.outputs)] if output else list(analysis.outputs)
    inputs = [_named(input, analysis.inputs)] if input else list(analysis.inputs)
    return [analysis.between(o, i) for o in outputs for i in inputs]


def _named(text: str, names: Iterable[str]) -> str | int:
    return int(text) if text not in names and text.lstrip("-").isdigit() else text


def _analysis(arguments: argparse.Namespace) -> tuple[Analysis, str]:
    """The analysis that the arguments ask for, and a note on where its input shape comes from."""
    if arguments.output:
        _check_output(arguments.output)
    kwargs = _kwargs(arguments.kwargs)
    shapes = [_shape(text) for text in arguments.input]
    with _stdout_to_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from .analyze import analyze
        from .guess import guess_inputs
        from .spec import load

        model = load(arguments.spec, kwargs)
        layout, note = arguments.layout or None, ""
        inputs: Any = shapes
        if not shapes:
            inputs, note = guess_inputs(model, layout[0] if layout else None)
        try:
            analysis = analyze(model, inputs, axes=arguments.axis or None, layout=layout)
        except OverlapcalcError as error:
            hint = f" ({note})" if note else ""
            raise type(error)(f"{arguments.spec}: {error}{hint}") from error
    return analysis, note


def _write(
    thing: T,
    render: Callable[..., None],
    texts: Mapping[str, Callable[[T], str]],
    arguments: argparse.Namespace,
    note: str,
) -> None:
    """Print it with `render`, or as one of `texts` by the format asked for."""
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
        _write_whole(Path(output), text)
    else:
        sys.stdout.write(text)


def _check_output(output: str) -> None:
    path = Path(output)
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a directory" if path.is_dir() else f"lies in {path.absolute().parent}, which does not exist"
        raise InputError(f"--output {output}: {what}; name a file in a directory that exists")


def _write_whole(path: Path, text: str) -> None:
    """The file appears under its name only when it is complete."""
    handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise InputError(f"--output {path}: {error.strerror or error}") from error


def _kwargs(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--kwargs {text!r} is not JSON ({error}); expected for example '{{\"N\": 192}}'") from error
    if not isinstance(value, dict):
        raise InputError(f"--kwargs {text!r}: expected an object such as '{{\"N\": 192}}'")
    return value


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) < 2 or not all(p.strip().isdigit() and int(p) >= 1 for p in parts):
        raise InputError(f"--input {text!r}: expected sizes of at least 1 joined by x, such as 1x3x256x256")
    return tuple(int(p) for p in parts)


def _depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of path components, 0 for every row")
    return int(text)


@contextlib.contextmanager
def _stdout_to_stderr() -> Any:
    """What a model prints while it is imported and traced must not land in the report."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def entry() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    entry()
