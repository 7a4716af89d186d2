"""The commands `check` and `lock`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .common import BAD_INPUT, OK, check_output, output_arguments, write
from .progress import hide

if TYPE_CHECKING:
    from ..guard import Check

CODES = """exit codes: 0 everything holds, 1 a claim or the lock does not hold, 2 wrong usage or configuration, or a
model that cannot be analysed; 2 where both are so"""
LOCK_CODES = """exit codes: 0 written, 2 wrong usage or configuration, or a model that cannot be analysed; then nothing
is written"""


def add(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="hold guarded models against their claims and their lock",
        description="Check the models of [tool.overlapcalc] against what is claimed of them, and against "
        "overlapcalc.lock beside it.",
        epilog=CODES,
    )
    _config_argument(check)
    check.add_argument("--model", action="append", metavar="NAME", help="only this one; may be repeated")
    check.add_argument("--format", choices=("text", "json", "junit", "sarif", "github"), default="text")
    output_arguments(check)
    check.add_argument("--update", action="store_true", help="write the lock anew, whole or not at all")
    check.add_argument("--no-cache", action="store_true", help="analyse every model anew, also unchanged ones")
    check.add_argument("--cache-dir", metavar="DIR", help=".overlapcalc_cache beside the configuration when absent")
    check.set_defaults(run=_check)
    lock = commands.add_parser(
        "lock",
        help="write what guarded models need to overlapcalc.lock",
        description="Write what each model of [tool.overlapcalc] needs to overlapcalc.lock beside it.",
        epilog=LOCK_CODES,
    )
    _config_argument(lock)
    lock.set_defaults(run=_lock)


def _config_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", metavar="FILE",
        help="a TOML file with [tool.overlapcalc]; the nearest pyproject.toml that has it when absent",
    )  # fmt: skip
    command.add_argument("--debug", action="store_true", help="show Python tracebacks")


def _check(arguments: argparse.Namespace) -> int:
    hide()  # models are analysed in other processes, which say what they say
    from ..guard import check
    from ..guard.formats import check_annotations, check_json, check_junit, check_sarif, render_check

    if arguments.output:
        check_output(arguments)
    with _noise_to_stderr():
        found = check(
            arguments.config,
            models=arguments.model,
            update=arguments.update,
            cache_dir=arguments.cache_dir,
            keep=not arguments.no_cache,
        )
    _traces(arguments, found)
    arguments.config = found.config  # which a report may not replace
    texts: dict[str, Callable[[Check], str]] = {
        "json": check_json,
        "junit": check_junit,
        "sarif": check_sarif,
        "github": check_annotations,
    }
    write(found, render_check, texts, arguments, "")
    free = arguments.format == "text" or arguments.output  # no machine format goes to standard output
    if os.environ.get("GITHUB_ACTIONS") == "true" and free:
        sys.stdout.write(check_annotations(found))
    return found.code


@contextlib.contextmanager
def _noise_to_stderr() -> Iterator[None]:
    """Keeps what a model's code and its libraries print past `sys.stdout` out of the report."""
    streams = [stream for stream in (sys.stdout, sys.__stdout__) if stream is not None]
    try:
        os.fstat(2)
        saved = os.dup(1)
    except OSError:  # one of them is closed
        yield
        return
    try:
        for stream in streams:
            stream.flush()
        os.dup2(2, 1)
        yield
    finally:
        for stream in streams:
            stream.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _lock(arguments: argparse.Namespace) -> int:
    from ..guard import lock

    found = lock(arguments.config)
    _traces(arguments, found)
    for model in found.models:
        if model.error:
            print(f"overlapcalc: {model.name} cannot be analysed: {model.error}", file=sys.stderr)
    if not found.written:
        left = "is left as it was" if found.locked else "is not written"
        print(f"overlapcalc: {found.lock.name} {left}", file=sys.stderr)
        return BAD_INPUT
    print(f"{found.lock.name}: {len(found.models)} model{'' if len(found.models) == 1 else 's'}")
    if found.dropped:
        print(f"no longer in it: {', '.join(found.dropped)}, not configured in {found.config.name}")
    return OK


def _traces(arguments: argparse.Namespace, found: Check) -> None:
    """With --debug, the traceback of each model that failed."""
    for model in found.models if arguments.debug else ():
        sys.stderr.write(model.trace)
