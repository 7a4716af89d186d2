"""The steps of views: cutting an axis into pieces, and joining the places within a piece into an axis again.

No net calls these by name; the propagator takes views apart into them (propagate/views.py). Their dimensions are the
parts of a tensor.
"""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ..call import Call
from ..facts import describe
from ..graph import CUT, JOIN, REGROUP
from ..kind import Masking
from ..law import Cause, DimRead, Evenness, Law, Link, Obstruction
from ..registry import rule
from ..slab import Slab, Tensor, on_slab


@rule(CUT, shown=False, sizes=("piece",))
def cut(call: Call) -> Law:
    """Place c of piece i is sample `i * piece + c`: one link per place, and a dimension of places after the axis."""
    d, piece, n = int(call["dim"]), int(call["piece"]), len(call.shapes[0])
    others = tuple(DimRead(s, s + (s > d), IndexMap.identity()) for s in range(n) if s != d)
    links = [
        Link(0, (*others, DimRead(d, d, IndexMap.taps([c], piece)), DimRead(None, d + 1, IndexMap.shift(-c))))
        for c in range(piece)
    ]
    other = "the net runs at no other size that was tried, which would show how"
    why = Obstruction(Cause.RESHAPE, f"cuts the axis into pieces of {piece}; {other}")
    return Law(tuple(links), by_size=why)


@rule(JOIN, shown=False, sizes=("piece",))
def join(call: Call) -> Law:
    """Sample o is place `o % piece` of piece `o // piece`. Where all places read the same, one link says so."""
    d, n = int(call["dim"]), len(call.shapes[0])
    piece = call.shapes[0][d + 1]
    others = tuple(DimRead(s, s - (s > d), IndexMap.identity()) for s in range(n) if s not in (d, d + 1))
    even = (*others, DimRead(d, d, IndexMap.repeat(piece)), DimRead(d + 1, None, None))
    links = [Link(0, even, only_for=Evenness.EVEN)]
    for c in range(piece):
        place = (DimRead(d, d, IndexMap.repeat(piece, c)), DimRead(d + 1, None, IndexMap.shift(c)))
        links.append(Link(0, (*others, *place), only_for=Evenness.UNEVEN))
    return Law(tuple(links))


@on_slab(CUT, REGROUP)
def parts_on_slab(slab: Slab) -> Tensor:
    """A region holds all places of its pieces, so what is fetched is whole pieces."""
    return slab.fetch().reshape(slab.shape)


@on_slab(JOIN)
def join_on_slab(slab: Slab) -> Tensor:
    d, piece = int(slab.call["dim"]), int(slab.call["piece"])
    pieces = slab.fetch()
    shape = list(pieces.shape)
    joined = pieces.reshape([*shape[:d], shape[d] * piece, *shape[d + 2 :]])
    return slab.kept(joined, d, slab.begins(0, d) * piece)


describe(CUT, JOIN, REGROUP, masking=Masking.MOVES)
