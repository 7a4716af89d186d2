"""The images of proofs: by default the smallest that has a block at every border and one inside, and normal noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..algebra.spans import Spans
from ..analysis.analysis import Analysis
from ..analysis.tile_check import Cut, shapes_after
from ..errors import TraceError
from ..planning.obstacles import runs_at_size_only
from ..planning.options import Blocking
from ..planning.strips import Cutter
from ..propagate.backward import interior
from ..propagate.grid import Grid

LEAST = 8
"""A block of the proof image has at least this many samples on the finer side."""
STEPS = (1, 3, 5, 7, 11)


def proof_block(analysis: Analysis) -> dict[str, int]:
    """The smallest whole block of at least LEAST samples, per axis, in samples of the finer side.

    An odd number of steps, never a power of two: an operator whose grid is 2, 4 or 8 times what its rule says would
    look right on blocks that all start on multiples of 8.
    """
    found = {}
    for axis in analysis.axes:
        cutter = Cutter(analysis.variants.net, axis)
        found[axis] = cutter.finest * next(n for n in STEPS if n * cutter.finest >= LEAST)
    return found


def proof_shapes(analysis: Analysis, block: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
    """Input shapes with three or more blocks per axis, one of them on a tile without a real border.

    They have the residue of the analysed shapes modulo the step. Where the net does not run there, they are larger;
    where it runs at no other size, they are the analysed shapes.
    """
    net = analysis.variants.net
    wanted: dict[str, int] = {}
    for axis in analysis.axes:
        cutter, grid = Cutter(net, axis), Grid(net, axis)
        steps = cutter.whole_steps(block.get(axis, LEAST))
        before = after = 0
        for node in cutter.outputs.values():
            found = interior(net, node, axis, Spans.span(0, grid.per_step(node)))
            first, end = grid.interior(found, node)
            before, after = max(before, first), max(after, cutter.steps - end)
        wanted[axis] = before + after + 2 + 3 * steps
    for times in (1, 2, 4, 8):
        cuts = {}
        for axis, steps in wanted.items():
            cutter = Cutter(net, axis)
            cuts[axis] = Cut(cutter.steps - times * steps, cutter.like)
        shapes = shapes_after(net, cuts)
        try:
            analysis.variants.retrace(shapes, False)
        except TraceError:
            continue
        return shapes
    return tuple(net.graph[name].shape for name in net.graph.inputs)


def images_of(
    given: Any, shapes: Mapping[str, tuple[int, ...]], kinds: Sequence[torch.dtype], where: torch.device
) -> dict[str, Tensor]:
    """The inputs of the runs, one for each of these types: the given tensors, or normal noise."""
    listed = [given] if isinstance(given, Tensor) else list(given)
    found: dict[str, Tensor] = {}
    for i, (name, shape) in enumerate(shapes.items()):
        x = listed[i] if i < len(listed) else None
        if not isinstance(x, Tensor):
            noise = torch.Generator().manual_seed(i)
            x = torch.randn(shape, generator=noise, dtype=torch.float64, device="cpu")
        found[name] = x.to(device=where, dtype=kinds[i] if x.is_floating_point() else x.dtype)
    return found


def sized(blocking: Blocking, analysis: Analysis) -> Blocking:
    """With blocks for a proof, if none are given: the smallest on the grid; for trim and stream, of an arbitrary
    length."""
    if blocking.block is not None:
        return blocking
    if runs_at_size_only(analysis):
        return replace(blocking, block=LEAST - 1)
    sizes = proof_block(analysis)
    return replace(blocking, block=sizes if blocking.schedule == "crop" else max(5, min(sizes.values()) - 1))


def banded(blocking: Blocking, analysis: Analysis) -> Blocking:
    """With bands for a proof, if none are given: a few of an odd length."""
    if blocking.block is not None:
        return blocking
    net = analysis.variants.net
    longest = max(net.size(name, axis) or 0 for name in net.graph.order for axis in analysis.axes)
    return replace(blocking, block=max(1, longest // 4 - 1))
