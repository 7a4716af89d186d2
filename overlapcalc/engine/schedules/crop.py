"""The schedule `crop`: the unmodified net on a tile, with the middle of its output kept. The definition of "tile"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_flatten

from ...analysis.named import Named
from ...errors import InputError, OverlapcalcError, WrongTileError
from ...planning.plan import Cell, Plan
from ...trace.lowering import KEPT_OUTSIDE
from ..block import Block, owned, within
from ..stateful import marks, refuse_memory
from ..store import Image, read

Net = Callable[..., Any]


def cropped(
    net: Net,
    plan: Plan,
    inputs: Mapping[str, Image],
    device: torch.device,
    *,
    watched: nn.Module | None = None,
) -> Iterator[Block]:
    """Run `net` on the tile of every block, in order. Raises WrongTileError.

    watched: the module behind `net`. Where the first tile leaves a trace in it, that tile is run again: a net that
    returns something else the second time counts or remembers, and is refused.
    """
    for i, cell in enumerate(plan.cells()):
        before = marks(watched) if watched is not None and not i and plan.count > 1 else None
        outputs = dict(zip(plan.outputs, run_tile(net, plan, inputs, cell, device), strict=True))
        if watched is not None and before is not None and marks(watched) != before:
            refuse_memory(outputs, dict(zip(plan.outputs, run_tile(net, plan, inputs, cell, device), strict=True)))
        regions, results = {}, {}
        for name in plan.outputs:
            region = plan.region(cell, name)
            if region is not None:
                place = within(plan.labels[name], region, plan.given(cell, name))
                regions[name], results[name] = region, outputs[name][place]
        yield Block(Named(regions), owned(results, (x for x in inputs.values() if isinstance(x, Tensor))))
        del outputs, results  # before the next tile is run, or two would be held


def run_tile(net: Net, plan: Plan, inputs: Mapping[str, Image], cell: Cell, device: torch.device) -> list[Tensor]:
    """The net's outputs on the tile of a block, each of the size that the plan says."""
    tiles = []
    for name, x in inputs.items():
        tile = read(x, within(plan.labels[name], plan.tile(cell, name)), device)
        tiles.append(packed(tile, like=x) if isinstance(x, Tensor) else tile)
    try:
        leaves = tree_flatten(net(*tiles))[0]
    except (OverlapcalcError, torch.OutOfMemoryError, MemoryError):
        raise
    except NotImplementedError as error:  # a missing kernel, which no trace on shapes shows
        types = ", ".join(str(tile.dtype) for tile in tiles)
        raise InputError(f"the net does not run on {types}: {str(error).splitlines()[0]}; convert the input") from error
    except Exception as error:
        sizes = ", ".join("x".join(map(str, tile.shape)) for tile in tiles)
        text = (str(error).splitlines() or [""])[0]
        raise WrongTileError(f"the net fails on a tile of {sizes} ({type(error).__name__}: {text})") from error
    if any(isinstance(leaf, FakeTensor) for leaf in leaves):
        raise InputError(KEPT_OUTSIDE)
    if len(leaves) != len(plan.leaves):
        raise WrongTileError(f"the net returns {len(leaves)} values on a tile, {len(plan.leaves)} on the whole image")
    if any(name == "" and leaf is not None for name, leaf in zip(plan.leaves, leaves, strict=True)):
        raise WrongTileError("the net returns a value on a tile where it returns None on the whole image")
    named = {name: leaf for name, leaf in zip(plan.leaves, leaves, strict=True) if name}
    for name, shape in plan.outputs.items():
        given = plan.given(cell, name)
        wanted = tuple(
            given[axis].length if axis in given else n for n, axis in zip(shape, plan.labels[name], strict=True)
        )
        if tuple(named[name].shape) != wanted:
            raise WrongTileError(f"{name} has the shape {tuple(named[name].shape)} on a tile, not {wanted}")
    return [named[name] for name in plan.outputs]


def packed(tile: Tensor, *, like: Tensor) -> Tensor:
    """A tile as a tensor of its own, with the image's memory order.

    Always a copy: a net may write to its input, and the next tile reads some of the same samples.
    """
    strides = like.stride()
    order = sorted(range(like.dim()), key=lambda d: -strides[d])
    back = sorted(range(like.dim()), key=lambda i: order[i])
    return tile.permute(order).clone(memory_format=torch.contiguous_format).permute(back)
