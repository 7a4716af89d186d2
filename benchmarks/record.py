"""One model: built, analysed, timed, checked. Everything that happens ends up in a plain dict."""

from __future__ import annotations

import copy
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import overlapcalc as oc

from .answers import Report, check, example, shapes_for
from .claims import claims_of, place_of, refusals_of
from .operators import inspect_operators
from .refusals import confirm
from .runs import Net
from .weights import enliven, noise
from .zoofile import Zoo

Record = dict[str, Any]
Send = Callable[[Record], None]


def record(zoo: Zoo, name: str, *, checked: bool, send: Send) -> None:
    """Everything about one model, sent piece by piece: what is known survives whatever comes after it."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    try:
        model, inputs = zoo.build(name)
    except Exception as error:
        send({"result": "not built", "error": described(error), "seconds": {}})
        return
    seconds: dict[str, float | None] = {"build": _since(started)}
    send({"result": "crashed", "seconds": seconds, "shapes": [list(x.shape) for x in inputs]})
    started = time.perf_counter()
    try:
        analysis = oc.analyze(model, list(inputs))
        answer = _answer(analysis)
    except Exception as error:
        seconds["analyze"] = _since(started)
        send({"result": "failed", "error": described(error), "seconds": seconds})
        return
    seconds["analyze"] = _since(started)
    send({**answer, "seconds": seconds})
    seconds["export"] = _export_seconds(model, inputs)
    send({"seconds": seconds})
    if checked:
        started = time.perf_counter()
        send({"check": {"status": "crashed"}})
        try:
            found = held(model, inputs, analysis)
        except Exception as error:
            found = {"status": "error", "error": described(error)}
        seconds["check"] = _since(started)
        send({"check": found, "seconds": seconds})


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def _answer(analysis: oc.Analysis) -> Record:
    out: Record = {
        "result": "answered" if analysis.blocking_free else "refused",
        "size_verified": analysis.size_verified,
        "outputs": {name: list(shape) for name, shape in analysis.outputs.items()},
        "layers": len(analysis.layers),
        "obstacles": grouped(analysis.obstacles),
    }
    if analysis.blocking_free:
        pair = analysis.pairs[0]
        out["answers"] = {axis: _figures(pair[axis]) for axis in pair.axes}
        out["exact"] = all(p[axis].exact for p in analysis.pairs for axis in p.axes)
    return out


def _figures(w: oc.AxisAnalysis) -> dict[str, Any]:
    return {
        "scale": str(w.scale),
        "step": w.step,
        "context": None if w.context is None else list(w.context),
        "tile": None if w.tile is None else list(w.tile),
    }


def grouped(obstacles: tuple[oc.Obstacle, ...]) -> list[Record]:
    """Obstacles by cause and operator: how many layers, and the first of them."""
    groups: dict[tuple[str, str], list[oc.Obstacle]] = {}
    for o in obstacles:
        groups.setdefault((o.cause, o.op), []).append(o)
    return [
        {
            "cause": cause,
            "op": op,
            "layers": len({o.layer for o in same}),
            "first": same[0].layer,
            "axes": sorted({o.axis for o in same}),
            "message": portable(same[0].message),
            "source": portable(same[0].source),
        }
        for (cause, op), same in groups.items()
    ]


def _export_seconds(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float | None:
    """What torch alone needs: one export and one empty decomposition."""
    started = time.perf_counter()
    try:
        with torch.no_grad():
            torch.export.export(copy.deepcopy(model), inputs, strict=False).run_decompositions({})
    except Exception:  # torch raises whatever it likes; then there is nothing to compare with
        return None
    return _since(started)


# ---- checks -------------------------------------------------------------------------------------------------


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
        for shapes in shapes_for(model, like, steps, place, reach + 4):
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


# ---- errors -------------------------------------------------------------------------------------------------


def described(error: BaseException) -> Record:
    """Kind and message; where overlapcalc did not raise it on purpose, the last frames as well."""
    own = isinstance(error, oc.OverlapcalcError)
    out: Record = {"kind": type(error).__name__, "message": portable(str(error))[:2000], "on_purpose": own}
    if not own:
        out["trace"] = portable("".join(traceback.format_tb(error.__traceback__)[-4:]))
    return out


def portable(text: str) -> str:
    """Without the directories of this machine."""
    text = re.sub(r"[^\s\"'(]*/site-packages/", "", text)
    root = str(Path(oc.__file__).resolve().parent.parent)
    for place in (root, *sorted((p for p in sys.path if len(p) > 1), key=len, reverse=True)):
        text = text.replace(place.rstrip("/") + "/", "")
    return text
