"""The proof that passes count every sample once: in every reduction, in everything stored, in every output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ...algebra.spans import Span
from ...engine.machine import Machine
from ...errors import OverlapcalcError
from ..against_whole import FAILURES, by_blocks, said
from ..result import NOT_APPLICABLE, Proof

NAME = "cover"


def cover(machine: Machine, inputs: Mapping[str, Tensor]) -> Proof:
    """The bands that entered each reduction, and those that were written of each stored tensor, as they ran.

    The control: without one of its bands, or with one of them twice, nothing is covered.
    """
    try:
        by_blocks(machine, inputs)
    except OverlapcalcError as error:
        return Proof(NAME, NOT_APPLICABLE, str(error))
    except FAILURES as error:
        return Proof.of(NAME, "bands of every reduction and of everything that is stored", 1, [said(error)])
    failures = []
    for name, (size, bands) in machine.covered.items():
        if not covers(size, bands):
            failures.append(f"{name}: bands {', '.join(map(str, bands))} of {size} samples")
        elif covers(size, bands[1:]) or covers(size, [*bands, bands[0]]):
            failures.append(f"{name}: a band too few or too many is not seen")
    return Proof.of(NAME, "bands of every reduction and of everything that is stored", len(machine.covered), failures)


def covers(size: int, bands: Sequence[Span]) -> bool:
    """Whether bands are every sample once, in order.

    >>> covers(8, [Span(0, 5), Span(5, 8)]), covers(8, [Span(0, 5), Span(4, 8)])
    (True, False)
    """
    at = 0
    for band in bands:
        if band.start != at:
            return False
        at = band.stop
    return at == size
