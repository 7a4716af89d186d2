"""What reductions in parts share: the types in which they add up, the larger of two tensors, and moments."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import NoSlabError
from .call import Call
from .parts import Band, Cut, Partial
from .slab import Tensor

TYPES = frozenset({None, "torch.float64", "torch.float32", "torch.float16", "torch.bfloat16", "torch.int64"})
"""The `dtype` arguments with which a sum runs in parts."""

# ---- types ----------------------------------------------------------------------------------------------------


def wide(x: Tensor) -> Tensor:
    """`x` in a type to add up in: float32 instead of a half type; other types stay."""
    if x.is_complex():
        raise NoSlabError(f"complex numbers ({x.dtype}) are not reduced in parts: run the net as a whole")
    return x.float() if x.is_floating_point() and x.element_size() < 4 else x


def precise(x: Tensor) -> Tensor:
    """A partial result as it is kept between bands: float64; whole numbers stay exact as they are."""
    return x.double() if x.is_floating_point() else x


def working(t: Tensor, x: Tensor) -> Tensor:
    """`t` in the type in which samples of `x` are computed."""
    return t.double() if x.is_floating_point() and x.element_size() == 8 else t.float()


def asked(call: Call, x: Tensor) -> Tensor:
    """`x` in the type that the call's `dtype` asks for, or a wider one."""
    if call["dtype"] == "torch.float64":
        return x.double()
    if call["dtype"] == "torch.int64":
        return x.long()
    return x if call["dtype"] is None or x.is_floating_point() else x.float()


def operand(band: Band) -> Tensor:
    """The band of the only operand, in a type to add up in."""
    return wide(asked(band.call, band.operand()))


# ---- dimensions -----------------------------------------------------------------------------------------------


def over(band: Band) -> tuple[list[int], bool]:
    """The reduced dimensions, and whether they stay, one sample long."""
    return list(band.call.dims()), bool(band.call["keepdim"])


def reduces(call: Call, cut: Cut) -> bool:
    """Whether the only data operand is cut along a dimension that is reduced."""
    return len(cut) == 1 and cut[0] in call.dims() and call["dtype"] in TYPES


def added(a: Partial, b: Partial) -> Partial:
    """Sums and counts, one by one."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


# ---- two tensors ----------------------------------------------------------------------------------------------


def pair(a: Tensor, b: Tensor) -> Tensor:
    """Two tensors of one shape, stacked."""
    both = a.new_empty((2, *a.shape))
    both[0], both[1] = a, b
    return both


def larger(a: Tensor, b: Tensor) -> Tensor:
    """The larger one, sample by sample; NaN where one is NaN. The twin has no `maximum` of residues, but an `amax`."""
    return pair(a, b).amax(0)


def smaller(a: Tensor, b: Tensor) -> Tensor:
    return pair(a, b).amin(0)


# ---- moments --------------------------------------------------------------------------------------------------


class Moments(NamedTuple):
    """Of so many samples: their mean, and the sum of the squares of their differences from it."""

    samples: int
    mean: Tensor
    squares: Tensor


PIECE = 1 << 18
"""About so many samples are taken at once where that needs memory of its own: few enough for a cache."""


def moments(band: Band, x: Tensor, dims: list[int]) -> Moments:
    """Of a band's operand, in a type to add up in, along dimensions that stay, one sample long.

    The mean is rounded to the type of `x`; the sum of differences from it says by how much. `var_mean` would be many
    times slower on channels_last bands.
    """
    mean, d = x.mean(dims, keepdim=True), band.cut[0]
    count, n = x.numel() // mean.numel(), x.shape[d]
    sums: Partial | None = None
    for begins, length in band.pieces(n, max(1, PIECE * n // x.numel())):
        apart = x.narrow(d, begins, length) - mean
        rest = precise(apart.sum(dims, keepdim=True))
        piece = rest, precise(apart.mul_(apart).sum(dims, keepdim=True))
        sums = piece if sums is None else added(sums, piece)
    assert sums is not None
    rest, squares = sums
    return Moments(count, precise(mean) + rest / count, squares - rest * rest / count)


def pooled(a: Partial, b: Partial) -> Moments:
    """The moments of two sets of samples together: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm
    for computing sample variances, 1979."""
    (m, mean, squares), (n, other, more) = a, b
    apart = other - mean
    between = apart * apart * m / (m + n) * n
    return Moments(m + n, mean + apart * n / (m + n), squares + more + between)


def in_groups(given: Moments, groups: int) -> Moments:
    """The moments of groups of neighbouring indices of dimension 1, given those of each index; given back to each."""
    count, mean, squares = given
    shape, most = mean.shape, mean.shape[1] // groups
    split = (shape[0], groups, most, *shape[2:])
    means = mean.reshape(split)
    total = means.mean(2, keepdim=True)
    apart = means - total
    all_squares = squares.reshape(split).sum(2, keepdim=True) + (apart * apart).sum(2, keepdim=True) * count
    return Moments(count * most, total.expand(split).reshape(shape), all_squares.expand(split).reshape(shape))
