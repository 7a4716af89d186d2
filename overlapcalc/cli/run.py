"""The command `run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..planning.options import AUTO
from .blocks import block_argument, disk_arguments, fitting_arguments, memory_argument, schedule_arguments
from .common import OK, axis_arguments, debug_argument, door_of, loaded, model_arguments, overwrite_argument
from .images import give_weights, images_argument, read_images, refuse_missing, values_argument, weights_argument
from .progress import hide, progress

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
    images_argument(run, required=True)
    values_argument(run)
    run.add_argument("--out", required=True, metavar="FILE", help="where the result goes")
    overwrite_argument(run)
    axis_arguments(run, "cut")
    weights_argument(run)
    block_argument(run)
    memory_argument(run)
    schedule_arguments(run, "auto, when absent, is a stream, or passes for a net that no stream runs", auto=True)
    disk_arguments(run)
    fitting_arguments(run)
    run.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    debug_argument(run)
    run.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    refuse_missing(arguments.images)  # before torch is imported
    from ..analysis.inputs import own_type
    from ..engine.run import tiled
    from ..io.files import check_written, written
    from ..prove.device import device_of

    out, door = Path(arguments.out), door_of(arguments, f"--out {arguments.out}")
    check_written(out, door)
    with loaded(arguments) as model:
        device = device_of(arguments.device)
        give_weights(model, arguments.weights)
        called, images = read_images(model, arguments.images, arguments.input)
        model = model.to(device)
        net = tiled(
            called,
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
        hide()
        _announce(plan)
        placed = [image.to(device) if hasattr(image, "to") else image for image in images]
        with written(out, plan.results[0], own_type(model), door) as store, progress(plan.steps) as advance:
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
