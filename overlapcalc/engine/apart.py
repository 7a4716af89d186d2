"""May this be written to while that is read? Images that are one place under two names are found here.

Memory is identified by its addresses, mapped files by what the system says is behind them, arrays of stores (zarr) by
where the store keeps them. Anything else cannot be told beforehand: see `witness.py`.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .mapped import Piece, pieces

WRAPPED = ("_store", "_mutable_mapping", "store")
"""The attribute by which a store that wraps another one has it, in both versions of zarr."""
FILE_SYSTEMS = ("sync_fs", "fs")
"""The same for fsspec's file systems."""
FILE = "file"
"""The store of whatever lies in a directory on this machine."""
DEEPEST = 9
"""At most this many are nested."""


@dataclass(frozen=True)
class Memory:
    """Addresses [start, stop) of a device."""

    device: str
    start: int
    stop: int


@dataclass(frozen=True)
class Entry:
    """What a store keeps under a path. real: the directories on this machine that contain it, by device and inode."""

    store: Hashable
    path: str
    real: frozenset[tuple[int, int]] = frozenset()


Place = Memory | Piece | Entry


def check_apart(image: Any, store: Any, what: str = "an input, which blocks still read") -> None:
    """Raises InputError where writing to `store` writes to `image`."""
    theirs = list(places(store))
    if any(_meet(ours, place) for ours in places(image) for place in theirs):
        raise InputError(f"out lies in the memory or the file of {what}; give another place")


def is_plain(image: Any) -> bool:
    """Whether all of an image is known by its memory."""
    return isinstance(image, Tensor) or hasattr(image, "__array_interface__")


def places(image: Any) -> Iterator[Place]:
    """Where an image is, as far as that is known."""
    yield from _places(image, set())


def _places(image: Any, seen: set[int]) -> Iterator[Place]:
    if id(image) in seen:
        return
    seen.add(id(image))
    memory = _memory(image)
    if memory is not None:
        yield memory
        if memory.device == "cpu":
            yield from pieces(memory.start, memory.stop)
    elif not is_plain(image):
        entry = _entry(image)
        if entry is not None:
            yield entry
            return
        for part in _attributes(image):  # a wrapper around another image
            if is_plain(part) or all(hasattr(part, name) for name in ("shape", "dtype", "__getitem__")):
                yield from _places(part, seen)


def _attributes(image: Any) -> list[Any]:
    slots = [name for kind in type(image).__mro__ for name in getattr(kind, "__slots__", ()) if isinstance(name, str)]
    return [*getattr(image, "__dict__", {}).values(), *(getattr(image, name, None) for name in slots)]


def _meet(image: Place, store: Place) -> bool:
    if isinstance(image, Memory) and isinstance(store, Memory):
        return image.device == store.device and image.start < store.stop and store.start < image.stop
    if isinstance(image, Piece) and isinstance(store, Piece):
        return store.shared and image.meets(store)
    if isinstance(image, Entry) and isinstance(store, Entry):
        return bool(image.real & store.real) or (image.store == store.store and _nested(image.path, store.path))
    if isinstance(image, Piece) and isinstance(store, Entry):
        return _part_of(image, store)
    return isinstance(image, Entry) and isinstance(store, Piece) and store.shared and _part_of(store, image)


def _part_of(piece: Piece, entry: Entry) -> bool:
    """Whether the mapped file belongs to an array that lies in a directory."""
    return piece.path is not None and entry.store == FILE and Path(entry.path) in piece.path.parents


def _nested(a: str, b: str) -> bool:
    """Equal, or one in the other: no array of a store lies in another."""
    a, b = f"{a.strip('/')}/".lstrip("/"), f"{b.strip('/')}/".lstrip("/")
    return a.startswith(b) or b.startswith(a)


def _memory(image: Any) -> Memory | None:
    """Addresses from the first sample to the last; None where that is not known."""
    if isinstance(image, Tensor):
        if image.device.type == "meta" or image.layout is not torch.strided or not image.numel():
            return None
        reach = sum((n - 1) * step for n, step in zip(image.shape, image.stride(), strict=True))
        start = image.data_ptr()
        return Memory(str(image.device), start, start + (reach + 1) * image.element_size())
    interface = getattr(image, "__array_interface__", None)
    if not isinstance(interface, dict) or not interface.get("data") or 0 in interface["shape"]:
        return None
    array = image if hasattr(image, "strides") and hasattr(image, "itemsize") else _as_array(image)
    start = int(interface["data"][0])
    ends = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    return Memory("cpu", start + sum(e for e in ends if e < 0), start + sum(e for e in ends if e > 0) + array.itemsize)


def _as_array(image: Any) -> Any:
    import numpy

    return numpy.asarray(image)


# ---- arrays of stores ----------------------------------------------------------------------------------------


def _entry(image: Any) -> Entry | None:
    """Where a zarr array, or anything like one, is kept; None for anything else."""
    place = getattr(image, "store_path", None)
    store = getattr(place, "store", None) or getattr(image, "store", None)
    path = getattr(place, "path", None) if place is not None else getattr(image, "path", None)
    if store is None or not isinstance(path, str):
        return None
    root, inside = _root(store, 0)
    if not isinstance(root, Path):
        return Entry(root, f"{inside}/{path}")
    folder = Path(os.path.realpath(root / path if path else root))
    return Entry(FILE, str(folder), frozenset(_identities(folder)))


def _root(store: Any, depth: int) -> tuple[Hashable, str]:
    """What is behind a store: a directory or a file on this machine, or else a value that is equal for equal places;
    and a path within it."""
    for name in WRAPPED:
        inner = getattr(store, name, None)
        if inner is not None and depth < DEEPEST and not isinstance(inner, (str, bytes, os.PathLike)):
            return _root(inner, depth + 1)
    system, path = _file_system(getattr(store, "fs", None), str(getattr(store, "path", "")))
    if system is not None:
        protocol = getattr(system, "protocol", "")
        names = protocol if isinstance(protocol, (tuple, list)) else (protocol,)
        if "file" in names or "local" in names:
            return Path(path.removeprefix("file://")), ""
        return ("file system", *names), path
    for name in ("root", "path"):
        place = getattr(store, name, None)
        if isinstance(place, (str, os.PathLike)) and os.path.exists(place):
            return Path(place), ""
    inner = getattr(store, "_store_dict", None)
    return ("object", id(store if inner is None else inner)), ""


def _file_system(system: Any, path: str) -> tuple[Any, str]:
    """The innermost of nested file systems, and the path there."""
    for _ in range(DEEPEST):
        inner = next((i for name in FILE_SYSTEMS if (i := getattr(system, name, None)) is not None), None)
        if inner is None:
            break
        folder = getattr(system, "path", None)  # a file system that begins in a directory of another
        system, path = inner, f"{folder}/{path}" if isinstance(folder, str) else path
    return system, path


def _identities(folder: Path) -> Iterator[tuple[int, int]]:
    """Device and inode of a directory, and of those that links in it lead to."""
    linked = []
    try:
        for place in (folder, folder / "c"):
            if place.is_dir():
                linked += [Path(e.path) for e in os.scandir(place) if e.is_symlink()]
    except OSError:
        pass
    for place in (folder, folder / "c", *linked):
        try:
            found = os.stat(place)
        except OSError:
            continue
        yield found.st_dev, found.st_ino
