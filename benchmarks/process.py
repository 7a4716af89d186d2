"""One measurement in a process of its own: nothing that came before it counts, and what goes wrong there stays there.

    python -m benchmarks.process MODULE:FUNCTION THREADS '{"net": "stack", ...}'

calls the function with the JSON object as its arguments. The last line printed is what it returns, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

from .highwater import QUIET_MALLOC
from .page import ROOT

Record = dict[str, Any]
Work = Callable[..., Record]


def apart(work: Work, *, threads: int = 1, quiet: bool = False, timeout: float | None = None, **task: Any) -> Record:
    """What `work(**task)` returns in a new process, or {"error": why it returned nothing}.

    quiet: with an allocator whose figures repeat, which is slower (`highwater.QUIET_MALLOC`).
    """
    name = f"{_module(work)}:{work.__name__}"
    words = [sys.executable, "-m", "benchmarks.process", name, str(threads), json.dumps(task)]
    environment = surroundings(threads) | (QUIET_MALLOC if quiet else {})
    try:
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not ready after {timeout:g} s"}
    try:
        record: Record = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return {"error": f"ended with exit code {done.returncode}: {last}"}
    return record


def here(work: Work, *, threads: int = 1, quiet: bool = False, timeout: float | None = None, **task: Any) -> Record:
    """The same in this process, as it is."""
    import torch

    try:
        with torch.no_grad():
            return work(**task)
    except Exception as error:  # another tool may raise anything; the page says what
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}


def surroundings(threads: int) -> dict[str, str]:
    """Environment of a child that imports what this process imports."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}


def _module(work: Work) -> str:
    """By which name a child can import it, also where it is `__main__` here."""
    spec = getattr(sys.modules[work.__module__], "__spec__", None)
    return spec.name if spec else work.__module__


def main(argv: list[str]) -> int:
    name, threads, task = argv
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(int(threads))
    module, _, function = name.partition(":")
    record = here(getattr(importlib.import_module(module), function), **json.loads(task))
    print("\n" + json.dumps(record))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
