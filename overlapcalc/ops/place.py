"""What constant operands impose on an operator's output, given where its rule says that they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .call import Call
from .graph import Constant
from .law import Cause, Law, Link, Obstruction, Place, anywhere

At = tuple[str, int | None]
"""The name of a constant argument, and the index of the item where the argument is a list."""

DIFFERS = Obstruction(Cause.POSITION, "joins a constant that differs at every position of the axis")


def constants_at(args: Mapping[str, Any]) -> Iterator[tuple[At, Constant]]:
    """Every constant among the arguments of a call, with its name and item."""
    for name, value in args.items():
        if isinstance(value, Constant):
            yield (name, None), value
        elif isinstance(value, (tuple, list)):
            yield from (((name, i), v) for i, v in enumerate(value) if isinstance(v, Constant))


def place_of(law: Law, at: At) -> Place | None:
    return next((place for place in law.places if (place.argument, place.item) == at), None)


def linked(law: Law, call: Call) -> Law:
    """The law with a link for every data operand: one that the rule does not mention may be read anywhere."""
    said = {link.operand for link in law.links}
    said |= {k for name in law.unread if (k := call.position(name)) is not None}
    rest = [k for k in range(len(call.shapes)) if k not in said]
    return replace(law, links=(*law.links, *(_all_of(call, k) for k in rest))) if rest else law


def _all_of(call: Call, operand: int) -> Link:
    return anywhere(operand, len(call.shapes[operand]), len(call.shape), UNSAID)


UNSAID = Obstruction(Cause.GLOBAL, "reads an operand of which its rule says nothing, so perhaps all of it")


def settled(law: Law, args: Mapping[str, Any], shape: Sequence[int], *, placed: bool = False) -> Law:
    """The law with the periods, margins and obstructions that its constants impose on an output of this shape.

    A constant without a place is harmless only if it is the same everywhere: then it does not matter which part of
    it a sample reads. placed: each sample is made with the constants of its own place, which so impose nothing.
    """
    periods, obstructions, margins = list(law.period), list(law.obstructions), list(law.margins)
    for at, constant in constants_at(args):
        place = place_of(law, at)
        if constant.random or at[0] in law.unread:
            continue
        if place is None:
            if any(varies(constant, s) for s in range(len(constant.shape))):
                obstructions += [(d, _unplaced(at)) for d in range(len(shape))]
            continue
        for s, d in () if placed else place.targets:
            if varies(constant, s):
                period = constant.variation[s] if s < len(constant.variation) else None
                borders = constant.borders[s] if s < len(constant.borders) else None
                if period is not None:
                    periods.append((d, period))
                elif borders is not None and constant.made and constant.shape[s] == shape[d]:
                    margins.append((d, *borders[:2]))
                    periods.append((d, borders[2]))
                else:
                    obstructions.append((d, DIFFERS))
    return replace(law, period=tuple(periods), obstructions=tuple(obstructions), margins=tuple(margins))


def varies(constant: Constant, s: int) -> bool:
    """Whether a constant may vary along one of its dimensions."""
    return constant.shape[s] > 1 and (s >= len(constant.variation) or constant.variation[s] != 0)


def _unplaced(at: At) -> Obstruction:
    name = at[0] if at[1] is None else f"{at[0]}[{at[1]}]"
    return Obstruction(
        Cause.POSITION, f"takes a constant as {name} that varies, and its rule does not say along which dimension"
    )
