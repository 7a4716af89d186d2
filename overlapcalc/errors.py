"""The errors of overlapcalc: one base class, few kinds, one message each.

Every message says where, what, the value and the way out, because it is often all that a CI log shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class OverlapcalcError(Exception):
    """Base of every error that overlapcalc raises on purpose."""


class InputError(OverlapcalcError):
    """The caller's input is not usable: a bad SPEC, a shape the net does not accept, a span off the grid."""


class TraceError(OverlapcalcError):
    """The model could not be turned into a graph of operators."""


class UnknownOperatorError(OverlapcalcError):
    """The net uses operators for which there is no rule. All of them are listed at once."""


class RuleError(OverlapcalcError):
    """A rule is registered twice, or gives an account that does not fit its operator's shapes."""


class UnforeseenError(OverlapcalcError):
    """An operator does what nobody foresaw here: the answer is refused, and the message names layer and operator."""


class AmbiguousPair(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net has several inputs or outputs, and the question does not say which pair it is about."""


class ObstacleError(OverlapcalcError):
    """The question has no answer on this axis: an obstacle lies between the input and the output."""


class NoTwin(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net uses an operator on data that cannot be computed modulo a prime: the exact proof does not apply."""


@contextlib.contextmanager
def foreseen(layer: str, op: str, source: str) -> Iterator[None]:
    """Turns an exception that nobody foresaw into one that says at which operator of the net it happened."""
    try:
        yield
    except (OverlapcalcError, MemoryError):
        raise
    except Exception as error:
        at = f" at {source}" if source else ""
        text = (str(error).splitlines() or [""])[0]
        raise UnforeseenError(
            f"{layer}: {op}{at} is used in a way that overlapcalc does not foresee ({type(error).__name__}: {text}), "
            "so nothing is said of this net; analyse the part before it, write it otherwise, or report it as a defect"
        ) from error
