"""A Check for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import Check
from ..judgement import Judgement, merged
from ..problems import against_lock, blamed
from ..result import BROKEN, HOLDS, Checked

WORDS = {HOLDS: ("holds", "green"), BROKEN: ("BROKEN", "bold red")}
ERROR = ("ERROR", "bold red")
MOST_PATH = 8


def render_check(check: Check, console: Console, *, note: str = "") -> None:
    """Print what holds; for what does not, the claim, the value and the layer to blame; and the lock."""
    for model in check.models:
        console.print(
            Text.assemble((model.name, "bold"), f"  {model.spec}", ("  (unchanged)" if model.kept else "", "dim"))
        )
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, min_width=6)
        grid.add_column(overflow="fold")
        for (word, style), head, more in _lines(check, model):
            grid.add_row(Text(word, style), Text("\n".join([head, *more])))
        console.print(Padding(grid, (0, 0, 0, 2)))
    for name in check.gone:
        console.print(
            Text.assemble((name, "bold"), f": in {check.lock.name}, but no longer configured in {check.config.name}")
        )
    for line in [*_ending(check), *([note] if note else [])]:
        console.print(Text(line))


def _lines(check: Check, model: Checked) -> Iterator[tuple[tuple[str, str], str, list[str]]]:
    """A word, what it is about, and the details."""
    if model.error:
        yield ERROR, "it cannot be analysed", [model.error]
    for judgement in model.judgements:
        head = f"{judgement.claim} = {judgement.limit}"
        if judgement.error:
            yield ERROR, f"{head} cannot be judged", [judgement.error]
        elif judgement.failures:
            yield WORDS[BROKEN], head, list(_failures(check, model, judgement))
        else:
            yield WORDS[HOLDS], f"{head}: {judgement.value}", []
    if model.changed:
        yield ("LOCK", "bold red"), against_lock(check, model), []
    elif model.comparison is not None:
        layers = model.comparison.layers
        yield (
            WORDS[HOLDS],
            "the lock" + (f"; other layers need as much: {model.comparison.blamed}" if layers else ""),
            [],
        )
    for note in model.notes:
        yield ("note", "yellow"), note, []


def _failures(check: Check, model: Checked, judgement: Judgement) -> Iterator[str]:
    for failure in merged(judgement.failures):
        yield str(failure)
        file, line = blamed(check, failure.source, "", 0)
        if file:
            yield f"at {file}:{line}"
        if failure.path:
            rest = len(failure.path) - MOST_PATH
            yield f"path: {', '.join(failure.path[:MOST_PATH])}" + (f" and {rest} more" if rest > 0 else "")


def _ending(check: Check) -> Iterator[str]:
    codes = [model.code for model in check.models]
    parts = [f"{codes.count(HOLDS)} hold{'s' if codes.count(HOLDS) == 1 else ''}"]
    if BROKEN in codes:
        parts.append(f"{codes.count(BROKEN)} {'does' if codes.count(BROKEN) == 1 else 'do'} not")
    unknown = len(codes) - codes.count(HOLDS) - codes.count(BROKEN)
    if unknown:
        parts.append(f"{unknown} could not be analysed")
    yield f"{len(codes)} model{'' if len(codes) == 1 else 's'}: {', '.join(parts)}."
    if check.written:
        yield f"{check.lock.name} is written."
        if check.dropped:
            yield f"No longer in it: {', '.join(check.dropped)}, not configured in {check.config.name}."
    elif not check.locked:
        yield f"There is no {check.lock.name}; `overlapcalc lock` makes one."
    elif any(model.changed for model in check.models) or check.gone:
        yield f"If the change is meant, `overlapcalc check --update` writes {check.lock.name} anew."
