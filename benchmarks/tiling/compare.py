"""Tools that run a net by blocks, side by side: samples fed, error, time and memory, as ratios to the whole net.

    python -m benchmarks.tiling.compare [--nets ...] [--tools ...] [--blocks 128 256] [--size 512 768] [--threads 1]
                                        [--out FILE]

Prints the page docs/results/tiling.md. Every measurement has a process of its own. Exit code 1: overlapcalc is wrong,
or feeds more than its target.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import overlapcalc as oc

from ..page import origin, publish
from ..process import apart
from ..subjects import FOUR, build, shape
from . import measure
from .page import SIZE, TARGETS, page, verdict
from .tools import TOOLS

Record = dict[str, Any]
MOST_ERROR = {"float32": 1e-5, "float64": 1e-12}
"""Of the largest output. Above it, values are wrong; below, kernels of other shapes sum in another order."""
TIMEOUT = 300.0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.tiling.compare", description="Tiling, beside other tools.")
    parser.add_argument("--nets", nargs="+", choices=list(FOUR), default=list(FOUR), metavar="NET")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--blocks", nargs="+", type=int, default=[128, 256], metavar="N", help="in image samples")
    parser.add_argument("--size", nargs=2, type=int, default=SIZE, metavar=("H", "W"), help="of the image")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page, in markdown")
    options = parser.parse_args(argv)
    packages = list(dict.fromkeys(tool.package for tool in TOOLS.values() if tool.package))
    source = origin("benchmarks.tiling.compare", argv, packages=packages, threads=options.threads)
    size, rows = tuple(options.size), []
    for net in options.nets:
        given = shape(net, *size)
        whole = apart(measure.memory, threads=options.threads, quiet=True, timeout=TIMEOUT, net=net, shape=given)
        for block in options.blocks:
            for tool in options.tools:
                figures = measured(net, given, tool, block, options.threads)
                rows.append({"net": net, "tool": tool, "block": block, "size": size, "whole_memory": whole, **figures})
                print(f"{net}, {block}, {TOOLS[tool].title}: {verdict(rows[-1])}", flush=True)
    publish(page(rows, size, options.threads, source), options.out)
    return 1 if any(bad(row) for row in rows) else 0


def measured(net: str, given: tuple[int, ...], tool: str, block: int, threads: int) -> Record:
    """All that is known of one tool on one net with one size of block. error: why there is no figure."""
    if TOOLS[tool].version is None:
        return {"error": "not installed"}

    def run(work: Any, **more: Any) -> Record:
        task = {"net": net, "shape": given, "tool": tool, "block": block, **more}
        return apart(work, threads=threads, quiet=True, timeout=TIMEOUT, **task)

    row = run(measure.values, timed=True)
    if "error" in row:
        return row
    row["wrong"] = row["differs"] > MOST_ERROR["float32"]
    row["memory"] = run(measure.memory)
    if tool == "ours":
        row["double"] = run(measure.values, dtype="float64")
        row["wrong"] |= "error" in row["double"] or row["double"]["differs"] > MOST_ERROR["float64"]
        row |= predicted(net, given, block)
    return row


def predicted(net: str, given: tuple[int, ...], block: int) -> dict[str, int | None]:
    """Bytes that a plan says a run by blocks and the whole net hold at their fullest; None where it says nothing."""
    plan = oc.plan(build(net), given, block=block)
    return {
        "plan": plan.memory.activations if plan.memory else None,
        "plan_whole": plan.full_memory.activations if plan.full_memory else None,
    }


def bad(row: Record) -> bool:
    """Whether ours is wrong or feeds too much. What other tools do is no fault here."""
    if row["tool"] != "ours":
        return False
    target = TARGETS.get((row["net"], row["block"])) if row["size"] == SIZE else None
    return "error" in row or row["wrong"] or (target is not None and round(row["fed"], 3) > target)


if __name__ == "__main__":
    raise SystemExit(main())
