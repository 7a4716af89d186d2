"""Run by blocks along every axis that the analysis calls free, against the net itself. Shared by the tests of refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine import Machine
from overlapcalc.engine.plan import planned
from overlapcalc.engine.run import Signature, Tiled
from shared.nets import Do
from shared.once import Traces

SCHEDULES = ("crop", "trim", "stream")


class WrongError(AssertionError):
    """A run by blocks gives something else than the net, and no word of it."""


class Fn(nn.Module):
    """A function of the module and its input, with parts."""

    def __init__(self, function, **parts: nn.Module) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(self, *x)


def net(function) -> nn.Module:  # type: ignore[no-untyped-def]
    return Do(function.__name__, function).eval()


def by(analysis: oc.Analysis, model: nn.Module, *x: Tensor, **options: Any) -> Any:
    """What `run` gives, by an analysis that is there already: what runs cost in tests is most of all to analyse."""
    return _Given(analysis, model, **options)(*x)


class _Given(Tiled):
    def __init__(self, analysis: oc.Analysis, model: nn.Module, **options: Any) -> None:
        super().__init__(model, **options)
        self._found = analysis

    def _made(self, net: nn.Module, signature: Signature) -> Machine:
        return Machine(net, self._found.variants, planned(self._found, self._blocking))


def never_wrong(model: nn.Module, shape: tuple[int, ...], block: int = 5, tolerance: float = 1e-9) -> str:
    """The free axes, as one word. Every schedule along each axis must be right, or refused by name.

    Raises WrongError; whatever is no error of overlapcalc's comes through.
    """
    with Traces().once():
        return _never_wrong(model, shape, block, tolerance)


def _never_wrong(model: nn.Module, shape: tuple[int, ...], block: int, tolerance: float) -> str:
    torch.manual_seed(0)
    model = model.double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x).double()
    try:
        found = oc.analyze(model, x)
    except oc.OverlapcalcError:
        return ""
    free = [axis for axis in found.axes if not any(o.axis == axis for o in found.obstacles)]
    for axis in found.axes:
        ran = 0
        for schedule in SCHEDULES if axis in free else SCHEDULES[1:]:
            try:
                got = by(replace(found, axes=(axis,)), model, x, block={axis: block}, schedule=schedule).double()
            except oc.OverlapcalcError:
                continue
            ran += 1
            error = float((got - whole).abs().max() / whole.abs().max().clamp(min=1e-30))
            if not error <= tolerance:
                raise WrongError(f"{schedule} along {axis} is off by {error:.2g}")
        assert ran or axis not in free, f"called free along {axis}, and no schedule runs it"
    return "".join(free)


class Net(nn.Module):
    """`function(net, x)` with two convolutions at hand: `a` reads 1 to each side, `b` reads 2."""

    def __init__(self, function: Callable[..., Any], channels: int = 1) -> None:
        super().__init__()
        self.function = function
        self.a = nn.Conv2d(channels, channels, 3, padding=1)
        self.b = nn.Conv2d(channels, channels, 5, padding=2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def made(function: Callable[..., Any], channels: int = 1, size: tuple[int, int] = (16, 24)) -> tuple[Net, torch.Tensor]:
    """The net in float64, and an image for it."""
    torch.manual_seed(0)
    net = Net(function, channels).double().eval()
    return net, torch.rand(1, channels, *size, dtype=torch.float64)


def contexts(net: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Context before and after along each axis. Raises what `analyze` raises; the net must be free of obstacles."""
    a = oc.analyze(net, x)
    assert a.blocking_free, a.obstacles
    return {axis: (a[axis].context.before, a[axis].context.after) for axis in a.axes}


def errors(net: nn.Module, x: torch.Tensor) -> dict[str, float]:
    """By schedule, how far blocks of 5 are from the whole."""
    with torch.no_grad(), Traces().once():
        whole = net(x.clone())
        runs = {schedule: oc.run(net, x.clone(), block=5, schedule=schedule) for schedule in SCHEDULES}
    assert all(y.shape == whole.shape for y in runs.values())
    return {schedule: float((y - whole).abs().max() / whole.abs().max()) for schedule, y in runs.items()}


def apart(y: Tensor, z: Tensor) -> float:
    assert y.shape == z.shape
    return float((y - z).abs().max() / y.abs().max())


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def conv(inputs: int, outputs: int, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, k, padding=k // 2, **options)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3, 5))

    def forward(self, y: Tensor) -> Tensor:
        return y - self.conv(y)


class Odd(nn.Module):
    """Down and up without output_padding, cropped to what was there: sizes matter modulo the step."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = self.up(torch.relu(self.down(x)))
        missing = x.shape[-1] - u.shape[-1], x.shape[-2] - u.shape[-2]
        return x + F.pad(
            u, (missing[0] // 2, missing[0] - missing[0] // 2, missing[1] // 2, missing[1] - missing[1] // 2)
        )


class Pyramid(nn.Module):
    """Two inputs of two scales, three outputs, in a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse, self.down = conv(3, 4), conv(2, 4), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        fine = torch.relu(self.fine(x))
        coarse = self.down(fine) + self.coarse(y)
        return {"fine": fine, "rest": [coarse, F.interpolate(coarse, scale_factor=2.0) + fine]}


class TwoScales(nn.Module):
    """An image and latents of an eighth of its size, joined; two outputs at different scales."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.Conv2d(4, 4, 5, 2, 2), nn.Conv2d(4, 4, 3, 2, 1))
        self.up = nn.ConvTranspose2d(8, 4, 5, 2, 2, 1)
        self.mix = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, image, latents):
        both = torch.cat([self.down(image), latents], 1)
        return {"fine": self.up(both), "coarse": self.mix(both)}
