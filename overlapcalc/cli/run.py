"""The command `run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Argument, InputError
from ..planning.options import AUTO
from .blocks import block_argument, disk_arguments, fitting_arguments, memory_argument, schedule_arguments
from .common import OK, axis_arguments, debug_argument, door_of, loaded, model_arguments, overwrite_argument
from .progress import progress

if TYPE_CHECKING:
    from ..planning.plan import Plan

EPILOG = "exit codes: 0 done, 2 wrong usage or input, or nothing fits, 3 an obstacle on an axis to be cut"


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
    run.add_argument(
        "--in", dest="image", action="append", required=True, metavar="FILE",
        help="an image to read (.npy, .zarr, a picture); once per input",
    )  # fmt: skip
    run.add_argument("--out", required=True, metavar="FILE", help="where the result goes")
    overwrite_argument(run)
    axis_arguments(run, "cut")
    run.add_argument("--weights", metavar="FILE", help="a state_dict: .pt, .pth (read safely) or .safetensors")
    block_argument(run)
    memory_argument(run)
    schedule_arguments(run, "auto, when absent, is a stream, or passes for a net that no stream runs", auto=True)
    disk_arguments(run)
    fitting_arguments(run)
    run.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    debug_argument(run)
    run.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    for name in arguments.image:  # before torch is imported
        if not Path(name).exists():
            raise InputError(Argument("in", Path(name)), ": there is no such file")
    from ..analysis.inputs import forward_arity, own_type
    from ..engine.run import tiled
    from ..io.files import check_written, load_weights, read_image, written
    from ..prove.verify import device_of

    out, door = Path(arguments.out), door_of(arguments, f"--out {arguments.out}")
    check_written(out, door)
    with loaded(arguments) as model:
        device = device_of(arguments.device)
        if not hasattr(model, "parameters"):
            raise InputError("a saved program is not run by blocks; use the module it was made of")
        if arguments.weights:
            load_weights(model, Path(arguments.weights))
        elif any(True for _ in model.parameters()):
            print("overlapcalc: no --weights, so the weights are those that the model was made with", file=sys.stderr)
        dtype = own_type(model)
        needed, most = forward_arity(model)
        if len(arguments.image) < needed or (most is not None and len(arguments.image) > most):
            wants = f"{needed}" if most == needed else f"{needed} or more" if most is None else f"{needed} to {most}"
            raise InputError(
                f"{type(model).__name__}.forward takes {wants} inputs, {len(arguments.image)} given; name each with ",
                Argument("in"),
            )
        dims = _dims(model)
        images = [read_image(Path(name), dtype, dims) for name in arguments.image]
        for name, image in zip(arguments.image, images, strict=True):
            if getattr(image, "stored", ""):
                own = str(dtype).removeprefix("torch.")
                print(f"overlapcalc: --in {name}: {image.stored} is read as {own}, the model's type", file=sys.stderr)
            if getattr(image, "lead", 0):
                shape = "x".join(map(str, image.shape))
                print(f"overlapcalc: --in {name}: read as {shape}, for the net takes a batch", file=sys.stderr)
        model = model.to(device)
        net = tiled(
            model,
            block=arguments.block,
            memory=arguments.memory,
            fixed_tile=arguments.fixed_tile,
            pad_to_fit=arguments.pad_to_fit,
            schedule="crop" if arguments.fixed_tile and arguments.schedule == AUTO else arguments.schedule,
            stream_axis=arguments.stream_axis,
            disk=arguments.disk,
            spill=arguments.spill,
            axes=arguments.axis or None,
            layout=arguments.layout or None,
        )
        plan = net.machine(*(tuple(image.shape) for image in images), stored=True).plan
        if len(plan.outputs) > 1:
            raise InputError(
                f"the net gives {', '.join(plan.outputs)}, and the command writes one; name a submodule that gives one "
                "(SPEC.SUBMODULE), or call overlapcalc.run in Python, which takes all"
            )
        _announce(plan)
        placed = [image.to(device) if hasattr(image, "to") else image for image in images]
        with written(out, plan.results[0], dtype, door) as store, progress(plan.steps) as advance:
            net(*placed, out=store, after=advance)
        if advance.shown:
            print(f"overlapcalc: {out} is complete, after {advance.seconds:.0f} s", file=sys.stderr)
    return OK


def _announce(plan: Plan) -> None:
    """Says what is padded, and what goes to the disk before much of it does."""
    if plan.padding is not None:
        print(f"overlapcalc: {plan.padding}", file=sys.stderr)
    if plan.passes is not None and plan.passes.disk > MUCH:
        from ..engine.spill.place import spill_folder
        from ..report.passes import disk_text

        count, folder = len(plan.passes.each), spill_folder(Path(plan.passes.spill) if plan.passes.spill else None)
        print(f"overlapcalc: {count} passes; {disk_text(plan.passes, str(folder))}", file=sys.stderr)


MUCH = 1 << 30
"""Bytes on disk that are worth a word."""


def _dims(model: Any) -> int | None:
    """The number of dimensions of an input, if the first layer tells."""
    from ..analysis.guess import guess_shape
    from ..errors import InputError

    try:
        return len(guess_shape(model)[0])
    except InputError:
        return None
