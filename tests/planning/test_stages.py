"""The order of stages and cells: against the longest path over random dependencies, written down twice."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

import networkx as nx
import pytest

from overlapcalc import InputError
from overlapcalc.planning.stages import RASTER, WAVEFRONT, Reading, staged_order


@dataclass
class Table:
    """Stands for a SizedCone: what each cell reads is given."""

    output: str
    input: str
    cells: tuple[int, ...]
    read: dict[tuple[int, ...], list[tuple[int, ...]]]

    @property
    def cone(self) -> Any:
        return SimpleNamespace(output=self.output, input=self.input)

    def reads(self, cell: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(self.read[cell])


def reading(stage: int, source: int, cells: tuple[int, ...], taps: list[tuple[int, ...]]) -> Reading:
    """The same taps at every cell, cut at the ends."""
    every = list(product(*map(range, cells)))
    read = {
        cell: [at for tap in taps if (at := tuple(i + d for i, d in zip(cell, tap, strict=True))) in set(every)]
        for cell in every
    }
    table: Any = Table(f"output{stage}", f"input{source}", cells, read)
    return Reading(stage, source, table)


def drawn(seed: int) -> tuple[tuple[int, ...], int, list[tuple[int, int, list[tuple[int, ...]]]]]:
    """Cells, stages, and for pairs of stages the taps. An earlier stage may be read anywhere."""
    draw = random.Random(seed)
    n, stages = draw.choice((1, 2, 2, 3)), draw.choice((1, 2, 3))
    cells = tuple(draw.randint(1, 5) for _ in range(n))
    box = list(product(range(-2, 3), repeat=n))
    before = [tap for tap in box if tap < (0,) * n]
    found = []
    for stage, source in product(range(stages), repeat=2):
        taps = box if source < stage and draw.random() < 0.3 else [*before, (0,) * n] if source < stage else before
        if draw.random() < 0.8:
            found.append((stage, source, draw.sample(taps, draw.randint(0, min(4, len(taps))))))
    return cells, stages, found


@pytest.mark.parametrize("seed", range(60))
def test_no_order_takes_fewer_steps(seed):
    cells, stages, found = drawn(seed)
    every = list(product(*map(range, cells)))
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(product(range(stages), every))
    for stage, source, taps in found:
        for cell, tap in product(every, taps):
            at = tuple(i + d for i, d in zip(cell, tap, strict=True))
            if at in every:
                graph.add_edge((source, at), (stage, cell), steps=int(source >= stage))
    readings = [reading(stage, source, cells, taps) for stage, source, taps in found]
    if not nx.is_directed_acyclic_graph(graph):
        with pytest.raises(InputError, match=r"cells wait for each other.*output\d at .* reads input\d at"):
            staged_order(WAVEFRONT, readings, cells, stages)
        return
    times: dict[tuple[int, tuple[int, ...]], int] = {}
    for place in nx.topological_sort(graph):
        times[place] = max((times[at] + data["steps"] for at, _, data in graph.in_edges(place, data=True)), default=0)
    order = staged_order(WAVEFRONT, readings, cells, stages)
    for k, own in enumerate(order.stages):
        assert dict(zip(every, own.times, strict=True)) == {cell: times[k, cell] for cell in every}
    assert order.steps == max(times.values()) + 1
    late = [(at, place) for at, place in graph.edges() if (at[1], at[0]) >= (place[1], place[0])]
    if late:
        with pytest.raises(InputError, match="not in raster order"):
            staged_order(RASTER, readings, cells, stages)
    else:
        assert staged_order(RASTER, readings, cells, stages).steps == len(every)


def test_a_circle_through_two_stages_is_named():
    readings = [reading(0, 1, (1, 4), [(0, 1)]), reading(1, 0, (1, 4), [(0, -1)])]
    said = r"output0 at \(0, 0\) reads input1 at \(0, 1\) from there; output1 at \(0, 1\) reads input0 at \(0, -1\)"
    with pytest.raises(InputError, match=said):
        staged_order(WAVEFRONT, readings, (1, 4), 2)
