"""Images that need not be tensors in memory: anything with shape, dtype and slicing (numpy's memmap, a zarr array)."""

from __future__ import annotations

import mmap
import os
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
    if any(step < 0 for step in getattr(part, "strides", ())):
        part = part.copy()  # type: ignore[union-attr]  # torch knows no steps backward
    copied = (part if isinstance(part, Tensor) else torch.tensor(part)).to(like)
    _give_back(image)
    return copied


def write(store: Any, place: Sequence[slice], result: Tensor) -> None:
    """Put a part where it belongs. Raises InputError where numbers would be cut to whole ones."""
    if result.is_floating_point() and not _holds_fractions(store):
        raise InputError(
            f"out holds {store.dtype}; the net gives {result.dtype}, which that would cut to whole numbers"
        )
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
    if not getattr(getattr(store, "flags", None), "writeable", True):
        raise InputError(f"out for {name} is read-only")
    if isinstance(store, Tensor) and any(
        n > 1 and step == 0 for n, step in zip(store.shape, store.stride(), strict=True)
    ):
        raise InputError(f"out for {name} is expanded: several of its samples are one place in memory")


def check_apart(image: Image, store: Any) -> None:
    """Raises InputError where an output would be written over an input that is still to be read.

    Tensors, arrays of numpy and mapped files are told apart; what other kinds of arrays share is not seen.
    """
    ours, theirs = _place(image), _place(store)
    same_memory = ours is not None and theirs is not None and ours[0] < theirs[1] and theirs[0] < ours[1]
    files = getattr(image, "filename", None), getattr(store, "filename", None)
    same_file = all(isinstance(file, (str, os.PathLike)) and os.path.exists(file) for file in files)
    if same_memory or (same_file and os.path.samefile(*files)):  # type: ignore[arg-type]
        raise InputError("out lies in the memory or the file of an input, which blocks still read; give another place")


def _place(image: Any) -> tuple[int, int] | None:
    """The first and the last address of what an image may hold; None where that is not known."""
    if isinstance(image, Tensor):
        if image.device.type == "meta" or not image.numel():
            return None
        reach = sum((n - 1) * step for n, step in zip(image.shape, image.stride(), strict=True))
        return image.data_ptr(), image.data_ptr() + (reach + 1) * image.element_size()
    interface = getattr(image, "__array_interface__", None)
    if not isinstance(interface, dict) or not image.size:
        return None
    start = int(interface["data"][0])
    ends = [(n - 1) * step for n, step in zip(image.shape, image.strides, strict=True)]
    return start + sum(e for e in ends if e < 0), start + sum(e for e in ends if e > 0) + image.itemsize


def _holds_fractions(store: Any) -> bool:
    if isinstance(store, Tensor):
        return store.is_floating_point() or store.is_complex()
    return getattr(getattr(store, "dtype", None), "kind", "f") not in "biu"
