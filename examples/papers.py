"""All tables of the papers, and their pictures: `make papers`.

    python -m examples.papers [--write docs/papers.md]

Minutes on a CPU. --write puts the tables into the page, each between its marks, and the pictures beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from .cps import tables as cps
from .jpegai import tables as jpegai
from .kim2026 import ablation, agreement
from .kim2026 import tables as kim2026
from .lic.sheet import Sheet, put_into, show


def sheets() -> Iterator[Sheet]:
    yield kim2026.overlaps()
    yield from cps.sheets()
    yield from jpegai.sheets()
    yield from kim2026.costs()
    yield agreement.cost()
    yield agreement.agreement()
    yield ablation.sheet()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.papers", description="All tables of the papers.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put them into this page")
    options = parser.parse_args(argv)
    console = Console()
    page = "" if options.write is None else options.write.read_text()
    for sheet in sheets():
        show(sheet, console)
        page = page if options.write is None else put_into(page, sheet)
    if options.write is not None:
        options.write.write_text(page)
        ablation.write_pictures(options.write.parent / "results" / "papers")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
