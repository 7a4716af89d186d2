"""Checkpoints, safetensors files with what made them: a remover for each quality and sampling, and one predictor."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import torch
from torch import Tensor

from examples.lic.checkpoints import read_checkpoint
from examples.lic.extra import extra
from overlapcalc import InputError
from overlapcalc.io.atomic import REWRITTEN, FileKind, complete

from .predictor import PLACES, READ, SAMPLES, TAPS, Predictor, filters_of, set_filters
from .remover import Remover, Shape

NAME, PREDICTOR_NAME = "blockcnn-remover", "blockcnn-predictor"
FOLDER = Path(__file__).parent / "checkpoints"
PREDICTOR = FOLDER / "predictor.safetensors"
CHECKPOINT = FileKind("a safetensors file", lambda path: path.open("rb").read(9)[8:] == b"{")
"""Rewritten by design, by the command that trains it."""
_FILE = re.compile(r"q([1-9]\d?|100)-444\.safetensors")


def path_of(quality: int, *, halved: bool, folder: Path = FOLDER) -> Path:
    return folder / f"q{quality}-{'420' if halved else '444'}.safetensors"


def trained(folder: Path = FOLDER) -> tuple[int, ...]:
    """The qualities for which a folder has nets of both samplings, ascending. Raises InputError where it has none."""
    names = [_FILE.fullmatch(path.name) for path in folder.glob("q*.safetensors")]
    found = sorted(int(name[1]) for name in names if name)
    both = tuple(q for q in found if path_of(q, halved=True, folder=folder).is_file())
    if not both:
        raise InputError(f"{folder}: there are no checkpoints; python -m examples.blockcnn train makes them")
    return both


def save(path: Path, net: Remover, quality: int, made: str) -> None:
    """Weights are rounded to 16 bits, so the net becomes slightly another. made: the command, or what else made it."""
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    about = {"net": NAME, "shape": json.dumps(dataclasses.asdict(net.shape)), "quality": str(quality), "made by": made}
    data = extra("safetensors.torch").save(state, metadata=about)
    complete(path, lambda file: file.write(data), CHECKPOINT, REWRITTEN)


def load(path: Path) -> Remover:
    """Raises InputError."""
    about, state = _read(path, NAME, "train")
    try:
        net = Remover(Shape(**json.loads(about["shape"])))
        net.load_state_dict({key: value.float() for key, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: it holds no {NAME} ({text})") from error
    return net.eval()


def save_predictor(path: Path, net: Predictor, made: str) -> None:
    """Weights are rounded to 16 bits: load it to code. Only neighbours that a kind of blocks has are kept."""
    state = {}
    for luma, called in _PLANES.items():
        for place, (weight, constant) in filters_of(net, luma=luma).items():
            own = weight.reshape(len(TAPS), SAMPLES, SAMPLES)[list(READ[place])]
            state[f"{called}.{place}.weight"] = own.half().contiguous()
            state[f"{called}.{place}.constant"] = constant.half().contiguous()
    data = extra("safetensors.torch").save(state, metadata={"net": PREDICTOR_NAME, "made by": made})
    complete(path, lambda file: file.write(data), CHECKPOINT, REWRITTEN)


def load_predictor(path: Path = PREDICTOR) -> Predictor:
    """Raises InputError."""
    _, state = _read(path, PREDICTOR_NAME, "train-predictor")
    net = Predictor()
    try:
        for luma, called in _PLANES.items():
            found = {}
            for place in PLACES:
                read = list(READ[place])
                weight = torch.zeros(len(TAPS), SAMPLES, SAMPLES)
                weight[read] = _shaped(state, f"{called}.{place}.weight", (len(read), SAMPLES, SAMPLES))
                constant = _shaped(state, f"{called}.{place}.constant", (SAMPLES,))
                found[place] = weight.reshape(-1, SAMPLES), constant
            set_filters(net, found, luma=luma)
        if state:
            raise ValueError(f"unknown: {', '.join(sorted(state))[:200]}")
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: it holds no {PREDICTOR_NAME} ({error})") from error
    return net.eval()


_PLANES = {True: "luma", False: "chroma"}


def _shaped(state: dict[str, Tensor], key: str, shape: tuple[int, ...]) -> Tensor:
    """Takes a tensor out. Raises KeyError or ValueError."""
    value = state.pop(key)
    if tuple(value.shape) != shape:
        raise ValueError(f"{key} has shape {tuple(value.shape)}; expected {shape}")
    return value.float()


def _read(path: Path, name: str, command: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a file says of itself, and its tensors. Raises InputError."""
    about, state = read_checkpoint(path, "net", [name], f"python -m examples.blockcnn {command}")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"{path}: it holds weights that are no finite numbers; train it again")
    return about, state
