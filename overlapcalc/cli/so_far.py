"""What `plan` and `verify` have found when they are interrupted."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from .interrupted import Partial

if TYPE_CHECKING:
    from rich.console import Console

    from ..planning.plan import Plan


def proofs_so_far(found: dict[str, list[Any]]) -> Partial:
    """The proofs that were made."""
    from ..report import render_proofs

    proofs, asked = found.get("proof", []), next(iter(found.get("to prove", [])), None)
    done = {proof.name for proof in proofs}
    missing = ["every proof"] if asked is None or not proofs else [name for name in asked if name not in done]
    render = partial(render_proofs, proofs) if proofs else None
    return Partial(render, {"proofs": [proof.to_dict() for proof in proofs]}, missing or ["the figures"])


def plan_so_far(found: dict[str, list[Any]], *, compare: bool) -> Partial:
    """The plan that was made or, of those that fit into a budget, that with the least work; and other schedules."""
    from ..report import plan_json, render_plan

    def rendered(console: Console) -> None:
        render_plan(best, console, others=others)

    plans, others = found.get("plan", []), found.get("alternative", [])
    if not plans:
        return Partial(None, {}, ["the plan"])
    chosen = found.get("chosen", [])
    best = chosen[0] if chosen else min(plans, key=_work)
    if chosen and compare:
        missing = ["the comparison with the schedules that had not been planned"]
    elif chosen:
        missing = ["nothing but the report"]
    else:
        missing = ["blocks and schedules that had not been tried, one of which may take less work"]
    figures = json.loads(plan_json(best, others))
    return Partial(rendered, figures, missing)


def _work(plan: Plan) -> tuple[int, int]:
    return plan.work.kernel_macs, plan.memory.total if plan.memory else 0
