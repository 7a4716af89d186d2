"""One measurement in a process of its own, started by `measured`. Its last line is a JSON object.

    python -m benchmarks.tiling_worker '{"what": "memory", "net": "stack", "shape": [1, 3, 512, 768], ...}'

what: "values" (error, samples fed, time), "error" (the first two) or "memory". tool: a name of `tilers.TOOLS`, or
null for the whole net.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
BEST_OF = 3


@dataclass(frozen=True)
class Task:
    """What to measure. net: of `subjects.py`. shape: of its input. block: in image samples."""

    what: str
    net: str
    shape: tuple[int, ...]
    tool: str | None = None
    block: int = 128
    dtype: str = "float32"
    threads: int = 1


def measured(task: Task, timeout: float = 300.0) -> Record:
    """What the task gives, or {"error": ...}: whatever happens to that process happens there."""
    from .highwater import QUIET_MALLOC

    environment = {**os.environ, **QUIET_MALLOC, "OMP_NUM_THREADS": str(task.threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.tiling_worker", json.dumps(asdict(task))]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not ready after {timeout:g} s"}
    try:
        found: Record = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return {"error": f"ended with exit code {done.returncode}: {last}"}
    return found


def main(argv: list[str]) -> int:
    import torch

    given = json.loads(argv[0])
    task = Task(**{**given, "shape": tuple(given["shape"])})
    warnings.simplefilter("ignore")
    torch.set_num_threads(task.threads)
    print("\n" + json.dumps(here(task)))
    return 0


def here(task: Task) -> Record:
    """What the task gives in this process, or {"error": ...}."""
    import torch

    try:
        with torch.no_grad():
            return _memory(task) if task.what == "memory" else _values(task)
    except Exception as error:  # another tool may raise anything; the page says what
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}


# ---- the measurements ---------------------------------------------------------------------------------------


def _values(task: Task) -> Record:
    """error: largest difference over the largest output. fed: samples over those of the input. seconds: the best of
    three of the tool and of the whole net, by turns. setup: seconds spent once."""
    import torch

    from .subjects import build, example
    from .tilers import TOOLS, job

    dtype = getattr(torch, task.dtype)
    net, x = build(task.net).to(dtype), example(task.shape, dtype)
    whole = net(x)
    fed = 0

    def count(_: Any, inputs: Any) -> None:
        nonlocal fed
        fed += inputs[0].shape[0] * inputs[0].shape[2:].numel()

    assert task.tool is not None
    work = job(net, task.shape, task.block)
    handle = net.register_forward_pre_hook(count)
    started = time.perf_counter()
    run = TOOLS[task.tool].prepare(work)
    setup = time.perf_counter() - started
    fed = 0
    out = run(x)
    found: Record = {"fed": fed / (x.shape[0] * x.shape[2:].numel()), "halo": [work.before, work.after], "setup": setup}
    handle.remove()
    if out.shape != whole.shape:
        return found | {"error": f"wrong shape: {list(out.shape)}, not {list(whole.shape)}"}
    error = float((out - whole).abs().max() / whole.abs().max())
    found["differs"] = error
    if task.what == "error":
        return found
    seconds = [(_clocked(lambda: net(x), task), _clocked(lambda: run(x), task)) for _ in range(BEST_OF)]
    return found | {"whole": min(s[0] for s in seconds), "seconds": min(s[1] for s in seconds)}


def _clocked(work: Callable[[], object], task: Task) -> float:
    """Processor time on one thread, so that other work on the machine counts little; on several, time on the wall."""
    clock = time.process_time if task.threads == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


def _memory(task: Task) -> Record:
    """growth: bytes that one run of the whole net, or of a tool, takes after a small warm-up; without the input."""
    import torch

    from .highwater import NotMeasured, growth
    from .subjects import build, example, small
    from .tilers import TOOLS, job

    dtype = getattr(torch, task.dtype)
    net, x = build(task.net).to(dtype), example(task.shape, dtype)
    net(small(task.net, dtype))
    run: Callable[[Any], Any] = net if task.tool is None else TOOLS[task.tool].prepare(job(net, task.shape, task.block))
    try:
        return {"growth": growth(lambda: run(x))}
    except NotMeasured as reason:
        return {"error": str(reason)}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
