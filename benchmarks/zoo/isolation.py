"""One process per model: what crashes, hangs or eats the memory takes nothing else with it."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

Record = dict[str, Any]
Work = Callable[[Callable[[Record], None]], None]


def isolated(work: Work, timeout: float) -> Record:
    """What `work` sends, put together, from a process of its own. Says so where that ends early.

    The process is forked, so that it starts with everything imported; `work` sends dicts, later keys win.
    """
    context = mp.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    found, ended = _received(ours, time.monotonic() + timeout)
    if not ended:
        process.kill()
    process.join()
    code = process.exitcode
    if not ended:
        _note(found, "timed out", f"after {timeout:g} s")
    elif code:
        _note(found, "crashed", signal.Signals(-code).name if code < 0 else f"exit code {code}")
    return found


def _note(found: Record, kind: str, message: str) -> None:
    """Where it ended: in the check, or before there was a result."""
    if found.get("check", {}).get("status") == "crashed":
        found["check"] = {"status": kind, "error": {"kind": kind, "message": message}}
    elif found.get("result") in (None, "crashed"):
        found.update(result=kind, error={"kind": kind, "message": message, "on_purpose": False})
        found.setdefault("seconds", {})


def _received(pipe: Connection, until: float) -> tuple[Record, bool]:
    found: Record = {}
    while True:
        if not pipe.poll(max(0.0, until - time.monotonic())):
            return found, False
        try:
            found.update(pipe.recv())
        except EOFError:
            return found, True


def _child(work: Work, pipe: Connection) -> None:
    faulthandler.disable()
    with contextlib.suppress(OSError):
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
    work(pipe.send)
    pipe.close()
    sys.stdout.flush()
    os._exit(0)
