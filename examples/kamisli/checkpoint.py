"""Checkpoints: weights and integer tables in one safetensors file, with the shape of the nets and what made them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from examples.lic.blocks import open_taps
from examples.lic.checkpoints import read_checkpoint
from examples.lic.extra import extra
from examples.lic.masked import MaskedConv2d
from examples.lic.tables import Tables
from overlapcalc import InputError
from overlapcalc.io.atomic import REWRITTEN, FileKind, complete

from .coding import NAME, Coding, coding, weights
from .nets import KERNELS, Nets, Shape, nets
from .training import Cost, Costs, Iteration

RATES = (117.045, 435.6675, 845.325)
"""Of the checkpoints that come with the example: three of those that are published."""


def place_of(rate: float, kernels: str = KERNELS[0]) -> Path:
    """Where the example keeps a checkpoint."""
    other = "" if kernels == KERNELS[0] else f"-{kernels}"
    return Path(__file__).parent / "checkpoints" / f"lambda-{int(rate)}{other}.safetensors"


SHIPPED = tuple(place_of(rate) for rate in RATES)
USUAL = place_of(435.6675)
CHECKPOINT = FileKind("a safetensors file", lambda path: path.open("rb").read(9)[8:] == b"{")
"""Rewritten by design, by the command that trains it."""
_FLAT = ("counts", "lengths", "offsets")


class Trained(NamedTuple):
    """How a checkpoint was trained. seconds: of the processor. iterations: what was measured, of pictures that were not
    trained on."""

    rate: float
    seconds: float
    iterations: list[Iteration]


def save(path: Path, shape: Shape, own: Nets, tables: Tables, made: str, trained: Trained | None = None) -> None:
    """made: the command, or what else made it.

    Weights are rounded to 16 bits, so the codec becomes slightly another: load it to code.
    """
    state = {
        f"{called}.{key}": value.half().contiguous()
        for called, net in zip(Nets._fields, own, strict=True)
        for key, value in weights(net).items()
    }
    for key, numbers in zip(_FLAT, tables.flat(), strict=True):
        state[f"tables.{key}"] = torch.from_numpy(numbers.astype(np.int32))
    about = {"codec": NAME, "shape": json.dumps(dataclasses.asdict(shape)), "made by": made}
    if trained is not None:
        about["trained"] = json.dumps(trained)
    data = extra("safetensors.torch").save(state, metadata=about)
    complete(path, lambda file: file.write(data), CHECKPOINT, REWRITTEN)


def load(path: Path) -> tuple[Shape, Nets, Tables]:
    """Raises InputError."""
    about, state = _read(path)
    try:
        shape = Shape(**json.loads(about["shape"]))
        tables = Tables.of_flat(*(state.pop(f"tables.{key}").numpy().astype(np.int64) for key in _FLAT))
        own = nets(shape)
        _fill(own, state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: it holds no {NAME} codec with its tables ({error})") from error
    return shape, own, tables


def trained(path: Path) -> Trained:
    """Raises InputError."""
    about, _ = _read(path)
    try:
        rate, seconds, iterations = json.loads(about["trained"])
        return Trained(rate, seconds, [_iteration(number, sets) for number, sets in iterations])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: it does not say how it was trained ({error})") from error


def _iteration(number: int, sets: dict[str, list[list[float]]]) -> Iteration:
    return Iteration(number, {name: Costs(*(Cost(*cost) for cost in costs)) for name, costs in sets.items()})


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    return read_checkpoint(path, "codec", [NAME], "python -m examples.kamisli train")


@torch.no_grad()
def _fill(own: Nets, state: dict[str, Tensor]) -> None:
    """Sets all weights. Raises ValueError where one is missing, unknown or of another shape."""
    places = {f"{called}.{key}": (net, key) for called, net in zip(Nets._fields, own, strict=True)
              for key, _ in net.named_parameters()}  # fmt: skip
    if places.keys() != state.keys():
        raise ValueError(f"missing or unknown: {', '.join(sorted(places.keys() ^ state.keys()))[:200]}")
    for name, (net, key) in places.items():
        parameter, value = net.get_parameter(key), state[name].float()
        layer = net.get_submodule(key.rpartition(".")[0])
        parameter.zero_()
        masked = isinstance(layer, MaskedConv2d) and key.endswith("weight")
        part = parameter.flatten(2)[:, :, : open_taps(layer)] if masked else parameter
        if part.shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {tuple(part.shape)}")
        part.copy_(value)


def load_coding(path: Path = USUAL) -> Coding:
    """What codes pictures by a checkpoint. Raises InputError."""
    return coding(*load(path))
