"""One output against one input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import InputError, ObstacleError
from ..propagate.values import Obstacle, reads_between
from .axis import AxisAnalysis, axis_analysis, no_way
from .cone import Cone, cone_of
from .explain import Explanation, SideExplanation, explain_ahead, explain_axis, explain_obstacles
from .gc_pause import gc_paused
from .local import LocalPair, local_axis
from .one_sided import OneSidedAxis, one_sided_axis
from .variants import Variants


@dataclass(frozen=True)
class Pair:
    """One output against one input: `pair["W"]` is an AxisAnalysis, or raises ObstacleError. Where all that stands in
    the way reads nothing ahead, it is a OneSidedAxis, which says how far ahead an output reads.

    >>> oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)).between(output=0, input="input")["L"].context
    Sides(before=2, after=2)
    """

    output: str
    input: str
    axes: tuple[str, ...]
    _variants: Variants = field(repr=False, compare=False)

    def __getitem__(self, axis: str) -> AxisAnalysis:
        obstacles = self.obstacles(axis)
        if obstacles:
            one_sided = self.one_sided(axis)
            if one_sided is None:
                raise ObstacleError(no_way(self.output, self.input, axis, obstacles))
            return one_sided
        with gc_paused():
            return axis_analysis(self._variants, self.output, self.input, axis)

    def obstacles(self, axis: str) -> tuple[Obstacle, ...]:
        """The obstacles on this axis, in order of execution. Raises InputError where the input has no such axis.

        >>> pair = oc.analyze(nn.Softmax(dim=3), (1, 3, 32, 32)).between()
        >>> {axis: len(pair.obstacles(axis)) for axis in pair.axes}  # softmax sums over each whole row
        {'H': 0, 'W': 1}
        """
        if axis not in self.axes:
            raise InputError(
                f"input {self.input!r} has no axis {axis!r}; analysed axes: {', '.join(self.axes) or 'none'}"
            )
        via = reads_between(self._variants.net, self._variants.output_node(self.output), self.input, axis).via
        return tuple(o for o in self._variants.net.obstacles if o in via)

    def one_sided(self, axis: str) -> OneSidedAxis | None:
        """How far ahead the output reads, where what stands in the way reads all that lies behind, and nothing ahead: a
        running sum, a recurrent layer in one direction, causal attention. None where nothing stands in the way, or
        where something may read ahead without limit.

        >>> pair = oc.analyze(nn.LSTM(3, 4, batch_first=True), (1, 32, 3), layout="NLC").between(output=0)
        >>> pair.one_sided("L").look_ahead
        0
        """
        if not self.obstacles(axis) or self._variants.one_sided is None:
            return None
        with gc_paused():
            return one_sided_axis(self._variants.one_sided, self.output, self.input, axis)

    def explain(self, axis: str) -> Explanation:
        """Why the answer is what it is: what each layer adds, what sets the step and the tile; or each obstacle.

        >>> oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)).between().explain("L").before.total
        2
        """
        obstacles = self.obstacles(axis)
        net, node = self._variants.net, self._variants.output_node(self.output)
        if obstacles:
            return explain_obstacles(net, self.output, self.input, axis, obstacles)
        return explain_axis(net, node, self[axis])

    def explain_ahead(self, axis: str) -> SideExplanation | None:
        """What each layer adds to how far the output reads ahead, where it reads all that lies behind; None where
        `one_sided` is.

        >>> class Total(nn.Module):
        ...     def forward(self, x):
        ...         return nn.functional.avg_pool1d(x, 3, 1, 1).cumsum(-1)
        >>> found = oc.analyze(Total(), (1, 1, 64)).between().explain_ahead("L")
        >>> [(c.layer, int(c.adds)) for c in found.contributions if c.adds]
        [('avg_pool1d', 1)]
        """
        one_sided = self.one_sided(axis)
        if one_sided is None or self._variants.one_sided is None:
            return None
        variants = self._variants.one_sided
        return explain_ahead(variants.net, variants.output_node(self.output), one_sided)

    def cone(self, phase: Sequence[int] | None = None) -> Cone:
        """What a cell of the output reads of the input, over all axes at once. phase: of one sample of the cell only.

        Raises ObstacleError where an axis has an obstacle, InputError where the two do not move together.
        """
        for axis in self.axes:
            obstacles = self.obstacles(axis)
            if obstacles:
                raise ObstacleError(no_way(self.output, self.input, axis, obstacles))
        with gc_paused():
            return cone_of(self._variants, self.output, self.input, self.axes, phase)

    @cached_property
    def local(self) -> LocalPair:
        """What remains beside the obstacles: `pair.local["W"]` is a LocalAxis, or None where nothing does.

        >>> net = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.GroupNorm(2, 8))
        >>> oc.analyze(net, (1, 3, 32)).between().local["L"].receptive_field
        (3, 3)
        """
        net, node = self._variants.net, self._variants.output_node(self.output)
        found = {axis: local_axis(net, node, self.input, axis, self.output) for axis in self.axes}
        return LocalPair(self.output, self.input, found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)
