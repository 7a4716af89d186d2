"""Is a refusal right? A net that cannot be run by blocks depends on samples far away, or on the size of the image.

Nothing of overlapcalc's mathematics is used: samples at one end of a long image are replaced and the outputs at the
other end looked at (finite values only: what changes an output is read by it). The image is at least twice as long
as all windows of the net together reach (`local.windows`). Where nothing is seen, the net is run on tiles that start
on multiples of 64, 192 and 960 samples, with more context than its windows reach: a local net gives the same there
for one of them. A net that runs at one size only has no tiles. A refusal that nothing of this confirms is listed as
suspicious.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from .local import windows
from .runs import Net, Outputs, along, changed, relative
from .shapes import Shapes, example, runs, with_far_ends, with_four_cuts
from .weights import noise

STEPS = (64, 192, 960)
STRIP = 32
"""At most so many samples at either end of the image are replaced."""
SAME, DIFFERENT = 1e-12, 1e-9
"""Relative errors in float64: up to the first two runs agree; from the second on they do not."""


@dataclass(frozen=True, order=True)
class Refused:
    """A pair and an axis that a claim says cannot be run by blocks: places of the output, the input, the axis."""

    output: int
    input: int
    place: int


@dataclass
class Confirmation:
    """What is known of one refused pair and axis. method: "" where nothing confirms the refusal."""

    method: str = ""
    note: str = ""
    at: Shapes = ()

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, "note": self.note, "at": [list(s) for s in self.at]}


@dataclass
class _Far:
    """One axis of one input of a net on a long image: the outputs, and with either end replaced."""

    net: Net
    length: int
    reach: int
    plain: Outputs
    dims: list[list[int]]
    first: Outputs = field(default_factory=list)
    last: Outputs = field(default_factory=list)

    @property
    def strip(self) -> int:
        """How many samples are replaced at an end: more than one, for strides may skip some."""
        return max(1, min(STRIP, self.length // 16))

    @property
    def enough(self) -> bool:
        """Whether what lies between the ends, and three quarters of the image, are more than the windows reach."""
        return self.length - 2 * self.strip >= 1.5 * self.reach


def confirm(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], refused: Iterable[Refused]
) -> dict[Refused, Confirmation]:
    """Each refused pair and axis, confirmed or not."""
    todo = sorted(set(refused))
    found = {r: Confirmation() for r in todo}
    base: Shapes = tuple(tuple(x.shape) for x in inputs)
    try:
        reach = windows(model, noise(inputs))
    except Exception as error:  # the model does not run at all
        return {r: Confirmation(note=f"the net does not run: {type(error).__name__}: {error}") for r in todo}
    if _random(Net(model, noise(inputs))):
        return {r: Confirmation("random", "two runs on one image differ", base) for r in todo}
    for which, place in sorted({(r.input, r.place) for r in todo}):
        mine = [r for r in todo if (r.input, r.place) == (which, place)]
        for dtype in (torch.float32, torch.float64):
            left = [r for r in mine if not found[r].method]
            if left:
                _poison(model, inputs, base, reach[place], which, place, dtype, {r: found[r] for r in left})
        left = [r for r in mine if not found[r].method]
        if left:
            _tile(model, inputs, base, reach[place], place, {r: found[r] for r in left})
        left = [r for r in mine if not found[r].method]
        if left and _runs_here_only(model, inputs, base, place):
            for r in left:
                found[r].method, found[r].note = "one size", "it runs on no image longer or shorter along the axis"
    return found


def _runs_here_only(model: nn.Module, inputs: tuple[torch.Tensor, ...], base: Shapes, place: int) -> bool:
    """Whether no other size runs: then no tile of the image does, be the net local or not."""
    like = _typed(model, inputs, torch.float32)
    for times, more in ((Fraction(1, 2), 0), (1, -32), (1, 32), (2, 0), (3, 0)):
        other = tuple((*s[: 2 + place], int(s[2 + place] * times) + more, *s[3 + place :]) for s in base)
        if min(min(s) for s in other) > 0 and runs(model, other, like):
            return False
    return True


def _random(net: Net) -> bool:
    return any(bool(changed(a, b).any()) for a, b in zip(net.run(), net.run(), strict=True))


def _typed(model: nn.Module, inputs: tuple[torch.Tensor, ...], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Moves the model, in place, and gives inputs of the type to go with it."""
    model.to(dtype)
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in inputs)


# ---- far samples --------------------------------------------------------------------------------------------


def _poison(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    base: Shapes,
    reach: int,
    which: int,
    place: int,
    dtype: torch.dtype,
    wanted: dict[Refused, Confirmation],
) -> None:
    like = _typed(model, inputs, dtype)
    shapes = with_far_ends(model, base, place, 2 * (reach + STRIP), like)
    if not runs(model, shapes, like):
        for c in wanted.values():
            c.note = f"the net does not run in {dtype}"
        return
    net = Net(model, example(like, shapes))
    plain = net.run()
    length = shapes[which][2 + place]
    far = _Far(net, length, reach, plain, _axis_dims(model, like, shapes, place, plain))
    strip = far.strip
    for filling in (900.0, 1e6):
        far.first = net.poisoned(which, 2 + place, [(0, strip)], filling)
        far.last = net.poisoned(which, 2 + place, [(length - strip, length)], filling)
        for r, c in wanted.items():
            if not c.method:
                seen = _seen(far, r.output)
                c.at = shapes
                if seen and far.enough:
                    c.method, c.note = "poison", seen
                elif seen:
                    c.note = f"{seen}, but the windows of the net reach {reach} samples themselves"
        if all(c.method for c in wanted.values()):
            return


def _seen(far: _Far, output: int) -> str:
    """What replacing one end of the image changes at the other one; nothing where it stays local."""
    y, first, last = far.plain[output], far.first[output], far.last[output]
    if y.shape != first.shape or y.shape != last.shape:
        return "the shape of the output depends on the data"
    front, back = changed(y, first), changed(y, last)
    dims = far.dims[output]
    if not dims:
        both = bool((front & back).any())
        return "an output depends on samples at both ends" if both else ""
    d = dims[0]
    a, b = along(front, d), along(back, d)
    quarter = max(1, y.shape[d] // 4)
    if len(dims) == 1 and y.shape[d] >= 4 and (bool(a[-quarter:].any()) or bool(b[:quarter].any())):
        return "samples at one end change outputs at the other"
    if min(float(a.double().mean()), float(b.double().mean())) > 0.9:
        return "samples at either end change outputs all along"
    return ""


def _axis_dims(
    model: nn.Module, like: tuple[torch.Tensor, ...], shapes: Shapes, place: int, plain: Outputs
) -> list[list[int]]:
    """Per output, the dimensions that grow with the axis; twice over where another axis is merged into it."""
    spatial = max(len(s) for s in shapes) - 2
    grown = _grown_shapes(model, like, shapes, place)
    out: list[list[int]] = []
    for k, y in enumerate(plain):
        if grown is None or k >= len(grown):
            out.append([2 + place] if y.dim() == 2 + spatial and y.shape[2 + place] > 1 else [])
            continue
        dims = [d for d in range(y.dim()) if y.shape[d] != grown[k][d]]
        for other in range(spatial):
            rest = _grown_shapes(model, like, shapes, other) if other != place and dims else None
            if rest is not None and any(y.shape[d] != rest[k][d] for d in dims):
                dims = dims * 2
        out.append(dims)
    return out


def _grown_shapes(
    model: nn.Module, like: tuple[torch.Tensor, ...], shapes: Shapes, place: int
) -> list[tuple[int, ...]] | None:
    """The shapes of the outputs on a longer image, where the net runs on one."""
    for more in (32, 64, 224, 320):
        larger = tuple((*s[: 2 + place], s[2 + place] + more, *s[3 + place :]) for s in shapes)
        if runs(model, larger, like):
            return [tuple(y.shape) for y in Net(model, example(like, larger)).run()]
    return None


# ---- tiles --------------------------------------------------------------------------------------------------


def _tile(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    base: Shapes,
    reach: int,
    place: int,
    wanted: dict[Refused, Confirmation],
) -> None:
    """Half an image, cut on either side at multiples of some step, against the whole one."""
    like = _typed(model, inputs, torch.float64)
    verdicts: dict[Refused, list[tuple[int, float]]] = {r: [] for r in wanted}
    for step in STEPS:
        cut = step * max(1, -(-reach // step))
        shapes = with_four_cuts(model, base, place, cut, like)
        if shapes is None:
            continue
        net = Net(model, example(like, shapes))
        whole = net.run()
        spatial = max(len(s) for s in shapes) - 2
        for r in wanted:
            if whole[r.output].dim() == 2 + spatial:
                verdicts[r].append((step, _halves(net, whole, place, cut, r)))
        for c in wanted.values():
            c.at = shapes
    for r, c in wanted.items():
        if not verdicts[r]:
            c.note = c.note or ("the output does not have the axis" if c.at else "no image long enough runs")
        elif all(error >= DIFFERENT for _, error in verdicts[r]):
            c.method = "tile"
            c.note = f"tiles on multiples of {', '.join(str(s) for s, _ in verdicts[r])} differ: " + _errors(
                verdicts[r]
            )
        else:
            c.note = "maybe local: tiles agree, " + _errors(verdicts[r])


def _errors(found: list[tuple[int, float]]) -> str:
    return ", ".join(f"{error:.1e} on multiples of {step}" for step, error in found)


def _halves(net: Net, whole: Outputs, place: int, cut: int, r: Refused) -> float:
    """The larger relative error of the outputs one `cut` and more inside a tile, cut at the front and at the rear."""
    errors = []
    for front in (True, False):
        cuts = [(2 + place, cut if front else 0, x.shape[2 + place] - cut) for x in net.inputs]
        try:
            tile = net.cut(cuts)
        except Exception:  # it does not run on the tile: no agreement
            return float("inf")
        errors.append(_half(whole[r.output], tile[r.output], 2 + place, front))
    return max(errors)


def _half(y: torch.Tensor, t: torch.Tensor, d: int, front: bool) -> float:
    off = y.shape[d] - t.shape[d]
    if off <= 0 or t.shape[d] <= off:
        return float("inf")  # the output's length does not follow the image's
    inner = t.shape[d] - off
    got = t.narrow(d, off if front else 0, inner)
    want = y.narrow(d, 2 * off if front else 0, inner)
    return relative(got, want, float(y.abs().max()))
