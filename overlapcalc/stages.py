"""What a long call is doing, and what it has found so far, told to whoever asks for it; nobody else hears a word."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[str, object], object]

_stages: ContextVar[Callable[[str], object] | None] = ContextVar("stages", default=None)
_results: ContextVar[Listener | None] = ContextVar("results", default=None)


@contextlib.contextmanager
def telling(stage: Callable[[str], object] | None = None, *, found: Listener | None = None) -> Iterator[None]:
    """Within, every call of overlapcalc says what it does. stage: called with a few words at the beginning of each
    stage, such as "tracing at 1x3x64x64". found: called with the kind of a partial result ("analysis", "plan", "proof",
    "point") and the result, as soon as there is one. What they raise ends the call. Those that are not given stay as
    they are.

    >>> said = []
    >>> with oc.telling(said.append):
    ...     _ = oc.analyze(nn.Conv1d(1, 1, 3), (1, 1, 32))
    >>> said[:3]
    ['tracing at 1x1x32', 'making the graph of layers', 'following what is read at 1x1x32']
    """
    with contextlib.ExitStack() as stack:
        if stage is not None:
            stack.callback(_stages.reset, _stages.set(stage))
        if found is not None:
            stack.callback(_results.reset, _results.set(found))
        yield


def at_stage(words: str) -> None:
    """A stage begins."""
    listener = _stages.get()
    if listener is not None:
        listener(words)


def noted(kind: str, result: T) -> T:
    """There is a partial result. Gives it back."""
    listener = _results.get()
    if listener is not None:
        listener(kind, result)
    return result


def shapes_text(shapes: object) -> str:
    """Input shapes in words.

    >>> shapes_text(((1, 3, 64, 64), (1, 2)))
    '1x3x64x64, 1x2'
    """
    return ", ".join("x".join(map(str, shape)) for shape in shapes)  # type: ignore[attr-defined]
