"""Checkpoints of removers: weights in one safetensors file for a quality and a sampling, with what made them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import torch

from examples.lic.extra import extra
from overlapcalc import InputError
from overlapcalc.io.atomic import REWRITTEN, FileKind, complete

from .remover import Remover, Shape

NAME = "blockcnn-remover"
FOLDER = Path(__file__).parent / "checkpoints"
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
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint; python -m examples.blockcnn train makes one")
    try:
        with extra("safetensors").safe_open(path, "pt") as file:
            about = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    except InputError:
        raise
    except Exception as error:  # safetensors has an error of its own per kind
        raise InputError(f"{path}: it is no safetensors file ({error})") from error
    if about.get("net") != NAME:
        raise InputError(f"{path}: a checkpoint of {about.get('net', 'something unnamed')!r}; expected {NAME!r}")
    try:
        net = Remover(Shape(**json.loads(about["shape"])))
        net.load_state_dict({key: value.float() for key, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: it holds no {NAME} ({text})") from error
    if not all(bool(torch.isfinite(value).all()) for value in net.state_dict().values()):
        raise InputError(f"{path}: it holds weights that are no finite numbers; train it again")
    return net.eval()
