"""Facts about operators besides what they read, how they run and what they cost: their kind, a short word, and so on.

Each family states them beside its laws. Whoever needs to tell operators apart asks here instead of comparing names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import RuleError
from .graph import Node
from .kind import Kind, Masking
from .registry import Spelling, find, known_of, refuse_said, say


def describe(
    *ops: str | Callable[..., object],
    kind: Kind | str | None = None,
    word: str | None = None,
    training: str | None = None,
    stops_nan: bool | None = None,
    zero_weights: bool | None = None,
    reads_memory: bool | None = None,
    masking: Masking | None = None,
) -> None:
    """Register facts about operators, named as for `rule`. `Operator` says what they mean; all are optional.

    Raises RuleError for an unknown kind, and for a fact that is registered already.

    >>> describe("mylib::blur5", kind="pooling", word="blur")
    >>> known_of("mylib::blur5").word
    'blur'
    """
    if kind is not None and kind not in [*Kind]:
        raise RuleError(f"kind={kind!r}: expected one of {', '.join(repr(k.value) for k in Kind)}")
    facts: dict[str, Any] = {
        "kind": None if kind is None else Kind(kind),
        "word": word,
        "training": training,
        "stops_nan": stops_nan,
        "zero_weights": zero_weights,
        "reads_memory": reads_memory,
        "masking": masking,
    }
    said = {what: value for what, value in facts.items() if value is not None}
    for what in said:
        refuse_said(what, ops)  # all of them or none
    for what, value in said.items():
        say(what, ops, value)


def spelling(*ops: str) -> Callable[[Spelling], Spelling]:
    """Register, for a call of these operators, the operator that it is another spelling of."""

    def register(function: Spelling) -> Spelling:
        say("spelling", ops, function)
        return function

    return register


def plain_name(node: Node) -> str:
    """The operator that is called, by whichever spelling (which may depend on the version of torch or the size of the
    image): `aten::reshape` for `aten::_unsafe_view`, `aten::slice` for `aten::slice_copy`."""
    spelled = known_of(node.op).spelling
    if spelled is not None:
        return spelled(node)
    plain = node.op.removesuffix("_copy")
    return plain if find(plain) is not None else node.op


def kind_of(node: Node) -> Kind | None:
    """The kind of the operator that is called; None where it has none."""
    return known_of(plain_name(node)).kind or known_of(node.op).kind


def short_name(op: str) -> str:
    """An operator's name without its namespace and leading underscores.

    >>> short_name("aten::_convolution")
    'convolution'
    """
    return op.partition("::")[2].lstrip("_") or op


def word_of(op: str) -> str:
    """An operator in few letters: its registered word, or its name without the number of dimensions.

    >>> word_of("aten::conv_transpose2d"), word_of("mylib::blur2d")
    ('tconv', 'blur')
    """
    return known_of(op).word or re.sub(r"[123]d(?=_|$)", "", short_name(op))


def may_stop_nan(op: str) -> bool:
    """Whether an operator may turn NaN into a number. One that is not torch's may, unless it says otherwise."""
    said = known_of(op).stops_nan
    return "::" in op and not op.startswith(OURS_AND_TORCHS) if said is None else said


def takes_functions(op: str) -> bool:
    """Whether an operator is given functions: a loop or a branch that depends on data."""
    return op.startswith("higher_order::")


OURS_AND_TORCHS = ("aten::", "overlapcalc::")
"""Namespaces whose operators say so if they turn NaN into numbers."""
