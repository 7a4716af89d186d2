"""A .npy file that takes slices.

It is written by system calls into reserved space. Through a mapping, a full disk would not be an error but a signal
that ends the process, and written pages would count as its memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from io import FileIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .space import reserve

if TYPE_CHECKING:
    import numpy.typing as npt

PWRITE = getattr(os, "pwrite", None)
"""None on Windows."""


MAGIC = b"\x93NUMPY"


def npy_fault(path: Path) -> str:
    """What is wrong with a .npy file that numpy cannot read; "" where that is unknown."""
    from numpy.lib import format as npy

    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return "it does not begin as a .npy file does"
            file.seek(0)
            header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(file)
            begins = file.tell()
    except OSError:
        return ""
    except Exception:  # a header is Python source, which may be wrong in any way
        return "its header is damaged"
    if dtype.hasobject:
        return "it holds Python objects, not numbers"
    there, needed = path.stat().st_size, begins + prod(shape) * dtype.itemsize
    return f"it is cut off after {there} of {needed} bytes" if there < needed else ""


class NpyFile:
    """An array of this shape, row by row, all of which must be written. Raises InputError where there is no space.

    file: open for writing, unbuffered, so that a failed write shows at once.
    """

    def __init__(self, file: FileIO, shape: Sequence[int], dtype: Any, folder: Path, called: str) -> None:
        import numpy

        self.shape, self.dtype, self._file = tuple(shape), numpy.dtype(dtype), file
        described = numpy.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": described, "fortran_order": False, "shape": self.shape}
        numpy.lib.format.write_array_header_1_0(file, header)
        self._begins = file.tell()
        self._steps = [prod(self.shape[d + 1 :]) * self.dtype.itemsize for d in range(len(self.shape))]
        reserve(file.fileno(), 0, self._begins + prod(self.shape) * self.dtype.itemsize, folder, called)

    def __setitem__(self, place: tuple[slice, ...], values: npt.NDArray[Any]) -> None:
        import numpy

        spans = [range(*part.indices(n)) for part, n in zip(place, self.shape, strict=True)]
        values = numpy.ascontiguousarray(values, self.dtype)
        if values.shape != tuple(map(len, spans)):
            raise ValueError(f"values of shape {values.shape} for a part of shape {tuple(map(len, spans))}")
        # whole dimensions form one piece with part of the dimension before them
        split = len(spans)
        while split and len(spans[split - 1]) == self.shape[split - 1]:
            split -= 1
        split = max(split - 1, 0)
        length = prod(map(len, spans[split:])) * self.dtype.itemsize
        starts = sum(span.start * step for span, step in zip(spans, self._steps, strict=True)) + self._begins
        data = values.reshape(-1).view(numpy.uint8).data
        inner = [range(0, len(span) * step, step) for span, step in zip(spans[:split], self._steps, strict=False)]
        for i, offsets in enumerate(itertools.product(*inner)):
            self._put(data[i * length : (i + 1) * length], starts + sum(offsets))

    def _put(self, data: memoryview, at: int) -> None:
        while data:
            if PWRITE is None:
                self._file.seek(at)
                done = self._file.write(data)
            else:
                done = PWRITE(self._file.fileno(), data, at)
            data, at = data[done:], at + done

    def flush(self) -> None:
        os.fsync(self._file.fileno())
