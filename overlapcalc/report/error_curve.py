"""An ErrorCurve as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import inf

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..analysis.measures import Sides
from ..prove.error_curve import ErrorCurve, ErrorPoint, SeamError
from .op_text import shape_text
from .tables import new_table
from .verdict import listed

MOST_OBSTACLES = 6


def error_curve_json(curve: ErrorCurve) -> str:
    return json.dumps(curve.to_dict(), indent=2, allow_nan=False) + "\n"


def render_error_curve(curve: ErrorCurve, console: Console, *, note: str = "") -> None:
    """Print the error of each tile, and from which one on it is small enough."""
    inputs = ", ".join(f"{name} {shape_text(shape)}" for name, shape in curve.inputs.items())
    blocks = " x ".join(f"{n} along {axis}" for axis, n in curve.block.items())
    head = f"{inputs} in {curve.count} blocks of {blocks}, schedule crop, in float64 on {curve.device}"
    parts: list[RenderableType] = [Text(head)]
    if note:
        parts.append(Text(note, style="yellow"))
    if curve.drawn:
        parts.append(Text(f"{listed(curve.drawn)}: random, normal noise; give an image for figures that count"))
    parts += [Text(text) for text in _exact(curve)]
    if curve.rest:
        rest = listed([f"{n} sample{'s' if n > 1 else ''} along {axis}" for axis, n in curve.rest.items()])
        why = "its length must be that of the image modulo the step"
        parts.append(Text(f"after a block, every tile has {rest} more than the table says: {why}"))
    for output in next((point.errors for point in reversed(curve.points) if point.errors), {}):
        parts += [Text(), points_table(curve.points, output)]
    failures = dict.fromkeys(point.failure for point in curve.points if point.failure)
    parts += [Text(f"fails: {failure}", style="yellow") for failure in failures]
    parts += [Text(), *_verdict(curve)]
    console.print(Group(*parts))


def _exact(curve: ErrorCurve) -> list[str]:
    """Where the exact tile is the whole image: why, and what is local in the net."""
    if not curve.whole:
        return []
    if not curve.obstacles:
        return ["the exact tile is the whole image, for the net reaches across it"]
    found = ["the exact tile is the whole image, because of"]
    by_layer: dict[tuple[str, str, str], list[str]] = {}
    for o in curve.obstacles:
        by_layer.setdefault((o.layer, o.op, o.message), []).append(o.axis)
    named = [f"    {layer}: {op.partition('::')[2]} on {listed(axes)}: {message}"
             for (layer, op, message), axes in by_layer.items()]  # fmt: skip
    found += named[:MOST_OBSTACLES]
    if len(named) > MOST_OBSTACLES:
        found.append(f"    and {len(named) - MOST_OBSTACLES} more")
    if curve.local:
        found.append(f"beside that, the worst output reaches {_sides(curve.local)}")
    return found


def points_table(points: Sequence[ErrorPoint], output: str, *, exact: bool = True) -> Table:
    """The error of an output on each tile. exact: the last tile is the exact one."""
    title = output if len(next(p.errors for p in reversed(points) if p.errors)) > 1 else ""
    table = new_table("tile: before, after", "overlap", "largest error", "rms", "PSNR", "differing", title=title)
    for point in points:
        mark = " (exact)" if exact and point is points[-1] else ""
        error = point.errors.get(output)
        cells = _cells(error) if error is not None else ["fails", "", "", ""]
        table.add_row(_tile(point.tile) + mark, _overlap(point.tile), *cells)
    return table


def _cells(error: SeamError) -> list[str]:
    psnr = f"{error.psnr:.1f} dB" if error.differing and abs(error.psnr) < inf else "-"
    return [f"{error.largest:.2g}", f"{error.rms:.2g}", psnr, f"{error.differing:.2%}"]


def _verdict(curve: ErrorCurve) -> list[Text]:
    exact = curve.points[-1]
    if not curve.consistent:
        how = exact.failure or f"leaves {exact.largest:.2g}, more than rounding ({curve.rounding:.2g})"
        return [Text(f"the tile that should be exact is not: {how}; `overlapcalc verify` says where", style="bold red")]
    enough, asked = curve.enough, _amount(curve.below)
    if enough is None:
        return [Text(f"no tile leaves less than {asked}, which is less than rounding does", style="yellow")]
    where = "on this image" if not curve.drawn else "on this noise"
    if enough is curve.points[0]:
        said = "on every tile that was tried"
    elif enough is exact:
        said = f"on the exact tile alone, {_sides(exact.tile)}"
    else:
        said = f"from {_sides(enough.tile)} on, and on all longer tiles that were tried"
    return [Text(f"below {asked} {said}; measured {where} with these weights, no bound for others", style="bold")]


def _amount(below: float) -> str:
    near = Fraction(below).limit_denominator(1000)
    return f"{near} ({below:.2g})" if near.numerator == 1 and near.denominator > 100 else f"{below:g}"


def _tile(tile: Mapping[str, Sides]) -> str:
    return _by_axis(tile, lambda sides: f"{sides.before}, {sides.after}")


def _overlap(tile: Mapping[str, Sides]) -> str:
    return _by_axis(tile, lambda sides: str(sides.total))


def _sides(tile: Mapping[str, Sides]) -> str:
    """In words: `24 before and 24 after (overlap 48)`, with the axes where they differ."""
    return _by_axis(tile, lambda sides: f"{sides.before} before, {sides.after} after (overlap {sides.total})")


def _by_axis(tile: Mapping[str, Sides], text: Callable[[Sides], str]) -> str:
    texts = {axis: text(sides) for axis, sides in tile.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{axis} {said}" for axis, said in texts.items())
