"""One model: built, analysed, timed, checked. Everything that happens ends up in a plain dict."""

from __future__ import annotations

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

from ..exporting import export
from .checks import held
from .zoofile import Zoo

Record = dict[str, Any]
Send = Callable[[Record], None]


def record(zoo: Zoo, name: str, checked: bool, send: Send) -> None:
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
    """What torch alone needs; None where it cannot do it either."""
    started = time.perf_counter()
    try:
        export(model, inputs)
    except Exception:  # torch raises whatever it likes; then there is nothing to compare with
        return None
    return _since(started)


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
