"""Proofs 1 and 2: a block reads nothing beyond what is claimed, and it needs every sample of that.

The whole net runs on the whole image, so all kernels are the same; only what lies outside the claim is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from ..algebra.spans import Span, Spans
from ..analysis.analysis import Analysis
from ..analysis.variants import output_of
from ..engine.block import within
from ..planning.plan import Cell, Plan
from ..planning.strips import BlockSpan
from ..propagate.backward import sized
from ..propagate.values import Propagation
from .fillings import NAN, SHUFFLED, Fillings, only, same_bits
from .result import Proof

SPREAD = ", with the operands of its comparisons moved"
Outputs = Mapping[str, Tensor]
Run = Callable[[Mapping[str, Tensor]], Outputs]


@dataclass(frozen=True)
class ProofSubject:
    """A net as the proofs run it. run: named inputs -> named outputs. livelier: the same with random weights, for what
    the user's own weights hide. spread: the same with operands moved into the branches that `run` does not enter.
    net: the claims, in the type in which it runs. slack: what counts as unchanged, as a share of the largest value;
    0 for the same bits."""

    analysis: Analysis
    net: Propagation
    plan: Plan
    inputs: Mapping[str, Tensor]
    run: Run
    livelier: Run
    spread: Sequence[Run]
    fillings: Fillings
    slack: float = 0.0


SLACK = 1e-12
"""On CUDA, where kernels that resize round positions in another way, a weight that should be zero may be 1e-16."""


def dependency(subject: ProofSubject) -> Proof:
    """Everything outside a block's claimed reads is replaced: its outputs must stay the same, bit for bit.

    Where NaN cannot be the filling, or a change by rounding is allowed, the net with livelier weights is tried as well:
    depth and small weights make a real change vanish.
    """
    plan, net = subject.plan, subject.net
    plain, failures, checks = subject.run(subject.inputs), list[str](), 0
    if not all(bool(y.isfinite().all()) for y in plain.values() if y.is_floating_point()):
        return Proof("dependency", "not applicable", "the outputs of the net are not finite")
    runs = [(run, run(subject.inputs)) for run in subject.spread]
    if subject.slack or NAN not in subject.fillings.used():
        lively = subject.livelier(subject.inputs)
        if all(bool(y.isfinite().all()) for y in lively.values() if y.is_floating_point()):
            runs.insert(0, (subject.livelier, lively))
    rounding = f"; CUDA rounds the weights of {subject.fillings.resizes}, which may be all" if subject.slack else ""
    for cell in corners(plan):
        for name in plain:
            region = plan.region(cell, name)
            if region is None:
                continue
            kept_of: dict[str, dict[str, Span] | None] = {i: {} for i in subject.inputs}
            for axis, span in region.items():
                found = sized(net, output_of(net, name), axis, Spans.span(*span)).reads
                for i, kept in kept_of.items():
                    if axis not in plan.labels[i] or kept is None:
                        continue
                    hull = found[i].hull if i in found else None
                    kept_of[i] = None if hull is None else {**kept, axis: hull}
            for run, before in [(subject.run, plain), *runs]:
                checks += 1
                changed = _changes(subject, run, before, name, region, kept_of)
                if not changed:
                    continue
                said = "; ".join(f"{i} {_text(kept)}" for i, kept in kept_of.items())
                failures.append(
                    f"{name} {_text(region)} is said to read only {said}, but {changed[0]} of its samples change when "
                    f"the rest is replaced ({changed[1]}{SPREAD if run in subject.spread else ''}{rounding})"
                )
                break
    what = "blocks at every border and corner and inside, everything outside their reads replaced"
    flat = _untried(subject.inputs)
    if flat:
        what += f"; not in {', '.join(flat)}, whose whole numbers are all the same"
    if subject.slack:
        rounded = f"because CUDA rounds the weights of {subject.fillings.resizes}"
        what += f"; to {subject.slack:g} of the largest value, {rounded}"
    return Proof.of("dependency", what, checks, failures)


def minimality(subject: ProofSubject) -> Proof:
    """Without the first or the last sample of a block's claimed reads, its outputs must change."""
    plan, net = subject.plan, subject.net
    failures, checks, bounds, undecided = list[str](), 0, 0, 0
    plain = subject.run(subject.inputs)
    others: list[tuple[Run, Outputs]] = []
    flat = _untried(subject.inputs)
    for pair in subject.analysis.pairs:
        if pair.input in flat:
            continue
        for axis, strip in plan.strips.items():
            if axis not in pair.axes or axis not in plan.labels[pair.output]:
                continue
            sure = None if pair.obstacles(axis) else pair[axis]  # at one size, what is read is not claimed to be exact
            for slot in _ends([s for s in strip.slots if pair.output in s.outputs]):
                region = {axis: slot.outputs[pair.output]}
                found = sized(net, output_of(net, pair.output), axis, Spans.span(*region[axis])).reads.get(pair.input)
                hull = found.hull if found is not None else None
                if hull is None:
                    continue
                sides = (
                    (
                        "first",
                        sure is not None and sure.exact_before,
                        Span(hull.start + 1, hull.stop) if hull.length > 1 else None,
                    ),
                    (
                        "last",
                        sure is not None and sure.exact_after,
                        Span(hull.start, hull.stop - 1) if hull.length > 1 else None,
                    ),
                )
                for word, exact, shorter in sides:
                    if not exact:
                        bounds += 1
                        continue
                    checks += 1
                    reads: dict[str, dict[str, Span] | None] = {i: {} for i in subject.inputs}
                    reads[pair.input] = None if shorter is None else {axis: shorter}
                    if _changes(subject, subject.run, plain, pair.output, region, reads, control=True):
                        continue
                    others = others or [(run, run(subject.inputs)) for run in (subject.livelier, *subject.spread)]
                    if any(
                        _changes(subject, run, before, pair.output, region, reads, control=True)
                        for run, before in others
                    ):
                        continue
                    if subject.slack and _changes(
                        replace(subject, slack=0.0), subject.run, plain, pair.output, region, reads, control=True
                    ):
                        checks, undecided = checks - 1, undecided + 1
                        continue
                    failures.append(
                        f"{pair.output} {_text(region)} is said to read {pair.input} {axis}{hull}, but nothing changes "
                        f"without the {word} sample"
                    )
    what = "without the first or the last sample of what a block reads, its outputs change"
    if flat:
        what += f"; not of {', '.join(flat)}, whose whole numbers are all the same"
    if bounds:
        what += f"; {bounds} sides are bounds, not claimed to be minimal"
    if undecided:
        what += f"; {undecided} sides are undecided, for what changes is no more than CUDA's rounding"
    return Proof.of("minimality", what, checks, failures)


def _untried(inputs: Mapping[str, Tensor]) -> list[str]:
    """Inputs whose samples cannot be replaced by others of their own: indices that are all equal, say."""
    return [
        name for name, x in inputs.items()
        if not (x.is_floating_point() or x.is_complex()) and bool((x == x.flatten()[0]).all())
    ]  # fmt: skip


def _changes(
    subject: ProofSubject,
    run: Run,
    plain: Outputs,
    output: str,
    region: Mapping[str, Span],
    reads: Mapping[str, Mapping[str, Span] | None],
    *,
    control: bool = False,
) -> tuple[int, str] | None:
    """How many samples of an output's region change when only `reads` is kept, and with which filling."""
    here = within(subject.plan.labels[output], region)

    def filled(filling: str) -> Outputs:
        return run({i: only(x, subject.plan.labels[i], reads[i], filling) for i, x in subject.inputs.items()})

    for filling in subject.fillings.used(control=control):
        try:
            found = filled(filling)
        except (RuntimeError, IndexError, ValueError):
            filling, found = SHUFFLED, filled(SHUFFLED)
        same = same_bits(plain[output][here], found[output][here])
        if subject.slack and found[output].dtype is not torch.bool:
            most = float(plain[output].abs().max())
            same |= (plain[output][here] - found[output][here]).abs() <= subject.slack * most
        changed = int((~same).sum())
        if changed:
            return changed, filling
    return None


def corners(plan: Plan) -> Iterator[Cell]:
    """The blocks at each border and corner, and one inside."""
    for slots in product(*(_ends(strip.slots) for strip in plan.strips.values())):
        yield dict(zip(plan.strips, slots, strict=True))


def _ends(slots: tuple[BlockSpan, ...] | list[BlockSpan]) -> list[BlockSpan]:
    places = sorted({0, len(slots) // 2, len(slots) - 1} & set(range(len(slots))))
    return [slots[i] for i in places]


def _text(region: Mapping[str, Span] | None) -> str:
    if region is None:
        return "nothing"
    return " ".join(f"{axis}{span}" for axis, span in region.items()) or "everything"


def lively(model: nn.Module) -> nn.Module:
    """Random weights in place, all of one magnitude: weights that start at zero, or constant, hide what is read."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            if p.is_floating_point():
                fan = max(1, p.shape[1:].numel()) if p.dim() > 1 else 1
                p.copy_(
                    (torch.randn(p.shape, generator=generator, dtype=torch.float64, device="cpu") * fan**-0.5).to(p)
                )
    return model
