"""How long decoding takes by either order, beside one pass of the whole nets. Seconds are those of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from examples.lic.pictures import dead_leaves
from examples.lic.sheet import Sheet

from .checkpoint import load_coding
from .closed_loop import ClosedLoop, Decoder
from .coding import Coding, channels, decode, encode

WIDTH, HEIGHT = 768, 512
TIMES = {"raster": 1, "wavefront": 5}
"""How often each is run, in turn with a pass of the whole nets; the quickest counts."""


class _Kept:
    """Symbols of one run, to be taken again without a coder."""

    def __init__(self) -> None:
        self.symbols: list[Tensor] = []
        self.next = 0

    def __call__(self, distances: Tensor | None, scales: Tensor) -> Tensor:
        if distances is not None:
            self.symbols.append(torch.round(distances))
            return self.symbols[-1]
        self.next += 1
        return self.symbols[self.next - 1]

    def again(self, loop: ClosedLoop, order: str) -> None:
        """The decoder's run, by the same order."""
        self.next = 0
        loop(None, self, order)


def speed(checkpoints: Sequence[Path]) -> Sheet:
    """The first of the checkpoints, on a picture made from a seed, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measured(load_coding(checkpoints[0]))
    finally:
        torch.set_num_threads(threads)


def _measured(coding: Coding) -> Sheet:
    picture = dead_leaves(HEIGHT, WIDTH, seed=0)
    x = channels(picture, coding.shape.block)
    rows, columns = x.shape[2:]
    made = _seconds(lambda: coding.loop(rows, columns, encodes=False))
    loop, decoder = coding.loop(rows, columns, encodes=False), Decoder(coding.nets)
    y, found, passes = torch.zeros(1, coding.shape.m, rows, columns, dtype=torch.float64), {}, list[float]()
    for order, times in TIMES.items():
        kept = _Kept()
        reconstruction = coding.loop(rows, columns, encodes=True)(x, kept, order)
        data, nets, decoding = encode(coding, picture, order), list[float](), list[float]()
        for _ in range(times):
            passes.append(_seconds(partial(_whole, decoder, reconstruction, y)))
            nets.append(_seconds(partial(kept.again, loop, order)))
            decoding.append(_seconds(partial(decode, coding, data)))
        found[order] = min(nets), min(decoding)
    whole, ahead = min(passes), found["raster"]
    body = [("whole nets, once", "1", f"{whole:.2f}", "1.0", "", "")]
    for order, (nets_, all_) in found.items():
        body.append((order, str(loop.loop.steps(order)), f"{nets_:.2f}", f"{nets_ / whole:.1f}", f"{all_:.2f}",
                     f"{ahead[0] / nets_:.1f}, {ahead[1] / all_:.1f}"))  # fmt: skip
    body.append(("preparing, once for a size", "", f"{made:.2f}", f"{made / whole:.1f}", "", ""))
    faster = "times as fast as raster: nets, decoding"
    heads = ("", "steps", "nets, s", "of a pass of the whole nets", "decoding, s", faster)
    return Sheet("speed", f"decoding {WIDTH}x{HEIGHT} with one thread", heads, tuple(body), words=1)


def _whole(decoder: Decoder, reconstruction: Tensor, y: Tensor) -> None:
    with torch.no_grad():
        decoder(reconstruction, y)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
