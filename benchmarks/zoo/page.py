"""The results as a page: a summary, what needs a look, and a row per model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any

from ..page import Origin, table
from ..page import page as framed

Record = dict[str, Any]
BROKEN = ("failed", "crashed", "timed out", "not built")


def page(zoo: str, source: Origin, models: dict[str, Record]) -> str:
    """Markdown."""
    lines = ["## Summary", "", *summary(models), ""]
    for title, found in sections(models):
        lines += [f"## {title}", "", *(found or ["None."]), ""]
    return framed(f"{zoo}: {len(models)} models", source, [*lines, "## Models", "", *_table(models)])


def summary(models: dict[str, Record]) -> list[str]:
    total = len(models)
    results = Counter(r["result"] for r in models.values())
    good = results["answered"] + results["refused"]
    kinds = sorted({r["kind"] for r in models.values()})
    columns = ["answered", "refused", *[b for b in BROKEN if results[b]]]
    rows = [["kind", "models", *columns]]
    for kind in [*kinds, "all"]:
        mine = [r for r in models.values() if kind in (r["kind"], "all")]
        rows.append([kind, str(len(mine)), *(str(sum(r["result"] == c for r in mine)) for c in columns)])
    traces = [n for n, r in models.items() if r.get("error") and not r["error"].get("on_purpose")]
    answered = [r for r in models.values() if r["result"] == "answered"]
    refused = [r for r in models.values() if r["result"] == "refused"]
    analyze = sum(r["seconds"].get("analyze", 0) for r in models.values())
    check = sum(r["seconds"].get("check", 0) for r in models.values())
    out = [*table(rows), "", f"- Answered or refused by name: {good} of {total} ({100 * good / max(1, total):.1f}%)."]
    out.append(f"- Ended with a traceback, a crash or a timeout: {len(traces)}.")
    held, fallen = _count(answered, "passed"), _count(answered, "failed")
    out.append(
        f"- Answers checked by running the net: {held} hold, {fallen} do not, of {len(answered)}. {_sums(answered)}"
    )
    out.append(f"- Refusals confirmed by running the net: {_count(refused, 'confirmed')} of {len(refused)} "
               f"({_methods(refused)}); "
               f"suspicious: {_count(refused, 'suspicious')}.")  # fmt: skip
    ratios = [r["seconds"]["analyze"] / r["seconds"]["export"] for r in models.values() if r["seconds"].get("export")]
    if ratios:
        figures = f"median {median(ratios):.1f}, largest {max(ratios):.1f}"
        out.append(f"- Seconds to analyse over seconds of torch's export and decomposition, run once each: {figures}.")
    out.append(f"- Time: {analyze:.0f} s to analyse, {check:.0f} s to check.")
    return out


def _methods(refused: list[Record]) -> str:
    """How many by what means (see `refusals.py`)."""
    found = Counter(" and ".join(r["check"]["methods"]) for r in refused if _count([r], "confirmed"))
    return ", ".join(f"{method} {n}" for method, n in found.most_common())


def _count(records: Iterable[Record], status: str) -> int:
    return sum(r.get("check", {}).get("status") == status for r in records)


def _sums(answered: list[Record]) -> str:
    checks = [r["check"] for r in answered if "claims" in r.get("check", {})]
    if not checks:
        return ""
    s = {key: sum(c[key] for c in checks) for key in checks[0] if isinstance(checks[0][key], int)}
    worst = max(c["worst_error"] for c in checks)
    loud, loud_tiles = s["controls"] - s["silent_controls"], s["tile_controls"] - s["silent_tile_controls"]
    return (
        f"{s['claims']} claims of what a block reads; one sample less changes outputs for {loud} of {s['controls']} "
        f"exact sides. {s['tiles']} tiles (largest relative error {worst:.1e}); {loud_tiles} of {s['tile_controls']} "
        "tiles a step shorter differ, the others by too little to be seen."
    )


def sections(models: dict[str, Record]) -> list[tuple[str, list[str]]]:
    """What needs a look, most important first."""
    suspicious, wrong, silent, broken, unchecked, local = [], [], [], [], [], []
    for name, r in models.items():
        check = r.get("check", {})
        if check.get("status") == "suspicious":
            suspicious += [
                f"- `{name}`: {where}: {note or 'nothing seen'}" for where, note in check["unconfirmed"].items()
            ]
        if check.get("status") == "failed":
            wrong += [f"- `{name}`: {text}" for text in check["failures"]]
        if check.get("silent_controls"):
            silent += [f"- `{name}`: {check['silent_controls']} of {check['controls']}: {check['notes'][0]}"]
        if check.get("status") in ("error", "crashed", "timed out", "not run"):
            text = check.get("error", {}).get("message") or "; ".join(check.get("notes", []))
            unchecked.append(f"- `{name}`: {check['status']}: {_line(text)}")
        if r["result"] in BROKEN:
            broken.append(f"- `{name}`: {r['error']['kind']}: {_line(r['error']['message'])}")
        found: dict[tuple[str, str], list[str]] = {}
        for o in check.get("operators", ()):
            if o["verdict"] == "local":
                found.setdefault((o["cause"], o["op"]), []).append(o["layer"])
        local += [
            f"- `{name}`: {op} [{cause}] in {len(set(layers))}: {layers[0]}" for (cause, op), layers in found.items()
        ]
    return [
        ("Suspicious refusals: maybe local", suspicious),
        ("Answers that do not hold", wrong),
        ("Exact sides where one sample less changed nothing", silent),
        ("No answer", broken),
        ("Not checked", unchecked),
        ("Operators in the way whose module by itself looks local", local),
    ]


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _table(models: dict[str, Record]) -> list[str]:
    rows = [["model", "kind", "result", "what", "checked", "analyze s", "export s"]]
    for name, r in models.items():
        s = r["seconds"]
        rows.append(
            [name, r["kind"], r["result"], _what(r), _checked(r), _number(s.get("analyze")), _number(s.get("export"))]
        )
    return table(rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _what(r: Record) -> str:
    if r["result"] == "answered":
        texts = {
            f"{a}: context {_sides(w['context'])}, tile {_sides(w['tile'])}, step {w['step']}": a
            for a, w in r["answers"].items()
        }
        return "; ".join(texts) + ("" if r.get("exact") else " (bound)")
    if r["result"] == "refused":
        return "; ".join(f"{g['cause']}: {short(g['op'])} in {g['layers']}, first {g['first']}" for g in r["obstacles"])
    return str(r["error"]["kind"])


def _sides(value: list[int] | None) -> str:
    return "none" if value is None else "/".join(map(str, value))


def short(op: str) -> str:
    return op.partition("::")[2] or op


def _checked(r: Record) -> str:
    check = r.get("check", {})
    if check.get("status") == "confirmed":
        return "confirmed: " + ", ".join(check["methods"])
    return str(check.get("status", ""))
