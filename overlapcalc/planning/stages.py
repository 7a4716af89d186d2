"""When each stage of each cell is made, where outputs are fed back as inputs in several stages.

A stage makes one input, cell by cell, from outputs that may read what other stages made. Within a step, stages run one
after the other, each for all its cells of that step. So a cell may read, of the same step, what an earlier stage made,
and of earlier steps everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ..analysis.cone import Point, SizedCone
from ..errors import InputError
from .wavefront import Order, text_of

Place = tuple[int, int]
"""A stage, and the number of a cell in row-major order."""
RASTER, WAVEFRONT = "raster", "wavefront"
ORDERS = (WAVEFRONT, RASTER)


@dataclass(frozen=True)
class Reading:
    """An output of stage `stage` reads what stage `source` makes: at each cell, what `cone` says."""

    stage: int
    source: int
    cone: SizedCone


@dataclass(frozen=True)
class StagedOrder:
    """The step of every cell, for each stage. name: "wavefront" for the fewest steps, "raster" for one cell a step."""

    name: str
    cells: Point
    stages: tuple[Order, ...]

    @property
    def steps(self) -> int:
        """How many steps there are, whichever stages run in them."""
        return max(order.steps for order in self.stages)


def staged_order(name: str, readings: Sequence[Reading], cells: Point, stages: int) -> StagedOrder:
    """The order of that name. Raises InputError where cells wait for each other, or raster order reads what is not
    made."""
    number = {cell: i for i, cell in enumerate(product(*map(range, cells)))}
    needs = _needs(readings, number)
    if name == WAVEFRONT:
        times = _longest(needs, len(number), stages, readings, list(number))
    else:
        times = [list(range(len(number))) for _ in range(stages)]
        _check_raster(needs, readings, list(number))
    return StagedOrder(name, cells, tuple(Order(cells, tuple(own)) for own in times))


Needs = Mapping[Place, Sequence[tuple[Place, int]]]
"""What each place reads, and the index of the reading."""


def _needs(readings: Sequence[Reading], number: Mapping[Point, int]) -> Needs:
    found: dict[Place, list[tuple[Place, int]]] = {}
    for k, reading in enumerate(readings):
        for cell, i in number.items():
            read = [((reading.source, number[at]), k) for at in reading.cone.reads(cell)]
            if read:
                found.setdefault((reading.stage, i), []).extend(read)
    return found


def _longest(
    needs: Needs, count: int, stages: int, readings: Sequence[Reading], cells: Sequence[Point]
) -> list[list[int]]:
    """The longest way to each place. A way into a later stage may stay within a step."""
    times = [[0] * count for _ in range(stages)]
    waiting = {place: len(read) for place, read in needs.items()}
    readers: dict[Place, list[Place]] = {}
    for place, read in needs.items():
        for source, _ in read:
            readers.setdefault(source, []).append(place)
    ready = [(k, i) for k in range(stages) for i in range(count) if (k, i) not in waiting]
    while ready:
        k, i = ready.pop()
        for stage, j in readers.get((k, i), ()):
            times[stage][j] = max(times[stage][j], times[k][i] + (stage <= k))
            waiting[stage, j] -= 1
            if not waiting[stage, j]:
                del waiting[stage, j]
                ready.append((stage, j))
    if waiting:
        raise InputError(_cycle(needs, waiting, readings, cells))
    return times


def _cycle(needs: Needs, waiting: Mapping[Place, int], readings: Sequence[Reading], cells: Sequence[Point]) -> str:
    """One way round, in words."""
    place, seen, way = next(iter(sorted(waiting))), dict[Place, int](), list[tuple[Place, int]]()
    while place not in seen:
        seen[place] = len(way)
        source, k = next((source, k) for source, k in needs[place] if source in waiting)
        way.append((place, k))
        place = source
    parts = []
    for (at, k), (to, _) in zip(way[seen[place] :], [*way[seen[place] + 1 :], (place, 0)], strict=True):
        cone = readings[k].cone.cone
        tap = tuple(b - a for a, b in zip(cells[at[1]], cells[to[1]], strict=True))
        parts.append(f"{cone.output} at {cells[at[1]]} reads {cone.input} at {tap} from there")
    several = len({at[0] for at, _ in way[seen[place] :]}) > 1
    help = "mask one of these taps" + (", or let the stage that reads its own cell of the other run after it" * several)
    shown = "; ".join(parts[:4]) + ("; and so on" if len(parts) > 4 else "")
    return f"cells wait for each other, so none can be made first: {shown}; {help}"


def _check_raster(needs: Needs, readings: Sequence[Reading], cells: Sequence[Point]) -> None:
    for (stage, i), read in needs.items():
        for (source, j), k in read:
            if (j, source) >= (i, stage):
                cone = readings[k].cone.cone
                raise InputError(
                    f"not in raster order: {cone.output} at {cells[i]} of {text_of(readings[k].cone.cells)} reads "
                    f"{cone.input} at {cells[j]}, which is made later; take the order {WAVEFRONT}"
                )
