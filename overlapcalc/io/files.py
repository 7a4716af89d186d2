"""Image files and weights: .npy and .zarr by slices, pictures whole. What is written appears when it is complete."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from ..errors import Argument, InputError
from .atomic import PLAIN, Door, FileKind, begins, free_place, unfinished
from .npy import NpyFile, npy_fault
from .space import check_space

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARRAYS = (".npy", ".zarr")
EXTRA = "pip install overlapcalc[files]"
IN_ZARR = re.compile(r"c|(c[./])?\d+([./]\d+)*|zarr\.json|\.z(array|attrs)|.*\.partial")
"""Names in the directory of an array: its chunks, their metadata, and what a killed writer left."""


def _is_zarr_array(path: Path) -> bool:
    """An array and nothing else: a group, or a file that somebody put beside the chunks, is more than an array."""
    description = path / "zarr.json"
    if description.is_file():
        with contextlib.suppress(ValueError):
            if json.loads(description.read_bytes()).get("node_type") != "array":
                return False
    elif not (path / ".zarray").is_file():
        return False
    return all(
        IN_ZARR.fullmatch(name) for _, folders, files in os.walk(path, followlinks=False) for name in (*folders, *files)
    )


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"  # not sound or video
    if head[:2] == b"BM":
        return head[6:10] == bytes(4)
    return head.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


KINDS = {
    ".npy": begins("a .npy file", b"\x93NUMPY"),
    ".zarr": FileKind("a zarr array", _is_zarr_array, folder=True),
    **dict.fromkeys(PICTURES, FileKind("a picture", _is_picture)),
}
"""Suffix -> the kind that is written, and so the kind that may be replaced."""


class Typed:
    """An array as another floating type, converted slice by slice, with extra dimensions put before its own.

    stored: the name of the type that it is converted from, "" if it already has the other type. lead: the number of
    dimensions put before its own.
    """

    def __init__(self, array: Any, dtype: torch.dtype, lead: int) -> None:
        self._array, self.lead, self.dtype = array, lead, dtype
        self.shape = (*(1,) * self.lead, *array.shape)
        stored = str(array.dtype)
        self.stored = "" if stored == str(dtype).removeprefix("torch.") else stored
        self._read = array_type(dtype)
        self._mmap, self.mode = getattr(array, "_mmap", None), getattr(array, "mode", None)  # see engine/store.py

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        part = self._array[tuple(place[self.lead :])]
        return part.astype(self._read).reshape((*(1,) * self.lead, *part.shape))


def array_type(dtype: torch.dtype) -> Any:
    """The numpy type for a torch type: float32 for those that numpy does not have, such as bfloat16.

    >>> array_type(torch.bfloat16).name, array_type(torch.float16).name
    ('float32', 'float16')
    """
    name = str(dtype).removeprefix("torch.")
    return _module("numpy").dtype(name if name in ("float16", "float32", "float64") else "float32")


def read_image(path: Path, dtype: torch.dtype, dims: int | None = None) -> Any:
    """An input for `overlapcalc.run`, of a floating type: channels first, a batch of one where the file has none.

    dims: the number of dimensions of the net's input; an array may lack the batch, or batch and channels.
    .npy and .zarr are read by slices. Pictures are read whole; 0 to 255, or to 65535, become 0 to 1. Raises InputError.
    """
    given = Argument("in", path)
    if not path.exists():
        raise InputError(given, ": there is no such file")
    name, kind = str(dtype).removeprefix("torch."), path.suffix.lower()
    if kind not in KINDS:
        raise InputError(given, f": expected one of {', '.join((*ARRAYS, *PICTURES))}")
    try:
        if kind == ".npy":
            found = _module("numpy").load(path, mmap_mode="r")
        elif kind == ".zarr":
            found = _module("zarr").open(str(path), mode="r")
        else:
            return _picture(path, given).to(dtype)
    except InputError:
        raise
    except Exception as error:  # libraries raise many unrelated types for a bad file
        reason = (npy_fault(path) if kind == ".npy" else "") or _first_line(error)
        raise InputError(given, f": it cannot be read as {kind}: {reason}") from error
    if not hasattr(found, "ndim"):
        raise InputError(given, f": expected one array, it holds a {type(found).__name__.lower()}")
    if found.dtype.kind != "f":
        raise InputError(given, f": expected an array of floating numbers, it holds {found.dtype}")
    if 0 in found.shape:
        raise InputError(given, f": an array of shape {tuple(found.shape)} holds nothing")
    lead = 0 if dims is None else max(0, dims - found.ndim)
    if lead > 2:
        raise InputError(given, f": an array of {found.ndim} dimensions; the net takes {dims}")
    return found if str(found.dtype) == name and not lead else Typed(found, dtype, lead)


def _picture(path: Path, given: Argument) -> torch.Tensor:
    numpy = _module("numpy")
    with _module("PIL.Image").open(path) as picture:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1:
            raise InputError(given, f": {frames} pictures in one file; one is read: write a file each, or .npy")
        wide = picture.mode.startswith("I;16")
        if picture.mode in ("P", "1", "YCbCr"):
            picture = picture.convert("L" if picture.mode == "1" else "RGB")
        elif picture.mode not in ("L", "RGB") and not wide:
            raise InputError(
                given,
                f": a picture of mode {picture.mode}; RGB, grey of 8 or 16 bits and palettes are read: "
                "convert it, or write .npy",
            )
        values = numpy.array(picture).astype("float32") / (65535 if wide else 255)
    return torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1)[None].contiguous()


def check_written(path: Path, door: Door = PLAIN) -> None:
    """Raises InputError where `written` would refuse this place, no matter what is written."""
    free_place(path, _kind_of(path, door), door)


@contextlib.contextmanager
def written(path: Path, shape: tuple[int, ...], dtype: torch.dtype, door: Door = PLAIN) -> Iterator[Any]:
    """Something that takes slices, which becomes the file `path` if all goes well. Raises InputError.

    Disk space is checked at once: for a .npy file it is reserved, for others the most they can need is compared with
    what is free.
    """
    kind, door = path.suffix.lower(), replace(door, called=door.called or str(path))
    own = array_type(dtype)
    with unfinished(path, _kind_of(path, door), door) as made, contextlib.ExitStack() as stack:
        try:
            if kind == ".npy":
                file = stack.enter_context(made.open("wb", buffering=0))
                store: Any = NpyFile(file, shape, own, made.parent.parent, door.called)
            elif kind == ".zarr":
                check_space(made.parent.parent, prod(shape) * own.itemsize, door.called, squeezed=True)
                store = _module("zarr").open(str(made), mode="w", shape=shape, dtype=own)
            else:
                _check_picture(shape, door.called)
                check_space(made.parent.parent, prod(shape), door.called, squeezed=True)
                store = _module("numpy").empty(shape, own)
        except OSError as error:
            raise InputError(f"{door.called}: {error.strerror or error}") from error
        yield store
        try:
            if kind == ".npy":
                store.flush()
            elif kind in PICTURES:
                _save(store, made)
        except OSError as error:
            raise InputError(f"{door.called}: {error.strerror or error}") from error


def _kind_of(path: Path, door: Door) -> FileKind:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{door.called or path}: expected one of {', '.join((*ARRAYS, *PICTURES))}")
    return kind


def _check_picture(shape: tuple[int, ...], called: str) -> None:
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3):
        raise InputError(
            f"{called}: a picture holds one image of 1 or 3 channels; the net gives {'x'.join(map(str, shape))}; "
            "write .npy or .zarr"
        )


def _save(values: Any, path: Path) -> None:
    """0 to 1 become 0 to 255, rounded; values beyond are clipped."""
    numpy = _module("numpy")
    bytes_ = numpy.clip(numpy.rint(values[0].astype("float32") * 255), 0, 255).astype("uint8").transpose(1, 2, 0)
    image, packed = _module("PIL.Image"), io.BytesIO()  # Pillow does not notice when a disk takes only part of it
    picture = image.fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_)
    picture.save(packed, image.registered_extensions()[path.suffix.lower()])
    with path.open("wb") as file:
        file.write(packed.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_weights(model: nn.Module, path: Path) -> None:
    """Weights from a state_dict, by torch.load with weights_only or by safetensors. Raises InputError."""
    given = Argument("weights", path)
    if not path.is_file():
        raise InputError(given, ": there is no such file")
    try:
        if path.suffix == ".safetensors":
            state: Any = _module("safetensors.torch").load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # unpickling raises many unrelated types
        # torch's message about a pickle advises reading it unsafely
        text = "" if isinstance(error, UnpicklingError) else f" ({_first_line(error)})"
        wanted = "expected what torch.save(model.state_dict(), FILE) writes, or a .safetensors file"
        raise InputError(given, f": it holds no weights that can be read safely{text}; {wanted}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise InputError(given, f": expected a state_dict, it holds a {type(state).__name__}")
    own = model.state_dict()
    for key, value in state.items():
        if not isinstance(key, str):
            raise InputError(given, f": expected a state_dict, it has the key {key!r}")
        there = own.get(key)
        if isinstance(value, torch.Tensor) and isinstance(there, torch.Tensor) and _cuts(value, there):
            raise InputError(
                given,
                f": {key} is of {value.dtype}, in the model of {there.dtype}: convert it, as whoever wrote it meant it",
            )
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(given, f": they do not fit the model: {_misfit(own, state, error)}") from error


def _misfit(own: Mapping[str, Any], state: Mapping[str, Any], error: Exception) -> str:
    """What is missing, unknown, or of another shape: how many, and the first of each."""
    other = [
        f"{key} {_shape(state[key])}, here {_shape(own[key])}"
        for key in own
        if key in state and _shape(state[key]) != _shape(own[key])
    ]
    kinds = (
        ("missing", [key for key in own if key not in state]),
        ("unknown to it", [key for key in state if key not in own]),
        ("of another shape", other),
    )
    said = [f"{len(k)} {what} ({', '.join(k[:3])}{', ...' if len(k) > 3 else ''})" for what, k in kinds if k]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ", ".join(said) or " ".join(lines[1:3])[:300]


def _shape(value: Any) -> str:
    return "x".join(map(str, getattr(value, "shape", ()))) or "of no shape"


def _cuts(value: torch.Tensor, there: torch.Tensor) -> bool:
    """Whether torch would copy it silently but change it: quantised values, or complex ones without their phase."""
    if there.is_floating_point():
        return not value.is_floating_point()
    return not there.is_complex() and (value.is_floating_point() or value.is_complex())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"this needs {name.partition('.')[0]}: {EXTRA}") from error
