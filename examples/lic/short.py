"""Blocks with too little context, to see what that costs: crop by hand, with the edge of each tile blanked."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

import overlapcalc as oc


class Cut(NamedTuple):
    """Outputs of one block along an axis, the tile that the net is fed, and the part of it that is not blanked."""

    outputs: slice
    tile: slice
    kept: slice
    cropped: slice


@dataclass(frozen=True)
class Short:
    """Runs one net by blocks that lack samples of their context; every other net whole.

    before, after: how many samples of its input each block lacks on that side of both axes, at most all of its context.
    With 0 and 0 the tiles are those of overlapcalc, and the result is the net's. block: in samples of the picture.
    """

    net: nn.Module
    block: int
    before: int = 0
    after: int = 0

    def __call__(self, net: nn.Module, *inputs: Tensor, scale: int = 1) -> Tensor:
        with torch.no_grad():
            if net is not self.net:
                whole: Tensor = net(*inputs)
                return whole
            (x,) = inputs
            analysis = _analysis(net, tuple(x.shape), x.dtype)
            rows, columns = (self._cuts(analysis[axis], max(1, self.block // scale)) for axis in "HW")
            made: Tensor | None = None
            for high, wide in product(rows, columns):
                blank = torch.zeros_like(x)
                blank[..., high.kept, wide.kept] = x[..., high.kept, wide.kept]
                part = net(blank[..., high.tile, wide.tile])
                if made is None:
                    made = part.new_empty(x.shape[0], part.shape[1], rows[-1].outputs.stop, columns[-1].outputs.stop)
                made[..., high.outputs, wide.outputs] = part[..., high.cropped, wide.cropped]
            assert made is not None
            return made

    def _cuts(self, axis: oc.AxisAnalysis, block: int) -> list[Cut]:
        """The law: outputs [u * out_step, v * out_step) read [u * step - before, v * step + after)."""
        context, step, out_step, size = axis.context, axis.step, axis.out_step, axis.out_size
        if context is None or step is None or out_step is None or size is None:
            raise oc.InputError("the net cannot be run by blocks; a codec's transforms can")
        before, after = (
            max(0, own - less) for own, less in ((context.before, self.before), (context.after, self.after))
        )
        found, steps = [], max(1, block // max(step, out_step))
        for u in range(0, -(-size // out_step), steps):
            start, stop = u * out_step, min((u + steps) * out_step, size)
            tile = axis.tile_span(start, stop)
            kept = slice(max(0, u * step - before), min(axis.size, stop // out_step * step + after))
            first = start - tile.start // step * out_step
            outputs, cropped = slice(start, stop), slice(first, first + stop - start)
            found.append(Cut(outputs, slice(tile.start, tile.stop), kept, cropped))
        return found


@functools.lru_cache(maxsize=64)
def _analysis(net: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> oc.Analysis:
    return oc.analyze(net, torch.empty(shape, dtype=dtype))
