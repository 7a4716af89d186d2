"""Smaller nets than a drawn one, to find the smallest that still shows something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from ..nets import Call
from .drawn import BarrierNet, row

LEAST = 4
"""No side becomes shorter."""


def smaller_nets(net: BarrierNet) -> Iterator[BarrierNet]:
    """Nets with one layer less, one branch instead of several, one image instead of a batch, or shorter sides. Those
    that do not run are left out.

    >>> net = BarrierNet(Call.of(nn.Sequential, Call.of(nn.ReLU), Call.of(nn.Sigmoid)), ((1, 2, 4),))
    >>> [found.call for found in smaller_nets(net)][:3]
    [nn.Identity(), nn.ReLU(), nn.Sigmoid()]
    """
    found = [replace(net, call=call) for call in _smaller(net.call)]
    found += [replace(net, shapes=shapes) for shapes in _shapes(net.shapes)]
    return (one for one in found if _runs(one))


def smallest(net: BarrierNet, shows: Callable[[BarrierNet], bool]) -> BarrierNet:
    """The smallest net that still shows something, found one step after the other."""
    while True:
        less = next((one for one in smaller_nets(net) if shows(one)), None)
        if less is None:
            return net
        net = less


def _runs(net: BarrierNet) -> bool:
    try:
        return net.runs()
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False


def _smaller(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for i, one in enumerate(value):
            for less in _smaller(one):
                yield type(value)([*value[:i], less, *value[i + 1 :]])
        return
    if not isinstance(value, Call) or value.maker is nn.Identity:
        return
    yield Call.of(nn.Identity)
    inner = [one for one in value.args if isinstance(one, Call)]
    yield from inner
    if value.maker is nn.Sequential and len(inner) > 2:
        yield from (row([*inner[:i], *inner[i + 1 :]]) for i in range(len(inner)))
    for args in _smaller(value.args):
        yield replace(value, args=args)


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All inputs together, because images of one net belong together."""
    if shapes[0][0] > 1:
        yield tuple((1, *shape[1:]) for shape in shapes)
    for d in range(2, len(shapes[0])):
        n = shapes[0][d]
        for less in sorted({n // 2, n - 1}):
            if less >= LEAST:
                yield tuple((*shape[:d], less, *shape[d + 1 :]) for shape in shapes)
