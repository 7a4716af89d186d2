"""`overlapcalc.verify`: run the proofs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze, analyze_here
from ..analysis.called import Kwargs
from ..analysis.guess import guess_inputs
from ..analysis.plain import fixed_text
from ..analysis.variants import Variants
from ..engine.fit import Fitter
from ..engine.loop.loop import Loop
from ..engine.padded import padded
from ..engine.plan import floating_type
from ..engine.plan_passes import passes_plan
from ..errors import Argument, InputError
from ..planning.crop import make_plan
from ..planning.obstacles import CROP, runs_at_size_only, schedule_for, variants_for
from ..planning.options import (
    CUT_OPTIONS,
    PASSES,
    Blocking,
    CutOptions,
    Tile,
    per_axis,
    refuse_unknown,
)
from ..planning.plan import Plan
from ..planning.stages import WAVEFRONT
from ..stages import at_stage, noted
from .against_whole import exact_twin, values, whole
from .asked import as_asked
from .borders import poisoned_borders
from .dependency import SLACK, ProofSubject, dependency, lively, minimality
from .device import device_of
from .fillings import Fillings
from .kernel_settings import exact_kernels
from .loops.result import LoopVerification
from .loops.verify import verify_loop
from .nets import Nets, measured
from .passes.verify import verify_passes
from .proof_image import banded, images_of, proof_block, proof_shapes, sized
from .result import OF_BLOCKS, OF_PASSES, Proof, Verification
from .spread import Spread, unanswered

if TYPE_CHECKING:  # it comes with torch
    from typing_extensions import Unpack


@overload
def verify(
    model: Loop, inputs: Sequence[Tensor] | None = None, *, order: str = WAVEFRONT, device: torch.device | str = "cpu"
) -> LoopVerification: ...


@overload
def verify(
    model: nn.Module,
    inputs: Inputs | Analysis | None = None,
    *,
    kwargs: Kwargs = None,
    tile: Tile | None = None,
    plan: Plan | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
    bit_exact: bool = False,
    pad_to_fit: str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[CutOptions],
) -> Verification: ...


def verify(
    model: nn.Module | Loop,
    inputs: Inputs | Analysis | None = None,
    *,
    kwargs: Kwargs = None,
    tile: Tile | None = None,
    plan: Plan | None = None,
    order: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
    bit_exact: bool = False,
    pad_to_fit: str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[CutOptions],
) -> Verification | LoopVerification:
    """Prove, by running it, that `model` gives the same by blocks as on the whole image.

    inputs, kwargs: as for `analyze`; the values of tensors are used for the figures; or an Analysis of this model, to
    save making another; without them the smallest image that has a block at every border and one inside. block,
    schedule, axes, layout: as for `plan`. tile: this many samples (before, after) around each block, instead of the
    tile that the analysis finds: "is my overlap of 32 enough?". plan: a plan to prove as it is. dtype: the type for the
    figures, the model's own when absent. bit_exact: they must be bit-identical in that type too. pad_to_fit: as for
    `plan`; the proofs are of the net on the padded image.

    The proofs: "dependency" and "minimality" of what the analysis says that blocks read; "poisoned borders",
    "exact twin" and "values" of the schedule. The model is copied; yours is never touched.

    Without a named schedule, that which `run` takes. Of passes: "cover" (every sample enters each reduction once),
    "dependency" within each pass, "poisoned borders", "exact twin" and "values".

    Of a `Loop`, at its size: "order" (nothing is read before it is made), "fixed point" (the whole net, run on what the
    loop made, makes it again, bit for bit, in integers modulo a prime) and "values" (the same in float64). Its hooks
    are not called. inputs: what the loop is given. order: "wavefront" or "raster".

    Raises what `plan` raises, and InputError where the device is missing or a single block covers the whole image.

    >>> v = oc.verify(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=8)
    >>> v.proved, [proof.name for proof in v.proofs]
    (True, ['dependency', 'minimality', 'poisoned borders', 'exact twin', 'values'])
    """
    if isinstance(model, Loop):
        blocks: dict[str, Any] = {"tile": tile, "plan": plan, "dtype": dtype, "bit_exact": bit_exact or None}
        blocks |= {"pad_to_fit": pad_to_fit, **options}
        refuse_given(blocks, ": that is of blocks; a loop has none: leave it out")
        refuse_given({"kwargs": kwargs, "axes": axes, "layout": layout}, ": a loop has its own; give it to Loop")
        given: Any = inputs
        return verify_loop(model, given, order or WAVEFRONT, device_of(device))
    if order is not None:
        raise InputError(Argument("order", order), ": that is of a Loop; blocks have a schedule")
    others = ("kwargs", "order", "tile", "plan", "device", "dtype", "bit_exact", "pad_to_fit", "axes", "layout")
    refuse_unknown(options, *CUT_OPTIONS, *others)
    asked: dict[str, Any] = {**options, "schedule": options.get("schedule") or "crop"}
    if pad_to_fit is not None:
        rest: dict[str, Any] = {"tile": tile, "plan": plan, "device": device, "dtype": dtype, "bit_exact": bit_exact}
        net, inputs = as_asked(model, inputs, kwargs, axes, layout)
        return _of_padded(net, inputs, Blocking(**asked, pad_to_fit=pad_to_fit), axes, layout, {**rest, **options})
    blocking = Blocking(**asked)
    where = device_of(device)
    if plan is not None and tile is not None:
        raise InputError("a plan and a tile exclude each other; give one of them")
    block, stream = blocking.block, blocking.schedule == "stream"
    if isinstance(block, (tuple, list)) and inputs is None and stream and blocking.stream_axis is None:
        first = ": which axis comes first depends on the image; give "
        raise InputError(Argument("block", block), first, Argument("stream_axis"), " as well")
    named = tile is not None or plan is not None or options.get("schedule") is not None
    if plan is not None:
        blocking = replace(blocking, schedule=plan.schedule, stream_axis=None)
    net, inputs = as_asked(model, inputs, kwargs, axes, layout)
    analysis, given, blocking = _subject(net, inputs, blocking, axes, layout, named)
    if any(isinstance(x, Tensor) and not bool(x.isfinite().all()) for x in tree_leaves(given)):
        raise InputError("an input holds NaN or infinity, which hide what depends on what; give finite values")
    in_passes = blocking.schedule == PASSES or (plan is not None and plan.schedule == PASSES)
    if plan is None and in_passes:
        if tile is not None:
            raise InputError(Argument("tile", tile), " is for the schedule crop; passes have no tiles")
        plan = passes_plan(analysis, banded(blocking, analysis))
    elif plan is None:
        plan = make_plan(analysis, sized(blocking, analysis), tile=tile)
    elif plan.inputs != analysis.inputs:
        raise InputError(f"the plan is for inputs {dict(plan.inputs)}, not {dict(analysis.inputs)}")
    if plan.fixed != analysis.fixed:
        raise InputError(f"the plan is for a net with [{fixed_text(plan.fixed)}], not [{fixed_text(analysis.fixed)}]")
    if plan.count == 1:
        image = ", ".join("x".join(map(str, shape)) for shape in plan.inputs.values())
        raise InputError(
            f"one block takes the whole image ({image}), so there is nothing to prove; give smaller blocks "
            "or a larger image"
        )
    noted("to prove", OF_PASSES if in_passes else OF_BLOCKS)
    variants = variants_for(analysis, plan.schedule)
    own = floating_type(dtype)
    kinds = [own or kind for kind in variants.runnable(tuple(plan.inputs.values())).types]
    images = images_of(given, plan.inputs, kinds, where)
    nets = Nets(net, variants, plan, images, where)
    if in_passes:
        with torch.no_grad():
            borders = _borders(net, variants, plan, images, where)
        return verify_passes(nets, plan, images, borders, own, bit_exact=bit_exact)
    with torch.no_grad(), exact_kernels():
        nets.check()
        single = {}
        for name, x in nets.inputs.items():  # kernels for batches may mix images, which says nothing about the net
            batch = analysis.layouts[name].find("N")
            single[name] = x if batch < 0 else x.narrow(batch, 0, 1)
        spread = nets.spread(single)
        proofs = _claims(nets, analysis, single, spread)
        at_stage("proving with an exact twin")
        proofs.append(noted("proof", exact_twin(nets.wide, nets.variants, plan, images, where)))
    at_stage("running blocks and the whole")
    with torch.no_grad(), exact_kernels(cudnn=True):
        figures, precision, refused = measured(nets, own)
    with torch.no_grad():
        proofs.insert(2, _borders(net, variants, plan, images, where))
    proofs.append(noted("proof", values(figures, precision, bit_exact=bit_exact, refused=refused)))
    open_ends = unanswered(spread)
    proofs = [proof if proof.name == "exact twin" else proof.with_caveat(open_ends) for proof in proofs]
    return Verification(tuple(proofs), tuple(figures), plan, str(where), torch.__version__, open_ends)


def _of_padded(
    model: nn.Module,
    inputs: Any,
    blocking: Blocking,
    axes: Sequence[str] | str | None,
    layout: str | Sequence[str | None] | None,
    options: dict[str, Any],
) -> Verification:
    """The proofs at the size to which inputs are padded. options: all others of `verify`."""
    refuse_given({"plan": options["plan"]}, ": a plan has its size; leave out pad_to_fit")
    fitter = Fitter(model if not isinstance(inputs, Analysis) else inputs, blocking, axes=axes, layout=layout)
    if inputs is None:
        inputs = guess_inputs(model, layout if isinstance(layout, str) else None)[0]
    analysis, padding = fitter.fit(inputs)
    kinds = analysis.variants.runnable(tuple(analysis.inputs.values())).types
    images = images_of(inputs, padding.given, kinds, device_of(options["device"]))
    longer: Any = [padded(x, padding.padded[name], padding.mode) for name, x in images.items()]
    found = verify(model, longer, axes=axes, layout=layout, **options)
    return replace(found, plan=replace(found.plan, padding=padding))


def refuse_given(options: Mapping[str, Any], why: str) -> None:
    """Raises InputError for the first option that is not None."""
    for name, value in options.items():
        if value is not None:
            raise InputError(Argument(name, value), why)


def _subject(
    model: nn.Module,
    inputs: Inputs | Analysis | None,
    blocking: Blocking,
    axes: Sequence[str] | str | None,
    layout: str | Sequence[str | None] | None,
    named: bool,
) -> tuple[Analysis, Inputs, Blocking]:
    """The analysis at the size of the proof, the inputs of that size, shapes or tensors, and the blocks, with the
    schedule that `run` takes unless it is named. Raises ObstacleError."""

    def scheduled(analysis: Analysis) -> Blocking:
        found = (
            blocking if named else replace(blocking, schedule=schedule_for(analysis, replace(blocking, schedule=None)))
        )
        variants_for(analysis, found.schedule or CROP)
        return found

    if isinstance(inputs, Analysis):
        return inputs, tuple(inputs.inputs.values()), scheduled(inputs)
    given: Any = inputs if inputs is not None else guess_inputs(model, layout if isinstance(layout, str) else None)[0]
    alone = named and blocking.schedule == PASSES  # they run at one size
    analysis = (analyze_here if alone else analyze)(model, given, axes=axes, layout=layout)
    blocking = scheduled(analysis)
    if inputs is not None:
        return analysis, inputs, blocking
    if blocking.schedule == PASSES or runs_at_size_only(analysis):  # at which other size is it the same net?
        return analysis, tuple(analysis.inputs.values()), blocking
    sizes = proof_block(analysis)
    order = sorted(analysis.axes, key=lambda axis: axis != blocking.stream_axis)  # as planning/slabs.py has them
    asked = {} if blocking.block is None else per_axis(order, blocking.block, "block")
    shapes = proof_shapes(analysis, {**sizes, **asked})
    return analysis.at(*shapes), shapes, blocking


def _claims(nets: Nets, analysis: Analysis, single: Mapping[str, Tensor], spread: Sequence[Spread]) -> list[Proof]:
    """Proofs 1 and 2, with one image of the batch in float64."""
    random = lively(copy.deepcopy(nets.wide))
    moved = [partial(nets.run, spread=s) for s in spread[1:]]
    fillings = Fillings(nets.variants.net.graph)
    subject = ProofSubject(
        analysis, nets.variants.net, nets.plan, single, nets.run, partial(nets.run, model=random), moved, fillings,
        slack=SLACK if fillings.resizes and nets.device.type == "cuda" else 0.0,
    )  # fmt: skip
    at_stage("proving what blocks read")
    proofs = [noted("proof", dependency(subject))]
    at_stage("proving that no sample less would do")
    return [*proofs, noted("proof", minimality(subject))]


def _borders(
    model: nn.Module, variants: Variants, plan: Plan, inputs: Mapping[str, Tensor], where: torch.device
) -> Proof:
    """Proof 3, in the type in which the net was traced."""
    own = copy.deepcopy(model).eval().to(device=where)
    calls = variants.runnable(tuple(plan.inputs.values()))
    kinds = dict(zip(variants.net.graph.inputs, calls.types, strict=True))
    given = {name: x.to(kinds[name]) if x.is_floating_point() else x for name, x in inputs.items()}
    halves = {torch.float16, torch.bfloat16} & {call.dtype for call in calls.calls.values()}
    at_stage("proving with poisoned borders")
    with exact_kernels(onednn=not halves):
        return noted("proof", poisoned_borders(own, variants, plan, given, whole(own, plan, given)))
