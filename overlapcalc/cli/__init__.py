"""The command line: parse, call one public function, map the result to an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..errors import ModelCodeError, ObstacleError, OverlapcalcError
from ..stages import telling
from . import analysis, blocks, error, guard, order, run
from .common import BAD_INPUT, OBSTACLE, OK
from .interrupted import ended, terminable
from .progress import stages
from .wording import Parser, shell

CODES = """exit codes: 0 no obstacle, 1 a claim does not hold (verify, error, check), 2 wrong usage or input, or a model
that cannot be analysed, 3 an obstacle on a requested axis, 130 interrupted,
143 terminated"""


def main(argv: Sequence[str] | None = None) -> int:
    """The `overlapcalc` command. Returns its exit code."""
    arguments = argparse.Namespace(debug=False)
    try:
        _parser().parse_args(argv, arguments)
        with terminable() as stopping, stages() as shown, telling(lambda words: (stopping(words), shown(words))):
            return int(arguments.run(arguments))
    except OverlapcalcError as error:
        if arguments.debug:
            raise
        where = " (--debug shows where)" if isinstance(error, ModelCodeError) else ""
        return _refuse(error.worded(shell) + where, OBSTACLE if isinstance(error, ObstacleError) else BAD_INPUT)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the process ends
        return OK
    except KeyboardInterrupt as stop:
        return _refuse(*ended(stop))
    except Exception as error:
        if arguments.debug:
            raise
        text = str(error).strip().splitlines()
        return _refuse(
            f"unexpected {type(error).__name__}: {text[0] if text else ''}\n"
            "this is a defect of overlapcalc; --debug shows where it happened"
        )


def _refuse(message: str, code: int = BAD_INPUT) -> int:
    print(f"overlapcalc: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    from ..version import __version__

    parser = Parser(
        prog="overlapcalc",
        description="How much context each block of an image needs so that a CNN can run block by block, exactly.",
        epilog=CODES,
    )
    parser.add_argument("--version", action="version", version=f"overlapcalc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    analysis.add(commands)
    order.add(commands)
    blocks.add(commands)
    error.add(commands)
    run.add(commands)
    guard.add(commands)
    return parser


def entry() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    entry()
