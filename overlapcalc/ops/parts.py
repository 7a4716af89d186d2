"""Reductions in parts: what an operator takes of a whole axis, band by band.

Each family says how beside its law, by four short functions. `start` gives the partial result of one band; `combine`
joins those of two neighbouring bands, in order; `finish` makes the result of the last one. A partial result is a tuple
of tensors and whole numbers, so it can be sent to another process. An operator that gives what it took back to every
sample, such as a norm, has `apply` as well: it runs on a slab, with what `finish` gave.

Sums are taken at least in float32 within a band, and in float64 between bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .call import Call
from .registry import known_of, say
from .slab import Slab, Tensor

Partial = tuple[Any, ...]
"""The result of a part: tensors and whole numbers."""

STATISTICS = "statistics"
"""The argument of a call that is given what `finish` made of its whole operand."""


class Band(Protocol):
    """A band of the operands of a reduction, whole along every dimension but one of each.

    call: the call on the whole image. cut: for each data operand, the dimension along which it is a band; None for one
    that is whole. begins: where the band begins along that dimension, in samples of it.
    """

    call: Call
    cut: tuple[int | None, ...]
    begins: int

    def operand(self, k: int = 0) -> Tensor:
        """The band of an operand."""

    def run(self, /, **changes: Any) -> Tensor:
        """The operator itself on the bands, with these arguments changed; the one of its results that is meant."""

    def run_all(self, /, **changes: Any) -> tuple[Tensor, ...]:
        """The same; all results of the operator."""

    def given(self, argument: str) -> Any:
        """An argument that is no data: a tensor, or a list of them."""

    def pieces(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        """As `Slab.pieces`."""

    def joined(self, pieces: Sequence[Tensor], dim: int) -> Tensor:
        """Pieces laid end to end along a dimension."""


Cut = tuple["int | None", ...]


@dataclass(frozen=True)
class Reduction:
    """How an operator runs in parts, by functions.

    fits: whether a call does, given the dimension along which each of its operands is cut into bands; None where an
    operand has no such dimension. start: a band to its partial result. combine: those of two neighbours to that of
    both, in order. finish: the call and the last one to the result; a floating one may be in float64, and is brought to
    the operator's type. apply: for an operator that gives every sample something of what `finish` made: how it runs on
    a slab, given that. ordered: it tells positions by where bands begin, so the axis must run slowest along the
    dimension that is cut; otherwise it runs whole.

    >>> from overlapcalc.ops.parts import reduction_of
    >>> mean = reduction_of("aten::mean")
    >>> total = mean.combine((torch.tensor(6.0), 4), (torch.tensor(3.0), 2))  # sums and counts of two bands
    >>> mean.finish(None, total)
    tensor(1.5000)
    """

    fits: Callable[[Call, Cut], bool]
    start: Callable[[Any], Partial]
    combine: Callable[[Partial, Partial], Partial]
    finish: Callable[[Call, Partial], Tensor]
    apply: Callable[[Slab, Tensor], Tensor] | None = None
    ordered: bool = False


def in_parts(*ops: str | Callable[..., object], **how: Any) -> None:
    """Register how operators, named as for `rule`, run in parts: the fields of a `Reduction`. Raises RuleError for one
    that has a way already.

    >>> in_parts("mylib::energy",  # the sum of squares along the last dimension
    ...     fits=lambda call, cut: cut == (len(call.shapes[0]) - 1,),
    ...     start=lambda band: ((band.operand() * band.operand()).double().sum(-1),),
    ...     combine=lambda a, b: (a[0] + b[0],),
    ...     finish=lambda call, partial: partial[0])
    """
    say("parts", ops, Reduction(**how))


def reduction_of(op: str) -> Reduction | None:
    found: Reduction | None = known_of(op).parts
    return found
