"""Checkpoints: weights and integer tables of a codec in one safetensors file, with what made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.lic.checkpoints import read_checkpoint
from examples.lic.codec import Codec
from examples.lic.coding import Coding
from examples.lic.extra import extra
from examples.lic.tables import Tables
from overlapcalc import InputError
from overlapcalc.io.atomic import REWRITTEN, FileKind, complete

from .coding import CODECS, coding

FOLDER = Path(__file__).parent / "checkpoints"
CHECKPOINT = FileKind("a safetensors file", lambda path: path.open("rb").read(9)[8:] == b"{")
"""Rewritten by design, by the command that trains it."""
_FLAT = ("counts", "lengths", "offsets")


def path_of(name: str) -> Path:
    """Of the small checkpoint of a codec that comes with the examples."""
    return FOLDER / f"{name}.safetensors"


def save(
    path: Path,
    name: str,
    arguments: dict[str, Any],
    codec: Codec,
    tables: dict[str, Tables],
    made: str,
    *,
    halved: bool = False,
) -> None:
    """arguments: of the codec's class. made: the command, or what else made it. halved: weights of convolutions are
    rounded to 16 bits, so that the file is half as large and the codec slightly another."""
    state = {key: value.half() if halved and value.ndim == 4 else value for key, value in codec.state_dict().items()}
    state = {key: value.contiguous() for key, value in state.items() if value.numel()}
    for which, table in tables.items():
        for key, numbers in zip(_FLAT, table.flat(), strict=True):
            state[f"tables.{which}.{key}"] = torch.from_numpy(numbers.astype(np.int32))
    about = {"codec": name, "arguments": json.dumps(arguments), "made by": made}
    data = extra("safetensors.torch").save(state, metadata=about)
    complete(path, lambda file: file.write(data), CHECKPOINT, REWRITTEN)


def load(path: Path) -> tuple[str, Codec, dict[str, Tables]]:
    """The name of the codec, the codec, and its tables "latents" and "hyper". Raises InputError."""
    about, state = read_checkpoint(path, "codec", CODECS, "python -m examples.kim2026.train")
    name = about["codec"]
    try:
        codec = CODECS[name](**json.loads(about["arguments"]))
        tables = {which: _table(state, which) for which in ("latents", "hyper")}
        weights = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        missing, unknown = codec.load_state_dict(weights, strict=False)
        if unknown or any(not key.rpartition(".")[2].startswith("_") for key in missing):
            raise ValueError(f"missing or unknown: {', '.join((*missing, *unknown))}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: it holds no {name} codec with its tables ({text})") from error
    return name, codec.eval(), tables


def _table(state: dict[str, torch.Tensor], which: str) -> Tables:
    counts, lengths, offsets = (state.pop(f"tables.{which}.{key}").numpy().astype(np.int64) for key in _FLAT)
    return Tables.of_flat(counts, lengths, offsets)


def load_coding(path: Path, *, floating: bool = False) -> Coding:
    """What codes pictures by a checkpoint. floating: see `coding`. Raises InputError."""
    return coding(*load(path), floating=floating)
