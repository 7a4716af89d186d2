"""Analyse every model of a zoo, check what is said of each, and write down the results.

    python benchmarks/zoo.py [--zoo FILE] [--names NAME ...] [--kinds KIND ...] [--limit N] [--check] [--out STEM]

Without --zoo: the nets of `nets.py`. What a zoo is: `zoofile.py`. Results are written after every model; models that
are in the results already, of the same code, are not done again. Exit code 0: all is well; 1: an answer that does
not hold, a refusal that nothing confirms, a crash or a traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the repository, not this folder, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import overlapcalc as oc
from benchmarks import page as pages
from benchmarks.isolation import isolated
from benchmarks.record import record
from benchmarks.zoofile import Zoo, ZooError, load

HERE = Path(__file__).resolve().parent
PACKAGES = ("torch", "networkx", "timm", "torchvision", "segmentation-models-pytorch")
Record = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    warnings.simplefilter("ignore")
    try:
        zoo = load(options.zoo)
        names = zoo.chosen(options.names, options.kinds, options.limit)
    except ZooError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{zoo.kind(n)}\t{n}" for n in names))
        return 0
    results = Results(options.out, zoo, options.check)
    models = {} if options.fresh else results.kept(names, any_code=options.resume)
    started = time.perf_counter()
    zoo.preload()
    _warm()
    for i, name in enumerate(names, 1):
        if name in models:
            continue
        found = isolated(partial(_work, zoo, name, options.check), options.timeout)
        models[name] = {"kind": zoo.kind(name), **found}
        print(f"[{i:>{len(str(len(names)))}}/{len(names)}] {_progress(name, models[name])}", flush=True)
        results.write({n: models[n] for n in names if n in models})
    results.write({n: models[n] for n in names if n in models})
    print(f"\n{len(models)} models in {(time.perf_counter() - started) / 60:.1f} min")
    print("\n".join(pages.summary(models)))
    for title, lines in pages.sections(models)[:4]:
        print(f"\n{title}: {len(lines) or 'none'}", *lines, sep="\n")
    return 1 if any(_bad(r) for r in models.values()) else 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/zoo.py", description="Analyse and check a zoo of models.")
    parser.add_argument(
        "--zoo", type=Path, default=HERE / "nets.py", metavar="FILE", help="a zoo file (benchmarks/zoofile.py)"
    )
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="only these; NAME* for all that begin so"
    )
    parser.add_argument("--kinds", nargs="+", default=[], metavar="KIND", help="only models of these kinds")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of them")
    parser.add_argument("--check", action="store_true", help="hold answers and refusals against runs of the models")
    parser.add_argument("--timeout", type=float, default=900, metavar="S", help="seconds per model (900)")
    parser.add_argument("--out", type=Path, metavar="STEM", help="write STEM.json and STEM.md (an ending is dropped)")
    parser.add_argument("--fresh", action="store_true", help="do models again that are in the results")
    parser.add_argument("--resume", action="store_true", help="keep results of other versions of the code too")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    return parser.parse_args(argv)


def _work(zoo: Zoo, name: str, checked: bool, send: Any) -> None:
    record(zoo, name, checked=checked, send=send)


def _warm() -> None:
    """Import what torch.export imports on first use, before the processes of the models part from this one."""
    import torch

    torch.set_num_threads(1)
    oc.analyze(torch.nn.Conv2d(1, 1, 3), (1, 1, 8, 8))


def _progress(name: str, r: Record) -> str:
    check = r.get("check", {}).get("status", "")
    seconds = r["seconds"]
    times = " ".join(f"{k} {v:.1f}" for k, v in seconds.items() if v is not None)
    causes = ", ".join(f"{g['cause']} {g['layers']}" for g in r.get("obstacles", ()))
    error = r["error"]["kind"] if r.get("error") else ""
    return "  ".join(part for part in (name, r["result"], check, causes, error, f"({times})") if part)


def _bad(r: Record) -> bool:
    crashed = bool(r.get("error")) and not r["error"].get("on_purpose")
    return crashed or r.get("check", {}).get("status") in ("suspicious", "failed", "error", "crashed")


class Results:
    """The files of one run. The JSON is the record, the page is made of it."""

    def __init__(self, out: Path | None, zoo: Zoo, checked: bool) -> None:
        self._stem = None if out is None else out.with_suffix("") if out.suffix in (".json", ".md") else out
        self._header = {
            "zoo": zoo.label,
            "command": _command(zoo),
            "checked": checked,
            "overlapcalc": oc.__version__,
            "commit": _commit(),
            "code": _fingerprint(),
            "versions": _versions(),
        }

    def kept(self, names: list[str], *, any_code: bool) -> dict[str, Record]:
        """Models already there, of this zoo and of the same code."""
        if self._stem is None or not self._stem.with_suffix(".json").exists():
            return {}
        found = json.loads(self._stem.with_suffix(".json").read_text())
        same = ["zoo", "checked", "versions", *([] if any_code else ["code"])]
        if any(found["header"].get(key) != self._header[key] for key in same):
            return {}
        return {n: found["models"][n] for n in names if n in found["models"]}

    def write(self, models: dict[str, Record]) -> None:
        if self._stem is None:
            return
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"header": self._header, "models": models}, indent=1)
        for suffix, content in ((".json", text + "\n"), (".md", pages.page(self._header, models))):
            unfinished = self._stem.with_suffix(suffix + ".part")
            unfinished.write_text(content)
            unfinished.replace(self._stem.with_suffix(suffix))


def _command(zoo: Zoo) -> str:
    """The command line, without the directories of this machine."""
    words = [zoo.label if w.endswith(zoo.label) else Path(w).name if w.startswith("/") else w for w in sys.argv[1:]]
    return " ".join(["python benchmarks/zoo.py", *words])


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    dirty = subprocess.run(
        ["git", "-C", str(HERE.parent), "status", "--porcelain", "overlapcalc", "benchmarks/*.py"],
        capture_output=True,
        text=True,
    )
    return (
        done.stdout.strip() + (" with changes" if dirty.stdout.strip() else "") if done.returncode == 0 else "unknown"
    )


def _fingerprint() -> str:
    """Of all code that the results depend on."""
    digest = hashlib.sha256()
    for file in sorted([*Path(oc.__file__).parent.rglob("*.py"), *HERE.glob("*.py")]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _versions() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    raise SystemExit(main())
