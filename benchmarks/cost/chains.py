"""How the analysis grows with the length of a net, without torch's time: chains of convolutions, blocks and levels."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import overlapcalc as oc


def growth(make: Callable[[int], nn.Module], short: int, long: int) -> dict[str, Any]:
    """Seconds beside tracing for a short and a long net, the best of three, after a warm-up, and their ratio."""
    found: dict[str, Any] = {}
    beside_tracing(make(short).eval())
    for layers in (short, long):
        model = make(layers).eval()
        found[str(layers)] = min((beside_tracing(model) for _ in range(3)), key=lambda parts: parts["beside"])
    found["ratio"] = found[str(long)]["beside"] / found[str(short)]["beside"]
    return found


def beside_tracing(model: nn.Module) -> dict[str, float]:
    """Seconds of one analysis with all its figures: traced (export and lowering), and all the rest."""
    door = importlib.import_module("overlapcalc.analysis.analyze")
    trace, spent, traces = door.trace, 0.0, 0

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal spent, traces
        started = time.process_time()
        try:
            return trace(*args, **kwargs)
        finally:
            spent += time.process_time() - started
            traces += 1

    door.trace = timed  # type: ignore[attr-defined]
    try:
        started = time.process_time()
        analysis = oc.analyze(model, (1, 4, 64, 64))
        figures = analysis.to_dict()
        total = time.process_time() - started
    finally:
        door.trace = trace  # type: ignore[attr-defined]
    assert figures["blocking_free"]
    return {"traced": round(spent, 3), "traces": traces, "beside": round(total - spent, 3)}


class _Add(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class _Level(nn.Module):
    """A level of a U-Net around another one: half the size inside, the skip concatenated."""

    def __init__(self, inner: nn.Module, layers: int) -> None:
        super().__init__()
        self.inner, self.merge = inner, nn.Conv2d(8, 4, 1)
        self.before, self.after = _convs(layers), _convs(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        inner = torch.nn.functional.interpolate(self.inner(torch.nn.functional.max_pool2d(x, 2)), scale_factor=2.0)
        out: Tensor = self.after(self.merge(torch.cat([x, inner], 1)))
        return out


def _convs(layers: int) -> nn.Sequential:
    return nn.Sequential(*(m for _ in range(layers // 2) for m in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())))


def _residual(layers: int) -> nn.Module:
    return nn.Sequential(*(_Add(_convs(4)) for _ in range(layers // 5)))


def _unet(layers: int) -> nn.Module:
    """Three levels; layers counts convolutions and activations."""
    net: nn.Module = _convs(layers // 7)
    for _ in range(3):
        net = _Level(net, layers // 7)
    return net


CHAINS: dict[str, Callable[[int], nn.Module]] = {"conv-relu": _convs, "residual": _residual, "u-net": _unet}
