"""Tables as all reports print them."""

from __future__ import annotations

from rich.table import Table

from .table import UNDERLINED


def new_table(*heads: str, title: str = "") -> Table:
    """A table with these columns: the first of words, the others of numbers."""
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=UNDERLINED, show_edge=False, pad_edge=False,
        padding=(0, 1), collapse_padding=True,
    )  # fmt: skip
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", no_wrap=True)
    return table
