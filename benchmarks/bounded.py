"""This process in a control group of its own, whose memory is bounded, with its page cache. Linux, as root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
LIMITS = ("memory.limit_in_bytes", "memory.max")


@contextlib.contextmanager
def bounded(nbytes: int) -> Iterator[bool]:
    """Whether it is bounded: not where groups cannot be made here. Only what is taken from now on counts, memory and
    pages of files alike. Beyond the bound pages of files are given up; without any, the process is killed."""
    found = _made(nbytes)
    if found is None:
        yield False
        return
    root, group = found
    try:
        yield True
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        for _ in range(50):  # the last thread may still be on its way out
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.02)


def _made(nbytes: int) -> tuple[Path, Path] | None:
    for root in ROOTS:
        group = root / f"bounded-{os.getpid()}"
        try:
            group.mkdir()
            limit = next(group / name for name in LIMITS if (group / name).exists())
            limit.write_text(str(nbytes))
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return root, group
        except (OSError, StopIteration):
            with contextlib.suppress(OSError):
                group.rmdir()
    return None
