"""How operators run on a slab: a region of their output, in absolute coordinates, from the regions that it reads.

A family says it beside its law, in terms of what a `Slab` offers; tensors are only passed on. An operator that reads
index by index along every axis, and has no argument that is a size, needs nothing said: it is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ..algebra.spans import Span
from .call import Call
from .positions import Rounding
from .registry import known_of, op_name, say

Tensor = Any
"""A tensor of torch. Rules do not import it."""


class Windows(NamedTuple):
    """Windows over a part of the image, a number per dimension: the part's size, how many samples lie before the first
    window, the stride, the kernel."""

    sizes: tuple[int, ...]
    begins: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]


class Phase(NamedTuple):
    """Every s-th output along a dimension of a transposed convolution, a convolution of its own.

    Output `s*q + r` sums, with the weights at `taps`, the samples `q + begins`, `q + begins + dilation`, ...
    """

    taps: tuple[int, ...]
    begins: int
    dilation: int


class Slab(Protocol):
    """One call on a slab.

    call: the call on the whole image. region: what is wanted of the output, a span per axis.
    """

    call: Call
    region: Mapping[str, Span]

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions of the output's region."""

    def span(self, dim: int) -> Span | None:
        """The region along a dimension of the output that is an axis; None for one that is none."""

    def fetch(self, operand: int = 0, spans: Mapping[int, Span] | None = None, *, fill: float | str = 0.0) -> Tensor:
        """What the region reads of an operand, as one tensor.

        spans: dimension of the operand -> what is wanted there instead, as far as that is an axis. Beyond the ends of
        the image stands `fill`: a number, "replicate" or "reflect".
        """

    def nothing(self, operand: int, dim: int) -> Tensor:
        """No samples along a dimension: what is made of constants alone is data all the same."""

    def constant(self, argument: str, item: int | None = None, spans: Mapping[int, Span] | None = None) -> Tensor:
        """The region of an argument that is a constant, or of one item of it, whose dimensions are the output's.

        spans: dimension -> what is wanted there instead.
        """

    def is_whole(self, operand: int, dim: int) -> bool:
        """Whether a dimension of an operand is an axis that is there whole, and wanted whole: padding may stay."""

    def begins(self, operand: int, dim: int) -> int:
        """Where along a dimension `fetch` begins, without spans."""

    def run(self, /, **changes: Any) -> Tensor:
        """Call the operator itself, with these arguments changed and the other operands as `fetch` gives them."""

    def typed(self, x: Tensor) -> Tensor:
        """`x` in the type that the operator gives."""

    def by_phases(self, x: Tensor, begins: Sequence[int], phases: Sequence[Sequence[Phase]]) -> Tensor:
        """A transposed convolution, as one convolution per phase.

        phases: of every spatial dimension, `s` of them, in order of `r`. begins: the absolute position where `x` begins
        along each of these dimensions.
        """

    def kept(self, result: Tensor, dim: int, begins: int) -> Tensor:
        """Of a result that begins at an absolute position along an axis, the region."""

    def resampled(self, x: Tensor, dim: int, begins: int, taps: Callable[[int], Mapping[int, float]]) -> Tensor:
        """Of `x`, which begins at an absolute position along an axis, for every output o of the region there the sum of
        samples times weights, `taps(o)`. The other dimensions stay."""

    def rounding(self, x: Tensor) -> Rounding:
        """How kernels for `x` round positions: to float64 for float64, to float32 for every other type."""

    def in_windows(self, positions: Tensor, windows: Windows) -> Tensor:
        """Positions that count row by row over a part of the image, as places within their windows: those stay the same
        wherever the part begins."""

    def in_rows(self, places: Tensor, windows: Windows) -> Tensor:
        """The inverse of `in_windows`."""

    def every(self, x: Tensor, dim: int, step: int) -> Tensor:
        """Every step-th sample along a dimension, from the first on."""

    def scaled(self, x: Tensor, dim: int, factors: Sequence[float]) -> Tensor:
        """`x` times one factor per index of a dimension."""

    def none(self, why: str) -> Exception:
        """The error to raise where the operator cannot be run on a slab."""


SlabFunction = Callable[[Any], Tensor]
S = TypeVar("S", bound=SlabFunction)


def on_slab(*ops: str | Callable[..., object]) -> Callable[[S], S]:
    """Register how operators, named as for `rule`, run on a slab. Raises RuleError for one that says so already."""

    def register(function: S) -> S:
        say("slab", map(op_name, ops), function)
        return function

    return register


def run_of(op: str) -> SlabFunction | None:
    return known_of(op).slab or known_of(op.removesuffix("_copy")).slab
