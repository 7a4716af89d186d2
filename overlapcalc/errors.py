"""The errors of overlapcalc: one base class, few kinds, one message each.

Every message says where, what, the value and the way out, because it is often all that a CI log shows.
"""

from __future__ import annotations


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


class AmbiguousPair(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net has several inputs or outputs, and the question does not say which pair it is about."""


class ObstacleError(OverlapcalcError):
    """The question has no answer on this axis: an obstacle lies between the input and the output."""


class NoTwin(OverlapcalcError):  # noqa: N818 - the name is part of the contract
    """The net uses an operator on data that cannot be computed modulo a prime: the exact proof does not apply."""
