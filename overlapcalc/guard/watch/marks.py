"""When a file last changed: while it was read, since it was loaded, since this process began?"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path

from ..digests import TICK, Mark, changed_at, mark_of


def _process_start() -> int:
    """When this process started, in nanoseconds; where the system does not say, when this module was loaded."""
    now = time.time_ns()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        running = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return now - int(running * 1e9) - TICK
    except (OSError, ValueError, IndexError, AttributeError):
        return now


START = _process_start()


def young(place: str) -> Mark | None:
    """The mark of a file that is about to be read. For one that was written just now, taken a little later, so that
    any later write has another time."""
    mark = mark_at(place)
    while mark is not None and 0 <= time.time_ns() - changed_at(mark) < TICK:
        time.sleep(0.002)
        mark = mark_at(place)
    return mark


def mark_at(place: str) -> Mark | None:
    try:
        status = _stat(place)
        whole = not stat.S_ISDIR(status.st_mode)  # the contents of a directory are pinned separately
        return mark_of(status) if whole else (status.st_dev, status.st_ino, 0, 0, 0)
    except (OSError, ValueError):
        return None


_stat = os.stat  # not the door that is watched
_readlink = os.readlink


def open_files() -> frozenset[str]:
    """Files that are open now; empty where the system does not say."""
    found = set()
    with contextlib.suppress(OSError):
        for handle in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                place = _readlink(f"/proc/self/fd/{handle}")
                if os.path.isfile(place):
                    found.add(place)
    return frozenset(found)
