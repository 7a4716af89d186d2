"""The result of a schedule: a block of the outputs, with its region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..analysis.named import Named
from ..propagate.regions import Region
from .slab.memory import memory


@dataclass(frozen=True)
class Block:
    """One block: per output, its region in the whole output and its samples there. An output may have none.

    The samples belong to the caller: writing to them changes no input, no later block and no other output.

    >>> net = nn.Conv1d(1, 1, 3, padding=1)
    >>> second = list(oc.blocks(net, torch.rand(1, 1, 32), block=8))[1]
    >>> second.regions["output"]["L"], second.results["output"].shape
    (Span(start=8, stop=16), torch.Size([1, 1, 8]))
    """

    regions: Named[Region]
    results: Named[Tensor]


def owned(results: Mapping[str, Tensor], held: Iterable[Tensor]) -> Named[Tensor]:
    """The results, each in memory of its own; copied where it shares that of another one or of something held: a net
    may return a view of its input."""
    taken = {memory(x) for x in held}
    made = {}
    for name, x in results.items():
        folded = any(n > 1 and step == 0 for n, step in zip(x.shape, x.stride(), strict=True))
        if folded or memory(x) in taken:
            x = x.clone()
        made[name] = x
        taken.add(memory(x))
    return Named(made)


def within(labels: tuple[str, ...], region: Region, origin: Region | None = None) -> tuple[slice, ...]:
    """The region as slices of a tensor with these labels, which begins at `origin`.

    >>> within(("", "", "W"), {"W": oc.Span(8, 16)}, {"W": oc.Span(6, 20)})
    (slice(None, None, None), slice(None, None, None), slice(2, 10, None))
    """
    out = []
    for axis in labels:
        span = region.get(axis)
        if span is None:
            out.append(slice(None))
        else:
            start = origin[axis].start if origin is not None else 0
            out.append(slice(span.start - start, span.stop - start))
    return tuple(out)
