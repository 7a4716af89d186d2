"""A table that is printed on a terminal and written into a page of Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """name: of its place in a page. words: how many columns, from the first on, hold words; the others hold numbers."""

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 2


def show(sheet: Sheet, console: Console) -> None:
    console.print(sheet.title, style="bold")
    table = Table(box=SIMPLE_HEAD)
    for i, head in enumerate(sheet.heads):
        table.add_column(head, justify="left" if i < sheet.words else "right")
    for row in sheet.rows:
        table.add_row(*row)
    console.print(table)


def markdown(sheet: Sheet) -> str:
    rule = ["---"] * sheet.words + ["---:"] * (len(sheet.heads) - sheet.words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (sheet.heads, rule, *sheet.rows))


def put_into(page: str, sheet: Sheet) -> str:
    """The page with the sheet between its marks, `<!-- NAME -->` and `<!-- end of NAME -->` on lines of their own,
    instead of what stood there. Raises ValueError where the page has no such marks."""
    first, last = f"<!-- {sheet.name} -->\n", f"<!-- end of {sheet.name} -->"
    before, found, rest = page.partition(first)
    _, ended, after = rest.partition(last)
    if not found or not ended:
        raise ValueError(f"the page has no place for {sheet.name}: it needs the lines {first.strip()} and {last}")
    return f"{before}{first}{markdown(sheet)}\n{last}{after}"
