"""Disk space, checked before the work begins: hours of work are lost if the disk turns out to be full at the end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No space is left; this user's quota is used up."""


def check_space(folder: Path, needed: int, called: str, *, squeezed: bool = False) -> None:
    """Raises InputError where a file system says that it has fewer bytes free.

    squeezed: the number is an upper limit, for a compressed file.
    """
    free = _free(folder)
    if free is not None and free < needed:
        raise InputError(_too_little(folder, needed, called, "may need" if squeezed else "needs"))


def check_limit(needed: int, called: str) -> None:
    """Raises InputError where this process may not write a file of that many bytes."""
    limit = _limit()
    if limit is not None and limit < needed:
        raise InputError(_too_long(needed, limit, called))


def reserve(handle: int, begins: int, needed: int, folder: Path, called: str) -> None:
    """Reserve bytes [begins, begins + needed) of an open file; its contents stay. Raises InputError, OSError.

    Where a system cannot do that (macOS), only the free space is checked.
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
    """The bytes that this user can still write; None where the file system does not say."""
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize if found.f_blocks else None


def _limit() -> int | None:
    """The limit on the size of this process's files; None where there is none."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def size_text(amount: int) -> str:
    """In decimal units, as for disks.

    >>> size_text(144_000_000)
    '144 MB'
    """
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= scale:
            return f"{amount / scale:.3g} {unit}" if amount < 100 * scale else f"{amount / scale:.0f} {unit}"
    return f"{amount} bytes"
