"""Every error of overlapcalc, in one tree, and how a message names an argument.

    OverlapcalcError            every error that overlapcalc raises on purpose
        InputError              what the caller gave cannot be used
            ModelCodeError      the model's own code raised while it was imported or built
            DamagedLockError    overlapcalc.lock cannot be read, and may be rewritten
        AmbiguousPair           there are several inputs or outputs, and the question does not say which it is about
        ObstacleError           an obstacle lies between the input and the output
        TraceError              the model cannot be turned into a graph of operators
            SizeError           it does not run at this size, but at others
            SharedMemoryError   it writes in place to memory that others may read
            ChangingStateError  it reads a number out of memory that it changes
        UnknownOperatorError    operators without a rule
        RuleError               a rule that is registered twice, or does not fit its operator
        UnforeseenError         an operator that is used in an unforeseen way
        WrongTileError          the net does on a tile what its analysis does not say
        NoSlabError             an operator that cannot be run on a slab
        NoTwin                  an operator that cannot be computed modulo a prime

A message says where, what, the value and the way out, because it is often all that a CI log shows. How it spells an
argument depends on its reader: `inputs=(1, 3, 256, 256)` in Python, `--input 1x3x256x256` in a shell. So a message may
contain Arguments among its words, and each front end spells them in its own way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument that a message names, by its Python name. value: None for the name alone; `...` for a value that the
    caller has to fill in."""

    name: str
    value: Any = None


Spelling = Callable[[Argument], str]
"""How a front end writes an argument."""


def python(argument: Argument) -> str:
    """`block`, `block=64`; for a file, its path alone.

    >>> python(Argument("block", 64)), python(Argument("inputs", (1, 3, 256, 256)))
    ('block=64', 'inputs=(1, 3, 256, 256)')
    """
    if argument.value is None:
        return argument.name
    if isinstance(argument.value, PurePath):
        return str(argument.value)
    return f"{argument.name}={_literal(argument.value)}"


def _kept(piece: object) -> str | Argument:
    """A piece of a message, as an error keeps it."""
    if isinstance(piece, Argument):
        return piece if _plain(piece.value) else python(piece)
    return str(piece)


def _plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(map(_plain, (*value.keys(), *value.values())))
    if type(value) in (tuple, list):
        return all(map(_plain, value))
    return value is None or value is ... or type(value) in (str, int, float, bool) or isinstance(value, PurePath)


def _literal(value: Any) -> str:
    if value is ...:
        return "..."
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_literal(item)}' for key, item in value.items())}}}"
    return repr(value)


class OverlapcalcError(Exception):
    """Base of every error that overlapcalc raises on purpose. `args` is the message, in pieces; `str` spells arguments
    as in Python.

    An error outlives what it is about and travels between processes, so of arguments it keeps plain values alone;
    others, a tensor say, are spelled at once.

    >>> print(OverlapcalcError("try ", Argument("block", 64), " instead"))
    try block=64 instead
    """

    def __init__(self, *message: object) -> None:
        super().__init__(*map(_kept, message))

    def worded(self, spelling: Spelling) -> str:
        """The message for the readers of a front end."""
        return "".join(spelling(piece) if isinstance(piece, Argument) else piece for piece in self.args)

    def __str__(self) -> str:
        return self.worded(python)


class InputError(OverlapcalcError):
    """The caller's input cannot be used: a bad SPEC, a shape without a spatial axis, a span off the grid.

    >>> oc.plan(nn.Conv1d(1, 1, 3), (1, 1, 32), block=0)
    Traceback (most recent call last):
        ...
    overlapcalc.errors.InputError: block=0 along L: expected a number of samples, at least 1
    """


class ModelCodeError(InputError):
    """The model's own code raised while it was imported or built; its traceback says where."""


class DamagedLockError(InputError):
    """The lock cannot be read; writing it again is allowed."""


class AmbiguousPair(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net has several inputs or outputs, and the question does not say which pair it is about.

    >>> oc.analyze(nn.MaxPool1d(2, return_indices=True), (1, 3, 32))["L"]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    overlapcalc.errors.AmbiguousPair: the net has 2 outputs: output0, output1; choose one with between(output=NAME)...
    """


class ObstacleError(OverlapcalcError):
    """The question has no answer on this axis: an obstacle lies between the input and the output.

    >>> oc.analyze(nn.AdaptiveAvgPool1d(1), (1, 3, 32))["L"]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    overlapcalc.errors.ObstacleError: output cannot be computed by blocks of input along L: ...pools over the whole...
    """


class TraceError(OverlapcalcError):
    """The model could not be turned into a graph of operators; the message has torch's own reason, if it gave one.

    >>> oc.analyze(nn.Conv1d(3, 8, 5), (1, 4, 32))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    overlapcalc.errors.TraceError: at input 1x4x32: ...channel...
    """


class SizeError(TraceError):
    """The net does not run at this size; the message has sizes at which it does."""


class SharedMemoryError(TraceError):
    """The net writes in place to memory whose other readers cannot be determined."""


class ChangingStateError(TraceError):
    """The net reads a number, a count or a size, out of memory that it changes: it is another net at every call."""


class UnknownOperatorError(OverlapcalcError):
    """The net uses operators for which there is no rule. All of them are listed at once.

    >>> oc.analyze(nn.Bilinear(4, 4, 2), [(1, 3, 4), (1, 3, 4)])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    overlapcalc.errors.UnknownOperatorError: no rule for 1 operator call of this net:...linear...
    """


class RuleError(OverlapcalcError):
    """A rule is registered twice, or returns a law that does not fit its operator's shapes.

    >>> oc.rule("aten::conv1d")(lambda call: call.local({}))
    Traceback (most recent call last):
        ...
    overlapcalc.errors.RuleError: aten::conv1d: already has a rule (overlapcalc.ops.rules.conv); unregister it first
    """


class UnforeseenError(OverlapcalcError):
    """An operator is used in an unforeseen way: the answer is refused, and the message names layer and operator."""


class WrongTileError(OverlapcalcError):
    """The net does something on a tile that its analysis does not say; none of its results can be trusted."""


class NoSlabError(OverlapcalcError):
    """An operator has no way to run on a slab. node: the name of the call, where it is known."""

    def __init__(self, message: str, node: str = "") -> None:
        super().__init__(message)
        self.node = node


class NoTwin(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net uses an operator on data that cannot be computed modulo a prime: the exact proof does not apply."""


@contextlib.contextmanager
def foreseen(layer: str, op: str, source: str) -> Iterator[None]:
    """Turns an unforeseen exception into one that says at which operator of the net it happened."""
    try:
        yield
    except (OverlapcalcError, MemoryError):
        raise
    except Exception as error:
        at = f" at {source}" if source else ""
        text = (str(error).splitlines() or [""])[0]
        raise UnforeseenError(
            f"{layer}: {op}{at} is used in a way that overlapcalc does not foresee ({type(error).__name__}: {text}), "
            "so overlapcalc gives no answer for this net; analyse the part before it, write it otherwise, or report "
            "it as a defect"
        ) from error
