"""What a schedule gives: a block of the outputs, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..analysis.named import Named
from ..propagate.regions import Region


@dataclass(frozen=True)
class Block:
    """One block: per output, its region in the whole output and its samples there. An output may have none.

    The samples are the caller's: whoever writes to them changes no input, no later block and no other output.
    """

    regions: Named[Region]
    results: Named[Tensor]


def owned(results: Mapping[str, Tensor], held: Iterable[Tensor]) -> Named[Tensor]:
    """Results each in memory of its own, copied where it is that of another one or of something held: a net may give
    a view of its input."""
    taken = {_memory(x) for x in held}
    made = {}
    for name, x in results.items():
        folded = any(n > 1 and step == 0 for n, step in zip(x.shape, x.stride(), strict=True))
        if folded or _memory(x) in taken:
            x = x.clone()
        made[name] = x
        taken.add(_memory(x))
    return Named(made)


def _memory(x: Tensor) -> int:
    """What tensors that share memory have in common, those without any (fake ones) too."""
    return int(x.untyped_storage()._cdata)


def within(labels: tuple[str, ...], region: Region, origin: Region | None = None) -> tuple[slice, ...]:
    """The region as slices of a tensor with these labels, which begins at `origin`."""
    out = []
    for axis in labels:
        span = region.get(axis)
        if span is None:
            out.append(slice(None))
        else:
            start = origin[axis].start if origin is not None else 0
            out.append(slice(span.start - start, span.stop - start))
    return tuple(out)
