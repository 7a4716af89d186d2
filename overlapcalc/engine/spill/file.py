"""The file of spilled tensors: without a name, its room reserved before the work begins.

It is written and read by system calls. Mapped pages would count as memory of the process, and a full disk would be a
signal that ends it. The system's page cache is left to the system.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from ...errors import Argument, InputError
from ...io.space import FULL, reserve, size_text
from .nameless import nameless
from .place import spill_folder

CALLED = "the spill file"


class SpillFile:
    """`size` bytes in a folder (see spill_folder). Raises InputError where there is no place or no space.

    written: the bytes that were written so far.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self.folder, self.size, self.written = spill_folder(folder), size, 0
        self._tenants: dict[str, tuple[int, int]] = {}
        try:
            self._file = nameless(self.folder)
        except OSError as error:
            raise self._error(f"it cannot be created ({error.strerror or error}); name another place") from error
        try:
            self._reserve()
        except BaseException:
            self.close()
            raise

    def write(self, data: memoryview, begins: int) -> None:
        """Raises InputError where the disk fails, or is full although room was reserved."""
        self._check(data, begins)
        self.written += len(data)
        while data:
            try:
                done = _write(self._file.fileno(), data, begins)
            except OSError as error:
                raise self._failed("writing", data, begins, error) from error
            data, begins = data[done:], begins + done

    def read(self, data: memoryview, begins: int) -> None:
        """Fills `data`. Raises InputError where the disk fails, or the file is shorter than it should be."""
        self._check(data, begins)
        while data:
            try:
                done = _read(self._file.fileno(), data, begins)
            except OSError as error:
                raise self._failed("reading", data, begins, error) from error
            if not done:
                raise self._error(f"it ends at byte {begins}, {size_text(len(data))} too early; run again")
            data, begins = data[done:], begins + done

    def lend(self, name: str, begins: int, size: int) -> None:
        """Bytes [begins, begins + size) belong to `name` until they are given back. Raises AssertionError where a part
        of them belongs to another one."""
        ends = begins + size
        if begins < 0 or ends > self.size:
            raise AssertionError(f"{name}: bytes [{begins}, {ends}) of a spill file of {self.size}")
        for other, (low, high) in self._tenants.items():
            if other == name or max(begins, low) < min(ends, high):
                raise AssertionError(f"{name}: bytes [{begins}, {ends}) while {other} lies at [{low}, {high})")
        self._tenants[name] = (begins, ends)

    def give_back(self, name: str) -> None:
        self._tenants.pop(name, None)

    def close(self) -> None:
        """The room is free again."""
        self._file.close()

    def __enter__(self) -> SpillFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _reserve(self) -> None:
        try:
            reserve(self._file.fileno(), 0, self.size, self.folder, CALLED)
        except InputError as error:
            raise InputError(CALLED + " (", Argument("spill"), ")" + str(error).removeprefix(CALLED)) from error
        except OSError as error:
            needed = size_text(self.size)
            raise self._error(f"{needed} cannot be reserved ({error.strerror or error}); name another place") from error

    def _check(self, data: memoryview, begins: int) -> None:
        if begins < 0 or begins + len(data) > self.size:
            raise AssertionError(f"bytes [{begins}, {begins + len(data)}) of a spill file of {self.size}")

    def _failed(self, doing: str, data: memoryview, begins: int, error: OSError) -> InputError:
        way_out = "make room, or name another place" if error.errno in FULL else "name another place"
        return self._error(
            f"{doing} {size_text(len(data))} at byte {begins} failed ({error.strerror or error}); {way_out}"
        )

    def _error(self, what: str) -> InputError:
        return InputError(CALLED + " (", Argument("spill"), f") in {self.folder}: {what}")


def _write(handle: int, data: memoryview, begins: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, data, begins)
    os.lseek(handle, begins, os.SEEK_SET)  # Windows
    return os.write(handle, data)


def _read(handle: int, data: memoryview, begins: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, [data], begins)
    os.lseek(handle, begins, os.SEEK_SET)  # Windows
    found = os.read(handle, min(len(data), 1 << 20))
    data[: len(found)] = found
    return len(found)
