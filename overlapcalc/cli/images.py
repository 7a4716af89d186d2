"""Images and weights that a command reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..analysis.spelled import Entry, entry
from ..errors import Argument, InputError
from .common import net_and_inputs, parsed_input
from .progress import say


class File(str):
    """The name of a file. place: of the input that it is given for, where that is said: `batch.image=FILE`."""

    place: tuple[str | int, ...]

    def __new__(cls, text: str) -> File:
        named = None if Path(text).exists() else entry(text)
        found = super().__new__(cls, text if named is None else named[1])
        found.place = () if named is None else named[0]
        return found


def images_argument(command: argparse.ArgumentParser, *, required: bool, absent: str = "") -> None:
    """absent: what is done without an image."""
    command.add_argument(
        "--in", dest="images", action="append", default=[], type=File, required=required, metavar="[NAME=]FILE",
        help=f"an image to read (.npy, .zarr, a picture); once per input; by name as for --input{absent}",
    )  # fmt: skip


def values_argument(command: argparse.ArgumentParser) -> None:
    """Adds the argument for what forward takes besides images."""
    command.add_argument(
        "--input", action="append", default=[], type=_value, metavar="NAME=VALUE",
        help="what else forward takes, by name: scale=2, mask=none, mode=bilinear; may be repeated",
    )  # fmt: skip


def _value(text: str) -> Entry:
    found = parsed_input(text) if entry(text) else None
    if not isinstance(found, Entry) or isinstance(found.value, tuple):
        said = f"--input {text!r}: expected NAME=VALUE, such as scale=2; images are given with "
        raise InputError(said, Argument("in"))
    return found


def weights_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--weights", metavar="FILE", help="a state_dict: .pt, .pth (read safely) or .safetensors")


def refuse_missing(names: Sequence[str]) -> None:
    """Raises InputError for an image that does not exist. Loads no torch."""
    for name in names:
        if not Path(name).exists():
            raise InputError(Argument("in", Path(name)), ": there is no such file")


def give_weights(model: Any, weights: str | None) -> None:
    """Loads them into the model, or says that it has its own. Raises InputError."""
    from ..io.files import load_weights

    if not hasattr(model, "parameters"):
        raise InputError("a saved program is not run by blocks; use the module it was made of")
    if weights:
        load_weights(model, Path(weights))
    elif any(True for _ in model.parameters()):
        say("no --weights, so the weights are those that the model was made with")


def read_images(model: Any, names: Sequence[File], more: Sequence[Any] = ()) -> tuple[Any, list[Any]]:
    """The net as it is called, and its images; says where they are taken for something else than they are. more: what
    else forward takes. Raises InputError."""
    from ..analysis.inputs import forward_arity, own_type
    from ..io.files import read_image

    dtype = own_type(model)
    needed, most = forward_arity(model)
    plain = not more and not any(name.place for name in names)
    if plain and (len(names) < needed or (most is not None and len(names) > most)):
        wants = f"{needed}" if most == needed else f"{needed} or more" if most is None else f"{needed} to {most}"
        raise InputError(
            f"{type(model).__name__}.forward takes {wants} inputs, {len(names)} given; name each with ",
            Argument("in"),
        )
    dims = _dims(model, alone=not plain and len(names) == 1)
    images = [read_image(Path(name), dtype, dims) for name in names]
    for name, image in zip(names, images, strict=True):
        if getattr(image, "stored", ""):
            own = str(dtype).removeprefix("torch.")
            say(f"--in {name}: {image.stored} is read as {own}, the model's type")
        if getattr(image, "lead", 0):
            shape = "x".join(map(str, image.shape))
            say(f"--in {name}: read as {shape}, for the net takes a batch")
    if plain:
        return model, images
    given = [Entry(name.place, image) if name.place else image for name, image in zip(names, images, strict=True)]
    net, tensors = net_and_inputs(model, [*given, *more], run=True)
    return net, list(tensors)


def _dims(model: Any, *, alone: bool) -> int | None:
    """The number of dimensions of an input, if the first layer tells. alone: there is one, whatever else there is."""
    from ..analysis.guess import guess_shape
    from ..errors import InputError

    try:
        return len(guess_shape(model, alone=alone)[0])
    except InputError:
        return None
