"""What the calls of one run share, and tensors that hold regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor

from ...algebra.reshape import Factoring
from ...algebra.spans import Spans
from ...propagate.regions import Region
from ...propagate.values import Propagation, TensorReads
from ...trace.runnable import Constants
from .taps import Gathering


@dataclass(frozen=True)
class SlabTensor:
    """A tensor that holds a region of a node's output; `region` has all its axes.

    spans: for axes along which it holds several spans, one after the other, what they are; `region` has their hull.
    own: its memory was taken by this run, for this tensor or for one that it is a view of.
    """

    tensor: Tensor
    region: Region
    spans: Mapping[str, Spans] = field(default_factory=dict)
    own: bool = False

    def at(self, axis: str) -> Spans:
        """What it holds along an axis."""
        return self.spans.get(axis) or Spans.span(*self.region[axis])

    def extent(self, layout: Factoring, part: int) -> int:
        label = layout.labels[part]
        return length(self.at(label)) if label in self.region else layout.sizes[part]


@dataclass(frozen=True)
class Frame:
    """What all calls of one run share.

    like: an input without samples, for its type and device. poison: the value (NaN, say) of samples of the image that
    no slab holds; None where needing one is an error. taps: those of resampling; kernels: those of phases; each
    computed once. shapes_only: nothing is computed, only what it would hold.
    """

    net: Propagation
    constants: Constants
    like: Tensor
    poison: float | None
    taps: dict[Any, Gathering] = field(default_factory=dict, repr=False)
    kernels: dict[Any, Tensor] = field(default_factory=dict, repr=False)
    shapes_only: bool = False

    def value(self, node: str) -> TensorReads:
        return self.net.values[node]


def shaped(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """`x` with these sizes. As it is where it has them: torch would give dimensions of one sample other strides, and
    then copy a channels_last tensor before it convolves it."""
    return x if tuple(x.shape) == tuple(sizes) else x.reshape(tuple(sizes))


def length(spans: Spans) -> int:
    return sum(b - a for a, b in spans.parts)


FAR = 1 << 40
"""A position beyond every image."""


def extents(layout: Factoring, region: Region) -> tuple[int, ...]:
    """The sizes of the dimensions of a region of a tensor."""
    return tuple(prod(extent(layout, i, region) for i in layout.places(d)) for d in range(len(layout.widths)))


def extent(layout: Factoring, part: int, region: Region) -> int:
    span = region.get(layout.labels[part])
    return layout.sizes[part] if span is None else span.length


def dims_of(layout: Factoring) -> tuple[int, ...]:
    return extents(layout, {})


def label_of(layout: Factoring, dim: int) -> str:
    places = layout.places(dim)
    return layout.labels[places[0]] if len(places) == 1 else ""
