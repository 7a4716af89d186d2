"""The paper's ablation: what is lost when one transform has one sample less of context than it needs.

    python -m examples.kim2026.ablation [--pictures docs/results/papers]

By blocks of 128, with crop's own tiles; the sample that is taken away is 0, as beyond an image's border.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console

from examples.lic.bitstream import BitstreamError
from examples.lic.coding import Coding, decode, encode
from examples.lic.pictures import Picture, dead_leaves, psnr, write_picture
from examples.lic.running import Running, Runs
from examples.lic.sheet import Sheet, show
from examples.lic.short import Short

from .checkpoint import load_coding, path_of
from .coding import CODECS

BLOCK = 128
EVERYTHING = 10**6
LACKS = {"right": (0, 0), "1 less before": (1, 0), "1 less after": (0, 1), "no context": (EVERYTHING, EVERYTHING)}
WHERE = {"g_a": "encoder", "h_a": "encoder", "h_s": "both sides", "g_s": "decoder"}
HEADS = ("codec", "transform", "by blocks at", *LACKS)


def picture() -> Picture:
    return dead_leaves(384, 512, seed=2026, leaves=1200)


def sheet() -> Sheet:
    """dB lost against whole coding, and bytes more; "identical" where bytes and pixels are the same."""
    rows = tuple(row for name in CODECS for row in _rows(name))
    title = f"dB lost (and bytes) when a transform runs by blocks of {BLOCK} with less context than it needs"
    return Sheet("kim-ablation", title, HEADS, rows, words=3)


def _rows(name: str) -> Iterator[tuple[str, ...]]:
    coding, original = load_coding(path_of(name)), picture()
    data = encode(coding, original)
    whole = decode(coding, data)
    for transform, where in WHERE.items():
        net = getattr(coding, transform)
        cells = [_cell(coding, original, data, whole, Short(net, BLOCK, *lack), where) for lack in LACKS.values()]
        yield name, transform, where, *cells
        if transform == "h_s":
            yield name, transform, "decoder", *(_decoded(coding, data, whole, net, lack) for lack in LACKS.values())


def _cell(coding: Coding, original: Picture, data: bytes, whole: Picture, short: Runs, where: str) -> str:
    coded = data if where == "decoder" else encode(coding, original, short)
    decoded = decode(coding, coded, Running() if where == "encoder" else short)
    if coded == data and np.array_equal(decoded, whole):
        return "identical"
    lost, more = psnr(original, whole) - psnr(original, decoded), len(coded) - len(data)
    return f"{lost:.4f}" + (f" ({more:+d} B)" if more else "")


def _decoded(coding: Coding, data: bytes, whole: Picture, net: object, lack: tuple[int, int]) -> str:
    """What a decoder makes of a right bitstream when its own hyper synthesis is wrong."""
    try:
        found = decode(coding, data, Short(net, BLOCK, *lack))  # type: ignore[arg-type]
    except BitstreamError:
        return "cannot be decoded"
    return "identical" if np.array_equal(found, whole) else "another picture"


def write_pictures(folder: Path) -> None:
    """Beside each other: with the right context, with one latent less on each side, and 8 times the difference."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODECS:
        coding = load_coding(path_of(name))
        original = picture()
        data = encode(coding, original)
        right, wrong = (decode(coding, data, Short(coding.g_s, BLOCK, less, less)) for less in (0, 1))
        place = slice(64, 224), slice(64, 224)
        difference = np.clip(128 + 8 * (wrong[place].astype(np.int16) - right[place]), 0, 255).astype(np.uint8)
        write_picture(folder / f"{name}-seams.png", np.concatenate([right[place], wrong[place], difference], 1))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.kim2026.ablation", description=__doc__)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write pairs of pictures there")
    given = parser.parse_args(arguments)
    show(sheet(), Console(width=160))
    if given.pictures is not None:
        write_pictures(given.pictures)


if __name__ == "__main__":
    main()
