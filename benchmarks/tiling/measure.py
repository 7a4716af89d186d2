"""What is measured of one tool on one net in blocks of one size, in a process of its own (`benchmarks.process`).

net: a name of `subjects`. shape: of its input. tool: a name of `tools.TOOLS`. block: in image samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..highwater import growth_of_run
from ..subjects import Run, build, example
from .tools import TOOLS, job

Record = dict[str, Any]
BEST_OF = 3


def values(
    net: str, shape: Sequence[int], tool: str, block: int, *, dtype: str = "float32", timed: bool = False
) -> Record:
    """fed: samples over those of the input. differs: the largest difference over the largest output. setup: seconds
    spent once. timed: also seconds of the tool and of the whole net, each the best of three, by turns.
    """
    given, kind = tuple(shape), getattr(torch, dtype)
    model, x = build(net).to(kind), example(given, kind)
    whole = model(x)
    work = job(model, given, block)
    fed = _Fed(model)
    started = time.perf_counter()
    run = TOOLS[tool].prepare(work)
    setup = time.perf_counter() - started
    fed.samples = 0
    out = run(x)
    fed.end()
    found: Record = {
        "fed": fed.samples / (x.shape[0] * x.shape[2:].numel()), "halo": [work.before, work.after], "setup": setup,
    }  # fmt: skip
    if out.shape != whole.shape:
        return found | {"error": f"wrong shape: {list(out.shape)}, not {list(whole.shape)}"}
    found["differs"] = float((out - whole).abs().max() / whole.abs().max())
    if timed:
        seconds = [(_clocked(model, x), _clocked(run, x)) for _ in range(BEST_OF)]
        found |= {"whole": min(s[0] for s in seconds), "seconds": min(s[1] for s in seconds)}
    return found


class _Fed:
    """Counts the samples that a net is called on."""

    def __init__(self, model: nn.Module) -> None:
        self.samples = 0
        self._handle = model.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.samples += inputs[0].shape[0] * inputs[0].shape[2:].numel()

    def end(self) -> None:
        self._handle.remove()


def _clocked(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Processor time on one thread, so that other work on the machine counts little; on several, time on the wall."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    run(x)
    return clock() - started


def memory(net: str, shape: Sequence[int], tool: str | None = None, block: int = 0) -> Record:
    """growth: bytes that one run takes; of the whole net without a tool."""
    given = tuple(shape)

    def prepare(model: nn.Module) -> Run:
        return model if tool is None else TOOLS[tool].prepare(job(model, given, block))

    return growth_of_run(net, given, torch.float32, prepare)
