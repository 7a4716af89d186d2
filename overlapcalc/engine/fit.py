"""A net and inputs of any size -> its analysis at the size to which they are padded, and what is padded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..analysis.analysis import Analysis
from ..analysis.analyze import analyze, analyze_here
from ..analysis.fitting import Inputs, fitted
from ..analysis.inputs import asked_axes, module_inputs
from ..analysis.named import Named
from ..analysis.sizes import Runs
from ..analysis.trying import learned_shapes
from ..errors import Argument, InputError, OverlapcalcError, SizeError
from ..ops.graph import Shapes
from ..ops.layout import chosen
from ..planning.fixed_tiles import refuse_unfit
from ..planning.obstacles import variants_for
from ..planning.options import PASSES, Blocking, per_axis
from ..planning.padding import Padding, padding_of
from ..planning.strips import Cutter
from ..trace.trial import TrialResults, trial_results

Key = tuple[Shapes, tuple[torch.dtype, ...]]


@contextmanager
def offering_padding() -> Iterator[None]:
    """A net that does not run at the size of an image is refused with what would take it."""
    try:
        yield
    except SizeError as error:
        raise SizeError(*error.args, "; an image of any size can be padded, see ", Argument("pad_to_fit")) from error


class Fitter:
    """Makes inputs fit a net as it is now. What it has traced is used again for inputs of other sizes.

    Without tiles of one length, every axis is padded to the least length at which the net runs; with them, to the least
    one that such tiles cover: the tile's own, or whole steps of the net more.
    """

    def __init__(
        self,
        model: object,
        blocking: Blocking,
        *,
        axes: Sequence[str] | str | None = None,
        layout: str | Sequence[str | None] | None = None,
    ) -> None:
        assert blocking.pad_to_fit is not None
        if not isinstance(model, nn.Module):
            raise InputError(
                Argument("pad_to_fit"),
                ": an analysis or a saved program has its size already; give the module that it was made of",
            )
        self.model, self._blocking, self._mode = model, blocking, blocking.pad_to_fit
        self._axes, self._layout = axes, layout
        self._tiles: dict[Key, Analysis] = {}

    def fit(self, inputs: Any) -> tuple[Analysis, Padding]:
        """inputs: as for `overlapcalc.analyze`. Raises what that raises; InputError where they cannot be padded."""
        shapes, dtypes = module_inputs(self.model, inputs)
        results = trial_results(self.model, dtypes)
        analysis = self._near(shapes, dtypes, results)

        def longer(axis: str, times: int) -> Mapping[str, tuple[int, ...]] | None:
            there = Inputs(tuple(analysis.inputs.values()), chosen(self._layout, shapes))
            found = results(there.at({**there.longest, axis: times * there.longest[axis]}))
            leaves = analysis.variants.net.traced.leaves
            return {
                name: shape for name, shape in zip(leaves, found or (), strict=bool(found)) if name and shape
            } or None

        return analysis, padding_of(analysis, shapes, self._mode, longer, self._own(analysis, results(shapes)))

    @staticmethod
    def _own(analysis: Analysis, found: Sequence[tuple[int, ...] | None] | None) -> Named[tuple[int, ...]]:
        """The shapes of the outputs on the images as they are given, where the net runs on those."""
        leaves = analysis.variants.net.traced.leaves
        shapes = zip(leaves, found or (), strict=bool(found))
        return Named({name: shape for name, shape in shapes if name and shape})

    def near(self, inputs: Any) -> Analysis:
        """The analysis at the size to which these inputs would be padded, whether they can be or not."""
        shapes, dtypes = module_inputs(self.model, inputs)
        return self._near(shapes, dtypes, trial_results(self.model, dtypes))

    def _near(self, shapes: Shapes, dtypes: tuple[torch.dtype, ...], results: TrialResults) -> Analysis:
        together = Inputs(shapes, chosen(self._layout, shapes))

        def runs(at: Shapes) -> bool:
            return results(at) is not None

        if self._blocking.fixed_tile is None:
            return self._analysed(fitted(runs, together, likely=learned_shapes(self.model)), dtypes)
        tiles = self._tile_lengths(together)
        try:
            tile = fitted(runs, together, tiles)
        except InputError:
            self._refuse_tiles(runs, together, tiles, dtypes)
            raise
        return self._on_tiles(together, tile, dtypes, tiles)

    def _refuse_tiles(
        self, runs: Runs, together: Inputs, tiles: dict[str, int], dtypes: tuple[torch.dtype, ...]
    ) -> None:
        """Raises InputError with the lengths of tiles that work, where the net runs on longer ones."""
        try:
            longer = fitted(runs, Inputs(together.at({**together.least, **tiles}), together.layouts))
            one = self._analysed(longer, dtypes)
            cutters = {axis: Cutter(one.variants.net, axis) for axis in tiles}
        except OverlapcalcError:
            return  # then the lengths at which it runs at all must do
        for axis, length in tiles.items():
            refuse_unfit(cutters[axis], length)

    def _tile_lengths(self, together: Inputs) -> dict[str, int]:
        assert self._blocking.fixed_tile is not None
        axes = asked_axes(self._axes, together.shapes, together.layouts)
        return per_axis(axes, self._blocking.fixed_tile, "fixed_tile")

    def _on_tiles(
        self, together: Inputs, tile: Shapes, dtypes: tuple[torch.dtype, ...], tiles: dict[str, int]
    ) -> Analysis:
        """The analysis at the least size that tiles of these lengths cover."""
        if (tile, dtypes) not in self._tiles:
            self._tiles[tile, dtypes] = self._analysed(tile, dtypes)
        one = self._tiles[tile, dtypes]
        variants_for(one, "crop")  # refuses obstacles
        lengths = dict(Inputs(tile, together.layouts).longest)
        for axis, length in tiles.items():
            cutter = Cutter(one.variants.net, axis)
            refuse_unfit(cutter, length)
            step = max(cutter.grid.per_step(name) for name in cutter.inputs)
            lengths[axis] = length + step * -(-max(0, together.least[axis] - length) // step)
        return one.at(*together.at(lengths))

    def _analysed(self, shapes: Shapes, dtypes: tuple[torch.dtype, ...]) -> Analysis:
        given: Any = [
            torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        alone = self._blocking.named_schedule == PASSES  # they run at one size
        return (analyze_here if alone else analyze)(self.model, given, axes=self._axes, layout=self._layout)
