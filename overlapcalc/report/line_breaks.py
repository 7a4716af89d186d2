"""Words in narrow columns: names of layers break after their dots, text at its spaces, neither within a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

BROKEN = 10
"""A break within a word counts as much as this many more lines."""
NARROWEST = 5


def broken(text: str, width: int, *, dots: bool) -> list[str]:
    """Lines of at most `width` letters. A part that is wider breaks after an underscore, or anywhere.

    >>> broken("encoder.blocks.0.conv", 15, dots=True)
    ['encoder.blocks.', '0.conv']
    """
    return _broken(text, width, dots)[0]


def _broken(text: str, width: int, dots: bool) -> tuple[list[str], int]:
    """The lines, and how many words are broken."""
    out, torn = [""], 0
    for part in re.findall(r"[^. ]*[. ]+|[^. ]+" if dots else r"[^ ]* +|[^ ]+", text):
        if len(part.rstrip()) <= width:
            pieces = [part]
        else:
            words = re.findall(r"[^_]*_+|[^_]+", part)
            torn += sum(len(word.rstrip()) > width for word in words)
            pieces = [word[i : i + width] for word in words for i in range(0, len(word), width)]
        for piece in pieces:
            if out[-1] and len(out[-1]) + len(piece.rstrip()) > width:
                out.append("")
            out[-1] += piece
    return [line.rstrip() for line in out], torn


def fitted(columns: Sequence[tuple[Sequence[str], bool]], room: int) -> tuple[int, ...]:
    """Widths for columns of words that together take at most `room`, so that the rows need the fewest lines.

    columns: the words of every row, and whether they break at dots.
    """
    widest = [max((len(word) for word in words), default=0) for words, _ in columns]
    if sum(widest) <= room:
        return tuple(widest)
    least = max(1, min(NARROWEST, room // len(columns)))
    choices = [range(min(least, w), w + 1) for w in widest]
    cost = [
        [_lines(words, dots, width) for width in choice] for (words, dots), choice in zip(columns, choices, strict=True)
    ]
    best: tuple[int, tuple[int, ...]] | None = None
    for firsts in product(*choices[:-1]):
        last = min(widest[-1], room - sum(firsts))
        if last not in choices[-1]:
            continue
        widths = (*firsts, last)
        places = [w - choice.start for w, choice in zip(widths, choices, strict=True)]
        lines = sum(map(max, *(c[p][0] for c, p in zip(cost, places, strict=True))))
        torn = sum(c[p][1] for c, p in zip(cost, places, strict=True))
        found = (lines + BROKEN * torn, tuple(-w for w in widths))
        best = found if best is None or found < best else best
    return tuple(-w for w in best[1]) if best else (least,) * len(columns)


def _lines(words: Sequence[str], dots: bool, width: int) -> tuple[list[int], int]:
    found = [_broken(word, width, dots) for word in words]
    return [len(lines) for lines, _ in found], sum(torn for _, torn in found)
