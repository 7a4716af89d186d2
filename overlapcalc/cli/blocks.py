"""The commands `plan` and `verify`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..planning.byte_size import bytes_of
from ..planning.image_size import parsed_image
from ..planning.options import AUTO, MODES, SCHEDULES
from ..stages import noted
from .common import NOT_SO, OK, subject_arguments, subject_of, write
from .interrupted import partly_shown
from .so_far import plan_so_far, proofs_so_far

if TYPE_CHECKING:
    from ..engine.compare import Alternative
    from ..planning.options import Blocking

PLAN_EPILOG = "exit codes: 0 planned, 2 wrong usage or input, or nothing fits, 3 an obstacle on an axis to be cut"
VERIFY_EPILOG = """exit codes: 0 everything that applies is proved, 1 something is refuted, 2 wrong usage or input, 3 an
obstacle on an axis to be cut"""


def add(commands: Any) -> None:
    plan = commands.add_parser(
        "plan",
        help="blocks, tiles, multiply-accumulates and memory for an image",
        description="Cut an image into blocks: what each reads, the tile that the unmodified net is fed, and what it "
        "costs against the whole image at once. No forward pass is run.",
        epilog=PLAN_EPILOG,
    )
    subject_arguments(plan)
    _image_arguments(
        plan, "crop when absent, with a budget the one with the least work; passes for a net with obstacles"
    )
    memory_argument(plan)
    disk_arguments(plan)
    fitting_arguments(plan)
    plan.add_argument(
        "--stored", action="store_true",
        help="inputs and outputs are files read and written by slices, as `run` does: neither is held whole",
    )  # fmt: skip
    plan.add_argument("--compare", action="store_true", help="all schedules side by side, too")
    plan.add_argument("--dtype", metavar="TYPE", help="the floating type to predict memory for, such as float16")
    plan.add_argument("--format", choices=("table", "json"), default="table")
    plan.set_defaults(run=_plan)
    verify = commands.add_parser(
        "verify",
        help="prove by running it that blocks give what the whole image gives",
        description="Run the net whole and by blocks, with weights and inputs that hide nothing, and prove that they "
        "agree: what blocks read, that no sample less would do, poisoned borders, an exact twin, values.",
        epilog=VERIFY_EPILOG,
    )
    subject_arguments(verify)
    _image_arguments(verify, "crop when absent; for a net with obstacles a stream or passes")
    verify.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    verify.add_argument("--dtype", metavar="TYPE", help="the floating type of the figures; the model's own when absent")
    verify.add_argument(
        "--tile", type=sides, metavar="BEFORE,AFTER",
        help="prove these sides around every block instead of those that the analysis finds, in samples of the input",
    )  # fmt: skip
    padding_argument(verify)
    verify.add_argument("--bit-exact", action="store_true", help="values must be bit-identical in that type")
    verify.add_argument("--format", choices=("table", "json", "junit"), default="table")
    verify.set_defaults(run=_verify)


def _image_arguments(command: argparse.ArgumentParser, absent: str) -> None:
    """absent: which schedule is taken if none is given."""
    command.add_argument(
        "--image", type=parsed_image, metavar="WIDTHxHEIGHT",
        help="the size of the image, such as 3840x2160: of the finer of input and output",
    )  # fmt: skip
    block_argument(command)
    schedule_arguments(command, absent)


def disk_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--disk",
        type=partial(bytes_of, argument="disk", least=0),
        metavar="AMOUNT",
        help="the most that passes may store on disk, such as 20GiB; 0 for nothing",
    )
    command.add_argument(
        "--spill", metavar="FOLDER", help="where passes store what later ones read; a folder of the system when absent"
    )


def _plan(arguments: argparse.Namespace) -> int:
    with partly_shown(arguments, partial(plan_so_far, compare=arguments.compare)):
        return _planned(arguments)


def _planned(arguments: argparse.Namespace) -> int:
    from ..engine.compare import alternatives
    from ..engine.plan import plan_of
    from ..planning.options import Blocking
    from ..report import plan_json, render_plan

    with subject_of(arguments) as subject:
        blocking = Blocking(
            block=arguments.block,
            memory=arguments.memory,
            fixed_tile=arguments.fixed_tile,
            schedule=arguments.schedule,
            stream_axis=arguments.stream_axis,
            disk=arguments.disk,
            spill=arguments.spill,
            pad_to_fit=arguments.pad_to_fit,
        )
        analysis, padding = _fitted(subject, arguments, blocking)
        found = plan_of(analysis, blocking, stored=arguments.stored, dtype=arguments.dtype, padding=padding)
        noted("chosen", found)
        others: list[Alternative] = []
        if arguments.compare:
            compared = alternatives(analysis, blocking, stored=arguments.stored, dtype=arguments.dtype)
            others = [noted("alternative", one) for one in compared]
    note = "" if arguments.image else subject.note
    write(found, partial(render_plan, others=others), {"json": partial(plan_json, others=others)}, arguments, note)
    return OK


def _verify(arguments: argparse.Namespace) -> int:
    with partly_shown(arguments, proofs_so_far):
        return _verified(arguments)


def _verified(arguments: argparse.Namespace) -> int:
    from ..engine.plan import floating_type
    from ..planning.options import Blocking
    from ..prove.verify import verify
    from ..report import render_verification, verification_json, verification_junit

    with subject_of(arguments) as subject:
        sized = arguments.input or arguments.image
        own: dict[str, Any] = {"axes": subject.axes, "layout": subject.layout}
        if sized and arguments.pad_to_fit is not None:
            inputs: Any = _shapes(subject, arguments, Blocking(pad_to_fit=arguments.pad_to_fit))[1]
        else:
            inputs = at_image(subject, arguments) if sized else None
            own = {} if sized else own
        found = verify(
            subject.model,
            inputs,
            block=arguments.block,
            schedule=arguments.schedule,
            stream_axis=arguments.stream_axis,
            tile=arguments.tile,
            device=arguments.device,
            dtype=floating_type(arguments.dtype),
            bit_exact=arguments.bit_exact,
            pad_to_fit=arguments.pad_to_fit,
            **own,
        )
    junit = partial(verification_junit, spec=arguments.spec)
    write(found, render_verification, {"json": verification_json, "junit": junit}, arguments, "")
    return OK if found.proved else NOT_SO


def at_image(subject: Any, arguments: argparse.Namespace) -> Any:
    """The analysis at the size of the requested image."""
    from ..analysis.analyze import analyze
    from ..analysis.trying import telling_sizes
    from ..planning.image_shapes import shapes_for_image

    found = analyze(subject.model, subject.inputs, axes=subject.axes, layout=subject.layout)
    if arguments.image is None:
        return found
    shapes = shapes_for_image(found, arguments.image)
    with telling_sizes(subject.model, shapes, subject.layout):
        return found.at(*shapes)


def _fitted(subject: Any, arguments: argparse.Namespace, blocking: Blocking) -> tuple[Any, Any]:
    """The analysis at the size to which the requested image is padded, and the padding, if it is asked for."""
    from ..engine.fit import offering_padding

    if blocking.pad_to_fit is None:
        with offering_padding():
            return at_image(subject, arguments), None
    fitter, shapes = _shapes(subject, arguments, blocking)
    found: tuple[Any, Any] = fitter.fit(shapes)
    return found


def _shapes(subject: Any, arguments: argparse.Namespace, blocking: Blocking) -> tuple[Any, Any]:
    """What makes images fit, and the shapes of the inputs for the requested image as they come."""
    from ..engine.fit import Fitter
    from ..planning.image_shapes import shapes_for_image

    fitter = Fitter(subject.model, blocking, axes=subject.axes, layout=subject.layout)
    if arguments.image is None:
        return fitter, subject.inputs
    return fitter, shapes_for_image(fitter.near(subject.inputs), arguments.image)


def fitting_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments for images of any size."""
    command.add_argument(
        "--fixed-tile", type=count, metavar="N",
        help="the unmodified net on tiles of one length, those at the border moved inward",
    )  # fmt: skip
    padding_argument(command)


def padding_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pad-to-fit", choices=MODES, metavar="MODE",
        help="pad an image that does not fit at its far end, and cut the result: constant (zeros), replicate, reflect "
        "or circular; to the least size that the net takes, or that tiles of the fixed length cover, which so serve "
        "images of every size",
    )  # fmt: skip


def block_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--block", type=lengths, metavar="N",
        help="samples of a block, on the finer side; of a stream, of a band; or by axis, as in H=32,W=512",
    )  # fmt: skip


def memory_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--memory", type=bytes_of, metavar="AMOUNT",
        help="a budget such as 2GiB: the blocks with the least work that fit",
    )  # fmt: skip


def schedule_arguments(command: argparse.ArgumentParser, absent: str, *, auto: bool = False) -> None:
    names, default = ((*SCHEDULES, AUTO), AUTO) if auto else (SCHEDULES, None)
    command.add_argument("--schedule", choices=names, default=default, help=f"how blocks are run; {absent}")
    command.add_argument(
        "--stream-axis", metavar="AXIS", help="along which a stream or passes go; the longest when absent"
    )


def lengths(text: str) -> int | dict[str, int]:
    """Block lengths: `256`, or `H=32,W=512`.

    >>> lengths("256"), lengths("H=32,W=512")
    (256, {'H': 32, 'W': 512})
    """
    if "=" not in text:
        return count(text)
    parts = [part.partition("=") for part in text.split(",")]
    found = {axis.strip(): count(n.strip()) for axis, _, n in parts}
    if len(found) < len(parts):
        raise argparse.ArgumentTypeError(f"{text} names an axis twice")
    return found


def sides(text: str) -> tuple[int, int]:
    """Samples before and after a block. Raises InputError.

    >>> sides("12,8"), sides("12")
    ((12, 8), (12, 12))
    """
    numbers = text.split(",")
    if len(numbers) > 2 or not all(number.strip().isdecimal() for number in numbers):
        raise InputError(f"--tile {text!r}: expected samples before and after, such as 12,12")
    return int(numbers[0]), int(numbers[-1])


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of samples, at least 1, not {text!r}")
    return int(text)
