"""What JPEG AI's luma transforms need, beside the recurrences and the standard's tiles, and the seam that is left.

python -m examples.jpegai.tables
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from examples.lic.overlaps import HEADS, overlap_row
from examples.lic.sheet import Sheet, show

from .nets import CHAINS, CHANNELS, STANDARD, analysis, synthesis
from .seam import seam


def overlaps() -> Sheet:
    rows = [
        ("g_a", *overlap_row(analysis(), (1, 1, 256, 256), CHAINS["g_a"]), str(STANDARD["g_a"])),
        ("g_s", *overlap_row(synthesis(), (1, CHANNELS, 32, 32), CHAINS["g_s"]), str(STANDARD["g_s"])),
    ]
    title = "JPEG AI, base operating point, luma: overlaps in samples of each transform's input"
    return Sheet("jpegai-overlaps", title, ("transform", *HEADS, "standard, each side"), tuple(rows), words=1)


def seams() -> Sheet:
    rows = [(str(overlap), f"{seam(overlap=overlap):.0e}") for overlap in (0, 1, 2, 3)]
    title = "JPEG AI: blocks of 8x8 latents synthesised with so many more on each side, against the whole (float64)"
    return Sheet("jpegai-seams", title, ("latents", "error"), tuple(rows), words=0)


def sheets() -> Iterator[Sheet]:
    yield overlaps()
    yield seams()


if __name__ == "__main__":
    for sheet in sheets():
        show(sheet, Console())
