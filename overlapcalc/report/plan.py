"""A Plan as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..algebra.spans import Span
from ..planning.byte_size import bytes_text
from ..planning.plan import Plan
from ..planning.strips import BlockSpan, Strip
from .op_text import shape_text, with_text
from .passes import passes_table
from .tables import new_table

SHORT = 8
"""A longer name of an input gets a line of its own."""


class Compared(Protocol):
    """A schedule among others: engine/compare.py."""

    @property
    def schedule(self) -> str: ...

    @property
    def plan(self) -> Plan | None: ...

    @property
    def why(self) -> str: ...

    @property
    def recommended(self) -> bool: ...

    def to_dict(self) -> dict[str, Any]: ...


def plan_json(plan: Plan, others: Sequence[Compared] = ()) -> str:
    found = plan.to_dict()
    if others:
        found["schedules"] = [one.to_dict() for one in others]
        found["recommended"] = next((one.schedule for one in others if one.recommended), None)
    return json.dumps(found, indent=2) + "\n"


def render_plan(plan: Plan, console: Console, *, note: str = "", others: Sequence[Compared] = ()) -> None:
    """Print how the image is cut, and what that costs; others: all schedules, to be compared."""
    inputs = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan.inputs.items()) + with_text(plan.fixed)
    outputs = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan.outputs.items())
    heading = Text.assemble(("from ", "dim"), inputs, (" to ", "dim"), outputs)
    if note:
        heading.append(f"\n{note}", style="yellow")
    if plan.padding is not None:
        heading.append(f"\n{plan.padding}")
    parts: list[RenderableType] = [heading, Text()]
    grid = " x ".join(f"{len(strip.slots)} along {axis}" for axis, strip in plan.strips.items())
    blocks = " x ".join(str(strip.block) for strip in plan.strips.values())
    if plan.passes is None:
        blocks = f"up to {blocks}" if any(map(_uneven, plan.strips.values())) else blocks
        parts.append(Text(f"{plan.count} blocks ({grid}) of {blocks}, schedule {plan.schedule}"))
        parts += [_strip(plan, strip) for strip in plan.strips.values()]
    else:
        count = len(plan.passes.each)
        passes = "1 pass" if count == 1 else f"{count} passes"
        each = "" if plan.passes.images == 1 else f"for each of {plan.passes.images} images, one after another, "
        parts.append(Text(f"{passes} {each}in bands of at most {plan.passes.rows}, schedule {plan.schedule}"))
        parts += passes_table(plan)
    parts += [Text(), _costs(plan)]
    fed = Text("" if plan.passes is not None else f"samples fed over samples of the input: {float(plan.fed):.3f}")
    if plan.stored:
        fed.append("\nmemory: input and output are read and written by slices, neither is held whole")
    if plan.saves_memory is False and plan.count > 1:
        fed.append("\nthese blocks save next to no memory: each needs nearly all of the image", style="yellow")
    if plan.memory is None:
        fed.append("\nmemory: not predicted for this net")
    parts += [fed]
    if others:
        parts += [Text(), *_compared(plan, others)]
    console.print(Group(*parts))


def _compared(plan: Plan, others: Sequence[Compared]) -> list[RenderableType]:
    """All schedules in one table, that which is shown above and that which is recommended marked; why some do not
    go."""
    table = new_table("schedule", "MACs of the kernels", "peak memory", "disk", "passes", "blocks")
    refused: dict[str, list[str]] = {}
    for one in others:
        if one.plan is None:
            refused.setdefault(one.why, []).append(one.schedule)
            continue
        memory, passes = one.plan.memory, one.plan.passes
        marks = ["(above)"] if one.schedule == plan.schedule else []
        marks += ["(recommended: `run` takes it)"] if one.recommended else []
        table.add_row(
            " ".join([one.schedule, *marks]),
            _count(one.plan.work.kernel_macs),
            "-" if memory is None else bytes_text(memory.total),
            bytes_text(passes.disk) if passes is not None and passes.disk else "-",
            "1" if passes is None else str(len(passes.each)),
            str(one.plan.count),
        )
    return [table, *(Text(f"{', '.join(names)}: {why}", style="yellow") for why, names in refused.items())]


def _uneven(strip: Strip) -> bool:
    """Whether other blocks than the last are shorter: tiles of one length that were moved inward make such."""
    lengths = [{name: span.length for name, span in slot.outputs.items()} for slot in strip.slots[:-1]]
    return any(one != lengths[0] for one in lengths)


def _strip(plan: Plan, strip: Strip) -> Table:
    inputs = [name for name in plan.inputs if strip.axis in plan.labels[name]]
    outputs = [name for name in plan.outputs if strip.axis in plan.labels[name]]
    several = len(inputs) > 1
    heads = ["block", *outputs]
    gap = "\n" if max(map(len, inputs)) > SHORT else " "
    heads += [f"{what}{gap}{name}" if several else what for name in inputs for what in ("reads", "tile", "samples")]
    table = new_table(*heads, title=strip.axis)
    for word, slot in _kinds(strip.slots):
        row = [word, *(_span(slot.outputs.get(name)) for name in outputs)]
        for name in inputs:
            tile = slot.tiles[name]
            row += [_span(slot.reads[name]), _span(tile), str(tile.length)]
        table.add_row(*row)
    return table


def _kinds(slots: Sequence[BlockSpan]) -> list[tuple[str, BlockSpan]]:
    """The blocks at the ends, and one far from any border."""
    if len(slots) == 1:
        return [("the only one", slots[0])]
    inside = [(f"{i + 1} of {len(slots)}", s) for i, s in enumerate(slots[1:-1], 1) if s.first and s.last]
    return [("first", slots[0]), *inside[:1], ("last", slots[-1])]


def _span(span: Span | None) -> str:
    return "-" if span is None else str(span)


def _costs(plan: Plan) -> Table:
    each = ("all blocks", "largest block") if plan.passes is None else ("all passes", "largest pass")
    table = new_table("", "whole image", each[0], "ratio", each[1])
    for name, of in (("MACs", "macs"), ("MACs of the kernels", "kernel_macs")):
        whole, all_of, one = (getattr(work, of) for work in (plan.full, plan.work, plan.largest))
        table.add_row(name, _count(whole), _count(all_of), _ratio(all_of, whole), _count(one))
    if plan.memory is not None and plan.full_memory is not None:
        for row in ("activations", "weights", "total"):
            whole, blocks = getattr(plan.full_memory, row), getattr(plan.memory, row)
            table.add_row(MEMORY[row], bytes_text(whole), bytes_text(blocks), _ratio(blocks, whole), "")
    return table


MEMORY = {"activations": "peak memory, activations", "weights": "weights", "total": "peak memory, total"}


def _count(n: int) -> str:
    size, unit = float(n), ""
    for larger in ("k", "M", "G", "T", "P"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.4g} {unit}".rstrip()


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"
