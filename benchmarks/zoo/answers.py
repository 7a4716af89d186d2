"""Is an answer right? Claims of what a block reads, and of the tile it needs, against runs of the net itself.

Along every axis, on an image with an interior block: everything outside the claimed region is replaced, and the
block's outputs must stay bit-identical (same shapes, same kernels); one sample less on either side must change
them, where the claim is exact. And the unmodified net on the claimed tile, cropped, must give what it gives on the
whole image, to 1e-12 in float64; on a tile one step shorter it should not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from .local import Traits, traits_of
from .runs import FINITE, NAN, Net, Outputs, changed, relative
from .shapes import Shapes

TOLERANCE = 1e-12
MOST_IN_FULL = 2
"""With more pairs of outputs and inputs than this, each is looked at in the middle and at one of its borders."""
Half = tuple[int, int]


@dataclass(frozen=True)
class Claim:
    """What is claimed for one output, one input, one axis, on an image of `size` samples.

    output, input, place: the places of the output, of the input, of the axis among the spatial ones. steps: the grid
    of every input (0 for one without the axis), out_step that of the output. exact: before and after. context: of a
    block, None where it reads nothing. reads, tile: of outputs [start, stop), the latter on the grid.
    """

    output: int
    input: int
    place: int
    size: int
    out_size: int
    steps: tuple[int, ...]
    out_step: int
    exact: tuple[bool, bool]
    context: Half | None
    reads: Callable[[int, int], Half | None]
    tile: Callable[[int, int], Half]


@dataclass
class Report:
    """Counts of what was compared, and what was found wrong. silent: controls that changed
    nothing. nan_only: claims that hold for finite values, where NaN also comes in through taps of weight zero."""

    claims: int = 0
    nan_only: int = 0
    controls: int = 0
    silent_controls: int = 0
    tiles: int = 0
    worst_error: float = 0.0
    tile_controls: int = 0
    silent_tile_controls: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    at: list[Shapes] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take in what another report counted and found."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            setattr(self, name, max(mine, value) if name == "worst_error" else mine + value)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "at": [[list(s) for s in shapes] for shapes in self.at]}


def check(net: Net, claims: list[Claim], report: Report, axis: str) -> None:
    """All claims of one axis at one image size."""
    traits = traits_of(net.model, net.inputs)
    plain = net.run()
    for claim in claims:
        where = f"{axis}, output {claim.output}, input {claim.input}"
        y = plain[claim.output]
        d = axis_dim(y, claim)
        if d is None:
            report.notes.append(f"{where}: no dimension of the output has {claim.out_size} samples")
            continue
        _context(claim, report, where)
        several = len(claims) > MOST_IN_FULL
        half = grid_blocks(claim)[:2] if claim.output % 2 == 0 else grid_blocks(claim)[-2:]
        for start, stop in half if several else blocks(claim):
            _reads(net, plain, claim, d, start, stop, report, where, traits)
        for start, stop in half if several else grid_blocks(claim):
            _tiles(net, y, claim, d, start, stop, report, where)


def axis_dim(y: torch.Tensor, claim: Claim) -> int | None:
    """The dimension of an output that is the axis."""
    if y.dim() > 2 + claim.place and y.shape[2 + claim.place] == claim.out_size:
        return 2 + claim.place
    return next((d for d in range(1, y.dim()) if y.shape[d] == claim.out_size), None)


def grid_blocks(claim: Claim) -> list[Half]:
    """The first block of the grid, the one in the middle, and the last one up to the end."""
    whole = max(1, claim.out_size // claim.out_step)
    found = [(u * claim.out_step, (u + 1) * claim.out_step) for u in sorted({0, whole // 2})]
    last = (claim.out_size - 1) // claim.out_step * claim.out_step
    return list(dict.fromkeys((a, min(b, claim.out_size)) for a, b in [*found, (last, claim.out_size)]))


def blocks(claim: Claim) -> list[Half]:
    """The blocks of the grid, and a single output in the middle (off the grid)."""
    odd = min(claim.out_size - 1, claim.out_size // 2 + 1)
    return [*grid_blocks(claim), (odd, odd + 1)]


def _context(claim: Claim, report: Report, where: str) -> None:
    """The context that is claimed for every block is what the block in the middle reads, where no border is near."""
    u = claim.out_size // claim.out_step // 2
    said = claim.reads(u * claim.out_step, (u + 1) * claim.out_step) if u else None
    if said is None or claim.context is None or said[0] <= 0 or said[1] >= claim.size:
        return
    step = claim.steps[claim.input]
    if claim.context != (u * step - said[0], said[1] - (u + 1) * step):
        report.failures.append(f"{where}: context {claim.context}, but block {u} of step {step} reads {said}")


# ---- what a block reads -------------------------------------------------------------------------------------


def _reads(
    net: Net, plain: Outputs, claim: Claim, d: int, start: int, stop: int, report: Report, where: str, traits: Traits
) -> None:
    said = claim.reads(start, stop)
    a, b = said or (0, 0)
    report.claims += 1

    def changes(spans: list[Half], filling: float) -> int:
        y = net.poisoned(claim.input, 2 + claim.place, spans, filling)[claim.output]
        return int(changed(plain[claim.output], y).narrow(d, start, stop - start).sum())

    careful = traits.stops_nan or traits.zero_taps
    found = {f: changes([(0, a), (b, claim.size)], f) for f in (NAN, *(FINITE if careful else ()))}
    real = {f: n for f, n in found.items() if n and not (f != f and traits.zero_taps)}
    if real:
        text = ", ".join(f"{n} samples change with {f:g}" for f, n in real.items())
        report.failures.append(
            f"{where}: outputs [{start}, {stop}) are said to read {said} of {claim.size}, but {text}"
        )
        return
    report.nan_only += bool(found[NAN])
    if said is None:
        return
    for side, shorter in ((0, [(0, a + 1), (b, claim.size)]), (1, [(0, a), (b - 1, claim.size)])):
        if claim.exact[side]:
            report.controls += 1
            fillings = FINITE if traits.zero_taps else (NAN, *FINITE) if traits.stops_nan else (NAN,)
            if not any(changes(shorter, f) for f in fillings):
                report.silent_controls += 1
                report.notes.append(
                    f"{where}: outputs [{start}, {stop}) read {said} of {claim.size}, exactly; without the "
                    f"{'last' if side else 'first'} sample nothing changes"
                )


# ---- tiles --------------------------------------------------------------------------------------------------


def _tiles(net: Net, y: torch.Tensor, claim: Claim, d: int, start: int, stop: int, report: Report, where: str) -> None:
    a, b = claim.tile(start, stop)
    step = claim.steps[claim.input]
    report.tiles += 1
    if a < 0 or b > claim.size or a % step or (b - a - claim.size) % step:
        report.failures.append(
            f"{where}: tile {(a, b)} for [{start}, {stop}) of {claim.size} is off the grid of {step}"
        )
        return
    error = _on_tile(net, y, claim, d, start, stop, a // step, (claim.size - b) // step)
    report.worst_error = max(report.worst_error, error)
    if not error <= TOLERANCE:
        report.failures.append(f"{where}: [{start}, {stop}) on tile {(a, b)} of {claim.size} differs by {error:.2e}")
        return
    interior = a > 0 and b < claim.size
    for front, rear in ((1, 0), (0, 1)) if interior and b - a > step else ():
        report.tile_controls += 1
        shorter = _on_tile(net, y, claim, d, start, stop, a // step + front, (claim.size - b) // step + rear)
        if shorter <= TOLERANCE:
            report.silent_tile_controls += 1


def _on_tile(net: Net, y: torch.Tensor, claim: Claim, d: int, start: int, stop: int, front: int, rear: int) -> float:
    """The relative error of outputs [start, stop) with so many steps cut off either end of every input."""
    cuts = []
    for x, step in zip(net.inputs, claim.steps, strict=True):
        n = x.shape[2 + claim.place] if step else 0
        cuts.append((2 + claim.place if step else -1, front * step, n - (front + rear) * step))
    try:
        part = net.cut(cuts)[claim.output]
    except Exception:  # models complain about small inputs in ways of their own
        return float("inf")
    first = start - front * claim.out_step
    if first < 0 or first + stop - start > part.shape[d]:
        return float("inf")
    return relative(part.narrow(d, first, stop - start), y.narrow(d, start, stop - start), float(y.abs().max()))
