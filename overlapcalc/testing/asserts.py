"""Assertions about a net, with messages to act on: where, the claim, the value, the path, what would help."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..analysis.analysis import Analysis
from ..analysis.analyze import Inputs, analyze
from ..analysis.called import Kwargs, followed
from ..analysis.variants import Variants
from ..engine import Machine
from ..engine.plan_passes import passes_plan
from ..errors import InputError, ObstacleError
from ..guard.claims import Setting, Subject
from ..planning.crop import make_plan
from ..planning.options import CUT_OPTIONS, PASSES, Blocking, CutOptions, refuse_unknown
from ..planning.plan import Plan
from ..prove.against_whole import FAILURES, TOLERANCE, by_blocks, exact_twin, said, whole
from ..prove.fillings import same_bits
from ..prove.kernel_settings import exact_kernels
from ..prove.passes.cover import cover
from ..prove.result import REFUTED
from ..trace.runnable import type_matters
from .claimed import Limit, ScaleLimit, SidedLimit, SizeVerified, assert_claims, broken, claims_of
from .messages import behind, called, differing, disagreement, parts_of
from .oracle import BruteForce
from .weights import positive

if TYPE_CHECKING:  # it comes with torch
    from typing_extensions import Unpack

SHORT = 4
"""With fewer rows than this, some of the paths by which a column is read may have no row to go through. Axes are
followed one by one, so `reads` with a size may then be too long, and is compared as a bound."""


def assert_blocking_free(
    model: nn.Module | torch.export.ExportedProgram,
    shape: Inputs,
    *,
    kwargs: Kwargs = None,
    max_context: SidedLimit | None = None,
    max_tile: SidedLimit | None = None,
    max_receptive_field: Limit | None = None,
    max_lookahead: Limit | None = None,
    step: Limit | None = None,
    scale: ScaleLimit | None = None,
    causal: bool | list[str] | str = False,
    size_verified: bool = True,
    max_macs_ratio: float | None = None,
    max_memory: int | str | None = None,
    max_cone: int | None = None,
    max_skew: int | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[CutOptions],
) -> Analysis:
    """Assert that `model` can be run by blocks exactly, and needs no more than claimed. Returns its analysis.

    shape: the inputs; these, kwargs, axes, layout: as for `analyze`. max_context, max_tile: the most
    samples on every side of every axis: 16, or (16, 8) before and after, or {"W": (16, 8)}, or {"W": {"after": 0}};
    the tile is that of this shape. max_receptive_field, max_lookahead: a number, or one per axis. step, scale: the
    exact value; a scale may be "1/16". causal: no output reads input after its own place, not even at the borders; a
    list of axes claims it for these alone, "raster" that no cell reads one that comes later in row-major order.
    max_cone: the most cells that a cell reads over all axes at once; max_skew: cells can be made at time
    max_skew * row + column.
    size_verified: the net was compared with itself at a larger size. max_macs_ratio, max_memory: for all blocks of
    this shape together, the most multiply-accumulates relative to the whole, and the most memory, weights included,
    with the options block, schedule and stream_axis as for `plan`.

    `overlapcalc check` judges the same claims. Raises AssertionError with all that do not hold, InputError for claims
    that make no sense, and what `analyze` raises.

    >>> a = assert_blocking_free(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 32), max_context=2, step=1)
    >>> a["L"].context
    Sides(before=2, after=2)
    """
    __tracebackhide__ = True
    limits = (
        "max_context",
        "max_tile",
        "max_receptive_field",
        "max_lookahead",
        "step",
        "scale",
        "causal",
        "size_verified",
    )
    refuse_unknown(
        options,
        "kwargs",
        *limits,
        "max_macs_ratio",
        "max_memory",
        "max_cone",
        "max_skew",
        *CUT_OPTIONS,
        "axes",
        "layout",
    )
    claims = claims_of(
        max_context=max_context,
        max_tile=max_tile,
        max_receptive_field=max_receptive_field,
        max_lookahead=max_lookahead,
        step=step,
        scale=scale,
        causal=None if causal is False else causal,
        max_macs_ratio=max_macs_ratio,
        max_memory=max_memory,
        max_cone=max_cone,
        max_skew=max_skew,
    )
    if size_verified:
        claims.insert(0, SizeVerified("size_verified=True", "true"))
    for argument, value in options.items():
        if value is not None and max_macs_ratio is None and max_memory is None:
            raise InputError(f"{argument}={value!r} is for max_macs_ratio and max_memory, of which none is claimed")
    model, shape = followed(model, shape, kwargs)
    return assert_claims(claims, model, shape, Blocking(**options), axes, layout)


def assert_same_by_blocks(
    model: nn.Module,
    x: Inputs,
    *,
    kwargs: Kwargs = None,
    tolerance: float = TOLERANCE,
    dtype: torch.dtype = torch.float64,
    twin: bool = True,
    least_blocks: int = 2,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
    **options: Unpack[CutOptions],
) -> Plan:
    """Assert that `model` gives the same by blocks as on the whole of `x`. Returns the plan that was compared.

    x, kwargs, axes, layout, and the options block, schedule and stream_axis: as for `plan`; three blocks per axis and
    crop when absent. By passes, a net may have obstacles; every sample must enter each reduction once. A copy runs in
    `dtype`; no sample may differ by more than `tolerance` of the largest. twin: the same net in integers modulo a
    prime, where it has such a twin, must be bit-identical too: values alone miss a tile one sample short in a deep net.
    least_blocks: a comparison of fewer is refused, as one block proves nothing.

    Raises AssertionError where something differs or there is an obstacle, and what `plan` raises.

    >>> assert_same_by_blocks(nn.Conv1d(3, 8, 5, padding=2), torch.rand(1, 3, 32), block=8).count
    4
    >>> len(assert_same_by_blocks(nn.GroupNorm(1, 3), torch.rand(1, 3, 32), schedule="passes").passes.each)
    2
    """
    __tracebackhide__ = True
    refuse_unknown(options, *CUT_OPTIONS, "kwargs", "tolerance", "dtype", "twin", "least_blocks", "axes", "layout")
    asked: dict[str, Any] = {**options, "schedule": options.get("schedule") or "crop"}
    blocking = Blocking(**asked)
    model, x = followed(model, x, kwargs)
    given = _images(x)
    if not dtype.is_floating_point:
        raise InputError(f"dtype={dtype}: expected a floating type such as torch.float64")
    analysis = analyze(model, given, axes=axes, layout=layout)
    where = called(model, analysis)
    by_passes = blocking.schedule == PASSES
    claims = [] if by_passes else claims_of()
    text = broken(claims, Subject(model, analysis, Setting()), f"{where} cannot be run by blocks.")
    if text:
        raise AssertionError(text)
    plan = _plan(model, analysis, blocking)
    sizes = {axis: strip.block for axis, strip in plan.strips.items()} if blocking.block is None else blocking.block
    if plan.count < least_blocks:
        raise InputError(
            f"{where}: block={sizes!r} makes {plan.count} block{'s' if plan.count != 1 else ''} with the schedule "
            f"{plan.schedule}, so there is nothing to compare; give a smaller block or a larger image, or "
            f"least_blocks={plan.count}"
        )
    own = copy.deepcopy(model).eval().to(dtype=dtype)
    images = {name: t.to(dtype) if t.is_floating_point() else t for name, t in zip(plan.inputs, given, strict=True)}
    variants = _in_type(analysis, own, images, layout)
    with torch.no_grad(), exact_kernels():
        full = whole(own, plan, images)
        again = whole(own, plan, images)
        if any(not bool(same_bits(y, again[name]).all()) for name, y in full.items()):
            raise InputError(f"{where} gives something else every time on the same image; make it deterministic")
        machine = Machine(own, variants, plan)
        try:
            tiled = by_blocks(machine, images)
        except FAILURES as error:
            wrong = [said(error)]
        else:
            wrong = [text for name, y in full.items() for text in differing(plan, name, y, tiled[name], tolerance)]
            wrong += cover(machine, images).failures if by_passes else ()
        if twin and not wrong:
            wide, where_at = copy.deepcopy(model).eval().to(dtype=torch.float64), next(iter(images.values())).device
            proof = exact_twin(wide, variants, plan, images, where_at)
            wrong = [f"in integers modulo a prime {text}" for text in proof.failures if proof.status == REFUTED]
    if wrong:
        cut = " x ".join(f"{strip.block} along {axis}" for axis, strip in plan.strips.items())
        title = (
            f"{where} by {plan.count} blocks ({cut}, schedule {plan.schedule}) is not what it is on the whole image:"
        )
        raise AssertionError("\n".join([title, *(f"    {text}" for text in wrong), *behind(analysis)]))
    return plan


def assert_reads(
    model: nn.Module,
    x: Inputs,
    *,
    kwargs: Kwargs = None,
    own_weights: bool = False,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Analysis:
    """Assert, by brute force along every axis, that outputs depend on what the analysis says. Returns the analysis.

    Tested at the borders of this size and inside, for single outputs, blocks and all outputs. An analysis must never
    say too little; where it says that it is exact, not too much either. Weights are those of `positive` unless
    own_weights is True, because weights near zero hide what they multiply. Where another axis has fewer than 4 outputs,
    and for samples that only NaN reaches (see `Dependency`), too much goes unnoticed.

    Raises AssertionError, InputError, and what `analyze` raises; ObstacleError where there is an obstacle.

    >>> assert_reads(nn.Conv1d(1, 1, 3, padding=2, dilation=2), torch.rand(1, 1, 12))["L"].receptive_field
    (5, 5)
    """
    __tracebackhide__ = True
    model, x = followed(model, x, kwargs)
    given = _images(x)
    analysis = analyze(model, given, axes=axes, layout=layout)
    net = model if own_weights else positive(model)
    for pair in analysis.pairs:
        for axis in pair.axes:
            w = pair[axis]
            if w.out_size is None:
                raise InputError(f"{pair.output} has no axis {axis}; give axes= without it")
            place, letters = list(analysis.inputs).index(pair.input), analysis.layouts[pair.input]
            if "N" in letters and given[place].shape[letters.index("N")] != 1:
                raise InputError(f"{pair.input} holds several images; give one, as kernels for batches may mix them")
            labels = analysis.variants.net.values[analysis.variants.output_node(pair.output)].labels
            truth = BruteForce(
                net, given, letters.index(axis), input=place,
                output=analysis.variants.net.traced.leaves.index(pair.output), out_dim=labels.index(axis),
            )  # fmt: skip
            rows = zip(analysis.outputs[pair.output], labels, strict=True)
            short = any(n < SHORT for n, label in rows if label and label != axis)
            wrong = disagreement(w, truth, short)
            if wrong:
                where = f"{called(model, analysis)}, {pair.output} against {pair.input}, {axis}"
                raise AssertionError("\n".join([f"{where}: {wrong}", *behind(analysis)]))
    return analysis


# ---- the parts of it --------------------------------------------------------------------------------------


def _in_type(
    analysis: Analysis, own: nn.Module, images: Mapping[str, Tensor], layout: str | Sequence[str | None] | None
) -> Variants:
    """The net as traced in the type in which it runs, where that may be another net."""
    calls = analysis.variants.runnable(tuple(analysis.inputs.values()))
    same = all(x.dtype == t for x, t in zip(images.values(), calls.types, strict=True))
    if same or not type_matters(calls):
        return analysis.variants
    return analyze(own, list(images.values()), layout=layout).variants


def _plan(model: nn.Module, analysis: Analysis, blocking: Blocking) -> Plan:
    """With three blocks per axis if none are given; passes cut one axis. Raises AssertionError where nothing runs."""
    parts = parts_of(analysis)
    if blocking.schedule != PASSES:
        return make_plan(analysis, replace(blocking, block=parts if blocking.block is None else blocking.block))
    if blocking.block is None:
        blocking = replace(blocking, block=parts[blocking.stream_axis or analysis.longest_axis])
    try:
        return passes_plan(analysis, blocking)
    except ObstacleError as error:
        raise AssertionError(f"{called(model, analysis)} cannot be run by passes: {error}") from error


def _images(x: Any) -> list[Tensor]:
    """The tensors given. Raises InputError for anything else, and for values that hide others."""
    given: list[Any] = list(x) if isinstance(x, (list, tuple)) else [x]
    for image in given:
        if not isinstance(image, Tensor):
            raise InputError(f"x holds a {type(image).__name__}; expected a tensor, or a list of them: the net is run")
        if not bool(image.isfinite().all()):
            raise InputError("x holds NaN or infinity, which hide what differs; give finite values")
    return given
