"""What is said of one model, held against runs of it: every answer and every refusal."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import overlapcalc as oc

from .answers import Report, check
from .claims import claims_of, place_of, refusals_of
from .operators import inspect_operators
from .refusals import confirm
from .runs import Net
from .shapes import example, with_interior
from .weights import enliven, noise

Record = dict[str, Any]


def held(model: nn.Module, inputs: tuple[torch.Tensor, ...], analysis: oc.Analysis) -> Record:
    """What is answered and what is refused, each held against runs of the model. Changes its weights and type."""
    given = len(Net(model, noise(inputs)).run())
    if given != len(analysis.outputs):  # some do not depend on the input; which is which is not known here
        return {"status": "not run", "notes": [f"the net gives {given} tensors, {len(analysis.outputs)} were analysed"]}
    clear = any(not pair.obstacles(axis) for pair in analysis.pairs for axis in pair.axes)
    refusal = {} if analysis.blocking_free else checked_refusal(model, inputs, analysis)
    answer = checked_answer(model, inputs, analysis) if clear else {}
    status = refusal.get("status") if answer.get("status") in (None, "passed") else None
    return {**answer, **refusal, "status": status or answer["status"]}


def checked_answer(model: nn.Module, inputs: tuple[torch.Tensor, ...], analysis: oc.Analysis) -> Record:
    """The claims at a size with an interior block, long along one axis at a time, held against runs in float64."""
    report = Report()
    model.double()
    like = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    enliven(model, like)
    steps = _steps(analysis)
    for axis in analysis.axes:
        place = place_of(analysis, next(n for n in analysis.inputs if _has(analysis, n, axis)), axis)
        figures = [pair[axis] for pair in analysis.pairs if axis in pair.axes and not pair.obstacles(axis)]
        if not figures:
            continue
        reach = max(w.receptive_field[1] / w.step for w in figures)
        tried: list[Report] = []
        for shapes in with_interior(model, like, steps, place, reach + 4):
            tried.append(Report(at=[shapes]))
            _check_axis(Net(model, example(like, shapes)), analysis, axis, tried[-1])
            if tried[-1].failures or not tried[-1].silent_controls:
                break  # otherwise perhaps the other axes were too short for every tap to be used
        if tried:
            report.add(tried[-1])
        else:
            report.notes.append(f"{axis}: the net does not run at any size with an interior block")
    status = "failed" if report.failures else "passed" if report.claims else "not run"
    return {"status": status, **report.to_dict()}


def _check_axis(net: Net, analysis: oc.Analysis, axis: str, report: Report) -> None:
    again = oc.analyze(net.model, [tuple(x.shape) for x in net.inputs], axes=axis)
    for a, b in zip(analysis.pairs, again.pairs, strict=True):
        if axis not in a.axes or a.obstacles(axis):
            continue
        if b.obstacles(axis):
            where = b.obstacles(axis)[0]
            report.failures.append(f"{axis}: answered at the model's size, refused at {_sizes(net)}: {where}")
        elif (a[axis].context, a[axis].step) != (b[axis].context, b[axis].step):
            report.failures.append(
                f"{axis}: context {a[axis].context} at the model's size, {b[axis].context} at {_sizes(net)}"
            )
    check(net, claims_of(again, axis), report, axis)


def _sizes(net: Net) -> str:
    return ", ".join("x".join(map(str, x.shape)) for x in net.inputs)


def _has(analysis: oc.Analysis, name: str, axis: str) -> bool:
    return any(pair.input == name and axis in pair.axes for pair in analysis.pairs)


def _steps(analysis: oc.Analysis) -> list[dict[int, int]]:
    """Per input, its step along each of its axes, by place."""
    out = []
    for name in analysis.inputs:
        known = {axis: analysis.grid[axis].step.get(name) for axis in analysis.axes}
        out.append({place_of(analysis, name, axis): step for axis, step in known.items() if step})
    return out


def checked_refusal(model: nn.Module, inputs: tuple[torch.Tensor, ...], analysis: oc.Analysis) -> Record:
    """Each refused pair and axis confirmed or not; and each operator in the way, on its own."""
    enliven(model, inputs)
    named = dict(refusals_of(analysis))
    operators = inspect_operators(model, inputs, analysis.obstacles)
    found = confirm(model, inputs, named)
    left = {named[r]: c.note for r, c in found.items() if not c.method}
    methods = sorted({c.method for c in found.values() if c.method})
    first = next(iter(found.values()))
    return {
        "status": "suspicious" if left else "confirmed",
        "methods": methods,
        "notes": sorted({c.note for c in found.values() if c.method}),
        "unconfirmed": left,
        "at": first.to_dict()["at"],
        "operators": operators,
    }
