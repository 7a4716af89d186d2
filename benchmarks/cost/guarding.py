"""What does `overlapcalc check` cost beyond tracing? For 20 small models with claims and a lock.

    python -m benchmarks.cost.guarding [--models N] [--out FILE]

Prints the page docs/results/guarding.md, in seconds of processor time: of analysing the models one after another, of a
check of all of them without anything kept, and of another one where nothing has changed. What the second has over the
first is what guarding costs. Then of commands as processes of their own: `--help`, and a check of three of the models
that have not changed, with the digests of all files remembered, and without.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import overlapcalc as oc
from overlapcalc.guard.cache import DIGESTS, NAME

from ..page import origin, page, publish, table
from ..process import surroundings

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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cost.guarding", description=__doc__)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    source = origin("benchmarks.cost.guarding", argv, threads=1)
    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)
    oc.analyze(nn.Conv2d(1, 1, 3), (1, 1, 8, 8))  # torch loads what it needs for the first trace
    nets = [namespace["net"](4 + n) for n in range(options.models)]
    analysed = seconds(lambda: [oc.analyze(net, (1, 3, 256, 256)) for net in nets])
    checked, again = _checked(options.models)
    about = f"{options.models} models of {LAYERS} layers, in seconds of processor time."
    rows = [
        ["what", "seconds", "beyond analysing"],
        ["analysed one after another", f"{analysed:.2f}", ""],
        ["checked", f"{checked:.2f}", f"{checked - analysed:+.2f}"],
        ["checked again, unchanged", f"{again:.2f}", ""],
        *_commands(min(3, options.models)),
    ]
    publish(page("What guarding costs", source, [about, "", *table(rows)]), options.out)
    return 0


def _commands(count: int) -> list[list[str]]:
    """Rows of `--help` and of checks in which nothing has changed, each in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        config = _project(Path(directory), count)
        command("check", "--config", str(config))
        command("check", "--config", str(config))  # what the first one wrote, bytecode say, is known from here on
        known = command("check", "--config", str(config))
        (config.parent / NAME / DIGESTS).unlink(missing_ok=True)
        anew = command("check", "--config", str(config))
    models = f"{count} model{'s' if count > 1 else ''}"
    return [
        ["`overlapcalc --help`", f"{command('--help'):.2f}", ""],
        [f"`overlapcalc check`, {models}, unchanged", f"{known:.2f}", ""],
        ["the same, all files read anew", f"{anew:.2f}", ""],
    ]


def command(*words: str) -> float:
    """Seconds of processor time of one command. It must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "overlapcalc", *words], env=surroundings(1), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _project(root: Path, count: int) -> Path:
    """A configuration of so many models, with its lock."""
    (root / "nets.py").write_text(MODEL)
    os.utime(root / "nets.py", (0, 0))  # what was written just now is not kept
    config = root / "pyproject.toml"
    config.write_text("".join(ENTRY.format(n=n, width=4 + n) for n in range(count)))
    assert oc.lock(config).written
    return config


def _checked(count: int) -> tuple[float, float]:
    """Seconds of a first check and of one after it. Both must hold, and the second must be kept whole."""
    with tempfile.TemporaryDirectory() as directory:
        config = _project(Path(directory), count)
        first = seconds(lambda: oc.check(config))
        again = seconds(lambda: oc.check(config))
        result = oc.check(config)
        assert result.holds
        assert all(model.kept for model in result.models)
    return first, again


def seconds(work: Callable[[], object]) -> float:
    """Of processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
