"""The messages of the kit's assertions: where an analysis and runs of the net disagree, and what may be behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..algebra.spans import Span
from ..analysis.analysis import Analysis
from ..analysis.axis import AxisAnalysis
from ..ops.registry import find
from ..planning.plan import Plan
from ..prove.fillings import same_bits
from ..report.explain import tile_text
from .oracle import BruteForce, Dependency

MOST_OUTPUTS = 64
"""At most this many outputs of an axis are tested one by one, evenly spread."""


def called(model: object, analysis: Analysis) -> str:
    shapes = ", ".join("x".join(map(str, shape)) for shape in analysis.inputs.values())
    return f"{type(model).__name__} at {shapes}"


def parts_of(analysis: Analysis) -> dict[str, int]:
    """A third of the finer of inputs and outputs, per axis."""
    found = {}
    for axis in analysis.axes:
        nodes = [*analysis.inputs, *(node for _, node in analysis.variants.net.graph.outputs)]
        sizes = [analysis.variants.net.size(node, axis) for node in nodes]
        found[axis] = -(-max(n for n in sizes if n is not None) // PARTS)
    return found


def differing(plan: Plan, name: str, y: Tensor, z: Tensor, tolerance: float) -> list[str]:
    """How an output by blocks differs from the whole, if it does: how much, where first, in which block."""
    y, z = (t if t.is_floating_point() or t.is_complex() else t.to(torch.float64) for t in (y, z))
    apart = (y - z).abs()
    largest = y[y.isfinite()].abs().max() if bool(y.isfinite().any()) else torch.tensor(0.0)
    wrong = ~same_bits(y, z) & ~(apart <= tolerance * largest)
    if not bool(wrong.any()):
        return []
    error = float((apart[wrong].nan_to_num(torch.inf).max() / largest).nan_to_num(torch.inf))
    index = wrong.nonzero()[0].tolist()
    at = {axis: i for i, axis in zip(index, plan.labels[name], strict=True) if axis}
    here = ", ".join(f"{axis} {i}" for axis, i in at.items()) or str(tuple(index))
    text = (
        f"{int(wrong.sum())} of {y.numel()} samples of {name} differ by more than {tolerance:g} of the largest value, "
        f"by {error:.2g} at most, the first at {here}"
    )
    block, tiles = [], []
    for axis, strip in plan.strips.items():
        slot = next((s for s in strip.slots if name in s.outputs and at[axis] in s.outputs[name]), None)
        if slot is not None:
            block.append(f"{axis} {slot.outputs[name]}")
            tiles += [f"{axis} {span} of {inp}" for inp, span in slot.tiles.items()]
    if plan.passes is not None:
        return [text, f"in the pass that gives it, bands have at most {plan.passes.rows} samples"]
    return [text, f"there is the block {', '.join(block)}, on the tile {', '.join(tiles)}"]


def disagreement(w: AxisAnalysis, truth: BruteForce, short: bool) -> str:
    """The first span of outputs that reads something other than the analysis says; empty where none does."""
    n = truth.out_size
    ones = range(n) if n <= MOST_OUTPUTS else [k * (n - 1) // (MOST_OUTPUTS - 1) for k in range(MOST_OUTPUTS)]
    spans = [*((o, o + 1) for o in ones), (0, n), (0, -(-n // 2)), (n // 2, n)]
    for start, stop in spans:
        read = w.reads(start, stop, size=truth.size)
        text = _against(read, truth.of(start, stop), w.exact and not short)
        if text:
            return f"at size {truth.size}, outputs [{start}, {stop}) {text}"
    if w.tile is None or w.out_step is None:
        return ""
    for u in range(n // w.out_step):
        if u * w.step < w.tile.before or (u + 1) * w.step + w.tile.after > truth.size:
            continue  # not an interior block: a border of the image may spoil the tile
        first, last = u * w.out_step, (u + 1) * w.out_step
        if w.context is not None:
            block = Span(u * w.step - w.context.before, (u + 1) * w.step + w.context.after)
            text = _against(block, truth.of(first, last), w.exact and not short)
            if text:
                return f"inside, by their context {tuple(w.context)}, outputs [{first}, {last}) {text}"
        for start, stop in [(first, last), *((o, o + 1) for o in range(first, last))]:
            text = _against(w.reads(start, stop), truth.of(start, stop), w.exact and not short)
            if text:
                return f"inside, outputs [{start}, {stop}) {text}"
    return ""


def _against(read: Span | None, found: Dependency, exact: bool) -> str:
    """What is wrong. Too little always is; too much, only where the analysis says that it is exact."""
    said = f"are said to read {read or 'nothing'}"
    missing = [i for i in found.certain if read is None or i not in read]
    if missing:
        return f"{said}, but change with sample {missing[0]}"
    extra = read is not None and (found.widest is None or read.start < found.widest[0] or read.stop > found.widest[1])
    if exact and extra:
        real = "nothing" if found.widest is None else f"[{found.widest[0]}, {found.widest[1]})"
        return f"{said}, but nothing beyond {real} reaches them"
    return ""


def behind(analysis: Analysis) -> list[str]:
    """What may be behind a wrong answer, and what to do about it: the user's own rules are the first suspects."""
    lines = []
    for pair in analysis.pairs:
        for axis in pair.axes:
            if pair.obstacles(axis):
                continue
            e = pair.explain(axis)
            lines += [f"    {axis}: {tile_text(r, e.step or 1)}" for r in e.tile_reasons]
    own = []
    for node in analysis.variants.net.traced:
        rule = find(node.op)
        if rule is not None and not rule.law.__module__.startswith("overlapcalc."):
            own.append(f"{node.op} in {node.layer or 'the net'} ({rule.law.__module__}.{rule.law.__name__})")
    if own:
        lines.append(f"Rules of yours on the way: {', '.join(dict.fromkeys(own))}. Check these first.")
    else:
        lines.append(
            "What would help: overlapcalc.testing.assert_reads on parts of the net finds the layer. A net that does "
            "something else when it is traced must be changed; otherwise this is a defect of overlapcalc."
        )
    return lines


PARTS = 3
"""The number of blocks per axis when no block is given: one at each border and one inside."""
