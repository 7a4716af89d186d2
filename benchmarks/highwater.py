"""How much memory a call takes: by how much it raises the process's high-water mark. Linux only.

The mark is set back to what is resident now before the call, or start-up would hide what the call takes. Run it in a
process of its own with `QUIET_MALLOC` in the environment: glibc otherwise keeps some freed tensors and cuts others
from a heap with holes, which moves the figure either way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MIB, GIB = 2**20, 2**30
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
QUIET_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Blocks of 64 KiB or more are mappings of their own, given back when freed; and the threshold stops moving."""


class NotMeasured(Exception):  # noqa: N818 - it is no error
    """This machine does not say how much memory a call takes."""


def growth(call: Callable[[], object]) -> int:
    """Bytes by which `call` raises the high-water mark above what is resident before it. Raises NotMeasured."""
    gc.collect()
    try:
        RESET.write_text("5")  # 5: the peak resident size becomes the present one
        before, marked = _status("VmRSS"), _status("VmHWM")
    except OSError as error:
        raise NotMeasured(f"the high-water mark cannot be set back here: {error.strerror}") from error
    kept = call()
    after = _status("VmHWM")
    del kept
    if after <= marked and marked > before:
        raise NotMeasured("the call stayed below the high-water mark of what was before it")
    return after - before


def growth_of_run(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, prepare: Callable[[Any], Callable[[Any], Any]]
) -> dict[str, Any]:
    """growth: bytes that one run of a net of `subjects` takes after a small warm-up, without the input.

    prepare: from the net to what runs it.
    """
    from .subjects import build, example, small

    net, x = build(name).to(dtype), example(shape, dtype)
    net(small(name, dtype))
    run = prepare(net)
    try:
        return {"growth": growth(lambda: run(x))}
    except NotMeasured as reason:
        return {"error": str(reason)}


def _status(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise NotMeasured(f"no {field} in the status of this process")
