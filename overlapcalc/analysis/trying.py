"""Which sizes a net accepts, asked for or told where it fails at one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..errors import InputError, SizeError, TraceError
from ..ops.layout import chosen
from ..trace.trial import trial
from .called import Kwargs, followed
from .inputs import module_inputs
from .sizes import Sizes, accepted, where_it_runs


def sizes(
    model: nn.Module, inputs: Any = None, *, kwargs: Kwargs = None, layout: str | Sequence[str | None] | None = None
) -> dict[str, Sizes]:
    """Which lengths of each axis a net accepts, found by running it on shapes alone.

    inputs, kwargs, layout: as for `analyze`; the search begins at these shapes. An axis has no entry where nothing was
    found: the net runs at no size that was tried, or by no rule of a step up to 128. Raises InputError.

    >>> print(oc.sizes(nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(64, 64, 3, padding=1)), (1, 1, 100, 100))["W"])
    multiples of 8 from 8
    """
    if not isinstance(model, nn.Module):
        raise InputError("a saved program is not tried at other sizes; ask the module that it was made of")
    model, inputs = followed(model, inputs, kwargs)
    shapes, dtypes = module_inputs(model, inputs)
    return accepted(trial(model, dtypes), shapes, chosen(layout, shapes))


def learned_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """The shapes of its parameters and buffers."""
    return [tuple(t.shape) for t in (*model.parameters(), *model.buffers())]


@contextmanager
def telling_sizes(model: Any, inputs: Any, layout: str | Sequence[str | None] | None) -> Iterator[None]:
    """A module that cannot be traced because it does not run at this size is refused with those at which it does."""
    try:
        yield
    except TraceError as error:
        if type(error) is not TraceError or not isinstance(model, nn.Module):
            raise
        shapes, dtypes = module_inputs(model, inputs)
        found = where_it_runs(trial(model, dtypes), shapes, chosen(layout, shapes), learned_shapes(model))
        if not found:
            raise
        raise SizeError(f"{error}{found}") from error
