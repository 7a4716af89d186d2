"""A child of this process, which has imported everything already, for limits and signals of its own."""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import traceback
from collections.abc import Callable

import torch


def forked(do: Callable[[], object]) -> tuple[int, str]:
    """Its exit code, or minus the signal that ended it, and what it wrote. `do` gives the code; nothing is 0."""
    with tempfile.TemporaryFile("w+") as said:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            os._exit(_child(do, said.fileno()))
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read()


def _child(do: Callable[[], object], handle: int) -> int:
    try:
        faulthandler.disable()
        torch.set_num_threads(1)  # the others stayed behind
        for number in (1, 2):
            os.dup2(handle, number)
        sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 - until it ends
        code = do()
        return code if isinstance(code, int) else 0
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
