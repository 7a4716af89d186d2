"""The passes of a Plan as a table: what each reads, completes and stores, and what that takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..planning.byte_size import bytes_text
from ..planning.passes.plan import PassesPlan, PassPlan
from ..planning.plan import Plan
from .tables import new_table

MOST = 3
"""At most this many layers are named in a cell; JSON lists all."""


def passes_table(plan: Plan) -> list[RenderableType]:
    """One row per pass, and a line on the disk."""
    assert plan.passes is not None
    table = new_table(
        "pass", "reads", "completes", "stores", "memory", "written", "read", title=f"along {plan.stream_axis}"
    )
    for column in table.columns[1:4]:
        column.justify, column.no_wrap, column.overflow = "left", False, "fold"
    anew = any(one.again for one in plan.passes.each)
    if anew:
        table.add_column("computes anew", overflow="fold")
    for one in plan.passes.each:
        _add(table, one, anew)
    return [table, *_fullest(plan.passes), Text(disk_text(plan.passes))]


def _fullest(passes: PassesPlan) -> list[Text]:
    """What takes the memory, where it is an operator that runs whole, or needs a tensor whole."""
    one = passes.whole
    if one is None or one.memory is None:
        return []
    said = f"pass {one.number + 1} takes the most memory"
    if one.memory_whole >= one.memory:
        return [Text(f"{said}, while {_few([layer for layer, _ in one.whole])} runs whole")]
    held = [t.layer for t in passes.stored if t.whole and t.kept and t.first <= one.number <= t.last]
    return [Text(f"{said}, most of it for what is needed whole: {_few(list(dict.fromkeys(held)))}")]


def disk_text(passes: PassesPlan, folder: str = "") -> str:
    """What goes to the disk, in a sentence. folder: where it goes, if that is known."""
    kept = sum(one.nbytes for one in passes.stored if one.kept)
    inside = f"{bytes_text(kept)} of what is stored are kept in memory; " if kept else ""
    if not passes.disk:
        return f"{inside}nothing goes to the disk"
    place = folder or passes.spill or "a folder of the system"
    file = f"in a file of {bytes_text(passes.disk)} in {place}"
    return f"{inside}{bytes_text(passes.written)} are written to the disk, {file}"


def _add(table: Table, one: PassPlan, anew: bool) -> None:
    ends = [f"{layer} ({op.partition('::')[2]})" for layer, op in one.ends]
    whole = [f"{layer} ({op.partition('::')[2]}, whole)" for layer, op in one.whole]
    whole += [f"{layer} ({op.partition('::')[2]}, to and fro)" for layer, op in one.swept]
    table.add_row(
        str(one.number + 1),
        _few(one.reads) or "input",
        _few([*whole, *ends]) or "-",
        _few(one.stores) or "-",
        "-" if one.memory is None else bytes_text(one.memory),
        bytes_text(one.written) if one.written else "-",
        bytes_text(one.read) if one.read else "-",
        *([_few(one.again) or "-"] if anew else []),
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
