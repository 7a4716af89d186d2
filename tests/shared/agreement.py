"""Does overlapcalc agree with brute force on one net? Shared by the property tests and the fuzz run."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass, field
from fractions import Fraction

import torch

import overlapcalc as oc
from shared.explaining import check, really_read
from shared.nets import Net, healthy
from shared.oracle import Dependency

TOLERANCE = 1e-10
MOST_OUTPUTS = 20_000
FEW_BLOCKS = 2
"""Per axis; the net is traced again for every length of their tiles. The fuzz run takes more."""
SHORT = 4
"""With fewer rows than this, some of the paths that a column is read by may have no row to go through. Axes are
followed one by one, so `reads` with a size may then say more than is read, and is compared as a bound."""


@dataclass
class Outcome:
    """answered, refused (with the reason), bound (exact=False), skipped (the net does not run); the disagreements."""

    state: str = "answered"
    reason: str = ""
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    interior: int = 0
    tiles: int = 0
    tiles_minimal: int = 0
    explained: int = 0


def compare(net: Net, shape: tuple[int, ...], seed: int, blocks: int = FEW_BLOCKS) -> Outcome:
    """Analyse the net at this shape, and check `reads` (both forms), `context`, `explain` and so many tiles on every
    axis."""
    rng = random.Random(seed)
    model = healthy(net.module, seed)
    torch.manual_seed(seed)
    x = torch.rand(shape, dtype=torch.float64) + 0.1
    out = Outcome()
    try:
        with torch.no_grad():
            y = model(x)
    except (RuntimeError, ValueError, AssertionError):
        return Outcome("skipped", "the net does not run at this size")
    if not y.isfinite().all() or not 0 < y.numel() <= MOST_OUTPUTS:
        return Outcome("skipped", "the values overflow, or there are too many of them")
    a = oc.analyze(model, x)
    if not a.blocking_free:
        return Outcome("refused", a.obstacles[0].cause)
    for place, axis in enumerate(a.axes):
        dim = 2 + place
        w = a[axis]
        if not w.exact:
            out.state, out.reason = "bound", "exact=False"
        short = any(y.shape[2 + p] < SHORT for p in range(net.n) if p != place)
        truth = Dependency(model, x, dim, zero_taps=net.zero_taps)
        _reads(out, w, truth, rng, short)
        _explained(out, w, a.explain(axis), truth, short)
        _tiles(out, w, model, x, y, dim, rng, blocks)
    return out


def _explained(out: Outcome, w: oc.AxisAnalysis, e: oc.Explanation, truth: Dependency, short: bool) -> None:
    try:
        check(w, e)
        if w.context is not None and w.exact_before and w.exact_after and not short:
            out.explained += really_read(w, e, truth)
    except AssertionError as error:
        out.wrong.append(f"{w.axis}: explain: {str(error) or traceback.format_exc(limit=-1)}")


def followed(
    module: torch.nn.Module, shape: tuple[int, ...], seed: str, *, zero_taps: bool = False, bound: bool = False
) -> Outcome:
    """A net that must be answered on every axis, against brute force. bound: it may say that it is only a bound."""
    net = healthy(module, 1)
    rng = random.Random(seed)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    with torch.no_grad():
        y = net(x)
    a = oc.analyze(net, x)
    assert a.blocking_free, a.obstacles
    out = Outcome()
    for place, axis in enumerate(a.axes):
        w = a[axis]
        assert w.exact or bound
        assert w.out_size == y.shape[2 + place]
        _reads(out, w, Dependency(net, x, 2 + place, zero_taps=zero_taps), rng, short=False)
        _tiles(out, w, net, x, y, 2 + place, rng)
    assert out.tiles > 0
    return out


def _reads(out: Outcome, w: oc.AxisAnalysis, truth: Dependency, rng: random.Random, short: bool) -> None:
    n_out, n = truth.out_size, truth.size
    spans = [(o, o + 1) for o in _some(range(n_out), 10, rng)]
    for _ in range(4):
        start = rng.randrange(n_out)
        spans.append((start, rng.randint(start + 1, n_out)))
    spans += [(0, 1), (n_out - 1, n_out), (0, n_out)]
    for start, stop in spans:
        said, real = w.reads(start, stop, size=n), truth.hull(start, stop)
        out.reads += 1
        _agree(out, w, f"reads({start}, {stop}, size={n})", said, real, bound=short)
    margin = w.receptive_field[1] + 12
    for o in _some(range(n_out), 12, rng):
        said = w.reads(o, o + 1)
        middle = said or oc.Span(int(o * Fraction(w.scale or 1)), int(o * Fraction(w.scale or 1)) + 1)
        if middle.start >= margin and middle.stop <= n - margin:
            out.interior += 1
            _agree(out, w, f"reads({o}, {o + 1})", said, truth.hull(o, o + 1))
    if w.context is not None and w.out_step is not None:
        for u in _some(range(n_out // w.out_step), 4, rng):
            first, last = u * w.step - w.context.before, (u + 1) * w.step + w.context.after
            if first >= margin and last <= n - margin and (u + 1) * w.out_step <= n_out:
                real = truth.hull(u * w.out_step, (u + 1) * w.out_step)
                _agree(out, w, f"context of block {u}", oc.Span(first, last), real)


def _agree(
    out: Outcome,
    w: oc.AxisAnalysis,
    what: str,
    said: oc.Span | None,
    real: tuple[int, int] | None,
    *,
    bound: bool = False,
) -> None:
    mine = None if said is None else (said.start, said.stop)
    if mine == real:
        return
    if (bound or not w.exact) and mine is not None and (real is None or (mine[0] <= real[0] and real[1] <= mine[1])):
        out.state = "bound"  # a bound may say more, never less
        out.reason = "exact=False" if not w.exact else "another axis has fewer outputs than SHORT"
        return
    out.wrong.append(f"{w.axis}: {what} says {mine}, brute force {real}")


def _tiles(
    out: Outcome,
    w: oc.AxisAnalysis,
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    dim: int,
    rng: random.Random,
    count: int = FEW_BLOCKS,
) -> None:
    n, n_out = x.shape[dim], y.shape[dim]
    assert w.out_step is not None
    last, steps = max(0, (n_out - 1) // w.out_step), rng.randint(1, 3)
    firsts = [rng.randint(0, last) for _ in range(count)]
    blocks = [(firsts[0] * w.out_step, n_out)]  # of one length but for this
    blocks += [(u * w.out_step, min((u + steps) * w.out_step, n_out)) for u in firsts[1:]]
    for start, stop in blocks:
        if stop <= start:
            continue
        tile = w.tile_span(start, stop, size=n)
        out.tiles += 1
        if tile.start < 0 or tile.stop > n or tile.start % w.step or (tile.length - n) % w.step:
            out.wrong.append(f"{w.axis}: tile_span({start}, {stop}) is {tile}: off the grid of {w.step} for {n}")
            continue
        if not same_on(model, x, y, dim, tile, start, stop, w):
            out.wrong.append(f"{w.axis}: the net on tile_span({start}, {stop}) = {tile} of {n} differs")
        shorter = [oc.Span(tile.start + w.step, tile.stop)] if tile.length > w.step else []
        shorter += [oc.Span(tile.start, tile.stop - w.step)] if tile.length > w.step else []
        if all(not same_on(model, x, y, dim, s, start, stop, w) for s in shorter):
            out.tiles_minimal += 1


def same_on(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    dim: int,
    tile: oc.Span,
    start: int,
    stop: int,
    w: oc.AxisAnalysis,
) -> bool:
    """Whether the unmodified net, fed this tile, gives outputs [start, stop) of the full run."""
    assert w.out_step is not None
    first = start - tile.start // w.step * w.out_step
    try:
        with torch.no_grad():
            part = model(x.narrow(dim, tile.start, tile.length))
    except (RuntimeError, ValueError):
        return False
    if first < 0 or first + stop - start > part.shape[dim]:
        return False
    got, want = part.narrow(dim, first, stop - start), y.narrow(dim, start, stop - start)
    return got.shape == want.shape and bool((got - want).abs().max() <= TOLERANCE * y.abs().max())


def _some(options: range, count: int, rng: random.Random) -> list[int]:
    return rng.sample(options, min(count, len(options)))


def draw_shape(net: Net, rng: random.Random) -> tuple[int, ...]:
    """Sizes that divide by nothing: long along the axis in question, short elsewhere."""
    if net.n == 1:
        sizes = [rng.randint(80, 200)]
    elif net.n == 2:
        sizes = [rng.randint(10, 20), rng.randint(36, 64)]
        rng.shuffle(sizes)
    else:
        sizes = [rng.randint(9, 16) for _ in range(3)]
    return (1, net.channels, *sizes)
