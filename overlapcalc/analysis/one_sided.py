"""A net that reads all that lies behind an output, and only so far ahead of it: along an axis on which it accumulates.

A running sum, a recurrent layer or causal attention is an obstacle to tiles: every output depends on the start of the
axis. But nothing of it lies ahead. So the net can run on what arrives, with a state, and how long it waits is finite.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from ..errors import ObstacleError
from ..propagate.grid import Grid
from ..propagate.values import Obstacle, reads_between
from .axis import AxisAnalysis, no_way
from .measures import NO_WINDOW, reach_of_one
from .variants import Variants


@dataclass(frozen=True, repr=False, eq=False)
class OneSidedAxis(AxisAnalysis):
    """What one output reads ahead of its own place of one input along an axis. There is no context, for all that lies
    before is read: asking for it, or for any other figure of AxisAnalysis that takes two sides, raises ObstacleError.

    ahead: the samples after its own place that the worst output reads. carried: the obstacles through whose state all
    that lies before is read.

    >>> class Total(nn.Module):
    ...     def forward(self, x):
    ...         return nn.functional.avg_pool1d(x, 3, 1, 1).cumsum(-1)
    >>> axis = oc.analyze(Total(), (1, 1, 64))["L"]
    >>> axis.look_ahead, axis.history, [obstacle.op for obstacle in axis.carried]
    (1, None, ['aten::cumsum'])
    """

    ahead: int
    carried: tuple[Obstacle, ...]

    @property
    def look_ahead(self) -> int:
        return self.ahead

    @property
    def history(self) -> None:
        """There is no limit: all samples before are read, through the state of what is in `carried`."""
        return

    def to_dict(self) -> dict[str, Any]:
        return {
            "scale": str(self.scale),
            "look_ahead": self.look_ahead,
            "history": self.history,
            "carried": sorted({obstacle.layer for obstacle in self.carried}),
        }

    def __getattribute__(self, name: str) -> Any:
        if name in TWO_SIDED:
            raise ObstacleError(no_way(self.output, self.input, self.axis, self.carried))
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr and f.name not in TWO_SIDED
        )
        return f"OneSidedAxis({shown})"


TWO_SIDED = frozenset(
    {"receptive_field", "reach", "context", "tile", "exact", "exact_before", "exact_after", "reads", "tile_span"}
)
"""What a net has on both sides or not at all."""


def one_sided_axis(variants: Variants, output: str, input: str, axis: str) -> OneSidedAxis | None:
    """How far ahead an output reads; None where that is not known, or where nothing is carried.

    variants: those of the net with states, `Variants.one_sided`.
    """
    net, node = variants.net, variants.output_node(output)
    reads = reads_between(net, node, input, axis)
    grid, size = Grid(net, axis), net.size(input, axis)
    if reads.via or not reads.carried or reads.reads is None or size is None:
        return None
    if net.size(node, axis) is None or not grid.same(node, input):
        return None
    reach = reach_of_one(reads.reads)
    step, out_step = grid.per_step(input), grid.per_step(node)
    if reach is None:
        return None
    return OneSidedAxis(
        axis=axis,
        output=output,
        input=input,
        size=size,
        out_size=net.size(node, axis),
        scale=Fraction(step, out_step),
        receptive_field=NO_WINDOW.receptive_field,
        reach=None,
        step=step,
        out_step=out_step,
        context=None,
        tile=None,
        exact=False,
        exact_before=False,
        exact_after=False,
        variants=variants,
        _reads=None,
        ahead=reach.after,
        carried=tuple(o for o in net.obstacles if o in reads.carried),
    )
