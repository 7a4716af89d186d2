"""What closed loop training does, as a picture: `python -m examples.kamisli draw OUT.svg`.

One panel a checkpoint: the cost of pictures after each iteration, with stored reconstructions (open) and coded
(closed). What lies between both lines is what training on stored reconstructions did not foresee.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.lic.photographs import SETS
from overlapcalc import InputError
from overlapcalc.io.atomic import Door, begins, complete, free_place

from .checkpoint import SHIPPED, Trained, trained

SVG = begins("an SVG file", b"<svg")
PANEL, HEIGHT, TOP, LEFT, RIGHT, BOTTOM = 290, 270, 62, 48, 22, 40
"""Sizes of a panel, and of its margins."""
OPEN, CLOSED, INK, FAINT = "#c2410c", "#1d4ed8", "#1f2937", "#d1d5db"
TICKS = 5
"""At most about as many numbers along an axis."""


def add_command(commands: Any) -> None:
    """Adds `draw` to the commands of a parser."""
    parser = commands.add_parser("draw", help="open and closed cost by iteration of training, as an SVG")
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.add_argument("--pictures", choices=SETS, default="held out", help="whose costs; 'held out' if absent")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="all that are shipped if absent")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, where it is an SVG file")
    parser.set_defaults(does=_draw)


def _draw(given: argparse.Namespace) -> str:
    checkpoints = SHIPPED if given.checkpoint is None else (given.checkpoint,)
    door = Door(str(given.target), given.overwrite, "--overwrite", checkpoints)
    free_place(given.target, SVG, door)
    drawn = drawing([trained(path) for path in checkpoints], given.pictures)
    complete(given.target, lambda file: file.write(drawn.encode()), SVG, door)
    return f"{given.target}: {len(drawn) / 1024:.1f} KiB"


def drawing(checkpoints: Sequence[Trained], pictures: str) -> str:
    """As SVG. pictures: the name of a set of pictures that was measured. Raises InputError."""
    if not all(pictures in done.sets for about in checkpoints for done in about.iterations):
        raise InputError(f"the checkpoint does not say what pictures {pictures!r} cost in training")
    width = PANEL * len(checkpoints)
    parts = [part for i, about in enumerate(checkpoints) for part in _panel(about, pictures, i * PANEL)]
    title = f"bits per pixel + lambda * MSE after each iteration, mean of the pictures: {pictures}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
            ' font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
            _text(LEFT, 18, title, anchor="start"),
            *parts,
            "</svg>\n",
        )
    )


def _panel(about: Trained, pictures: str, left: int) -> Iterator[str]:
    costs = [done.sets[pictures] for done in about.iterations]
    opened, closed = ([of[i].cost for of in costs] for i in (0, 1))
    ticks = round_numbers(min(opened + closed), max(opened + closed))
    low, high = ticks[0], ticks[-1]
    digits = max(len(f"{tick:g}".partition(".")[2]) for tick in ticks)

    def place(number: int, cost: float) -> tuple[float, float]:
        across = (number + 0.5) / len(costs)
        up = (cost - low) / (high - low)
        return left + LEFT + across * (PANEL - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    yield _text(left + LEFT, TOP - 16, f"lambda {about.rate:.10g}", anchor="start", bold=True)
    for tick in ticks:
        y = place(0, tick)[1]
        yield f'<path d="M{left + LEFT} {y:.1f}H{left + PANEL - RIGHT}" stroke="{FAINT}"/>'
        yield _text(left + LEFT - 6, y + 4, f"{tick:.{digits}f}", anchor="end")
    for number in range(len(costs)):
        yield _text(place(number, low)[0], HEIGHT - BOTTOM + 18, str(number))
    yield _text(left + (LEFT + PANEL - RIGHT) / 2, HEIGHT - 6, "iteration")
    for called, colour, values in (("open", OPEN, opened), ("closed", CLOSED, closed)):
        at = [place(number, cost) for number, cost in enumerate(values)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at)
        yield _text(at[0][0] + 9, at[0][1] + 4, called, anchor="start", colour=colour, bold=True)


def _text(x: float, y: float, said: str, *, anchor: str = "middle", colour: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{said}</text>'


def round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from one below to one above.

    >>> round_numbers(0.97, 1.05)
    [0.96, 0.98, 1.0, 1.02, 1.04, 1.06]
    """
    rough = max(high - low, 1e-3) / TICKS
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(part * ten for part in (1, 2, 5, 10) if part * ten >= rough)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [round(i * step, 9) for i in range(first, last + 1)]
