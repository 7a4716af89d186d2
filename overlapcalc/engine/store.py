"""Images that need not be tensors in memory: anything with shape, dtype and slicing (numpy's memmap, a zarr array)."""

from __future__ import annotations

import contextlib
import importlib
import mmap
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import InputError, OverlapcalcError
from ..io.space import reserve
from .apart import places
from .holds import beyond
from .mapped import Piece


class Store(Protocol):
    """What can be sliced: reading gives arrays, writing takes them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, place: tuple[slice, ...]) -> Any: ...


Image = Tensor | Store


def type_of(image: Image) -> torch.dtype:
    """The torch type of its samples, in any byte order. Raises InputError."""
    if isinstance(image.dtype, torch.dtype):
        return image.dtype
    found = _torch_type(image.dtype)
    if found is None:
        raise InputError(f"an image of type {image.dtype}: torch has no such type; convert it, to float32 say")
    return found


def floating_first(images: Iterable[Image]) -> Image:
    """The first image of a floating type, which says in which type a net runs; of integers alone, the first."""
    listed = list(images)
    return next((x for x in listed if type_of(x).is_floating_point), listed[0])


def _torch_type(kind: Any) -> torch.dtype | None:
    """The torch type for a numpy type, or for what numpy accepts as one: `numpy.float32` itself, "<f4"."""
    found = getattr(torch, str(getattr(kind, "name", kind)).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) and isinstance(kind, (type, str)):
        with contextlib.suppress(ImportError, TypeError):
            found = getattr(torch, importlib.import_module("numpy").dtype(kind).name, None)
    return found if isinstance(found, torch.dtype) else None


def check(image: object, what: str) -> None:
    """Raises InputError for anything that is neither a tensor nor can be sliced."""
    if isinstance(image, Tensor) and image.is_nested:  # which may have no shape
        raise InputError(f"{what} is a tensor that is nested; expected a dense one, see torch.nested")
    missing = [name for name in ("shape", "dtype", "__getitem__") if not hasattr(image, name)]
    if not isinstance(image, Tensor) and missing:
        raise InputError(
            f"{what} is a {type(image).__name__}; expected a tensor, or an array with shape, dtype and slicing"
        )
    if isinstance(image, Tensor) and image.layout is not torch.strided:
        raise InputError(f"{what} is a tensor of layout {image.layout}; expected a dense one: see Tensor.to_dense()")
    if hasattr(image, "mask") and hasattr(image, "fill_value") and hasattr(image, "filled"):
        raise InputError(f"{what} is a masked array, and a net knows no masks; say what stands there: see filled()")
    shape: Any = image.shape  # type: ignore[attr-defined]
    if 0 in shape:
        raise InputError(f"{what} of shape {tuple(shape)}: it holds nothing; expected sizes of at least 1")


def whole_image(image: Image) -> Tensor:
    """All of an image, in memory. Raises InputError."""
    return read(image, tuple(slice(0, n) for n in image.shape), torch.device("cpu"))


def read(image: Image, place: Sequence[slice], like: torch.device) -> Tensor:
    """A part of an image: a view of a tensor, a copy of anything else. Raises InputError."""
    if isinstance(image, Tensor):
        return image[tuple(place)]
    wanted = tuple(len(range(*part.indices(n))) for part, n in zip(place, image.shape, strict=True))
    try:
        part = image[tuple(place)]
        copied = part.clone() if isinstance(part, Tensor) else _tensor(part)
    except (OverlapcalcError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a library raises
        raise InputError(f"an image cannot be read at {_text(place)}: {_reason(error)}") from error
    _give_back(image)
    if tuple(copied.shape) != wanted:
        raise InputError(f"an image gives {tuple(copied.shape)} at {_text(place)}; expected {wanted}")
    return copied.to(like, type_of(image))


def _tensor(part: Any) -> Tensor:
    """A copy of an array, in the byte order of this machine."""
    import numpy

    part = numpy.asarray(part)
    if part.dtype.kind == "V" and isinstance(found := getattr(torch, part.dtype.name, None), torch.dtype):
        raw = numpy.array(part, order="C").view(f"u{part.dtype.itemsize}")  # bfloat16 and the like, by ml_dtypes
        return torch.from_numpy(raw).view(found)
    return torch.from_numpy(numpy.array(part, part.dtype.newbyteorder("="), order="C"))


def write(store: Any, place: Sequence[slice], result: Tensor) -> None:
    """Write a part to its place. Raises InputError where that would change its values."""
    _check_holds(store, result)
    try:
        if isinstance(store, Tensor):
            store[tuple(place)] = result
            return
        result = result.detach().cpu().resolve_conj().resolve_neg()
        narrow = result.is_floating_point() and result.dtype.itemsize <= 2 and result.dtype is not torch.float16
        store[tuple(place)] = (result.float() if narrow else result).numpy()  # numpy has no bfloat16
    except (OverlapcalcError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a full disk, a library's own
        raise InputError(f"out cannot be written at {_text(place)}: {_reason(error)}") from error
    _give_back(store)


def _text(place: Sequence[slice]) -> str:
    return f"[{', '.join(':' if p == slice(None) else f'{p.start}:{p.stop}' for p in place)}]"


def _reason(error: Exception) -> str:
    """The first line of a library's message."""
    said = getattr(error, "strerror", None) or str(error)
    return (str(said).strip().splitlines() or [type(error).__name__])[0]


class Part:
    """A part of an image that is read by slices: a slice of it reads no more than that."""

    def __init__(self, image: Any, place: Sequence[slice]) -> None:
        self.image, self.dtype = image, image.dtype
        self._spans = [range(n)[part] for part, n in zip(place, image.shape, strict=True)]
        self.shape = tuple(map(len, self._spans))

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        found = [span[part] for span, part in zip(self._spans, place, strict=True)]
        return self.image[tuple(slice(span.start, span.stop, span.step) for span in found)]


def _give_back(store: Any) -> None:
    """Release pages of a mapped file that were read: the file has them. Not where changes are private."""
    store = store.image if isinstance(store, Part) else store
    mapped, mode = getattr(store, "_mmap", None), getattr(store, "mode", "c")
    if isinstance(mapped, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def check_out(store: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raises InputError where results cannot be written there."""
    if not hasattr(store, "__setitem__") or not hasattr(store, "shape"):
        raise InputError(f"out for {name} is a {type(store).__name__}; expected a tensor or an array that takes slices")
    if tuple(store.shape) != shape:
        raise InputError(f"out for {name} has the shape {tuple(store.shape)}; the net gives {shape}")
    if not getattr(getattr(store, "flags", None), "writeable", True) or getattr(store, "read_only", False) is True:
        raise InputError(f"out for {name} is read-only")
    if hasattr(store, "dtype"):
        _level_of(store.dtype, f"out for {name}")
    if isinstance(store, Tensor):
        check(store, f"out for {name}")
        if store.device.type == "meta":
            raise InputError(f"out for {name} is on the device meta, which keeps no samples")
    if _folded(store):
        raise InputError(f"out for {name} is expanded: several of its samples are one place in memory")
    for place in places(store):
        if isinstance(place, Piece) and place.shared and place.path is not None:
            _reserve(place, f"out for {name}")


def _reserve(place: Piece, called: str) -> None:
    """Fill the holes of a mapped file: on a full disk, the first block that falls into one would end the process."""
    assert place.path is not None
    try:
        with place.path.open("r+b") as file:
            reserve(file.fileno(), place.start, place.stop - place.start, place.path.parent, called)
    except OSError:
        return  # a file that cannot be opened again


def _folded(store: Any) -> bool:
    """Whether several samples share memory: a dimension's stride is less than the extent of one of its steps."""
    steps = store.stride() if isinstance(store, Tensor) else getattr(store, "strides", None)
    if not isinstance(steps, tuple) or len(steps) != len(store.shape):
        return False
    size = 1 if isinstance(store, Tensor) else store.itemsize
    reach = 0
    for step, n in sorted((abs(step), n) for step, n in zip(steps, store.shape, strict=True) if n > 1):
        if step < reach + size:
            return True
        reach += step * (n - 1)
    return False


# ---- types ---------------------------------------------------------------------------------------------------

LEVELS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
SAID = ("truth values", "whole numbers", "real numbers", "complex numbers")


def _check_holds(store: Any, result: Tensor) -> None:
    """Raises InputError where numbers would lose something: fractions, imaginary parts, or bits that do not fit."""
    if not hasattr(store, "dtype"):
        return
    there = _level_of(store.dtype, "out")
    if there < _level(result.dtype):
        cut = f"writing it there would cut it to {SAID[there]}"
        raise InputError(f"out holds {store.dtype}; the net gives {result.dtype}: {cut}")
    _check_range(store.dtype, result)
    if there == _level(result.dtype) == 1 and result.numel() and str(store.dtype) not in str(result.dtype):
        least, most = _bounds(store.dtype)
        lowest, highest = int(result.to(torch.int64).min()), int(result.to(torch.int64).max())
        if lowest < least or highest > most:
            raise InputError(
                f"out holds {store.dtype}, from {least} to {most}; the net gives {lowest} to {highest}: a wider type "
                "holds it"
            )


def _check_range(dtype: Any, result: Tensor) -> None:
    """Raises InputError where a number is out of the range of the store's floating type, or an integer is not exact in
    it. Fewer digits are fine: the user chose that type."""
    kind = dtype if isinstance(dtype, torch.dtype) else _torch_type(dtype)
    if kind is None or kind == result.dtype or not (kind.is_floating_point or kind.is_complex) or not result.numel():
        return
    wrong = beyond(result, kind)
    if bool(wrong.any()):
        raise InputError(
            f"out holds {dtype}; the net gives {result[wrong][0].item()!r}, which there is "
            f"{result[wrong][0].to(kind).item()!r}: a wider type holds it"
        )


def _level_of(dtype: Any, what: str) -> int:
    """The level of a type. Raises InputError for one that does not hold numbers."""
    found = LEVELS.get(str(getattr(dtype, "kind", None)))
    if found is not None:
        return found
    known = dtype if isinstance(dtype, torch.dtype) else _torch_type(dtype)
    if known is None:
        raise InputError(f"{what} holds {dtype}, which are no numbers; expected a floating type, such as float32")
    return _level(known)


def _level(dtype: torch.dtype) -> int:
    if dtype is torch.bool:
        return 0
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else 1


def _bounds(dtype: Any) -> tuple[int, int]:
    """The least and the greatest value of an integer type."""
    if not hasattr(dtype, "itemsize") or not hasattr(dtype, "kind"):
        found = torch.iinfo(dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype)))
        return int(found.min), int(found.max)
    bits = 8 * dtype.itemsize
    return (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
