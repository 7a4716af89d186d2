"""Cones and wavefronts: as grids and sentences, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ..analysis.cone import OWN, READ, UNREAD, Cone
from ..analysis.plain import SCHEMA_VERSION
from ..planning.wavefront import Order, Wavefront

MOST_COLUMNS = 60
"""A wider cone is told by its boxes."""


def cones_json(cones: Sequence[Cone]) -> str:
    """The cones as text, with a newline at the end."""
    return json.dumps({"schema_version": SCHEMA_VERSION, "cones": [c.to_dict() for c in cones]}, indent=2) + "\n"


def render_cones(cones: Sequence[Cone], console: Console, *, note: str = "") -> None:
    """Print each cone as a grid, and what it means."""
    parts: list[RenderableType] = [Text(note, style="yellow")] if note else []
    for cone in cones:
        parts += [Text()] if parts else []
        parts += _cone(cone)
    console.print(Group(*parts))


def _cone(cone: Cone) -> Iterator[RenderableType]:
    own = any(not any(tap) for tap in cone.taps)
    phase = "" if cone.phase is None else f", sample {_size(cone.phase, ', ')} of each"
    title = f"{cone.output} against {cone.input}, {' and '.join(cone.axes)}"
    if not cone.taps:
        yield Text.assemble((title, "bold"), ": reads nothing of this input.")
        return
    count = f"{len(cone.taps)} cell{'s' if len(cone.taps) > 1 else ''}"
    yield Text.assemble((title, "bold"), f": reads {'' if cone.exact else 'at most '}{count}{phase}.")
    yield Text(f"A cell is {_size(cone.out_step)} samples of {cone.output}, {_size(cone.step)} of {cone.input}.")
    if len(cone.axes) == 1 or cone.hull is None or cone.hull[-1].length > MOST_COLUMNS:
        boxes = (" x ".join(map(str, box)) for box in cone.boxes)
        yield Padding(Text("\n".join(boxes)), (0, 0, 0, 2))
    else:
        yield Padding(Text("\n".join(cone.drawing)), (1, 0, 1, 2))
        yield Text(f"{READ} read, {UNREAD} not read, {OWN} own place, {'read too' if own else 'not read'}")
    if cone.blind:
        shown = ", ".join(map(str, cone.blind[:8])) + (" and more" if len(cone.blind) > 8 else "")
        yield Text(f"not read, though earlier and within the box around them: {shown}")
    if not cone.exact:
        yield Text("An upper bound: a mask or a skipped sample may make the net read less.", style="yellow")


@dataclass(frozen=True)
class Fronts:
    """A wavefront over one image."""

    wavefront: Wavefront
    order: Order


def fronts_json(found: Fronts) -> str:
    """The wavefront as text, with a newline at the end."""
    front, order = found.wavefront, found.order
    data = {
        "schema_version": SCHEMA_VERSION,
        "axes": list(front.axes),
        "taps": [list(tap) for tap in front.taps],
        "skew": front.skew,
        "exact": front.exact,
        "cells": list(order.cells),
        "steps": order.steps,
        "widest": max(map(len, order.fronts)),
        "cones": [cone.to_dict() for cone in front.cones],
    }
    return json.dumps(data, indent=2) + "\n"


def render_fronts(found: Fronts, console: Console, *, note: str = "") -> None:
    """Print what must be there before, the front, and the number of steps."""
    front, order = found.wavefront, found.order
    total, widest = prod(order.cells), max(map(len, order.fronts))
    parts: list[RenderableType] = [Text(note, style="yellow")] if note else []
    taps = ", ".join(map(str, front.taps)) or "none"
    parts.append(Text.assemble(("Cells that must be there before", "bold"), f": {taps}"))
    if front.skew is not None:
        parts.append(Text.assemble(("Front", "bold"), f": a cell can be made at time {front.skew} * row + column."))
    cells = f"{_size(order.cells)} cells ({total})"
    fewest = "the fewest that there can be" if front.exact else "perhaps not the fewest, for what is read is a bound"
    steps = f"{order.steps} steps, {fewest}, of at most {widest} cells; one by one {total}."
    parts.append(Text.assemble(("Image", "bold"), f": {cells} along {' and '.join(front.axes)}: {steps}"))
    console.print(Group(*parts))


def _size(numbers: Sequence[int], by: str = "x") -> str:
    return by.join(map(str, numbers))
