"""The command `run`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..planning.options import SCHEDULES
from .blocks import block_argument
from .common import EPILOG, OK, door_of, model_arguments, subject_of


def add(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run a net on an image by blocks, from file to file",
        description="Run a net by blocks. .npy and .zarr files are read and written by slices, so an image may be "
        "larger than memory; pictures are read whole, 0 to 255 as 0 to 1. The result appears when it is complete; room "
        "for it is asked for before the first block.",
        epilog=EPILOG,
    )
    model_arguments(run)
    run.add_argument("--in", dest="image", action="append", required=True, metavar="FILE", help="once per input")
    run.add_argument("--out", required=True, metavar="FILE", help="where the result goes")
    run.add_argument("--weights", metavar="FILE", help="a state_dict: .pt, .pth (read safely) or .safetensors")
    block_argument(run)
    run.add_argument("--memory", metavar="AMOUNT", help="the blocks with the least work that fit, such as 2GiB")
    run.add_argument("--schedule", choices=SCHEDULES, default="stream", help="how blocks are run")
    run.add_argument("--stream-axis", metavar="AXIS", help="along which a stream goes; the longest when absent")
    run.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    run.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from ..analysis.inputs import own_type
    from ..engine.run import tiled
    from ..errors import InputError
    from ..io.files import check_written, load_weights, read_image, written
    from ..prove.verify import device_of

    if arguments.output:
        raise InputError(f"--output {arguments.output}: no report is written; the result goes where --out says")
    out, door = Path(arguments.out), door_of(arguments, f"--out {arguments.out}")
    check_written(out, door)
    arguments.input = arguments.input or ["1x1x1x1"]  # no guess is needed: the files have the shapes
    with subject_of(arguments) as subject:
        device = device_of(arguments.device)
        model = subject.model
        if not hasattr(model, "parameters"):
            raise InputError("a saved program is not run by blocks; use the module it was made of")
        if arguments.weights:
            load_weights(model, Path(arguments.weights))
        elif any(True for _ in model.parameters()):
            print("overlapcalc: no --weights, so the weights are those that the model was made with", file=sys.stderr)
        dtype = own_type(model)
        dims = _dims(model)
        images = [read_image(Path(name), dtype, dims) for name in arguments.image]
        for name, image in zip(arguments.image, images, strict=True):
            if getattr(image, "stored", ""):
                own = str(dtype).removeprefix("torch.")
                print(f"overlapcalc: --in {name}: {image.stored} is read as {own}, the model's type", file=sys.stderr)
        model = model.to(device)
        net = tiled(
            model, block=arguments.block, memory=arguments.memory, schedule=arguments.schedule,
            stream_axis=arguments.stream_axis, axes=subject.axes, layout=subject.layout,
        )  # fmt: skip
        plan = net.machine(*(tuple(image.shape) for image in images), stored=True).plan
        if len(plan.outputs) > 1:
            raise InputError(f"the net gives {', '.join(plan.outputs)}; the command writes one output")
        placed = [image.to(device) if hasattr(image, "to") else image for image in images]
        with written(out, plan.outputs[0], dtype, door) as store, _progress(plan.count) as advance:
            net(*placed, out=store, after=advance)
    return OK


def _dims(model: Any) -> int | None:
    """The number of dimensions of an input, if the first layer tells."""
    from ..analysis.guess import guess_shape
    from ..errors import InputError

    try:
        return len(guess_shape(model)[0])
    except InputError:
        return None


@contextlib.contextmanager
def _progress(blocks: int) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty() or blocks < 2:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("blocks", total=blocks)
        yield lambda: progress.advance(task)
