"""The runs that `streaming` measures, each in a process of its own: encoder or decoder, whole and as a stream.

net: a name of NETS. size: height and width of the image. folder: where the files of input and outputs lie; the whole
run writes what the streams read and are compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import overlapcalc as oc
from examples.codec import Codec

from ..highwater import growth

Record = dict[str, Any]
NETS = ("encoder", "decoder")
WARM = 8
"""A warm-up has this share of the image's height and width."""


@dataclass(frozen=True)
class _Subject:
    net: nn.Module
    shape: tuple[int, ...]
    source: Path
    """Files of 32-bit floats: the input, the output of the whole run, that of a stream."""
    whole: Path
    out: Path

    @property
    def small(self) -> tuple[int, ...]:
        return (*self.shape[:2], self.shape[2] // WARM, self.shape[3] // WARM)


def _subject(net: str, size: Sequence[int], channels: int, folder: str) -> _Subject:
    torch.manual_seed(0)
    codec = Codec(channels, channels).eval()
    (height, width), place = size, Path(folder)
    parts = {"encoder": (codec.g_a, (1, 3, height, width)),
             "decoder": (codec.g_s, (1, channels, height // 16, width // 16))}  # fmt: skip
    return _Subject(*parts[net], *(place / f"{net}-{end}.bin" for end in ("in", "whole", "out")))


def whole(net: str, size: Sequence[int], channels: int, folder: str) -> Record:
    """seconds; growth and plan: bytes, measured and predicted; work: multiply-accumulates. The output is kept."""
    subject = _subject(net, size, channels, folder)
    x = torch.rand(subject.shape)
    x.numpy().tofile(subject.source)
    plan = oc.plan(subject.net, subject.shape)
    subject.net(x[..., : subject.small[2], : subject.small[3]])
    kept: list[torch.Tensor] = []
    grown, seconds = _measured(lambda: kept.append(subject.net(x)))
    kept[0].numpy().tofile(subject.whole)
    predicted = plan.full_memory.activations if plan.full_memory else 0
    return {"seconds": seconds, "growth": grown, "plan": predicted, "work": plan.full.macs}


def stream(net: str, size: Sequence[int], channels: int, folder: str, axis: str, rows: int) -> Record:
    """The same of a stream, from file to file. macs: over those of the whole. differs: from it, over its largest."""
    subject = _subject(net, size, channels, folder)
    tiled = oc.tiled(subject.net, subject.shape, schedule="stream", stream_axis=axis, block=rows)
    plan = tiled.plan(subject.shape, stored=True)
    source = np.memmap(subject.source, np.float32, "r", shape=subject.shape)
    out = np.memmap(subject.out, np.float32, "w+", shape=plan.outputs[0])
    tiled(torch.rand(subject.small))  # a small warm-up, with a plan of its own
    assert tiled.machine(subject.shape, stored=True).calls  # traced now, not in the measured run
    grown, seconds = _measured(lambda: tiled(source, out=out))
    wanted = np.memmap(subject.whole, np.float32, "r", shape=plan.outputs[0])
    error, largest = (
        max(float(abs(channel).max()) for channel in channels)
        for channels in ((w - o for w, o in zip(wanted[0], out[0], strict=True)), wanted[0])
    )
    return {
        "seconds": seconds,
        "growth": grown,
        "plan": plan.memory.activations if plan.memory else 0,
        "macs": plan.work.macs / plan.full.macs,
        "differs": error / largest,
    }


def _measured(run: Callable[[], object]) -> tuple[int, float]:
    """Bytes and seconds."""
    seconds: list[float] = []

    def timed() -> object:
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
        return result

    return growth(timed), seconds[0]
