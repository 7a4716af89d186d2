"""Chooses what `make test` leaves to `make test-thorough` beside what is marked, and writes tests/long.txt.

    PYTEST_ADDOPTS="--durations=0 --durations-min=0.05" make test-thorough >log
    python tests/thin.py log

The longest cases go first, until the rest takes this share of the time. Every test keeps its quickest case, unless that
alone is LONG times the mean. Tests of the documentation stay. Whole tests that take longest, most of examples and
benchmarks, were put there by hand: keep them when the list is made anew.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).with_name("long.txt")
LONG = 4
STAY = (
    "tests/test_",
    "tests/guard/test_guard_docs.py",
    "tests/cli/test_cli.py::test_the_readme",
    "tests/ops/test_laws.py",
)
LINE = re.compile(r"^\s*([\d.]+)s (?:call|setup|teardown)\s+(\S.*)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Chooses the tests that are too long for make test.")
    parser.add_argument("log", type=Path)
    parser.add_argument("--share", type=float, default=0.44)
    options = parser.parse_args()
    seconds: dict[str, float] = defaultdict(float)
    for took, name in LINE.findall(options.log.read_text()):
        seconds[name.strip()] += float(took)
    LIST.write_text("".join(f"{name}\n" for name in sorted(chosen(seconds, options.share))))


def chosen(seconds: dict[str, float], share: float) -> set[str]:
    """The names of tests to leave out. seconds: by name."""
    total = sum(seconds.values())
    longest = LONG * total / max(1, len(seconds))
    quickest: dict[str, str] = {}
    for name in sorted(seconds, key=lambda name: (seconds[name], name)):
        quickest.setdefault(name.partition("[")[0], name)
    stay = {name for name in quickest.values() if seconds[name] <= longest}
    found: set[str] = set()
    rest = total
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        if rest <= share * total:
            break
        if name not in stay and not name.startswith(STAY):
            found.add(name)
            rest -= seconds[name]
    return found


if __name__ == "__main__":
    main()
