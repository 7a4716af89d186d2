"""A table that is printed on a terminal and written into a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable
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
    table = Table(title=sheet.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for i, head in enumerate(sheet.heads):
        table.add_column(head, justify="left" if i < sheet.words else "right")
    for row in sheet.rows:
        table.add_row(*row)
    console.print(table)


def markdown(sheet: Sheet) -> str:
    rule = ["---"] * sheet.words + ["---:"] * (len(sheet.heads) - sheet.words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (sheet.heads, rule, *sheet.rows))


def put_into(page: str, sheets: Iterable[Sheet]) -> str:
    """The page with each sheet between its marks, `<!-- NAME -->` and `<!-- end of NAME -->`, instead of what stood
    there. Raises ValueError where a page has no such marks."""
    for sheet in sheets:
        first, last = f"<!-- {sheet.name} -->\n", f"\n<!-- end of {sheet.name} -->"
        before, found, rest = page.partition(first)
        _, ended, after = rest.partition(last)
        if not found or not ended:
            raise ValueError(f"the page has no place for {sheet.name}: it needs the lines {first!r} and {last!r}")
        page = before + first + markdown(sheet) + last + after
    return page
