"""What remains beside the obstacles: the window of a net whose global part is held fixed.

Squeeze-and-excitation, group norm and the like scale and shift a feature map by statistics of the whole image. That is
an obstacle; but with these statistics given (computed once over the whole, say), what is left of the net is local,
and this is its window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..algebra.index_map import IndexMap
from ..algebra.spans import Span
from ..errors import InputError
from ..propagate.grid import Grid
from ..propagate.values import Obstacle, Propagation, Reads, reach_between
from .axis import check_span
from .measures import Sides, window_of

if TYPE_CHECKING:
    from .analysis import Analysis


@dataclass(frozen=True)
class LocalAxis:
    """What one output reads of one input along one axis, with everything that comes through an obstacle held fixed.

    The figures mean what they mean in AxisAnalysis. beside: the obstacles. There is no tile: fed a tile, the
    unmodified net would compute its global part from the tile.

    >>> net = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv1d(8, 8, 3, padding=1))
    >>> local = oc.analyze(net, (1, 3, 32)).local["L"]
    >>> local.context, [obstacle.layer for obstacle in local.beside]
    (Sides(before=2, after=2), ['1'])
    """

    axis: str
    output: str
    input: str
    scale: Fraction
    receptive_field: tuple[int, int]
    reach: Sides | None
    step: int
    out_step: int
    context: Sides | None
    exact: bool
    exact_before: bool
    exact_after: bool
    beside: tuple[Obstacle, ...]
    _reads: IndexMap = field(repr=False, compare=False)

    def reads(self, start: int, stop: int) -> Span | None:
        """The span from the first to the last sample that the local part of outputs `[start, stop)` reads.

        The law of the interior, for any integers, not clipped. Raises InputError for an empty span.

        >>> net = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.GroupNorm(2, 8))
        >>> print(oc.analyze(net, (1, 3, 32)).local["L"].reads(8, 16))
        [7, 17)
        """
        check_span(start, stop)
        return self._reads.reads(start, stop)

    def to_dict(self) -> dict[str, Any]:
        return {
            "scale": str(self.scale),
            "receptive_field": list(self.receptive_field),
            "reach": None if self.reach is None else self.reach.to_dict(),
            "step": self.step,
            "out_step": self.out_step,
            "context": None if self.context is None else self.context.to_dict(),
            "exact": self.exact,
            "exact_before": self.exact_before,
            "exact_after": self.exact_after,
            "beside": sorted({o.layer for o in self.beside}),
        }


@dataclass(frozen=True)
class LocalPair(Mapping[str, "LocalAxis | None"]):
    """One output against one input: axis -> LocalAxis, None where nothing local remains."""

    output: str
    input: str
    axes: Mapping[str, LocalAxis | None]

    def __getitem__(self, axis: str) -> LocalAxis | None:
        if axis not in self.axes:
            raise InputError(
                f"input {self.input!r} has no axis {axis!r}; analysed axes: {', '.join(self.axes) or 'none'}"
            )
        return self.axes[axis]

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)

    def __len__(self) -> int:
        return len(self.axes)


@dataclass(frozen=True)
class Local:
    """What remains of each pair beside its obstacles."""

    _of: Analysis = field(repr=False, compare=False)

    def __getitem__(self, axis: str) -> LocalAxis | None:
        """The only output against the only input; None where nothing local remains."""
        return self.between()[axis]

    def between(self, output: int | str | None = None, input: int | str | None = None) -> LocalPair:
        """One output against one input, each by index or name; None means the only one."""
        return self._of.between(output, input).local

    @property
    def pairs(self) -> tuple[LocalPair, ...]:
        return tuple(pair.local for pair in self._of.pairs)


def local_axis(net: Propagation, output: str, input: str, axis: str, shown: str) -> LocalAxis | None:
    """What is left of node `output`, shown as `shown`, without what comes through obstacles."""
    reach = reach_between(net, output, input, axis)
    grid = Grid(net, axis)
    if reach.reads is None or net.size(output, axis) is None or not grid.same(output, input):
        return None
    step, out_step = grid.per_step(input), grid.per_step(output)
    window = window_of(reach.reads, reach.sure if _certain(net, output, reach) else None, step, out_step)
    return LocalAxis(
        axis=axis,
        output=shown,
        input=input,
        scale=Fraction(step, out_step),
        receptive_field=window.receptive_field,
        reach=window.reach,
        step=step,
        out_step=out_step,
        context=window.context,
        exact=window.exact,
        exact_before=window.exact_before,
        exact_after=window.exact_after,
        beside=tuple(o for o in net.obstacles if o in reach.via),
        _reads=reach.reads,
    )


def _certain(net: Propagation, output: str, reach: Reads) -> bool:
    """Whether what seems to be read beside obstacles is certainly read.

    A path that reads nothing along one axis reads nothing at all; behind an obstacle on that axis this is not
    followed. Where every operator on the way reads something for each of its outputs, the question does not arise.
    """
    if not reach.via:
        return True
    before = net.graph.before(output) | {output}
    paths = (path for name in before for path in net.values[name].paths)
    return all(all(step.reads.phases) for path in paths for step in path.steps.values())
