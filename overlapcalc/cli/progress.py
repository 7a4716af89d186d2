"""How far a command is: on a terminal the stage of an analysis and a bar for a run, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator

EVERY = 20.0
"""Seconds between two lines."""


class Advance:
    """To be called after each of `steps` steps. shown: whether anything was said."""

    def __init__(self, steps: int, show: Callable[[], object] | None) -> None:
        self._steps, self._show, self._done = steps, show, 0
        self._began = self._said = time.monotonic()
        self.shown = show is not None

    def __call__(self) -> None:
        self._done += 1
        if self._show is not None:
            self._show()
        elif time.monotonic() - self._said > EVERY:
            self._said, self.shown = time.monotonic(), True
            share = min(self._done / self._steps, 1)
            print(f"overlapcalc: {share:.0%} of the run after {self.seconds:.0f} s", file=sys.stderr)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


class StageLine:
    """The stage of a long analysis, in one line on a terminal, from `PATIENCE` seconds on; to be called with each."""

    def __init__(self) -> None:
        self._words, self._drawn, self._began = "", False, time.monotonic()
        self._ended, self._drawing = threading.Event(), threading.Lock()
        threading.Thread(target=self._draw, daemon=True).start()

    def __call__(self, words: str) -> None:
        self._words = words

    def _draw(self) -> None:
        wait = PATIENCE
        while not self._ended.wait(wait):
            wait = 0.2
            text = f"overlapcalc: {self._words}, {time.monotonic() - self._began:.0f} s"
            with self._drawing:
                if self._words and not self._ended.is_set():
                    self._drawn = True
                    sys.stderr.write(f"{ERASED}{text[: shutil.get_terminal_size().columns - 1]}")
                    sys.stderr.flush()

    def end(self) -> None:
        """Erase it for good."""
        self._ended.set()
        self.clear()

    def clear(self) -> None:
        """Erase it, until it is drawn again."""
        with self._drawing:
            if self._drawn:
                self._drawn = False
                sys.stderr.write(ERASED)
                sys.stderr.flush()


ERASED = "\r\x1b[2K"
PATIENCE = 2.0
"""Seconds that nobody minds."""
_shown: list[StageLine] = []


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str], object]]:
    """Shows the stages with which it is called, until `hide` or the end."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    line = StageLine()
    _shown.append(line)
    try:
        yield line
    finally:
        hide()


def say(text: str) -> None:
    """A line on standard error, above the one that shows the stage."""
    for line in _shown:
        line.clear()
    print(f"overlapcalc: {text}", file=sys.stderr)


def hide() -> None:
    """Erase the line that shows the stage, before anything else is printed."""
    while _shown:
        _shown.pop().end()


@contextlib.contextmanager
def progress(steps: int) -> Iterator[Advance]:
    """What a run of so many steps calls after each."""
    hide()
    if not sys.stderr.isatty() or steps < 2:
        yield Advance(steps, None)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("blocks", total=steps)
        yield Advance(steps, lambda: bar.advance(task))
