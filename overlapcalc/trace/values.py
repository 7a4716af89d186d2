"""How a constant varies and what it is, by the bits of its values.

Bits are equal where values are, with two exceptions: NaN does not equal itself, but here it does; 0.0 equals -0.0, but
here it does not, because 1 / x tells them apart.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Variation = tuple["int | None", ...]

ROWS_LIMIT = 1 << 20
"""Constants with up to this many values are compared row by row between two sizes of the image."""

MARKS_LIMIT = 1 << 22
"""Masks with more values are not looked at one by one."""

WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(value: Tensor) -> Tensor:
    """The bits of each value as an integer; the same shape, with one more dimension at the end for complex values."""
    value = value.detach().to("cpu").resolve_conj().resolve_neg()
    if value.is_quantized:
        value = value.dequantize()
    if value.layout != torch.strided:
        value = value.to_dense()
    value = torch.view_as_real(value) if value.is_complex() else value
    return value.contiguous().view(WHOLE[value.element_size()])


def _lines(whole: Tensor, d: int) -> Tensor:
    """All values at each index of a dimension, as one row per index."""
    return whole.movedim(d, 0).unsqueeze(-1).flatten(1).contiguous()


def variation_along(value: Tensor, d: int) -> int | None:
    """0 when constant along d; else the smallest period that fits at least twice, or None.

    >>> variation_along(bits(torch.tensor([1.0, 2.0, 1.0, 2.0])), 0)
    2
    """
    n = value.shape[d]
    if n <= 1:
        return 0
    rows = _lines(bits(value), d)
    like_first = (rows == rows[0]).all(dim=1)
    if bool(like_first.all()):
        return 0
    for q in like_first[: n // 2 + 1].nonzero().flatten().tolist():
        if q > 1 and torch.equal(rows[: n - q], rows[q:]):
            return int(q)
    return None


Borders = tuple["tuple[int, int, int] | None", ...]


def borders_of(value: Tensor, variation: Variation) -> Borders:
    """Of each dimension that has no period because its ends differ: the lengths of the border before and of the border
    after, and the period between them. None for others, and where less than half of the length lies between.

    >>> borders_of(torch.tensor([2.0, 3, 3, 3, 3, 3, 2]), (None,))
    ((1, 1, 1),)
    """
    return tuple(_border(_lines(bits(value), d)) if q is None else None for d, q in enumerate(variation))


LONGEST = 1 << 10
"""A longer period between borders is not looked for."""
LEAST = 3
"""So many equal values in the middle could be chance."""


def _border(rows: Tensor) -> tuple[int, int, int] | None:
    n, middle = len(rows), len(rows) // 2
    alike = (rows[middle:] == rows[middle]).all(dim=1).nonzero().flatten().tolist()
    for q in (q for q in alike if 0 < q <= min(n // 4, LONGEST)):
        apart = (rows[q:] != rows[:-q]).any(dim=1).nonzero().flatten().tolist()
        before = max((i + 1 for i in apart if i < middle), default=0)
        after = max((n - q - i for i in apart if i >= middle), default=0)
        if n - before - after > max(n // 2, LEAST, q):
            return before, after, q
    return None


def alive_in(value: torch.Tensor, variation: Variation) -> tuple[tuple[tuple[bool, ...], ...], bool]:
    """Where the constant is not zero, as a product over dimensions; and whether that is exact."""
    real = value != 0
    if bool(real.all()):
        return (), True
    filled = torch.ones_like(real)
    out = []
    for d, q in enumerate(variation):
        others = [e for e in range(real.dim()) if e != d]
        line = real.any(dim=others) if others else real
        shape = [1] * real.dim()
        shape[d] = real.shape[d]
        filled = filled & line.reshape(shape)
        out.append(tuple(bool(b) for b in line[: max(1, q if q is not None else real.shape[d])].tolist()))
    return tuple(out), bool(torch.equal(filled, real))


def marks_of(value: Any) -> bytes:
    """One byte per value: 1 where a boolean one is true, or another one minus infinity; nothing where none is, or there
    are too many."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.numel() > MARKS_LIMIT:
        return b""
    found = value if value.dtype == torch.bool else value.isneginf() if value.is_floating_point() else None
    if found is None or not bool(found.any()):
        return b""
    whole = found.to("cpu", torch.uint8).contiguous()
    return bytes(_bytes(whole))


def rows_of(value: Tensor, variation: Variation) -> tuple[tuple[int, ...], ...]:
    """A hash of the values at each index of the dimensions along which they vary."""
    if value.numel() > ROWS_LIMIT or not any(q != 0 for q in variation):
        return ()
    whole = bits(value)
    return tuple(tuple(_hashes(_lines(whole, d))) if q != 0 else () for d, q in enumerate(variation))


def _hashes(rows: Tensor) -> Iterator[int]:
    """One number per row: all its bytes where they are few, a hash otherwise."""
    if rows.shape[1] == 1:
        yield from rows.flatten().tolist()
        return
    data, width = _bytes(rows), rows.shape[1] * rows.element_size()
    for start in range(0, len(data), width):
        row = data[start : start + width]
        yield int.from_bytes(row if width <= FEW else hashlib.blake2b(row, digest_size=16).digest(), "big")


FEW = 32
"""Rows of at most this many bytes are no longer than their hash."""


def digest_of(value: Tensor, variation: Variation, borders: Borders = ()) -> str:
    """A hash of the type, the shape and all values of one period along each dimension that has one; of the borders and
    one period between them along those that have these."""
    whole = bits(value)
    for d, q in enumerate(variation):
        ends = borders[d] if d < len(borders) else None
        if q is not None:
            whole = whole.narrow(d, 0, min(whole.shape[d], max(1, q)))
        elif ends is not None:
            before, after, period = ends
            last = whole.narrow(d, whole.shape[d] - after, after)
            whole = torch.cat([whole.narrow(d, 0, before + period), last], d)
    found = hashlib.sha256(repr((str(value.dtype), tuple(whole.shape))).encode())
    whole = whole.contiguous()
    found.update(_bytes(whole))
    return found.hexdigest()[:16]


def _bytes(whole: Tensor) -> memoryview:
    """The memory of a contiguous tensor, which must stay alive as long as this is used."""
    size = whole.numel() * whole.element_size()
    return memoryview((ctypes.c_char * size).from_address(whole.data_ptr())).cast("B") if size else memoryview(b"")
