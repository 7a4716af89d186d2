"""A page of results: what was run, from which commit, when, with which versions, on what machine; then the figures."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("overlapcalc", "benchmarks", "examples")
"""What figures depend on; a page written a moment ago is no change of it."""


@dataclass(frozen=True)
class Origin:
    """Where figures come from. Made when a run begins: the code may change under it."""

    command: str
    commit: str
    date: str
    versions: tuple[str, ...]
    machine: str

    def lines(self) -> list[str]:
        """The head of a page, below its title."""
        where = f" {self.machine}." if self.machine else ""
        return [
            f"    {self.command}",
            "",
            f"Commit {self.commit}, {self.date}. {', '.join(self.versions)}.{where}",
        ]


def origin(
    module: str, argv: Sequence[str] | None, *, packages: Sequence[str] = (), threads: int = 0, machine: str = ""
) -> Origin:
    """Of the run that is beginning. packages: named beside Python and torch, also where they are missing.

    threads: 0 for figures that do not depend on the machine.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return Origin(
        command(module, words), commit(), today, versions(packages), machine or (processor(threads) if threads else "")
    )


def page(title: str, source: Origin, body: Iterable[str]) -> str:
    """Markdown. It names no place of this machine."""
    return "\n".join([f"# {title}", "", *source.lines(), "", *body]) + "\n"


def publish(text: str, out: Path | None) -> None:
    """Print a page, and write it where a file is named."""
    print(text)
    if out is not None:
        write(text, out)


def write(text: str, out: Path) -> None:
    """The file appears under its name when it is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(out)


def command(module: str, words: Sequence[str]) -> str:
    """The command line, without the folders of this machine and without where the page goes.

    >>> command("benchmarks.zoo.survey", ["--zoo", "/home/me/zoo/zoo.py", "--check", "--out", "/tmp/page"])
    'python -m benchmarks.zoo.survey --zoo zoo/zoo.py --check'
    """
    kept, skip = [], False
    for word in words:
        if not skip and word != "--out" and not word.startswith("--out="):
            option, equals, value = word.rpartition("=")
            kept.append(option + equals + (_last_two(value) if value.startswith(("/", "..")) else value))
        skip = word == "--out"
    return " ".join([f"python -m {module}", *kept])


def _last_two(path: str) -> str:
    return "/".join([part for part in Path(path).parts if part not in ("/", "..")][-2:])


def commit() -> str:
    """What COMMIT says; else the short hash, "+ changes" where the code differs from it; outside of git "unknown"."""
    if os.environ.get("COMMIT"):
        return os.environ["COMMIT"]
    top = _git("rev-parse", "--show-prefix")
    if top is None or top:  # no git, or a repository around this folder that is not ours
        return "unknown"
    changes = " + changes" if _git("status", "--short", "--", *CODE) else ""
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + changes


def _git(*words: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions(packages: Sequence[str] = ()) -> tuple[str, ...]:
    """
    >>> versions(["nobodys-package"])[-1]
    'nobodys-package not installed'
    """
    import torch

    import overlapcalc as oc

    own = (f"overlapcalc {oc.__version__}", f"Python {platform.python_version()}", f"torch {torch.__version__}")
    return (*own, *(f"{name} {installed(name) or 'not installed'}" for name in packages))


def installed(package: str) -> str | None:
    """Its version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor(threads: int) -> str:
    """The machine, without its name."""
    import torch

    used = f"{threads} thread" + ("s" if threads > 1 else "")
    kind = torch.backends.cpu.get_cpu_capability()
    return f"{platform.system()} on {platform.machine()}, {kind}, {os.cpu_count()} cores, {used}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first row is the head.

    >>> table([["net", "ratio"], ["a|b", "1.00"]])
    ['| net | ratio |', '| --- | --- |', '| a\\\\|b | 1.00 |']
    """
    head, *rest = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [_row(head), _row(["---"] * len(head)), *map(_row, rest)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
