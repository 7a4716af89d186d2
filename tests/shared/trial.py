"""One net that may be refused, against brute force: refused by name, or right. Shared by the fuzz run and its tests.

Of overlapcalc it takes the answers and the schedules; what is right is found by running the net.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import overlapcalc as oc
from overlapcalc.engine import Machine
from overlapcalc.planning.crop import make_plan
from overlapcalc.planning.options import Blocking
from overlapcalc.prove.against_whole import by_blocks
from overlapcalc.testing import BruteForce, Net
from overlapcalc.testing.asserts import SHORT
from shared.once import Traces

TOLERANCE = 1e-9
"""Of nets that compute in float64."""
COARSE = 1e-4
"""Of nets that compute in float32, float16 or less inside."""
NARROW = re.compile(r"float32|half|bfloat|promoted|float_int|view_bytes|default|dtype|quantize")
"""In the names of hazards that compute so."""
SIZES = (17, 24)
AXES = {"H": 2, "W": 3}
MOST_MORE = 24
"""Other sizes are larger by so many samples."""
SHARE = 0.25
"""Of nets whose blocks are cropped by the engine, and of those asked at another size: what costs most traces."""
LARGEST_STEP = 8
MOST_SAMPLES = 20_000


@dataclass
class Verdict:
    """What came of one net. causes: of refusals, one per axis or schedule. local: what was refused though brute force
    finds that it is local. wrong: the disagreements."""

    ran: bool = True
    right: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        if not self.ran:
            return "does not run"
        return "wrong" if self.wrong else "right" if self.right else "refused"


def judge(net: Net, seed: int, *, look_for_local: bool = True, thorough: bool = True) -> Verdict:
    """The verdict on one net at a random size between SIZES, and at larger ones where the analysis says that it holds.

    thorough: by every schedule; otherwise by one of them, which is much cheaper.
    """
    rng = random.Random(seed)
    size = [rng.randint(*SIZES), rng.randint(*SIZES)]
    trial = Trial(net, [max(a, b) for a, b in zip(size, net.least, strict=True)], rng)
    if trial.whole is None:
        return Verdict(ran=False)
    with Traces().once():
        trial.judge(look_for_local, thorough)
    return trial.verdict


class Trial:
    def __init__(self, net: Net, size: Sequence[int], rng: random.Random) -> None:
        self.module, self.rng, self.verdict = net.build(), rng, Verdict()
        self.net, self.calls = net, None
        self.x = self.image(size)
        self.tolerance = COARSE if NARROW.search(repr(net)) else TOLERANCE
        self.whole = self.run(self.x)
        if self.whole is not None and (not self.whole.isfinite().all() or self.whole.numel() > MOST_SAMPLES):
            self.whole = None
        if self.whole is not None and self.constant():
            self.whole = None

    def image(self, size: Sequence[int]) -> Tensor:
        return self.net.image(size)

    def constant(self) -> bool:
        """Whether the outputs do not depend on the input: there is nothing to ask."""
        others = (self.run(self.x * 0.5 + 1), self.run(self.x * 40 - 20))
        return all(y is not None and bool((y == self.whole).all()) for y in others)

    def run(self, x: Tensor) -> Tensor | None:
        try:
            with torch.no_grad():
                return self.module(x.clone())
        except (RuntimeError, ValueError, IndexError):
            return None

    # ---- what overlapcalc says ----------------------------------------------------------------------------

    def judge(self, look_for_local: bool, thorough: bool) -> None:
        analysis = self.asked("analyze", lambda: oc.analyze(self.module, self.x))
        if analysis is None:
            if look_for_local and not self.verdict.wrong:
                self.refused_though_local(list(AXES))
            return
        pair = analysis.between()
        free = [axis for axis in analysis.axes if not pair.obstacles(axis)]
        self.refused_axes(pair, [axis for axis in analysis.axes if axis not in free], look_for_local)
        for axis in free:
            self.reads(pair[axis], axis)
        if not free:
            return
        part = analysis
        if len(free) < len(analysis.axes):
            part = self.asked("analyze one axis", lambda: oc.analyze(self.module, self.x, axes=free))
            if part is None:
                return
        for axis in free:
            self.tiles(part.between()[axis], axis, self.x, self.whole)
            if part.size_verified:
                self.other_size(part.between()[axis], axis)
        if not self.verdict.wrong:
            self.schedules(part, free, thorough)

    def schedules(self, part: oc.Analysis, free: Sequence[str], thorough: bool) -> None:
        """By the engine, of which every way costs traces: not all for every net."""
        sizes = self.rng.sample([5, self.rng.randint(2, 11)], 2)
        axis = self.rng.choice(free)
        ways = {"trim", "stream"} | {way for way in ("crop", "sized") if self.rng.random() < SHARE}
        if not thorough:
            ways = {self.rng.choice(["trim", "trim", "stream", "stream", "crop", "sized"])}
        if "trim" in ways:
            self.blocks(part, "trim", dict.fromkeys(free, sizes[1]))
        if "stream" in ways:
            self.blocks(part, "stream", dict.fromkeys(free, sizes[0]), axis)
        if "crop" in ways:
            self.blocks(part, "crop", {axis: sizes[0]})
        if "sized" in ways and part.size_verified:
            self.sized(part.between()[axis], axis)

    def asked(self, what: str, question: Callable[[], Any]) -> Any:
        """The answer, or None where it was refused: by an error of the project, or else it is wrong."""
        try:
            return question()
        except oc.OverlapcalcError as error:
            self.verdict.causes.append(f"{what}: {type(error).__name__}: {cause(error)}")
        except Exception as error:  # a bare exception is a disagreement
            self.verdict.wrong.append(f"{what}: bare {type(error).__name__}: {first_line(error)}")
        return None

    def refused_axes(self, pair: oc.Pair, axes: Sequence[str], look_for_local: bool) -> None:
        for axis in axes:
            self.verdict.causes.append(f"obstacle: {cause(pair.obstacles(axis)[0])}")
        if look_for_local:
            self.refused_though_local(axes)

    # ---- what is right ------------------------------------------------------------------------------------

    def reads(self, w: oc.AxisAnalysis, axis: str) -> None:
        """The reads claimed hold those found by brute force; where exact, no more."""
        try:
            truth = BruteForce(self.module, self.x, axis, out_dim=AXES[axis])
        except oc.InputError:
            return  # values that hide what differs
        n, short = truth.out_size, min(self.whole.shape[2:]) < SHORT
        with Stops() as stops:
            self.run(self.x * torch.nan)
        exact = w.exact and not short and not stops.found
        spans = [*((o, o + 1) for o in range(n)), (0, n), (0, -(-n // 2)), (n // 2, n)]
        for start, stop in spans:
            said = self.asked(f"reads along {axis}", lambda a=start, b=stop: (w.reads(a, b, size=truth.size),))
            if said is None:
                return
            text = against(said[0], truth, start, stop, exact=exact)
            if text:
                self.verdict.wrong.append(f"reads along {axis}: at size {truth.size}, outputs [{start}, {stop}) {text}")
                return

    def blocks(
        self, analysis: oc.Analysis, schedule: str, block: dict[str, int], stream_axis: str | None = None
    ) -> None:
        """Blocks give what the whole gives."""
        plan = self.asked(
            f"plan {schedule}",
            lambda: make_plan(analysis, Blocking(block=block, schedule=schedule, stream_axis=stream_axis)),
        )
        if plan is None:
            return
        machine = Machine(self.module, analysis.variants, plan)
        if schedule != "crop":
            if self.calls is None:
                self.calls = self.asked(schedule, lambda: machine.calls)
            if self.calls is None:
                return
            machine.__dict__["calls"] = self.calls  # trim and stream share a trace
        found = self.asked(schedule, lambda: by_blocks(machine, {name: self.x.clone() for name in plan.inputs}))
        if found is None:
            return
        (y,) = found.values()
        if not self.differs(y, self.whole):
            self.verdict.right.append(schedule)
            return
        cut = ", ".join(f"{n} along {axis}" for axis, n in block.items())
        at = "x".join(map(str, self.x.shape))
        self.verdict.wrong.append(f"{schedule} in blocks of {cut} at {at} differs by {difference(y, self.whole):.2g}")

    def tiles(self, w: oc.AxisAnalysis, axis: str, x: Tensor, whole: Tensor) -> None:
        """The net on tiles inside the image, by the figures of the analysis alone."""
        if w.out_step is None or w.tile is None:
            return  # nothing connects the two along this axis
        dim, n = AXES[axis], x.shape[AXES[axis]]
        starts = []
        for u in range(n // w.step):
            first = (u * w.step - w.tile.before) // w.step * w.step
            if first >= 0 and (u + 1) * w.step + w.tile.after <= n and (u + 1) * w.out_step <= whole.shape[dim]:
                starts.append((u, first))
        for u, first in self.rng.sample(starts, min(3, len(starts))):
            stop = (u + 1) * w.step + w.tile.after
            stop += (n - (stop - first)) % w.step
            outputs = oc.Span(u * w.out_step, (u + 1) * w.out_step)
            if stop > n or self.same_on(w, dim, x, whole, outputs, oc.Span(first, stop)):
                continue
            tile = self.asked(f"tile along {axis}", lambda o=outputs: w.tile_span(o.start, o.stop, size=n))
            if tile is None:
                return
            if not self.same_on(
                w, dim, x, whole, outputs, tile
            ):  # where the net is another one on so little, it is longer
                at = "" if n == self.x.shape[dim] else f", analysed at {self.x.shape[dim]}"
                self.verdict.wrong.append(f"{axis} of {n}{at}: outputs {outputs} on the tile {tile} differ")
                return
        if starts:
            self.verdict.right.append(f"tiles along {axis}")

    def same_on(self, w: oc.AxisAnalysis, dim: int, x: Tensor, whole: Tensor, outputs: oc.Span, tile: oc.Span) -> bool:
        """Whether the net, fed this tile, gives these outputs of the whole."""
        y = self.run(x.narrow(dim, tile.start, tile.length))
        first, count = outputs.start - tile.start // w.step * w.out_step, outputs.length
        if y is None or first < 0 or first + count > y.shape[dim]:
            return False
        return not self.differs(y.narrow(dim, first, count), whole.narrow(dim, outputs.start, count), whole)

    def other_size(self, w: oc.AxisAnalysis, axis: str) -> None:
        """The answer for one size, at another of the same residue."""
        found = self.larger(w, axis)
        if found is not None:
            self.tiles(w, axis, *found)

    def larger(self, w: oc.AxisAnalysis, axis: str) -> tuple[Tensor, Tensor] | None:
        """An image some steps larger along this axis, and the outputs."""
        size, place = list(self.x.shape[2:]), AXES[axis] - 2
        size[place] += w.step * self.rng.randint(1, max(1, MOST_MORE // w.step))
        x = self.image(size)
        whole = self.run(x)
        if whole is None or whole.numel() > 4 * MOST_SAMPLES or not whole.isfinite().all():
            return None
        return x, whole

    def sized(self, w: oc.AxisAnalysis, axis: str) -> None:
        """What is answered for another size of the same residue."""
        found = self.larger(w, axis)
        if found is None or w.out_step is None:
            return
        (x, whole), dim, out = found, AXES[axis], w.out_step
        n = x.shape[dim]
        starts = range(0, whole.shape[dim], max(out, 5 // out * out))
        start = self.rng.choice(starts)
        stop = min(start + starts.step, whole.shape[dim])
        tile = self.asked(f"tile at another size along {axis}", lambda: w.tile_span(start, stop, size=n))
        if tile is None:
            return
        if not self.same_on(w, dim, x, whole, oc.Span(start, stop), tile):
            self.verdict.wrong.append(f"{axis}: outputs [{start}, {stop}) on tile_span(size={n}) {tile} differ")
            return
        try:
            truth = BruteForce(self.module, x, axis, out_dim=dim)
        except oc.InputError:
            return
        for o in self.rng.sample(range(truth.out_size), min(6, truth.out_size)):
            said = self.asked("reads at another size", lambda o=o: (w.reads(o, o + 1, size=n),))
            if said is None:
                return
            missing = [i for i in truth.of(o, o + 1).certain if said[0] is None or i not in said[0]]
            if missing:
                text = f"output {o} is said to read {said[0]} at size {n}, but changes with {missing[0]}"
                self.verdict.wrong.append(f"{axis}: {text}")
                return

    def differs(self, y: Tensor, z: Tensor, among: Tensor | None = None) -> bool:
        if y.shape != z.shape:
            return True
        largest = (z if among is None else among).abs().max()
        return not bool(((y - z).abs() <= self.tolerance * largest).all())

    # ---- is what was refused local? -----------------------------------------------------------------------

    def refused_though_local(self, axes: Sequence[str]) -> None:
        for axis in axes:
            if self.is_local(axis):
                self.verdict.local.append(
                    f"{axis}: {self.verdict.causes[-1] if len(axes) == 1 else '; '.join(self.verdict.causes)}"
                )

    def is_local(self, axis: str) -> bool:
        """Nothing far changes when a sample does, and tiles that start on some small step give what the whole gives."""
        dim, size = AXES[axis], list(self.x.shape[2:])
        size[dim - 2] = 3 * size[dim - 2] + 7
        x = self.image(size)
        whole = self.run(x)
        if whole is None or not whole.isfinite().all():
            return False
        margin = self.margin(x, whole, dim)
        if margin is None:
            return False
        return any(self.tiles_run(x, whole, dim, step, margin) for step in range(1, LARGEST_STEP + 1))

    def margin(self, x: Tensor, whole: Tensor, dim: int) -> int | None:
        """How far from a sample outputs change with it, in samples of the input; None where that is far."""
        n, scale, most = x.shape[dim], Fraction(x.shape[dim], whole.shape[dim]), 0
        for i in (0, n // 3, n // 2, n - 1):
            for filling in (torch.nan, 3.0, -40.0):
                dirty = x.clone()
                dirty.narrow(dim, i, 1).fill_(filling)
                y = self.run(dirty)
                if y is None or y.shape != whole.shape:
                    return None
                changed = ~((y == whole) | ((y != y) & (whole != whole)))
                places = changed.movedim(dim, 0).flatten(1).any(1).nonzero().flatten().tolist()
                most = max([most, *(abs(int(o * scale) - i) for o in places)])
        return most if most <= n // 4 else None

    def tiles_run(self, x: Tensor, whole: Tensor, dim: int, step: int, margin: int) -> bool:
        n, out = x.shape[dim], Fraction(step * whole.shape[dim], x.shape[dim])
        per = round(out)
        if per < 1 or abs(whole.shape[dim] * step - per * n) > per * 4 * step:
            return False
        reach, tried = -(-(margin + 4) // step), 0  # in steps
        for first, more in ((1, 0), (2, 3), (3, 1), (2, 7), (1, 2)):
            length = (2 * reach + 2 + more) * step + n % step
            if first * step + length > n:
                break
            y = self.run(x.narrow(dim, first * step, length))
            here, there = reach * per, (first + reach) * per
            if y is None or there + per > whole.shape[dim] or here + per > y.shape[dim]:
                return False
            if self.differs(y.narrow(dim, here, per), whole.narrow(dim, there, per), whole):
                return False
            tried += 1
        return tried > 1


def against(said: oc.Span | None, truth: BruteForce, start: int, stop: int, *, exact: bool) -> str:
    """What is wrong with reads that are claimed, or nothing."""
    real = truth.of(start, stop)
    missing = [i for i in real.certain if said is None or i not in said]
    if missing:
        return f"are said to read {said or 'nothing'}, but change with sample {missing[0]}"
    ends = {said.start, said.stop - 1} - set(real.possible) if exact and said is not None else set()
    # where a comparison stops NaN, brute force looks no further unless it is asked about this very sample
    idle = sorted(i for i in ends if not truth._depends(i, start, stop))
    return f"are said to read exactly {said}, but do not change with sample {idle[0]}" if idle else ""


STOPPED_BY = re.compile(r"fmax|fmin|nan_to_num|sign|heaviside|xlog|quantize|sort|topk|kthvalue|median|mode|histc")


class Stops(TorchDispatchMode):
    """Whether a net, fed NaN, has operators that keep it out: comparisons, rounding to whole numbers and the like.

    Behind these brute force can miss what is read, and so cannot say that an answer is too wide.
    """

    found = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = function(*args, **(kwargs or {}))
        given = any(
            isinstance(t, Tensor) and t.is_floating_point() and bool(t.isnan().any()) for t in tree_leaves(args)
        )
        made = [t for t in tree_leaves(results) if isinstance(t, Tensor)]
        whole = bool(made) and not any(t.is_floating_point() or t.is_complex() for t in made)
        self.found |= given and (whole or bool(STOPPED_BY.search(str(function))))
        return results


def difference(y: Tensor, z: Tensor) -> float:
    """max |difference| / max |whole|; infinite where the shapes differ."""
    if y.shape != z.shape:
        return float("inf")
    return float(((y - z).abs().max() / z.abs().max()).nan_to_num(torch.inf))


def cause(refusal: object) -> str:
    """A refusal without its figures and layers, so that alike ones count together."""
    text = str(refusal).strip()
    operators = ", ".join(dict.fromkeys(re.findall(r"\w+::\w+(?:\.\w+)?", text)))
    line = re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?", "n", text.splitlines()[0]))
    line = line.split(": ", 1)[1] if re.match(r"\S+: \w+::", line) else line
    return line[:110] if operators.split(", ")[0] in line[:110] else f"{line[:80]} ({operators[:40]})"


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
