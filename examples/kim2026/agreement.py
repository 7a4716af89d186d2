"""That blocks change no bit of a bitstream or a picture; what float32 does instead; and what exactness costs.

python -m examples.kim2026.agreement [--control 20]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from examples.lic.bitstream import BitstreamError
from examples.lic.coding import Coding, decode, encode
from examples.lic.pictures import dead_leaves, psnr
from examples.lic.running import Running
from examples.lic.sheet import Sheet, show

from .checkpoint import load_coding, path_of
from .coding import CODECS

SIZES = ((190, 250), (257, 129))
RUNS = (("crop", 64), ("trim", 96), ("stream", 20))
LARGE = (1024, 1536)


def agreement() -> Sheet:
    """Every size by every run and by 1 and 2 threads, against whole coding with one thread."""
    rows = tuple((name, *map(str, _agreeing(load_coding(path_of(name))))) for name in CODECS)
    title = "Exact codecs: coded by blocks and by 1 and 2 threads, against whole coding"
    return Sheet("kim-agreement", title, ("codec", "runs", "same bytes", "same picture"), rows, words=1)


class Agreeing(NamedTuple):
    runs: int
    bytes: int
    pictures: int


def _agreeing(coding: Coding) -> Agreeing:
    runs = bytes_ = pictures = 0
    before = torch.get_num_threads()
    for size in SIZES:
        picture = dead_leaves(*size, seed=sum(size))
        torch.set_num_threads(1)
        data = encode(coding, picture)
        whole = decode(coding, data)
        for schedule, block in (("crop", None), *RUNS):
            running = Running(block, schedule)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                runs += 1
                bytes_ += encode(coding, picture, running) == data
                pictures += np.array_equal(decode(coding, data, running), whole)
    torch.set_num_threads(before)
    return Agreeing(runs, bytes_, pictures)


def control(pictures: int) -> Sheet:
    """The same codecs in float32, as they are: coded whole, decoded by blocks of 256."""
    rows = tuple((name, *_float_row(name, pictures)) for name in CODECS)
    heads = ("codec", "pictures", "other bytes by blocks", "decoded: same picture", "other picture", "refused")
    title = f"The control: float32 codecs, {LARGE[1]}x{LARGE[0]}, coded whole and decoded by crop in blocks of 256"
    return Sheet("kim-control", title, heads, rows, words=1)


def _float_row(name: str, pictures: int) -> Iterator[str]:
    coding, running = load_coding(path_of(name), floating=True), Running(256, "crop")
    other = same = different = refused = 0
    for seed in range(pictures):
        picture = dead_leaves(*LARGE, seed=seed, leaves=3000)
        data = encode(coding, picture)
        other += encode(coding, picture, running) != data
        try:
            equal = np.array_equal(decode(coding, data, running), decode(coding, data))
        except BitstreamError:
            refused += 1
        else:
            same, different = same + equal, different + (not equal)
    yield from map(str, (pictures, other, same, different, refused))


def cost() -> Sheet:
    """Exact against float32, both whole, one thread."""
    rows = tuple((name, *_cost_row(name)) for name in CODECS)
    heads = ("codec", "bpp float32", "bpp exact", "dB float32", "dB exact", "encoder time", "decoder time")
    title = f"What exactness costs at {LARGE[1]}x{LARGE[0]}: times are those of exact over those of float32"
    return Sheet("kim-exactness", title, heads, rows, words=1)


def _cost_row(name: str) -> Iterator[str]:
    picture = dead_leaves(*LARGE, seed=7, leaves=3000)
    codings = [load_coding(path_of(name), floating=floating) for floating in (True, False)]
    data = [encode(coding, picture) for coding in codings]
    yield from (f"{8 * len(own) / (LARGE[0] * LARGE[1]):.4f}" for own in data)
    yield from (f"{psnr(picture, decode(coding, own)):.3f}" for coding, own in zip(codings, data, strict=True))
    for direction in (
        [lambda coding=coding: encode(coding, picture) for coding in codings],
        [lambda coding=coding, own=own: decode(coding, own) for coding, own in zip(codings, data, strict=True)],
    ):
        floating, exact = (min(_seconds(work) for _ in range(3)) for work in direction)
        yield f"{exact / floating:.1f}"


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.kim2026.agreement", description=__doc__)
    parser.add_argument("--control", type=int, default=0, metavar="N", help="code N large pictures in float32, too")
    given = parser.parse_args(arguments)
    console = Console(width=160)
    show(cost(), console)
    show(agreement(), console)
    if given.control:
        show(control(given.control), console)


if __name__ == "__main__":
    main()
