"""What a transform needs, by the papers and by overlapcalc, as a row of a table. Every figure is of both axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

import overlapcalc as oc

from .recurrences import Chain, kim

HEADS = ("field", "scale", "recurrences", "ours", "ours, tile")


def overlap_row(net: nn.Module, shape: Sequence[int], chain: Chain | None) -> tuple[str, ...]:
    """Receptive field, scale, the overlap by the published recurrences, the exact context, and what a tile of the
    unmodified net takes. Raises ObstacleError, and ValueError where the axes differ or ours is a bound."""
    found = oc.analyze(net, tuple(shape))
    w, h = found["W"], found["H"]
    if w.context is None or w.scale is None or w.receptive_field is None or w.tile is None:
        raise ValueError("the transform reads nothing of its input: it has no overlap to list")
    if (w.context, w.tile, w.receptive_field, w.scale) != (h.context, h.tile, h.receptive_field, h.scale):
        raise ValueError("the transform is another one along H than along W; list the axes apart")
    if not w.exact:
        raise ValueError("the context is a bound; it cannot be listed as exact")
    low, high = w.receptive_field
    field = str(low) if low == high else f"{low}-{high}"
    theirs = "" if chain is None else _sides(kim(chain))
    return field, str(w.scale), theirs, _sides(w.context), _sides(w.tile)


def _sides(sides: Iterable[int]) -> str:
    return ", ".join(map(str, sides))
