"""The memory that is free for a run."""

from __future__ import annotations

from pathlib import Path

import torch

PROC = Path("/proc/meminfo")
GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""The files with a container's limit and usage: in version 2 of control groups, and in version 1."""


def free_memory(device: torch.device) -> int | None:
    """Bytes that a run on this device can still take; None where that is unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    found = [_available(), *(_left(limit, used) for limit, used in GROUPS)]
    return min((n for n in found if n is not None), default=None)


def _available() -> int | None:
    """The bytes that, according to the system, programs can take without swapping."""
    try:
        for line in PROC.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _left(limit: Path, used: Path) -> int | None:
    try:
        return max(int(limit.read_text()) - int(used.read_text()), 0)
    except (OSError, ValueError):  # no such group, or "max"
        return None
