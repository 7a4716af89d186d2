"""How far a run is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import sys
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


@contextlib.contextmanager
def progress(steps: int) -> Iterator[Advance]:
    """What a run of so many steps calls after each."""
    if not sys.stderr.isatty() or steps < 2:
        yield Advance(steps, None)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("blocks", total=steps)
        yield Advance(steps, lambda: bar.advance(task))
