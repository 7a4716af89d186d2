"""The algebra against sets of integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlapcalc.algebra.index_map import IndexMap
from overlapcalc.algebra.spans import EMPTY, Span, Spans
from overlapcalc.ops.border import Border

SETS = st.sets(st.integers(-6, 6), max_size=5)


@st.composite
def maps(draw: st.DrawFn) -> IndexMap:
    period, advance = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return IndexMap(period, advance, tuple(Spans.points(draw(SETS)) for _ in range(period)))


def real(m: IndexMap, o: int) -> set[int]:
    return set(m[o].indices())


@given(maps(), st.integers(-20, 20), st.integers(-3, 3))
def test_law_of_a_map(m, o, turns):
    assert real(m, o + turns * m.period) == {i + turns * m.advance for i in real(m, o)}


@given(maps(), maps(), st.integers(-20, 20))
def test_composition(outer, inner, o):
    assert real(outer @ inner, o) == {i for j in real(outer, o) for i in real(inner, j)}
    assert outer.hull_after(inner.hulls()) == (outer @ inner).hulls()


@given(maps(), maps(), maps(), st.integers(-9, 9))
def test_composition_is_associative(a, b, c, o):
    assert real((a @ b) @ c, o) == real(a @ (b @ c), o)


@given(maps(), SETS, st.integers(-9, 9))
def test_union(a, offsets, o):
    b = IndexMap(a.period, a.advance, (Spans.points(offsets),) * a.period)
    assert real(a | b, o) == real(a, o) | real(b, o)


@given(maps(), st.integers(-12, 12), st.integers(1, 12))
def test_reads_and_over(m, start, length):
    found = {i for o in range(start, start + length) for i in real(m, o)}
    assert set(m.over(Spans.span(start, start + length)).indices()) == found
    assert m.reads(start, start + length) == (Span(min(found), max(found) + 1) if found else None)


@given(maps(), st.integers(2, 3))
def test_equal_maps_are_equal_however_written(m, times):
    longer = IndexMap(m.period * times, m.advance * times, tuple(m[o] for o in range(m.period * times)))
    assert longer == m
    assert hash(longer) == hash(m)
    assert longer.reduced().period <= m.period


def test_different_maps_differ():
    assert IndexMap.window(3, padding=1) != IndexMap.window(3)
    assert IndexMap.repeat(2) != IndexMap.identity()
    assert IndexMap.window(2, 2) != IndexMap.window(2)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 5), st.integers(1, 3), st.integers(-9, 9))
def test_windows(kernel, stride, padding, dilation, o):
    m = IndexMap.window(kernel, stride, padding, dilation)
    assert real(m, o) == {stride * o - padding + dilation * t for t in range(kernel)}


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 5), st.integers(1, 3), st.integers(-9, 9))
def test_transposed(kernel, stride, padding, dilation, o):
    m = IndexMap.transposed(range(kernel), stride, padding, dilation)
    assert real(m, o) == {j for j in range(-40, 41) for t in range(kernel) if o == stride * j - padding + dilation * t}


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 5), st.integers(-9, 9))
def test_transposed_closed_form(kernel, stride, padding, o):
    """The span of design.md: [ceil((o+p-k+1)/s), floor((o+p)/s)]."""
    low, high = -(-(o + padding - kernel + 1) // stride), (o + padding) // stride
    assert real(IndexMap.transposed(range(kernel), stride, padding), o) == set(range(low, high + 1))


@given(SETS, st.integers(4, 9))
def test_borders(indices, size):
    reads = Spans.points(i for i in indices if -size < i < 2 * size - 1)
    wanted = set(reads.indices())
    assert set(Border.CONSTANT.fold(reads, size)[0].indices()) == {i for i in wanted if 0 <= i < size}
    assert set(Border.REPLICATE.fold(reads, size)[0].indices()) == {min(max(i, 0), size - 1) for i in wanted}
    mirrored = {-i if i < 0 else 2 * (size - 1) - i if i >= size else i for i in wanted}
    assert set(Border.REFLECT.fold(reads, size)[0].indices()) == mirrored


def test_nothing_is_none_and_not_an_empty_span():
    with pytest.raises(ValueError, match="None for nothing"):
        Span(3, 3)
    assert IndexMap(1, 1, (EMPTY,)).reads(0, 5) is None
    with pytest.raises(ValueError, match="no union"):
        IndexMap.window(1, 2) | IndexMap.identity()
    with pytest.raises(ValueError, match="period"):
        IndexMap(2, 1, (EMPTY,))
