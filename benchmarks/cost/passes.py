"""Nets that look at the whole image, whole and by passes, from one file to another.

    python -m benchmarks.cost.passes [--nets stack decoder] [--sizes 2048 1024] [--rows 8 16 32] [--half bfloat16]
                                     [--threads 1] [--folder DIR] [--out FILE]

Prints the page docs/results/passes-cost.md. Every measurement has a fresh process. Time is processor time of one run
after planning and a small warm-up; memory is the most anonymous memory beyond what was there before, by a process of
its own with an allocator that gives back what is freed; inputs and outputs are mapped files for all. The half type is
measured at a quarter of the sides, because many CPUs have no kernels for it and take minutes. The error is that
against the whole run in float64, over the contiguous whole's own. Then the decoder in a process that may allocate 1.15
times what its plan says (RLIMIT_DATA), and the whole in the same. Exit code 1: a figure is not what is wanted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from ..highwater import MIB
from ..page import origin, page, publish, table
from ..process import apart
from . import pass_runs
from .pass_runs import LAST, PASSES, WHOLE

Record = dict[str, Any]
WANTED = {"stack": (0.03, 0.7, 0.9), "decoder": (0.06, 1.05, 1.25)}
"""At most this share of the whole's memory, of the contiguous whole's time and of the channels_last one's, with the
rows that are best in that memory."""
HEADS = ["net", "side", "type", "way", "rows", "processor s", "of contiguous", "of channels_last", "wall s", "MiB",
         "of whole", "plan, MiB", "written, MiB", "disk, MiB", "error", "of whole's"]  # fmt: skip
CACHE = 64 * MIB
"""So much page cache is left where it is bounded: for the mapped files of the input and the output too."""
NEAR, NEAR_BYTES = 0.1, 8 * MIB
LIMIT_ROWS = 16


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.passes", description="Nets whole and by passes.")
    parser.add_argument("--nets", nargs="+", choices=pass_runs.NETS, default=list(pass_runs.NETS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 1024], help="sides of the images, net by net")
    parser.add_argument("--rows", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--half", default="bfloat16", choices=("bfloat16", "float16", "none"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the files go; they are removed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    source = origin("benchmarks.cost.passes", argv, threads=options.threads)
    rows, good = [HEADS], True
    said: list[str] = []
    for net, size in zip(options.nets, options.sizes, strict=True):
        for dtype, side in (("float32", size), (options.half, size // 4)):
            if dtype == "none":
                continue
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                bench = _Bench(net, side, folder, options.threads)
                rows += bench.rows(dtype, options.rows if side == size else options.rows[1:2] or options.rows)
                lines, fine = bench.verdict(dtype)
                said, good = [*said, *lines], good and fine
                if dtype == "float32":
                    said += bench.with_bounded_cache(options.rows[-1])
                if net == "decoder" and dtype == "float32":
                    lines, fine = bench.limited()
                    said, good = [*said, *lines], good and fine
    publish(page("Passes, from file to file", source, [*said, "", *table(rows)]), options.out)
    return 0 if good else 1


class _Bench:
    def __init__(self, net: str, size: int, folder: str, threads: int) -> None:
        self._net, self._threads = net, threads
        self._task: Record = {"net": net, "size": size, "folder": folder}
        self._exact = f"{WHOLE}-float64"
        self._found: dict[tuple[str, str, int], Record] = {}
        self._make("float64")
        self._measured("float64", WHOLE, 0, memory=False)

    def rows(self, dtype: str, bands: list[int]) -> list[list[str]]:
        """One row of the table per way."""
        self._make(dtype)
        made = []
        for way, n in ((WHOLE, 0), (LAST, 0), *((PASSES, n) for n in bands)):
            self._measured(dtype, way, n)
            made.append(self._cells(dtype, way, n))
            print(", ".join(made[-1]), flush=True)
        return made

    def verdict(self, dtype: str) -> tuple[list[str], bool]:
        """The best of each figure against what is wanted, which is said for float32; of a half type, error and
        prediction alone."""
        runs = [r for (kind, way, _), r in self._found.items() if way == PASSES and kind == dtype]
        whole, last = (self._found[dtype, way, 0] for way in (WHOLE, LAST))
        least = min(whole["anonymous"], last["anonymous"])
        memory = min(r["anonymous"] for r in runs) / least
        near = [r for r in runs if r["anonymous"] <= WANTED[self._net][0] * least] or runs
        time = min(r["processor"] for r in near)
        found = (memory, time / whole["processor"], time / last["processor"])
        far = max(abs(r["anonymous"] - r["plan"]) / max(NEAR * r["plan"], NEAR_BYTES) for r in runs)
        worse = max(r["error"] for r in runs) / whole["error"]
        parts = [f"{x:.3f} (wanted: {most:g})" for x, most in zip(found, WANTED[self._net], strict=True)]
        said_near = "right" if far <= 1 else "not right"
        name = f"{self._net}, {dtype}, {self._task['size']}²"
        if dtype != "float32":
            said = f"memory over the whole's {memory:.3f}, time {found[1]:.3f} and {found[2]:.3f}; largest error"
            text = f"- {name}: {said} over the whole's {worse:.2f} (wanted: 2); the prediction is {said_near}."
            return [text], far <= 1 and worse <= 2
        text = (
            f"- {name}: best memory over the whole's {parts[0]}; best time in that memory over the contiguous whole's "
            f"{parts[1]}, over the channels_last one's {parts[2]}; largest error over the whole's {worse:.2f} "
            f"(wanted: 2); the prediction is {said_near} within 10 % or 8 MiB."
        )
        return [text], all(
            x <= most for x, most in zip(found, WANTED[self._net], strict=True)
        ) and far <= 1 and worse <= 2

    def limited(self) -> tuple[list[str], bool]:
        """Passes and the whole in processes that may allocate 1.15 times what the plan of passes says."""
        said, ended = [], []
        for way in (PASSES, WHOLE):
            task: Record = {**self._task, "dtype": "float32", "way": way, "rows": LIMIT_ROWS, "limited": True}
            record = apart(pass_runs.run, threads=self._threads, quiet=True, **task)
            ended.append("error" not in record)
            said.append(f"{way}: {'finishes' if ended[-1] else str(record['error'])[:120]}")
        return [f"- {self._net} within 1.15 times the plan (RLIMIT_DATA): {'; '.join(said)}."], ended == [True, False]

    def with_bounded_cache(self, rows: int) -> list[str]:
        """Passes whose files have next to no page cache, so that they wait for the disk."""
        free = self._found["float32", PASSES, rows]
        most = int(free["plan"]) + CACHE
        task: Record = {**self._task, "dtype": "float32", "way": PASSES, "rows": rows, "limited": False}
        record = apart(pass_runs.run, threads=self._threads, quiet=True, bound=most, **task)
        name = f"- {self._net}, float32, {self._task['size']}², bands of {rows}, "
        if not record.get("bounded"):
            why = record.get("error", "control groups cannot be made here")
            return [f"{name}with the page cache bounded: not measured ({why})."]
        ratio = record["wall"] / free["wall"]
        return [
            f"{name}with memory and page cache together bounded to {most / MIB:.0f} MiB: {record['wall']:.1f} s, "
            f"{ratio:.2f} times the {free['wall']:.1f} s without a bound."
        ]

    def _make(self, dtype: str) -> None:
        _sound(apart(pass_runs.make_input, threads=self._threads, dtype=dtype, **self._task))

    def _measured(self, dtype: str, way: str, rows: int, *, memory: bool = True) -> None:
        task: Record = {**self._task, "dtype": dtype, "way": way, "rows": rows, "limited": False}
        record = _sound(apart(pass_runs.run, threads=self._threads, **task))
        if memory:
            record["anonymous"] = _sound(apart(pass_runs.run, threads=self._threads, quiet=True, **task))["anonymous"]
            compared = apart(pass_runs.error, dtype=dtype, way=way, exact=self._exact, **self._task)
            record |= _sound(compared)
        self._found[dtype, way, rows] = record

    def _cells(self, dtype: str, way: str, rows: int) -> list[str]:
        r, whole = self._found[dtype, way, rows], self._found[dtype, WHOLE, 0]
        last = self._found.get((dtype, LAST, 0))
        least = min(whole["anonymous"], last["anonymous"] if last else whole["anonymous"])
        sizes = [f"{r[key] / MIB:.1f}" if key in r else "" for key in ("plan", "written", "disk")]
        return [
            self._net, str(self._task["size"]), dtype, way, str(rows or ""), f"{r['processor']:.1f}",
            f"{r['processor'] / whole['processor']:.2f}", f"{r['processor'] / last['processor']:.2f}" if last else "",
            f"{r['wall']:.1f}", f"{r['anonymous'] / MIB:.1f}", f"{r['anonymous'] / least:.1%}", *sizes,
            f"{r['error']:.1e}", f"{r['error'] / whole['error']:.2f}",
        ]  # fmt: skip


def _sound(record: Record) -> Record:
    if set(record) == {"error"} and isinstance(record["error"], str):
        raise SystemExit(record["error"])
    return record


if __name__ == "__main__":
    raise SystemExit(main())
