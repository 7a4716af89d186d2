"""Ctrl-C and SIGTERM: what has been found so far is printed, and one line says what is missing."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..stages import telling
from .common import write

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

INTERRUPTED, TERMINATED = 130, 143
"""The exit codes after Ctrl-C and after SIGTERM, as shells have them."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came. A KeyboardInterrupt, so that whatever lets the one through lets the other through."""


class Interrupted(KeyboardInterrupt):
    """A command was interrupted, and has printed what it had. missing: what it had not."""

    def __init__(self, missing: Sequence[str], code: int) -> None:
        super().__init__()
        self.missing, self.code = missing, code


def ended(stop: KeyboardInterrupt) -> tuple[str, int]:
    """What to say of an interruption, and its exit code."""
    code = stop.code if isinstance(stop, Interrupted) else TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    missing = f"; missing: {', '.join(stop.missing)}" if isinstance(stop, Interrupted) else ""
    return f"{'terminated' if code == TERMINATED else 'interrupted'}{missing}", code


@contextlib.contextmanager
def terminable() -> Iterator[Callable[[str], None]]:
    """Within, SIGTERM raises Terminated. Gives what is to be called now and then: an exception that is raised while
    Python frees an object is lost, and is raised again there."""
    came = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise Terminated

    def again(_: str) -> None:
        if came:
            raise Terminated

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield again
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass(frozen=True)
class Partial:
    """What a command has found. render: prints it. figures: the same for JSON. missing: the rest, in words."""

    render: Callable[[Console], None] | None
    figures: dict[str, Any]
    missing: Sequence[str]


@contextlib.contextmanager
def partly_shown(arguments: argparse.Namespace, partial: Callable[[dict[str, list[Any]]], Partial]) -> Iterator[None]:
    """If what is within is interrupted: prints what it has found. partial: makes that of all results, by kind."""
    found: dict[str, list[Any]] = {}
    try:
        with telling(found=lambda kind, result: found.setdefault(kind, []).append(result)):
            yield
    except KeyboardInterrupt as stop:
        made = partial(found)
        show(made, arguments)
        raise Interrupted(made.missing, ended(stop)[1]) from stop


def show(partial: Partial, arguments: argparse.Namespace) -> None:
    """Print it, as JSON if that is asked for. A file that is asked for stays as it is; formats that have no word for
    what is missing stay empty, and a table goes to standard error."""
    from ..report import partial_json

    if arguments.output:
        partial = Partial(partial.render, partial.figures, [*partial.missing, f"{arguments.output}, left as it was"])
    plain = type(arguments)(**{**vars(arguments), "output": None})
    if arguments.format == "json":
        write(partial, _unused, {"json": lambda made: partial_json(made.figures, made.missing)}, plain, "")
    elif partial.render is not None:
        aside = arguments.format not in ("table", "markdown")
        with contextlib.redirect_stdout(sys.stderr) if aside else contextlib.nullcontext():
            write(partial.render, lambda render, console, note: render(console), {}, plain, "")
    sys.stdout.flush()


def _unused(*_: object, **__: object) -> None: ...
