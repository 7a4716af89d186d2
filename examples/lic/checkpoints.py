"""Reading checkpoints: files of safetensors, with what their metadata says of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from torch import Tensor

from overlapcalc import InputError

from .extra import extra


def read_checkpoint(
    path: Path, key: str, names: Collection[str], made_by: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors. key: of the metadata, which names one of `names`. made_by: the command that makes
    such a file. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint; {made_by} makes one")
    try:
        with extra("safetensors").safe_open(path, "pt") as file:
            about = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except InputError:
        raise
    except Exception as error:  # safetensors has an error of its own per kind
        raise InputError(f"{path}: it is no safetensors file ({error})") from error
    found = about.get(key, "")
    if found not in names:
        expected = f"one of {', '.join(names)}" if len(names) > 1 else repr(next(iter(names)))
        raise InputError(f"{path}: a checkpoint of {found or 'something unnamed'!r}; expected {expected}")
    return about, state
