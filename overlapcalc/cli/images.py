"""Images and weights that a command reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Argument, InputError
from .progress import say


def images_argument(command: argparse.ArgumentParser, *, required: bool, absent: str = "") -> None:
    """absent: what is done without an image."""
    command.add_argument(
        "--in", dest="images", action="append", default=[], required=required, metavar="FILE",
        help=f"an image to read (.npy, .zarr, a picture); once per input{absent}",
    )  # fmt: skip


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


def read_images(model: Any, names: Sequence[str]) -> list[Any]:
    """The images as inputs of the model; says where they are taken for something else than they are. Raises
    InputError."""
    from ..analysis.inputs import forward_arity, own_type
    from ..io.files import read_image

    dtype = own_type(model)
    needed, most = forward_arity(model)
    if len(names) < needed or (most is not None and len(names) > most):
        wants = f"{needed}" if most == needed else f"{needed} or more" if most is None else f"{needed} to {most}"
        raise InputError(
            f"{type(model).__name__}.forward takes {wants} inputs, {len(names)} given; name each with ",
            Argument("in"),
        )
    dims = _dims(model)
    images = [read_image(Path(name), dtype, dims) for name in names]
    for name, image in zip(names, images, strict=True):
        if getattr(image, "stored", ""):
            own = str(dtype).removeprefix("torch.")
            say(f"--in {name}: {image.stored} is read as {own}, the model's type")
        if getattr(image, "lead", 0):
            shape = "x".join(map(str, image.shape))
            say(f"--in {name}: read as {shape}, for the net takes a batch")
    return images


def _dims(model: Any) -> int | None:
    """The number of dimensions of an input, if the first layer tells."""
    from ..analysis.guess import guess_shape
    from ..errors import InputError

    try:
        return len(guess_shape(model)[0])
    except InputError:
        return None
