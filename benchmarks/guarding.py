"""What does `overlapcalc check` cost beyond tracing? For 20 small models with claims and a lock.

    python benchmarks/guarding.py [--models N]

Prints seconds of processor time: of analysing the models one after another, of a check of all of them without anything
kept, and of another one where nothing has changed. What the first has over analysing is what guarding costs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from torch import nn

import overlapcalc as oc

LAYERS = 8
MODEL = f"""from torch import nn
def net(width):
    layers = [nn.Conv2d(3 if i == 0 else width, width, 3, 1 + i % 2, 1) for i in range({LAYERS})]
    return nn.Sequential(*layers)
"""
ENTRY = """[[tool.overlapcalc.models]]
name = "net{n}"
spec = "nets.py:net"
kwargs = {{width = {width}}}
input = "1x3x256x256"
blocking-free = true
max-context = 100
max-tile = 100
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20)
    count = parser.parse_args().models
    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)
    oc.analyze(nn.Conv2d(1, 1, 3), (1, 1, 8, 8))  # torch loads what it needs for the first trace
    traced = seconds(lambda: [oc.analyze(namespace["net"](4 + n), (1, 3, 256, 256)) for n in range(count)])
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "nets.py").write_text(MODEL)
        os.utime(root / "nets.py", (0, 0))  # what was written just now is not kept
        (root / "pyproject.toml").write_text("".join(ENTRY.format(n=n, width=4 + n) for n in range(count)))
        assert oc.lock(root / "pyproject.toml").written
        first = seconds(lambda: oc.check(root / "pyproject.toml"))
        again = seconds(lambda: oc.check(root / "pyproject.toml"))
        found = oc.check(root / "pyproject.toml")
        assert found.holds
        assert all(model.kept for model in found.models)
    print(f"{count} models of {LAYERS} layers, seconds of processor time")
    print(f"  analysed one after another  {traced:6.2f}")
    print(f"  checked                     {first:6.2f}  ({first - traced:+.2f} beyond tracing)")
    print(f"  checked again, unchanged    {again:6.2f}")


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
