"""Symbols to bytes and back, by constriction's range coder over integer tables (Bamler, 2022).

What is written must be read in the same order, by the same tables. Within a call, symbols go table by table, those of
one table in the order of the array; then what the tables do not hold, bit by bit.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from .bitstream import BitstreamError
from .extra import extra
from .tables import Integers, Tables

MOST = 2**20
"""No symbol is larger; the encoder clamps to it."""
LARGEST_CODE = 23
"""Bits of an escape: 2 * (|symbol| + |offset|) + 1 stays below 2^23."""


def too_many(bits: float, size: int) -> bool:
    """Whether symbols of so many bits cannot come from a payload of so many bytes.

    The coder rounds probabilities to 24 bits, so a symbol may take up to a hundredth less than its table says, and a
    payload ends up to two words before what it holds. Some room beyond both: no picture is refused for a rounding.
    """
    return 0.95 * bits > 8 * size + 128


class SymbolWriter:
    """Takes arrays of symbols, gives bytes."""

    def __init__(self) -> None:
        self._coder = extra("constriction").stream.queue.RangeEncoder()

    def write(self, symbols: Integers, indexes: Integers, tables: Tables) -> None:
        """Flat arrays of one length: symbol k goes by table `indexes[k]`."""
        escapes = []
        for index in np.unique(indexes):
            own = symbols[indexes == index] - tables.offsets[index]
            escape = len(tables.counts[index]) - 1
            beyond = (own < 0) | (own >= escape)
            self._coder.encode(np.where(beyond, escape, own).astype(np.int32), _model(tables, int(index)))
            far = own[beyond]
            escapes.append(np.where(far < 0, -2 * far - 1, 2 * (far - escape)))
        self._write_escapes(np.concatenate(escapes) if escapes else np.zeros(0, np.int64))

    def _write_escapes(self, codes: Integers) -> None:
        """Elias' gamma code: how many bits, then all of them but the first."""
        if not len(codes):
            return
        bits = np.frexp(codes + 1.0)[1].astype(np.int32) - 1  # a logarithm may be off by one at powers of 2
        self._coder.encode(bits, _uniform(LARGEST_CODE))
        longer = bits > 0
        if longer.any():
            self._coder.encode(
                (codes + 1 - (1 << bits.astype(np.int64)))[longer].astype(np.int32), _uniform(), _sizes(bits[longer])
            )

    def bytes(self) -> bytes:
        """All that was written."""
        return _little_endian(self._coder.get_compressed()).tobytes()


class SymbolReader:
    """Gives back what a SymbolWriter took. Raises BitstreamError for bytes that none wrote, where it can tell."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise BitstreamError(f"a payload of {len(data)} bytes; expected a multiple of 4")
        self._size = len(data)
        self._bits = 0.0
        words = _little_endian(np.frombuffer(data, np.uint32).copy())
        self._coder = extra("constriction").stream.queue.RangeDecoder(words)

    def read(self, indexes: Integers, tables: Tables) -> Integers:
        """The symbols of one `write`, as many as `indexes`."""
        symbols, escaped = np.zeros(len(indexes), np.int64), []
        for index in np.unique(indexes):
            places = np.flatnonzero(indexes == index)
            own = self._decode(_model(tables, int(index)), len(places))
            self._spent(float(tables.bits(int(index))[own].sum()))
            symbols[places] = own + tables.offsets[index]
            escape = len(tables.counts[index]) - 1
            escaped.append((places[own == escape], tables.offsets[index], escape))
        codes = self._escapes(sum(len(places) for places, _, _ in escaped))
        start = 0
        for places, offset, escape in escaped:
            own = codes[start : start + len(places)]
            symbols[places] = offset + np.where(own % 2 == 1, -(own + 1) // 2, own // 2 + escape)
            start += len(places)
        return symbols

    def _spent(self, bits: float) -> None:
        """Beyond its end the coder reads what is not there; symbols say so that cost more than there is."""
        self._bits += bits
        if too_many(self._bits, self._size):
            raise BitstreamError("the payload is shorter than its picture; it is no picture of this codec")

    def _escapes(self, number: int) -> Integers:
        if not number:
            return np.zeros(0, np.int64)
        bits = self._decode(_uniform(LARGEST_CODE), number)
        rest = np.zeros(number, np.int64)
        longer = bits > 0
        if longer.any():
            rest[longer] = self._decode(_uniform(), _sizes(bits[longer]))
        return (np.int64(1) << bits) + rest - 1

    def _decode(self, model: Any, argument: Any) -> Integers:
        try:
            return np.asarray(self._coder.decode(model, argument), np.int64)
        except Exception as error:  # constriction raises what Rust's panics become
            raise BitstreamError(f"the payload cannot be decoded ({error}); it is no picture of this codec") from error

    def finish(self) -> None:
        """Raises BitstreamError where bytes are left."""
        if not self._coder.maybe_exhausted():
            raise BitstreamError("the payload is longer than its picture; it is no picture of this codec")


@functools.lru_cache(maxsize=4096)
def _model_of(counts: bytes) -> Any:
    """Counts are whole numbers below 2^53, so the sums that constriction makes of them are exact, and one division and
    one product per symbol are all that it rounds."""
    numbers = np.frombuffer(counts, np.int64).astype(np.float64)
    return extra("constriction").stream.model.Categorical(numbers, perfect=False)


def _model(tables: Tables, index: int) -> Any:
    return _model_of(tables.counts[index].astype(np.int64).tobytes())


def _uniform(*size: int) -> Any:
    return extra("constriction").stream.model.Uniform(*size)


def _sizes(bits: Any) -> Any:
    return (np.int64(1) << bits.astype(np.int64)).astype(np.int32)


def _little_endian(words: Any) -> Any:
    return words if sys.byteorder == "little" else words.byteswap()
