"""Room on a disk, asked for before the work begins: a run of hours that finds the disk full at its end is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No room is left; of what this user may have, none is."""


def check_space(folder: Path, needed: int, called: str, *, squeezed: bool = False) -> None:
    """Raises InputError where a file system has not so many bytes free, as far as it says.

    squeezed: that is the most, for a file that is compressed.
    """
    free = _free(folder)
    if free is not None and free < needed:
        raise InputError(_too_little(folder, needed, called, "may need" if squeezed else "needs"))


def check_limit(needed: int, called: str) -> None:
    """Raises InputError where this process may not write a file of so many bytes."""
    limit = _limit()
    if limit is not None and limit < needed:
        raise InputError(_too_long(needed, limit, called))


def reserve(handle: int, begins: int, needed: int, folder: Path, called: str) -> None:
    """Take room for bytes [begins, begins + needed) of an open file; what it holds stays. Raises InputError, OSError.

    Where a system has no means for that (macOS), only what is free now is looked at.
    """
    check_limit(begins + needed, called)
    held = os.fstat(handle).st_blocks * 512 if hasattr(os.stat_result, "st_blocks") else 0
    check_space(folder, max(begins + needed - held, 0), called)
    if not hasattr(os, "posix_fallocate") or not needed:
        return
    try:
        os.posix_fallocate(handle, begins, needed)
    except OSError as error:
        if error.errno in FULL:
            raise InputError(_too_little(folder, needed, called)) from error
        if error.errno == errno.EFBIG:
            raise InputError(_too_long(begins + needed, _limit(), called)) from error
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system without it
            raise


def _too_little(folder: Path, needed: int, called: str, needs: str = "needs") -> str:
    free = _free(folder)
    left = "less than that is" if free is None or free >= needed else f"{size_text(free)} are"
    return f"{called}: it {needs} {size_text(needed)}, {left} free in {folder}; make room, or name another place"


def _too_long(needed: int, limit: int | None, called: str) -> str:
    most = "shorter ones only" if limit is None else f"at most {size_text(limit)}"
    return f"{called}: it needs {size_text(needed)}, and files may have {most} here (ulimit -f); raise the limit"


def _free(folder: Path) -> int | None:
    """Bytes that this user can still write; None where the file system does not say."""
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize if found.f_blocks else None


def _limit() -> int | None:
    """The most bytes that a file of this process may have."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def size_text(amount: int) -> str:
    """As disks are counted: `144 MB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= scale:
            return f"{amount / scale:.3g} {unit}" if amount < 100 * scale else f"{amount / scale:.0f} {unit}"
    return f"{amount} bytes"
