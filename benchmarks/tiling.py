"""Tools that run a net by blocks, side by side: samples fed, error, time and memory, as ratios to the whole net.

    python benchmarks/tiling.py [--nets ...] [--tools ...] [--blocks 128 256] [--size 512 768] [--threads 1]
        [--out FILE]

Every measurement has a process of its own. Exit code 1: overlapcalc is wrong, or feeds more than its target.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import fournets
from benchmarks.subjects import shape
from benchmarks.tilers import TOOLS
from benchmarks.tiling_worker import Record, Task, measured
from benchmarks.tilingpage import TARGETS, page, verdict

SIZE = (512, 768)
MOST_ERROR = {"float32": 1e-5, "float64": 1e-12}
"""Of the largest output. Above it, values are wrong; below, kernels of other shapes sum in another order."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/tiling.py", description="Tiling, beside others; see the head.")
    parser.add_argument("--nets", nargs="+", choices=fournets.names(), default=fournets.names(), metavar="NET")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 256], metavar="N", help="in image samples")
    parser.add_argument("--size", nargs=2, type=int, default=SIZE, metavar=("H", "W"), help="of the image")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    rows = []
    for net in options.nets:
        whole = measured(Task("memory", net, shape(net, *options.size), threads=options.threads))
        for block in options.blocks:
            for tool in options.tools:
                row = _row(net, tool, block, options, whole)
                rows.append(row)
                print(f"{net}, {block}, {TOOLS[tool].title}: {verdict(row)}", flush=True)
    text = page(rows, tuple(options.size), options.threads, _command(options))
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    return 1 if any(_bad(row) for row in rows) else 0


def _row(net: str, tool: str, block: int, options: argparse.Namespace, whole: Record) -> Record:
    """All that is known of one tool on one net with one size of block. error: why there is no figure."""
    row: Record = {"net": net, "tool": tool, "block": block, "size": tuple(options.size)}
    if TOOLS[tool].version is None:
        return row | {"error": "not installed"}
    task = Task("values", net, shape(net, *options.size), tool, block, threads=options.threads)
    found = measured(task)
    row |= found
    if "error" in found:
        return row
    row["wrong"] = found["differs"] > MOST_ERROR["float32"]
    row["memory"] = measured(_as(task, what="memory"))
    row["whole_memory"] = whole
    if tool == "ours":
        exact = measured(_as(task, what="error", dtype="float64"))
        row["double"] = exact
        row["wrong"] |= "error" in exact or exact["differs"] > MOST_ERROR["float64"]
        row |= predicted(net, task.shape, block)
    return row


def predicted(net: str, whole: tuple[int, ...], block: int) -> dict[str, Any]:
    """Bytes that a plan says a run by blocks and the whole net hold at their fullest; None where it says nothing."""
    import overlapcalc as oc

    made = oc.plan(fournets.build(net), whole, block=block)
    return {
        "plan": made.memory.activations if made.memory else None,
        "plan_whole": made.full_memory.activations if made.full_memory else None,
    }


def _as(task: Task, **changes: Any) -> Task:
    return replace(task, **changes)


def _bad(row: Record) -> bool:
    if row["tool"] != "ours":
        return False
    target = TARGETS.get((row["net"], row["block"])) if row["size"] == SIZE else None
    return "error" in row or row["wrong"] or (target is not None and round(row["fed"], 3) > target)


def _command(options: argparse.Namespace) -> str:
    parts = ["python benchmarks/tiling.py"]
    if list(options.nets) != fournets.names():
        parts.append("--nets " + " ".join(options.nets))
    if list(options.tools) != list(TOOLS):
        parts.append("--tools " + " ".join(options.tools))
    if options.blocks != [128, 256]:
        parts.append("--blocks " + " ".join(map(str, options.blocks)))
    if tuple(options.size) != SIZE:
        parts.append("--size " + " ".join(map(str, options.size)))
    return " ".join([*parts, f"--threads {options.threads}"])


if __name__ == "__main__":
    raise SystemExit(main())
