"""The answers: scale, grid, receptive field, context, tile, reads - per pair of output and input, per axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..ops.graph import Shapes
from ..propagate.grid import Grid
from ..propagate.values import Obstacle, Propagation
from ..stages import at_stage
from .axis import AxisAnalysis
from .cone import Cone
from .explain import Explanation
from .features import frontier
from .gc_pause import gc_paused
from .layers import LayerRow, layer_rows
from .local import Local
from .named import Named, choose
from .pair import Pair
from .plain import plain
from .runs import Classed, Runs, running
from .shapes import as_shape
from .variants import Variants


@dataclass(frozen=True)
class AxisGrid:
    """The joint grid of one axis: shifting every input by its `step` shifts every output by its `out_step`.

    >>> oc.analyze(nn.Conv1d(3, 8, 5, stride=2, padding=2), (1, 3, 32)).grid["L"]
    AxisGrid(step={'input': 2}, out_step={'output': 1})
    """

    step: Named[int]
    out_step: Named[int]


@dataclass(frozen=True)
class Analysis:
    """What a net needs, at one size: the frozen result of `overlapcalc.analyze`.

    inputs, outputs: names and shapes. axes: the axes asked for. size_verified: a second trace at a larger size
    agreed; verified_at: its input shapes. variants: the layer graph with what every tensor reads, `variants.net`, and
    access to the same net at other sizes, for plans, runs and proofs.

    >>> a = oc.analyze(nn.Conv2d(3, 8, 5, padding=2), (1, 3, 32, 32))
    >>> a["W"].context, a.blocking_free, a.outputs
    (Sides(before=2, after=2), True, {'output': (1, 8, 32, 32)})
    """

    inputs: Named[tuple[int, ...]]
    outputs: Named[tuple[int, ...]]
    axes: tuple[str, ...]
    size_verified: bool
    verified_at: tuple[tuple[int, ...], ...] | None
    variants: Variants = field(repr=False, compare=False)

    # ---- asking -------------------------------------------------------------------------------------------

    def __getitem__(self, axis: str) -> AxisAnalysis:
        """The only output against the only input. Raises AmbiguousPair, ObstacleError, InputError."""
        return self.between()[axis]

    def between(self, output: int | str | None = None, input: int | str | None = None) -> Pair:
        """One output against one input, each by index or name; None means the only one.

        Raises AmbiguousPair for None where there are several, InputError for one that does not exist.

        >>> a = oc.analyze(nn.MaxPool1d(3, stride=1, padding=1, return_indices=True), (1, 3, 32))  # returns two tensors
        >>> a.between(output=0)["L"].context, a.between("output1").input
        (Sides(before=1, after=1), 'input')
        """
        return self._pair(choose(self.outputs, output, "output"), choose(self.inputs, input, "input"))

    def explain(self, axis: str) -> Explanation:
        """Why the answer for the only output against the only input is what it is.

        >>> a = oc.analyze(nn.Sequential(nn.Conv1d(3, 8, 5, padding=2), nn.Conv1d(8, 8, 3, padding=1)), (1, 3, 32))
        >>> [(c.layer, int(c.adds)) for c in a.explain("L").before.contributions]  # together the 3 that it needs before
        [('output', 0), ('1', 1), ('0', 2)]
        """
        return self.between().explain(axis)

    def cone(
        self, output: int | str | None = None, input: int | str | None = None, *, phase: Sequence[int] | None = None
    ) -> Cone:
        """What a cell of an output reads of an input, over all axes at once; see Pair.cone."""
        return self.between(output, input).cone(phase)

    def at(self, *shapes: Sequence[int]) -> Analysis:
        """The same net for other input shapes, one per input; sizes that were traced before are not traced again.

        Raises what `analyze` raises.

        >>> a = oc.analyze(nn.Conv1d(3, 8, 5, stride=2, padding=2), (1, 3, 32))
        >>> a.outputs, a.at((1, 3, 64)).outputs
        ({'output': (1, 8, 16)}, {'output': (1, 8, 32)})
        """
        wanted = tuple(map(as_shape, shapes))
        own = tuple(self.inputs.values())
        if [len(shape) for shape in wanted] != [len(shape) for shape in own]:
            raise InputError(f"shapes {wanted}: expected one for each input, as in {own}")
        if wanted == own:
            return self
        variants, verified_at = self.variants.moved(wanted)
        return Analysis.of(variants, self.axes, verified_at)

    @staticmethod
    def of(variants: Variants, axes: tuple[str, ...], verified_at: Shapes | None) -> Analysis:
        """The answers for a net along these axes.

        >>> a = oc.analyze(nn.Conv2d(3, 8, 5, padding=2), (1, 3, 32, 32))
        >>> list(Analysis.of(a.variants, ("W",), a.verified_at).grid)
        ['W']
        """
        graph = variants.net.graph
        return Analysis(
            inputs=Named({name: graph[name].shape for name in graph.inputs}),
            outputs=Named({shown: graph[node].shape for shown, node in graph.outputs}),
            axes=axes,
            size_verified=verified_at is not None,
            verified_at=verified_at,
            variants=variants,
        )

    @cached_property
    def local(self) -> Local:
        """What remains beside the obstacles: `a.local["W"]`, or `a.local.between(output=0, input="x")["W"]`.

        A net whose global part only scales or shifts a feature map (squeeze-and-excitation, group norm) cannot run by
        blocks as it is; with the global part held fixed, this is its window.

        >>> net = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.GroupNorm(2, 8))
        >>> oc.analyze(net, (1, 3, 32)).local["L"].context
        Sides(before=1, after=1)
        """
        return Local(self)

    @cached_property
    def features(self) -> Analysis:
        """The part before the obstacles: an Analysis whose outputs are its last tensors, named by their layers.

        The net itself where there are no obstacles; no outputs where every path begins with one. The grid is that of
        this part alone.

        >>> net = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.AdaptiveAvgPool1d(1))
        >>> oc.analyze(net, (1, 3, 32)).features.outputs
        {'0': (1, 8, 32)}
        """
        if self.blocking_free or not self.outputs:
            return self
        at_stage("looking for the part before the obstacles")
        variants, verified_at = self.variants.cut(frontier(self._net, self.axes))
        part = Analysis.of(variants, self.axes, verified_at)
        return part.features  # compared at other sizes on its own, it may show obstacles that the whole did not

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every output against every input; inputs vary fastest.

        >>> a = oc.analyze(nn.MaxPool1d(3, return_indices=True), (1, 3, 32))  # returns two tensors
        >>> [(pair.output, pair.input) for pair in a.pairs]
        [('output0', 'input'), ('output1', 'input')]
        """
        return tuple(self._pair(o, i) for o in self.outputs for i in self.inputs)

    @cached_property
    def blocking_free(self) -> bool:
        """No obstacle between any output and any input on any requested axis.

        >>> oc.analyze(nn.InstanceNorm1d(3), (1, 3, 32)).blocking_free
        False
        """
        return bool(self.outputs) and not any(pair.obstacles(axis) for pair in self.pairs for axis in pair.axes)

    @cached_property
    def obstacles(self) -> tuple[Obstacle, ...]:
        """All obstacles between any output and any input on the requested axes, in order of execution.

        >>> [(o.layer, o.cause) for o in oc.analyze(nn.AdaptiveAvgPool1d(1), (1, 3, 32)).obstacles]
        [('adaptive_avg_pool1d', 'global')]
        """
        found = {o for pair in self.pairs for axis in pair.axes for o in pair.obstacles(axis)}
        return tuple(o for o in self._net.obstacles if o in found)

    @cached_property
    def classes(self) -> tuple[Classed, ...]:
        """The operators that are not local, and what each is on an axis: local at a size, a reduction, a scan, whole,
        or impossible (see runs.py).

        >>> [(c.op, c.axis, c.kind) for c in oc.analyze(nn.Softmax(dim=2), (1, 3, 32)).classes]
        [('aten::softmax', 'L', 'reduction')]
        """
        return tuple(found for one in self._running.values() for found in one[1])

    @cached_property
    def runs(self) -> Mapping[str, Runs]:
        """What runs this net exactly when it is cut along an axis: tiles, regions, passes, or nothing and why.

        >>> oc.analyze(nn.Softmax(dim=2), (1, 3, 32)).runs["L"]
        Runs(axis='L', how='passes', passes=2, why='', state=())
        """
        return {axis: one[0] for axis, one in self._running.items()}

    @cached_property
    def longest_axis(self) -> str:
        """The axis of the most samples, along which streams and passes go where none is named.

        >>> oc.analyze(nn.Conv2d(3, 8, 5, padding=2), (1, 3, 32, 48)).longest_axis
        'W'
        """
        sizes = {axis: max(self._net.size(name, axis) or 0 for name in self.inputs) for axis in self.axes}
        return max(self.axes, key=lambda axis: sizes[axis])

    @cached_property
    def _running(self) -> Mapping[str, tuple[Runs, tuple[Classed, ...]]]:
        at_stage("looking for what runs it")
        with gc_paused():
            return {axis: running(self._net, axis, self.obstacles, self._bounded_ahead) for axis in self.axes}

    def _bounded_ahead(self, axis: str) -> bool:
        pairs = [pair for pair in self.pairs if axis in pair.axes and pair.obstacles(axis)]
        return all(pair.one_sided(axis) is not None for pair in pairs)

    @cached_property
    def layouts(self) -> Named[str]:
        """The layout of each input.

        >>> oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32)).layouts
        {'input': 'NCL'}
        """
        return Named({name: self._net.graph[name].letters for name in self.inputs})

    @property
    def fixed(self) -> Mapping[str, Any]:
        """What forward was given besides tensors, by name: numbers, texts, None. It is part of the net.

        >>> net = nn.Sequential()
        >>> net.forward = lambda x, scale: nn.functional.interpolate(x, scale_factor=scale)
        >>> a = oc.analyze(net, ((1, 3, 32), 2))
        >>> a.fixed, a.outputs
        ({'scale': 2}, {'output': (1, 3, 64)})
        """
        return self._net.traced.fixed

    @cached_property
    def layers(self) -> tuple[LayerRow, ...]:
        """The rows of the table, in order of execution.

        >>> [row.name for row in oc.analyze(nn.Sequential(nn.ReLU(), nn.Conv1d(3, 8, 5)), (1, 3, 32)).layers]
        ['1']
        """
        at_stage("making the table of layers")
        with gc_paused():
            return layer_rows(self._net, self.axes)

    @cached_property
    def grid(self) -> Mapping[str, AxisGrid]:
        """Per axis, the joint grid of all inputs and outputs that have it.

        >>> oc.analyze(nn.Upsample(scale_factor=2), (1, 3, 32)).grid["L"]  # one sample of the input makes two
        AxisGrid(step={'input': 1}, out_step={'output': 2})
        """
        out = {}
        for axis in self.axes:
            grid = Grid(self._net, axis)
            steps = {n: grid.per_step(n) for n in self.inputs if self._net.size(n, axis) is not None}
            outs = {
                shown: grid.per_step(node)
                for shown, node in self._net.graph.outputs
                if self._net.size(node, axis) is not None
            }
            out[axis] = AxisGrid(Named(steps), Named(outs))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; fractions as "1/16".

        >>> a = oc.analyze(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32))
        >>> a.to_dict()["pairs"][0]["axes"]["L"]["context"]
        {'before': 2, 'after': 2, 'total': 4}
        """
        return plain(self)

    # ---- inside -------------------------------------------------------------------------------------------

    def _pair(self, output: str, input: str) -> Pair:
        axes = tuple(a for a in self.axes if self._net.size(input, a) is not None)
        return Pair(output, input, axes, self.variants)

    @property
    def _net(self) -> Propagation:
        return self.variants.net
