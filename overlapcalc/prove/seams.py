"""`overlapcalc.error_curve`: run blocks on tiles shorter than the exact ones, and measure what that leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze
from ..analysis.called import Kwargs
from ..analysis.guess import guess_inputs
from ..analysis.measures import Sides
from ..analysis.named import Named
from ..engine import Machine
from ..errors import Argument, InputError, WrongTileError
from ..planning.options import Blocks
from ..planning.shorter import ShorterTiles
from ..stages import at_stage, noted
from .against_whole import TOLERANCE, by_blocks, said, whole
from .asked import as_asked
from .device import device_of
from .error_curve import ErrorCurve, ErrorPoint, SeamError
from .fillings import same_bits
from .kernel_settings import exact_kernels
from .nets import Nets
from .proof_image import images_of
from .spread import Spread
from .watch import Watching
from .widened import coarsest, rounding_allowed

MOST = 20
"""At most so many tiles are tried before the search for the one that is asked for."""
ONE_LEVEL = 1 / 255
"""One level of a picture of 8 bits, where 1 is white."""


def error_curve(
    model: nn.Module,
    inputs: Inputs | Analysis | None = None,
    *,
    kwargs: Kwargs = None,
    block: Blocks | None = None,
    below: float = ONE_LEVEL,
    device: torch.device | str = "cpu",
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    after: Callable[[], object] | None = None,
) -> ErrorCurve:
    """How wrong blocks are on tiles shorter than the exact ones, from none beside the block to the exact tile.

    inputs, kwargs: as for `analyze`; the values of tensors are used; for shapes, or an Analysis of this model, normal
    noise is drawn.
    block: as for `plan`; a quarter of the image, at most 256 samples, when absent. below: an absolute error; the
    shortest tile from which on all longer ones that are tried leave less is searched to a step (see
    `ErrorCurve.enough`). after: called after each tile length. Everything runs in float64, in eval mode, on a copy of
    the model.

    Tiles begin on the grid, and end where the image does. For a net with obstacles the exact tile is the whole image.

    What is found holds for these weights and this image; it is no bound. Raises InputError where a single block covers
    the image, ObstacleError where an obstacle leaves no grid of blocks, WrongTileError where the net runs on no shorter
    tile.

    >>> blur = nn.AvgPool1d(5, 1, 2)  # a fifth of the image lies on each of five taps
    >>> curve = oc.error_curve(blur, torch.ones(1, 1, 32), block=8, below=0.3)
    >>> [round(point.largest, 9) for point in curve.points], tuple(curve.enough.tile["L"])
    ([0.4, 0.2, 0.0], (1, 1))
    """
    if not isinstance(below, (int, float)) or not below > 0:
        raise InputError(Argument("below", below), ": expected a number above 0")
    where = device_of(device)
    given: Any
    model, inputs = as_asked(model, inputs, kwargs, axes, layout)
    if isinstance(inputs, Analysis):
        analysis, given = inputs, tuple(inputs.inputs.values())
    else:
        given = inputs if inputs is not None else guess_inputs(model, layout if isinstance(layout, str) else None)[0]
        analysis = analyze(model, given, axes=axes, layout=layout)
    leaves = [x for x in tree_leaves(given) if isinstance(x, Tensor)]
    if not all(bool(x.isfinite().all()) for x in leaves):
        raise InputError("an input holds NaN or infinity, which no difference can be measured to; give finite values")
    tiles = ShorterTiles(analysis, block)
    start = tiles.plan(tiles.whole)
    kinds = analysis.variants.runnable(tuple(analysis.inputs.values())).types
    nets = Nets(model, analysis.variants, start, images_of(given, analysis.inputs, kinds, where), where)
    with torch.no_grad(), exact_kernels():
        points, rounding = _Seams(nets, tiles, after).curve(float(below))
    listed = [given] if isinstance(given, Tensor) or not isinstance(given[0], (tuple, list, Tensor)) else list(given)
    return ErrorCurve(
        points=points,
        below=float(below),
        block={axis: tiles.block[axis] for axis in tiles.cut},
        count=start.count,
        inputs=analysis.inputs,
        drawn=tuple(name for name, x in zip(analysis.inputs, listed, strict=True) if not isinstance(x, Tensor)),
        device=str(where),
        whole=tiles.exact == tiles.whole,
        obstacles=analysis.obstacles,
        local=_local(analysis),
        rounding=rounding,
        rest=tiles.rest,
    )


class _Seams:
    """One net with its blocks, run on tiles of any length. Within `torch.no_grad()`."""

    def __init__(self, nets: Nets, tiles: ShorterTiles, after: Callable[[], object] | None) -> None:
        self._nets, self._tiles, self._after = nets, tiles, after
        nets.check()
        watching = Watching(Spread(), nets.inputs.values())
        with nets.widening(), watching:
            self._whole = whole(nets.wide, nets.plan, nets.inputs)
        narrowest = coarsest(watching.types) or torch.float64
        exact = torch.finfo(narrowest).eps <= torch.finfo(torch.float64).eps
        allowed = TOLERANCE if exact else rounding_allowed(narrowest)
        self._rounding = {name: allowed * _largest(y) for name, y in self._whole.items()}
        self._points: dict[tuple[tuple[int, int], ...], ErrorPoint] = {}

    def curve(self, below: float) -> tuple[tuple[ErrorPoint, ...], float]:
        """The points from the shortest tile to the exact one, and the largest difference that is rounding."""
        top, step = max(max(sides) for sides in self._tiles.exact.values()), self._tiles.step
        most = {count * step for count in spaced(-(-top // step))} | {top}
        if self._tiles.exact == self._tiles.whole:  # where it would be enough, if nothing looked at the whole image
            most.add(max(max(sides) for sides in self._tiles.local.values()))
        found = {n: self._at(n) for n in sorted(most)}
        shorter = [point for point in found.values() if point is not found[top]]
        if shorter and all(point.failure for point in shorter):
            raise WrongTileError(f"the net runs on no tile shorter than the exact one: {shorter[-1].failure}")
        low, high = _bracket(found, below)
        while high - low > step:
            middle = low + (high - low) // step // 2 * step
            found[middle] = self._at(middle)
            low, high = (low, middle) if found[middle].largest < below else (middle, high)
        order = [found[n] for n in sorted(found)]
        points = [point for i, point in enumerate(order) if not i or point is not order[i - 1]]
        return tuple(points), max(self._rounding.values(), default=0.0)

    def _at(self, most: int) -> ErrorPoint:
        """The error on tiles with at most so many samples on a side; those that are the same tiles are run once."""
        sides = self._tiles.within(most)
        key = tuple(sides.values())
        if key not in self._points:
            at_stage(f"running blocks on tiles with {most} samples around them")
            self._points[key] = noted("point", self._run(sides))
            if self._after is not None:
                self._after()
        return self._points[key]

    def _run(self, sides: Mapping[str, tuple[int, int]]) -> ErrorPoint:
        tile = {axis: Sides(*sides[axis]) for axis in self._tiles.cut}
        try:
            plan = self._tiles.plan(sides)
            with self._nets.widening():
                blocks = by_blocks(Machine(self._nets.wide, self._nets.traced, plan), self._nets.inputs)
        except InputError as error:
            return ErrorPoint(tile, Named({}), str(error))
        except (WrongTileError, RuntimeError, ValueError, IndexError, AssertionError) as error:
            return ErrorPoint(tile, Named({}), said(error))
        errors = {name: seam_error(y, blocks[name], self._rounding[name]) for name, y in self._whole.items()}
        return ErrorPoint(tile, Named(errors))


def _bracket(found: Mapping[int, ErrorPoint], below: float) -> tuple[int, int]:
    """The longest tile that leaves too much, and the next longer one that was tried: (0, 0) where none does, or all."""
    order = sorted(found)
    bad = [i for i, n in enumerate(order) if not found[n].largest < below]
    if not bad or bad[-1] == len(order) - 1:
        return 0, 0
    return order[bad[-1]], order[bad[-1] + 1]


def spaced(top: int) -> list[int]:
    """Numbers from 0 to `top`: all of them, or some twenty that grow like powers.

    >>> spaced(4), spaced(1000)
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 5, 7, 10, 15, 22, 32, 46, 68, 100, 147, 215, 316, 464, 681, 1000])
    """
    if top < MOST:
        return list(range(top + 1))
    grown = {round(top ** (k / (MOST - 2))) for k in range(MOST - 1)}
    return sorted({0, *grown, top})


def seam_error(whole: Tensor, blocks: Tensor, rounding: float) -> SeamError:
    """The figures of one output. rounding: the largest difference that does not count as one."""
    wide = torch.complex128 if whole.is_complex() else torch.float64
    y, z = whole.to(wide), blocks.to(wide)
    if not y.numel():
        return SeamError(0.0, 0.0, 0.0, 0.0)
    apart = torch.where(same_bits(whole, blocks), 0.0, (y - z).abs().nan_to_num(torch.inf, torch.inf))
    finite = torch.view_as_real(y).flatten() if y.is_complex() else y.flatten()
    finite = finite[finite.isfinite()]
    extent = float(finite.max() - finite.min()) if finite.numel() else 0.0
    differing = float((apart > rounding).double().mean())
    return SeamError(float(apart.max()), float(apart.square().mean().sqrt()), extent, differing)


def _largest(y: Tensor) -> float:
    finite = y[y.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _local(analysis: Analysis) -> dict[str, Sides]:
    """Beside obstacles: how far the worst output reaches, of all pairs, along each axis that has any."""
    found: dict[str, Sides] = {}
    for pair in analysis.pairs:
        for axis in pair.axes:
            here = pair.local[axis] if pair.obstacles(axis) else None
            if here is not None and here.reach is not None:
                so_far = found.get(axis, here.reach)
                found[axis] = Sides(max(so_far.before, here.reach.before), max(so_far.after, here.reach.after))
    return found
