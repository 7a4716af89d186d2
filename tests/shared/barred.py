"""Whether a net gives by passes what it gives as a whole."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from unittest import mock

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import overlapcalc as oc
from overlapcalc.analysis.analyze import analyze
from overlapcalc.engine import Machine
from overlapcalc.engine.plan import plan_of
from overlapcalc.engine.plan_passes import passes_plan
from overlapcalc.planning.options import Blocking
from overlapcalc.planning.plan import Plan
from overlapcalc.prove.against_whole import by_blocks, exact_twin, in_memory, whole
from overlapcalc.prove.result import NOT_APPLICABLE, REFUTED
from overlapcalc.testing.barriers import BarrierNet, smallest

from .trial import Verdict

TOLERANCE = 1e-10
"""In float64, of the largest output."""
SINGLE = 1e-3
"""The same in float32, and no more than FACTOR times the error of the whole."""
FACTOR = 50
LONGEST = 9


def judge(net: BarrierNet, seed: int, *, axes: int = 1, twin: bool = True, single_too: bool = True) -> Verdict:
    """A net along so many of its axes, drawn at random, each in bands of a random length. single_too: in float32, too.
    On every second net, what is read far is so on small images already.

    causes: of refusals. local: nets without a twin.
    """
    rng = random.Random(f"bands {seed}")
    with mock.patch("overlapcalc.propagate.far.LEAST", rng.choice([4, 64])):
        return judged(net, rng, axes, twin, single_too)


def judged(net: BarrierNet, rng: random.Random, axes: int, twin: bool, single_too: bool) -> Verdict:
    verdict = Verdict(right=[], wrong=[])
    model, inputs = net.build(), net.inputs()
    try:
        analysis = analyze(model, inputs)
    except oc.OverlapcalcError as error:
        verdict.causes.append(f"not analysed: {error}")
        return verdict
    for axis in rng.sample(list(analysis.axes), min(axes, len(analysis.axes))):
        rows = rng.randint(1, LONGEST)
        try:
            plan = plan_of(analysis, Blocking(block=rows, schedule="passes", stream_axis=axis))
        except (oc.ObstacleError, oc.NoSlabError) as error:
            verdict.causes.append(f"{axis}: {error}")
            continue
        except (oc.OverlapcalcError, RuntimeError, AssertionError, ValueError, LookupError) as error:
            verdict.wrong.append(f"{axis} in bands of {rows}, planning: {type(error).__name__}: {error}")
            continue
        try:
            wrong = differences(model, analysis, plan, inputs, verdict, twin=twin, single_too=single_too)
        except (oc.OverlapcalcError, RuntimeError, AssertionError, ValueError, LookupError) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        verdict.wrong += [f"{axis} in bands of {rows}: {text}" for text in wrong]
        if not wrong:
            verdict.right.append(axis)
    return verdict


def shrunk(net: BarrierNet, seed: int) -> BarrierNet:
    """The smallest net found that is still wrong."""
    few = judge(net, seed, twin=False, single_too=False).wrong
    return smallest(net, lambda one: bool(judge(one, seed, twin=not few, single_too=not few).wrong))


def differences(
    model, analysis, plan: Plan, inputs: list[Tensor], verdict: Verdict, *, twin: bool, single_too: bool
) -> list[str]:
    named = dict(zip(plan.inputs, inputs, strict=True))
    found = []
    with torch.no_grad():
        full = whole(model, plan, named)
        for where, one in (
            ("spilled", spilled(plan)),
            ("kept", in_memory(plan)),
            ("anew", computed_anew(analysis, plan)),
        ):
            try:
                parts = by_blocks(Machine(model, analysis.variants, one), named)
            except oc.NoSlabError as error:
                verdict.causes.append(f"no slab: {error}")
                return []
            found += [
                f"{where}, {text}" for name, y in full.items() if (text := apart(name, y, parts[name], TOLERANCE))
            ]
        if single_too:
            found += single(model, plan, named, full)
        if twin and not found:
            proof = exact_twin(copy.deepcopy(model), analysis.variants, plan, named, torch.device("cpu"))
            found += [f"the twin: {text}" for text in proof.failures if proof.status == REFUTED]
            if proof.status == NOT_APPLICABLE:
                verdict.local.append(f"no twin: {proof.reason}")
    return found


def spilled(plan: Plan) -> Plan:
    """The same plan, with everything on disk that is not needed whole at once."""
    assert plan.passes is not None
    return replace(
        plan, passes=replace(plan.passes, stored=tuple(replace(t, kept=t.whole) for t in plan.passes.stored))
    )


def computed_anew(analysis, plan: Plan) -> Plan:
    """A plan in the same bands that computes anew what it can, and has no file."""
    assert plan.passes is not None
    blocking = Blocking(block=plan.passes.rows, schedule="passes", stream_axis=plan.stream_axis, disk=0)
    made = passes_plan(analysis, blocking, room=0)
    assert made.passes is not None
    net = Machine(None, analysis.variants, made).in_passes.net
    assert all(one.kept for one in made.passes.stored)
    assert net.swept or net.stored or all(one.whole for one in made.passes.stored)
    return made


def single(model, plan: Plan, named: dict[str, Tensor], full: dict[str, Tensor]) -> list[str]:
    """In float32, in the way of users: traced anew in this type."""
    small, given = copy.deepcopy(model).float(), [x.float() for x in named.values()]
    whole_run = whole(small, plan, dict(zip(named, given, strict=True)))
    rows = plan.passes.rows if plan.passes is not None else 1
    parts = oc.run(small, *given, schedule="passes", block=rows, stream_axis=plan.stream_axis)
    leaves = {name: leaf for name, leaf in zip(plan.leaves, tree_leaves(parts, is_leaf=_is_none), strict=True) if name}
    found = []
    for name, y in full.items():
        if leaves[name].dtype != whole_run[name].dtype:
            found.append(f"float32: {name} is {leaves[name].dtype}, of the whole {whole_run[name].dtype}")
            continue
        own = float((whole_run[name] - y).abs().max() / y.abs().max())
        text = apart(name, y, leaves[name].to(y.dtype), max(1e-5, min(SINGLE, FACTOR * own)))
        found += [f"float32: {text}, of the whole {own:.1g}"] if text else []
    return found


def _is_none(value: object) -> bool:
    return value is None


def apart(name: str, y: Tensor, z: Tensor, tolerance: float) -> str:
    if y.shape != z.shape:
        return f"{name} is {tuple(z.shape)}, not {tuple(y.shape)}"
    error = float(((y - z).abs().max() / y.abs().max()).nan_to_num(torch.inf))
    return "" if error <= tolerance else f"{name} is off by {error:.2g} of the largest value"
