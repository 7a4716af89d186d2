"""Why the answer is what it is: what each layer adds to a side of the context, what sets the step and the tile.

Every tensor lies on the joint grid: sample s of a tensor that moves r samples while the input moves `step` covers
`[s*step/r, (s+1)*step/r)` of the input. The path leads from a block of outputs `[0, out_step)` back to the first input
sample that it reads, and a layer's contribution is how far the left edge moves to the left from the layer's sample to
the operand's sample that it reads (for the last input sample: the right edge, to the right). The path starts at the
edge of the block and ends at the edge of the extreme input sample, so the contributions sum to `before` (to `after`):
the sum telescopes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from ..propagate.critical_path import critical_path
from ..propagate.grid import Grid
from ..propagate.values import Obstacle, Propagation
from .attributes import Called, detail
from .axis import AxisAnalysis
from .measures import Sides
from .reasons import Blame, StepReason, TileReason, blame, step_reasons, tile_reasons

BLOCK = "block"
"""The `op` of the first contribution: from the edge of the block to the output sample that reads the farthest."""


@dataclass(frozen=True)
class Contribution(Called):
    """What one layer adds to a side: its `sample` reads sample `reads` of `operand`, `adds` input samples farther.

    layer, op, detail, source: as in the table. others: operands of this layer that reach as far. tied: whether
    another operand or sample does, so that the sum could be split differently. The first entry is the block
    itself (op "block"): its edge sample, and the output sample that reads the farthest.

    >>> c = oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)).explain("L").before.contributions[-1]
    >>> c.op, c.sample, c.reads, c.adds
    ('aten::conv1d', 0, -2, Fraction(2, 1))
    """

    sample: int
    operand: str
    reads: int
    adds: Fraction
    others: tuple[str, ...] = ()
    tied: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "sample": self.sample,
            "operand": self.operand,
            "reads": self.reads,
            "adds": str(self.adds),
            "others": list(self.others),
            "tied": self.tied,
        }


@dataclass(frozen=True)
class SideExplanation:
    """One side of the context: `total == sum(c.adds for c in contributions)`, from the output back to the input.

    sample: the extreme input sample, read by the block `[0, out_step)`. exact: it is really read; otherwise the
    total is a bound.
    """

    side: str
    total: int
    exact: bool
    sample: int
    contributions: tuple[Contribution, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "total": self.total,
            "exact": self.exact,
            "sample": self.sample,
            "contributions": [c.to_dict() for c in self.contributions],
        }


@dataclass(frozen=True)
class Explanation:
    """Why one output needs what it needs of one input, along one axis.

    before, after: the sides of the context, None where nothing is read or there are obstacles. step_reasons: the
    layers that together set the step. tile, tile_reasons: per side, the tensor that must exist.
    obstacles: with the source line's text and the path from the input.

    >>> net = nn.Sequential(nn.Conv1d(3, 8, 5, stride=2, padding=2), nn.Conv1d(8, 8, 3, padding=1))
    >>> e = oc.analyze(net, (1, 3, 32)).explain("L")
    >>> [(c.layer, str(c.adds)) for c in e.before.contributions], e.before.total  # the contributions sum exactly
    ([('output', '0'), ('1', '2'), ('0', '2')], 4)
    """

    axis: str
    output: str
    input: str
    step: int | None = None
    out_step: int | None = None
    before: SideExplanation | None = None
    after: SideExplanation | None = None
    step_reasons: tuple[StepReason, ...] = ()
    tile: Sides | None = None
    tile_reasons: tuple[TileReason, ...] = ()
    obstacles: tuple[Blame, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "axis": self.axis,
            "output": self.output,
            "input": self.input,
            "step": self.step,
            "out_step": self.out_step,
            "before": None if self.before is None else self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            "step_reasons": [r.to_dict() for r in self.step_reasons],
            "tile": None if self.tile is None else self.tile.to_dict(),
            "tile_reasons": [r.to_dict() for r in self.tile_reasons],
            "obstacles": [b.to_dict() for b in self.obstacles],
        }


def explain_obstacles(
    net: Propagation, output: str, input: str, axis: str, obstacles: tuple[Obstacle, ...]
) -> Explanation:
    """The explanation of a refusal."""
    return Explanation(axis, output, input, obstacles=tuple(blame(net, o, (input, axis)) for o in obstacles))


def explain_axis(net: Propagation, node: str, answer: AxisAnalysis) -> Explanation:
    """The explanation of an answer; `node` is the node of the output."""
    axis, inp = answer.axis, answer.input
    grid = Grid(net, axis)
    return Explanation(
        axis=axis,
        output=answer.output,
        input=inp,
        step=answer.step,
        out_step=answer.out_step,
        before=_side(net, node, answer, after=False),
        after=_side(net, node, answer, after=True),
        step_reasons=step_reasons(net, grid, inp, axis),
        tile=answer.tile,
        tile_reasons=tile_reasons(net, grid, node, inp, axis) if answer.tile is not None else (),
    )


def explain_ahead(net: Propagation, node: str, answer: AxisAnalysis) -> SideExplanation | None:
    """What each layer adds to how far a net reads ahead that reads all that lies behind. net: with states."""
    return _way(net, node, answer, None, after=True, exact=False)


def _side(net: Propagation, node: str, answer: AxisAnalysis, *, after: bool) -> SideExplanation | None:
    if answer.context is None:
        return None
    total, exact = tuple(answer.context)[after], answer.exact_after if after else answer.exact_before
    return _way(net, node, answer, total, after=after, exact=exact)


def _way(
    net: Propagation, node: str, answer: AxisAnalysis, total: int | None, *, after: bool, exact: bool
) -> SideExplanation | None:
    """The way to the extreme sample. total: None for what the layers on it add up to."""
    if answer.out_step is None:
        return None
    slot = (answer.input, answer.axis)
    found = critical_path(net, node, slot, range(answer.out_step), after=after, sure=exact)
    if found is None:
        return None
    way = found.hops
    grid = Grid(net, answer.axis)
    scales = [Fraction(answer.step, grid.per_step(f.node)) for f in way]
    edges = [(f.sample + after) * scale for f, scale in zip(way, scales, strict=True)]
    sign = 1 if after else -1
    start = answer.out_step - 1 if after else 0
    first = way[0]
    parts = [
        Contribution(
            layer=answer.output,
            op=BLOCK,
            detail={"size": answer.out_step},
            source="",
            sample=start,
            operand=net.names[first.node],
            reads=first.sample,
            adds=sign * (edges[0] - (answer.step if after else 0)),
            tied=found.tied,
        )
    ]
    for k, (here, read) in enumerate(pairwise(way)):
        op = net.graph[here.node]
        parts.append(
            Contribution(
                layer=net.names[here.node],
                op=op.called,
                detail=detail(op),
                source=op.source,
                sample=here.sample,
                operand=net.names[read.node],
                reads=read.sample,
                adds=sign * (edges[k + 1] - edges[k]),
                others=tuple(net.names[o] for o in here.others),
                tied=here.tied,
            )
        )
    total = int(sum(part.adds for part in parts)) if total is None else total
    return SideExplanation("after" if after else "before", total, exact, way[-1].sample, tuple(parts))
