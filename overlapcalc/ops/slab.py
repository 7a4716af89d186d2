"""How operators run on a slab: a region of their output, in absolute coordinates, from the regions that it reads.

Each family says how beside its law, in terms of what a `Slab` offers; tensors are only passed on. An operator that
reads index by index along every axis, and has no argument that is a size, needs nothing here: it is simply called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ..algebra.spans import Span
from .call import Call
from .graph import Data
from .positions import Rounding
from .registry import known_of, say

Tensor = Any
"""A tensor of torch. Rules do not import it."""


class Windows(NamedTuple):
    """Windows over a part of the image, with one number per dimension: the part's size, how many samples lie before
    the first window, the stride, the kernel."""

    sizes: tuple[int, ...]
    begins: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]


class Phase(NamedTuple):
    """Every s-th output along a dimension of a transposed convolution: a convolution of its own.

    Output `s*q + r` sums the samples `q + begins`, `q + begins + dilation`, ... with the weights at `taps`.
    """

    taps: tuple[int, ...]
    begins: int
    dilation: int


class Slab(Protocol):
    """One call on a slab.

    call: the call on the whole image. region: the wanted part of the output, a span per axis.
    """

    call: Call
    region: Mapping[str, Span]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output's region."""

    def span(self, dim: int) -> Span | None:
        """The region along a dimension of the output; None for a dimension that is not an axis."""

    def fetch(
        self,
        operand: int = 0,
        spans: Mapping[int, Span] | None = None,
        *,
        fill: float | str = 0.0,
        last: bool = False,
    ) -> Tensor:
        """What the region reads of an operand, as one tensor.

        spans: dimension of the operand -> the span to fetch there instead, if that dimension is an axis. Beyond the
        ends of the image lies `fill`: a number, "replicate", "reflect" or "symmetric" (a mirror image with the end
        sample). last: the call asks no more for the operand, nor where it lies, so that it may be freed.
        """

    def picked(self, places: Mapping[int, Sequence[int]], operand: int = 0, *, fill: float | str = 0.0) -> Tensor:
        """What the region reads of an operand, at these positions of the image along some dimensions.

        places: dimension of the operand -> positions, in any order and as often as wanted. All are among what the law
        says that the region reads. The other dimensions are as `fetch` gives them.
        """

    def plain(self) -> Tensor:
        """The operator as it is, where it reads index by index along every axis. Raises NoSlabError."""

    def over_windows(self, x: Tensor, dim: int, windows: Sequence[Span], begins: int, largest: bool) -> Tensor:
        """The mean of each window along a dimension, or the largest sample of it. begins: where `x` begins there."""

    def nothing(self, operand: int, dim: int) -> Tensor:
        """No samples along a dimension: a result made of constants alone must still be data."""

    def constant(self, argument: str, item: int | None = None, spans: Mapping[int, Span] | None = None) -> Tensor:
        """The region of a constant argument, or of one item of it, whose dimensions are the output's.

        spans: dimension -> the span to take there instead.
        """

    def placed(self, argument: str) -> Tensor:
        """The region of a constant argument that lies where the rule says; None where the argument is absent."""

    def is_whole(self, operand: int, dim: int) -> bool:
        """Whether an operand is present whole along an axis, and the whole is wanted: then padding may stay."""

    def begins(self, operand: int, dim: int) -> int:
        """The position along a dimension at which `fetch` without spans begins."""

    def run(self, /, **changes: Any) -> Tensor:
        """Call the operator itself, with these arguments changed and the other operands as `fetch` returns them."""

    def run_all(self, /, **changes: Any) -> tuple[Tensor, ...]:
        """The same; all results of the operator."""

    def typed(self, x: Tensor) -> Tensor:
        """`x` in the operator's output type."""

    def by_phases(self, x: Tensor, begins: Sequence[int], phases: Sequence[Sequence[Phase]]) -> Tensor:
        """A transposed convolution, as one convolution per phase.

        phases: for every spatial dimension its `s` phases, in order of `r`. begins: the absolute position at which `x`
        begins along each of these dimensions.
        """

    def kept(self, result: Tensor, dim: int, begins: int) -> Tensor:
        """The region, cut out of a result that begins at an absolute position along an axis."""

    def resampled(self, x: Tensor, dim: int, begins: int, taps: Callable[[int], Mapping[int, float]]) -> Tensor:
        """`x`, which begins at an absolute position along an axis, resampled there: every output o of the region is the
        sum of samples times weights given by `taps(o)`. The other dimensions stay."""

    def rounding(self, x: Tensor) -> Rounding:
        """How kernels round positions for `x`: to float64 for float64, to float32 for every other type."""

    def in_windows(self, positions: Tensor, windows: Windows) -> Tensor:
        """Positions counted row by row over a part of the image, as places within their windows, which do not depend
        on where the part begins."""

    def in_rows(self, places: Tensor, windows: Windows) -> Tensor:
        """The inverse of `in_windows`."""

    def positions(self, dim: int) -> Tensor:
        """The place of each sample of the region along a dimension of the whole output."""

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """`x - y`, in the memory of `x` where the call may overwrite it."""

    def scaled_and_shifted(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`x * scale + shift` in the memory of `x`, which nobody else may hold, in one go."""

    def pieces(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        """Begin and length of pieces of `size` samples, `step` each, to be computed one after another. Where only
        shapes are computed, as many of them as show what all of them hold."""

    def counted(self, size: int) -> Tensor:
        """The numbers from 0 to `size` - 1."""

    def joined(self, pieces: Sequence[Tensor], dim: int) -> Tensor:
        """Pieces laid end to end along a dimension."""

    def every(self, x: Tensor, dim: int, step: int) -> Tensor:
        """Every step-th sample along a dimension, starting with the first."""

    def scaled(self, x: Tensor, dim: int, factors: Sequence[float]) -> Tensor:
        """`x` times one factor per index of a dimension."""

    def none(self, why: str) -> Exception:
        """The error to raise where the operator cannot run on a slab."""


def by_itself(slab: Slab, dims: Iterable[int]) -> Tensor | None:
    """The operator as it is, where its operand is present whole and the whole is wanted; None otherwise.

    dims: the dimensions along which the operator reads by its place in the image.
    """
    cut = {d: slab.call.shapes[0][d] for d in dims if slab.span(d) is not None}
    if not all(slab.is_whole(0, d) for d in cut):
        return None
    operand = next(name for name, value in slab.call.node.args.items() if isinstance(value, Data))
    return slab.run(**{operand: slab.fetch(0, {d: Span(0, size) for d, size in cut.items()})})


SlabFunction = Callable[[Any], Tensor]
S = TypeVar("S", bound=SlabFunction)


def on_slab(*ops: str | Callable[..., object]) -> Callable[[S], S]:
    """Register how operators, named as for `rule`, run on a slab. Raises RuleError for one that has a way already.

    >>> @on_slab("mylib::blur5")  # 5 taps along the last dimension, zeros beyond the image
    ... def blur5_on_slab(slab):
    ...     d = len(slab.call.shape) - 1
    ...     return slab.kept(slab.run(x=slab.fetch()), d, slab.begins(0, d))
    """

    def register(function: S) -> S:
        say("slab", ops, function)
        return function

    return register


def run_of(op: str) -> SlabFunction | None:
    return known_of(op).slab or known_of(op.removesuffix("_copy")).slab
