"""Images that need not be tensors in memory: anything with shape, dtype and slicing (numpy's memmap, a zarr array)."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import InputError


class Store(Protocol):
    """What can be sliced: reading gives arrays, writing takes them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, place: tuple[slice, ...]) -> Any: ...


Image = Tensor | Store


def type_of(image: Image) -> torch.dtype:
    """The type of torch that its samples have. Raises InputError."""
    if isinstance(image, Tensor):
        return image.dtype
    found = getattr(torch, str(getattr(image.dtype, "name", image.dtype)), None)
    if not isinstance(found, torch.dtype):
        raise InputError(f"an image of type {image.dtype}: torch has no such type")
    return found


def check(image: object, what: str) -> None:
    """Raises InputError for what is neither a tensor nor can be sliced."""
    missing = [name for name in ("shape", "dtype", "__getitem__") if not hasattr(image, name)]
    if not isinstance(image, Tensor) and missing:
        raise InputError(
            f"{what} is a {type(image).__name__}; expected a tensor, or an array with shape, dtype and slicing"
        )


def read(image: Image, place: Sequence[slice], like: torch.device) -> Tensor:
    """A part of an image: a view of a tensor, a copy of what lies elsewhere."""
    if isinstance(image, Tensor):
        return image[tuple(place)]
    part = image[tuple(place)]
    copied = (part if isinstance(part, Tensor) else torch.tensor(part)).to(like)
    _give_back(image)
    return copied


def write(store: Any, place: Sequence[slice], result: Tensor) -> None:
    """Put a part where it belongs."""
    if isinstance(store, Tensor):
        store[tuple(place)] = result
    else:
        store[tuple(place)] = result.detach().cpu().numpy()
        _give_back(store)


def _give_back(store: Any) -> None:
    """Pages of a mapped file that were looked at need not stay: the file has them. Not where changes are private."""
    mapped, mode = getattr(store, "_mmap", None), getattr(store, "mode", "c")
    if isinstance(mapped, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def check_out(store: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raises InputError where results cannot be written there."""
    if not hasattr(store, "__setitem__") or not hasattr(store, "shape"):
        raise InputError(f"out for {name} is a {type(store).__name__}; expected a tensor or an array that takes slices")
    if tuple(store.shape) != shape:
        raise InputError(f"out for {name} has the shape {tuple(store.shape)}; the net gives {shape}")
