"""Operators that move samples without changing them, and those that add up samples that meet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call import Call
from .modular import mod
from .registry import twin

PLACES = frozenset({"indices", "index", "mask", "condition", "source_mask"})
"""Arguments that say which sample goes where."""

NUMBERS = frozenset({"value", "self", "other", "fill_value"})
"""Arguments that are samples, and may be a number."""

ADDING = frozenset({"col2im", "im2col_backward", "index_add", "scatter_add"})


@twin(
    "clone", "cat", "stack", "hstack", "vstack", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "pixel_shuffle",
    "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col", "col2im", "flip", "roll", "rot90",
    "repeat", "tile", "max_unpool2d", "max_unpool3d", "tril", "triu", "diag_embed", "where", "masked_fill",
    "masked_scatter", "select_scatter",
    "slice_scatter", "diagonal_scatter", "as_strided_scatter", "index_fill", "index_copy", "index_put",
    "_unsafe_index_put", "_index_put_impl", "index_add", "scatter", "scatter_add", "_unsafe_view",
    "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "_reshape_copy", "contiguous", "view_copy",
    "permute_copy", "expand_copy", "slice_copy", "split_copy", "unfold_copy", "lift_fresh_copy", "zero", "fill",
    "copy", "combinations", "meshgrid", "block_diag", "_pad_circular",
)  # fmt: skip
def moved(call: Call) -> Any:
    if call["reduce"] is not None:
        raise call.refused(f"combines samples by {call['reduce']!r}")
    if call.name in ("index", "_unsafe_index") and any(
        t.dtype in (torch.bool, torch.uint8) and call.is_data(t) for t in _tensors(call["indices"])
    ):
        raise call.refused("picks as many samples as the data says")
    samples = [t for name, v in call.values.items() if name not in PLACES for t in _floating(v)]
    numbers = [v for name, v in call.values.items() if name in NUMBERS and isinstance(v, float)]
    floating = bool(samples or numbers)

    def change(name: str, value: Any) -> Any:
        if name in PLACES or not floating:
            return value
        if isinstance(value, Tensor):
            return call.residues_of(value)
        if name in NUMBERS and isinstance(value, (int, float)):
            return call.number(value)
        if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
            return [call.residues_of(v) for v in value]
        return value

    try:
        result = _played(call, change)
    except IndexError as error:
        raise call.refused(f"takes a residue for an index ({error})") from error
    if floating and (call.name in ADDING or call["accumulate"]):
        alpha = call.factor("alpha")
        if alpha != 1:
            raise call.refused("adds with alpha, which has no twin here")
        result = mod(result)
    return result


@twin("_assert_tensor_metadata", "_assert_async")
def unchecked(call: Call) -> None:
    """What a net asserts about its values and their type does not hold for residues, and changes no result."""


def _floating(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    return [t for t in value if isinstance(t, Tensor) and t.is_floating_point()] if isinstance(value, list) else []


def _played(call: Call, change: Any) -> Any:
    """On the CPU where data says which sample goes where: there an index out of range is an error, not a crash."""
    places = [t for name in PLACES for t in _tensors(call[name])]
    if all(t.dtype == torch.bool or t.device.type == "cpu" or not call.is_data(t) for t in places):
        return call.replayed(change)
    device = places[0].device

    def on_cpu(name: str, value: Any) -> Any:
        new = change(name, value)
        if isinstance(new, Tensor):
            return new.cpu()
        return [t.cpu() if isinstance(t, Tensor) else t for t in new] if isinstance(new, list) else new

    return call.replayed(on_cpu).to(device)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, (list, tuple)):
        return [t for t in value if isinstance(t, Tensor)]
    return [value] if isinstance(value, Tensor) else []
