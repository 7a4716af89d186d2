"""The results of the tiling benchmark as a page."""

from __future__ import annotations

from typing import Any

from ..highwater import MIB
from ..page import Origin, table
from ..page import page as framed
from .tools import TOOLS

Record = dict[str, Any]
SIZE = (512, 768)
"""Of the image on which ours has targets."""
TARGETS = {
    (net, block): fed
    for net, sizes in {
        "stack": {128: 1.263, 256: 1.093},
        "unet": {128: 1.682, 256: 1.230},
        "encoder": {128: 1.682, 256: 1.230},
        "decoder": {128: 1.682, 256: 1.230},
    }.items()
    for block, fed in sizes.items()
}
"""Samples fed over samples of the input that ours is to stay within, to three decimals, on an image of SIZE."""


def page(rows: list[Record], size: tuple[int, int], threads: int, source: Origin) -> str:
    """Markdown."""
    lines = [" ".join(HEAD.format(height=size[0], width=size[1], clock=_clock(threads)).split()), ""]
    for net in dict.fromkeys(row["net"] for row in rows):
        lines += [f"## {net}", ""]
        lines += [*_results([row for row in rows if row["net"] == net], size), ""]
    ours = [row for row in rows if row["tool"] == "ours" and "memory" in row]
    if ours:
        lines += ["## Memory, measured and predicted", "", " ".join(MEMORY.split()), "", *_memory(ours), ""]
    return framed("Tiling, beside others", source, [*lines, "## How each tool is set up", "", HOW.strip()])


HEAD = """
An image of {height}x{width} samples (of the decoder: its output), in blocks, all figures against one run of the whole
net: samples fed to the net over samples of its input; the largest difference over the largest output, in float32 and
in float64; {clock}, the best of three by turns with the whole net; and the growth of the high-water mark of memory
over that of the whole net. Set-up, done once per net and size, is not in the time; it is listed against one run of the
whole net, and includes importing the tool. Times vary with what else the machine does, set-up most.
"""
MEMORY = """
MiB by which one run raises the high-water mark of a fresh process, output included, input and weights not, against
what the plan says.
"""
HOW = """
- **overlapcalc, crop** (trim; stream, in bands of so many rows): `overlapcalc.tiled(model, block=...)`, which is what
  `overlapcalc.run` calls. Set-up is tracing, planning and running the first block. Trim and stream run the net's calls
  one by one on parts of the image; the net as such is fed nothing.
- **lightstream**: its `StreamingCNN`, since the constructor around it needs CUDA. Square tiles, as its `tile_size` is
  one number: once as large as a block, and once large enough that a block remains of it (block + stride * what it
  reports as lost on both sides). It measures that loss with ones as the weights of `Conv2d`, and leaves those of
  `ConvTranspose2d` as they are: what comes of nets with such layers depends on their weights. With torch's own initial
  weights the decoder gave 152x168 samples instead of 512x768, and the U-Net a RuntimeError or an IndexError.
- **MONAI**: `sliding_window_inference` in its default mode `constant`; `roi_size` = block + 2 * halo and an overlap
  that moves the window by one block, so that blocks and overlaps are as ours. It averages what windows say where they
  overlap, their spoiled margins among it; no window short of the whole image makes that right.
- **csbdeep**: `tile_iterator` with its default guarantee; the net is run on what it gives. It asks its caller for a
  halo and knows one only for its own U-Nets: here the larger side of the tile's context that overlapcalc finds, in
  whole steps of the grid, which are also its `block_sizes`. Slices of outputs at another scale are the caller's work,
  done here.
- **blocks alone**: no context at all. A control: it must be wrong.
"""


def verdict(row: Record) -> str:
    """One line for whoever waits."""
    if "error" in row:
        return str(row["error"])
    wrong = ", wrong values" if row["wrong"] else ""
    return f"fed {row['fed']:.3f}, differs {row['differs']:.1e}{wrong}, time {row['seconds'] / row['whole']:.2f}"


def _clock(threads: int) -> str:
    return "processor time" if threads == 1 else "time on the wall"


def _results(rows: list[Record], size: tuple[int, int]) -> list[str]:
    cells = [["block", "tool", "samples fed", "target", "float32", "float64", "time", "set-up", "memory", "verdict"]]
    for row in rows:
        cells.append([str(row["block"]), TOOLS[row["tool"]].title, *_figures(row, size)])
    return table(cells)


def _figures(row: Record, size: tuple[int, int]) -> list[str]:
    fed = f"{row['fed']:.3f}" if row.get("fed") else "by calls" if "fed" in row else ""
    target = TARGETS.get((row["net"], row["block"])) if row["tool"] == "ours" and size == SIZE else None
    limit = f"{target:.3f}" if target else ""
    if "error" in row:
        return [fed, limit, "", "", "", "", "", str(row["error"])]
    double = row.get("double", {})
    times = [f"{row[key] / row['whole']:.2f}" for key in ("seconds", "setup")]
    says = "wrong values" if row["wrong"] else "right"
    return [fed, limit, f"{row['differs']:.1e}", _number(double.get("differs"), ".1e"), *times, _share(row), says]


def _share(row: Record) -> str:
    part, whole = row["memory"].get("growth"), row["whole_memory"].get("growth")
    return f"{part / whole:.3f}" if part and whole else "not measured"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _memory(rows: list[Record]) -> list[str]:
    cells = [["net", "block", "whole: measured", "plan", "ratio", "by blocks: measured", "plan", "ratio"]]
    for row in rows:
        whole = _against(row["whole_memory"].get("growth"), row["plan_whole"])
        cells.append([row["net"], str(row["block"]), *whole, *_against(row["memory"].get("growth"), row["plan"])])
    return table(cells)


def _against(measured: int | None, said: int | None) -> list[str]:
    """Measured, predicted and the first over the second, in MiB."""
    ratio = measured / said if measured and said else None
    mib = [_number(n / MIB if n is not None else None, ".1f") or "none" for n in (measured, said)]
    return [*mib, _number(ratio, ".2f")]
