"""What lies beyond the ends of an operand."""

from __future__ import annotations

from enum import Enum

from ..algebra.spans import EMPTY, Pair, Spans


class Border(str, Enum):
    """What lies beyond the ends of an operand: nothing (or constants), its end samples, or its mirror image, without
    the end sample or (symmetric) with it."""

    CONSTANT = "constant"
    REPLICATE = "replicate"
    REFLECT = "reflect"
    SYMMETRIC = "symmetric"

    @property
    def mirrors(self) -> bool:
        return self in (Border.REFLECT, Border.SYMMETRIC)

    def fold(self, reads: Spans, size: int) -> tuple[Spans, bool, bool]:
        """The samples of `[0, size)` that `reads` comes down to, and whether it crosses the first end, the last end.

        >>> Border.REFLECT.fold(Spans.span(-2, 1), 8)  # positions -2 and -1 are samples 2 and 1
        (Spans(parts=((0, 3),)), True, False)
        >>> Border.CONSTANT.fold(Spans.span(-2, 1), 8)
        (Spans(parts=((0, 1),)), True, False)
        >>> Border.SYMMETRIC.fold(Spans.span(6, 11), 8)  # positions 8, 9 and 10 are samples 7, 6 and 5
        (Spans(parts=((5, 8),)), False, True)
        """
        if not reads.parts:
            return EMPTY, False, False
        left, right = reads.parts[0][0] < 0, reads.parts[-1][1] > size
        if not (left or right):
            return reads, False, False
        inside = reads.clip(0, size)
        if self is Border.CONSTANT:
            return inside, left, right
        extra: list[Pair] = []
        if self is Border.REPLICATE:
            extra += [(0, 1)] if left else []
            extra += [(size - 1, size)] if right else []
        else:
            by = 1 if self is Border.REFLECT else 0
            # position -p holds sample p, and size-1+p holds size-1-p; with the end sample, their neighbours
            for a, b in reads.parts:
                if a < 0:
                    extra.append((by - min(b, 0), by - a))
                if b > size:
                    extra.append((2 * size - by - b, 2 * size - by - max(a, size)))
        return Spans.of([*inside.parts, *extra]), left, right
