"""Image files and weights: .npy and .zarr by slices, pictures whole. What is written appears when it is complete."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import InputError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ARRAYS = (".npy", ".zarr")
EXTRA = "pip install overlapcalc[files]"


class Typed:
    """An array as another floating type, converted slice by slice, with so many dimensions put before its own."""

    def __init__(self, array: Any, dtype: str, lead: int) -> None:
        self._array, self._lead = array, lead
        self.shape = (*(1,) * self._lead, *array.shape)
        self.dtype = _module("numpy").dtype(dtype)
        self._mmap, self.mode = getattr(array, "_mmap", None), getattr(array, "mode", None)  # see engine/store.py

    def __getitem__(self, place: tuple[slice, ...]) -> Any:
        part = self._array[tuple(place[self._lead :])]
        return part.astype(self.dtype).reshape((*(1,) * self._lead, *part.shape))


def read_image(path: Path, dtype: torch.dtype, dims: int | None = None) -> Any:
    """What `overlapcalc.run` takes, of a floating type: channels first, a batch of one where the file has none.

    dims: how many dimensions the net's input has; an array may lack the batch, or batch and channels.
    .npy and .zarr are read by slices. Pictures are read whole; 0 to 255, or to 65535, become 0 to 1. Raises InputError.
    """
    if not path.exists():
        raise InputError(f"--in {path}: there is no such file")
    name, kind = str(dtype).removeprefix("torch."), path.suffix.lower()
    try:
        if kind == ".npy":
            found = _module("numpy").load(path, mmap_mode="r")
        elif kind == ".zarr":
            found = _module("zarr").open(str(path), mode="r")
        elif kind in PICTURES:
            return _picture(path).to(dtype)
        else:
            raise InputError(f"--in {path}: expected one of {', '.join((*ARRAYS, *PICTURES))}")
    except (OSError, ValueError) as error:
        raise InputError(f"--in {path}: it cannot be read as {kind} ({error})") from error
    if not hasattr(found, "ndim") or found.dtype.kind != "f":
        has = getattr(found, "dtype", "none")
        raise InputError(f"--in {path}: expected an array of floating numbers, it has {has}")
    lead = 0 if dims is None else max(0, dims - found.ndim)
    if lead > 2:
        raise InputError(f"--in {path}: an array of {found.ndim} dimensions; the net takes {dims}")
    return found if str(found.dtype) == name and not lead else Typed(found, name, lead)


def _picture(path: Path) -> torch.Tensor:
    numpy = _module("numpy")
    with _module("PIL.Image").open(path) as picture:
        wide = picture.mode.startswith("I;16")
        if picture.mode in ("P", "1", "YCbCr"):
            picture = picture.convert("L" if picture.mode == "1" else "RGB")
        elif picture.mode not in ("L", "RGB") and not wide:
            raise InputError(
                f"--in {path}: a picture of mode {picture.mode}; RGB, grey of 8 or 16 bits and palettes are read: "
                "convert it, or write .npy"
            )
        values = numpy.array(picture).astype("float32") / (65535 if wide else 255)
    return torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1)[None].contiguous()


@contextlib.contextmanager
def written(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[Any]:
    """Something that takes slices; when all went well, it is the file `path`. Raises InputError."""
    kind, folder = path.suffix.lower(), path.absolute().parent
    if kind not in (*ARRAYS, *PICTURES):
        raise InputError(f"--out {path}: expected one of {', '.join((*ARRAYS, *PICTURES))}")
    if not folder.is_dir():
        raise InputError(f"--out {path}: lies in {folder}, which does not exist")
    numpy, name = _module("numpy"), str(dtype).removeprefix("torch.")
    own = name if name in ("float16", "float32", "float64") else "float32"
    try:
        work = Path(tempfile.mkdtemp(dir=folder, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror or error}") from error
    try:
        made = work / path.name
        if kind == ".npy":
            store = numpy.lib.format.open_memmap(made, mode="w+", dtype=own, shape=shape)
        elif kind == ".zarr":
            store = _module("zarr").open(str(made), mode="w", shape=shape, dtype=own)
        else:
            _check_picture(path, shape)
            store = numpy.empty(shape, own)
        yield store
        if kind == ".npy":
            store.flush()
        elif kind in PICTURES:
            _save(store, made)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(made, path)
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_picture(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3):
        raise InputError(
            f"--out {path}: a picture holds one image of 1 or 3 channels; the net gives {'x'.join(map(str, shape))}; "
            "write .npy or .zarr"
        )


def _save(values: Any, path: Path) -> None:
    """0 to 1 become 0 to 255, rounded; what lies beyond is cut off."""
    numpy = _module("numpy")
    bytes_ = numpy.clip(numpy.rint(values[0].astype("float32") * 255), 0, 255).astype("uint8").transpose(1, 2, 0)
    _module("PIL.Image").fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_).save(path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Weights from a state_dict, by torch.load with weights_only or by safetensors. Raises InputError."""
    if not path.is_file():
        raise InputError(f"--weights {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            state: Any = _module("safetensors.torch").load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # unpickling raises many unrelated types
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"--weights {path}: it holds no weights that can be read safely ({text})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise InputError(f"--weights {path}: expected a state_dict, it holds a {type(state).__name__}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"--weights {path}: they do not fit the model: {' '.join(lines[1:3])[:300]}") from error


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"this needs {name.partition('.')[0]}: {EXTRA}") from error
