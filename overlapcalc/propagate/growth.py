"""How the tensors of a net get longer with every turn of a loop."""

from __future__ import annotations

from typing import NamedTuple


class OtherwiseError(Exception):
    """A loop that this does not follow."""


class Growth(NamedTuple):
    """A tensor that gets longer with every turn of a loop. place: along which dimension of its cells. by: how many
    samples. part: which of its parts that dimension is."""

    place: int
    by: int
    part: int
