"""The command line: as a process of its own, and, much cheaper, in this one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import sysconfig
import traceback
from pathlib import Path

from overlapcalc.cli import main

ROOT = Path(__file__).parents[2]
STDLIB = Path(sysconfig.get_path("stdlib"))


def spawn(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user starts it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        [sys.executable, "-m", "overlapcalc", *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has torch imported already; what it leaves behind is taken away."""
    modules, path, here, variables = set(sys.modules), list(sys.path), Path.cwd(), dict(os.environ)
    out, err = io.StringIO(), io.StringIO()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path.insert(0, "")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code: object = main(list(arguments))
            except SystemExit as stop:
                code = stop.code
            except Exception:  # with --debug
                traceback.print_exc()
                code = 1
    finally:
        os.chdir(here)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(variables)
        for name in set(sys.modules) - modules:
            if not _stays(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
    return subprocess.CompletedProcess(arguments, int(code or 0), out.getvalue(), err.getvalue())  # type: ignore[call-overload]


def _stays(file: str | None) -> bool:
    """Whether a module that a command imported is for good: installed, or ours, and no file of a test."""
    if file is None or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return True
    return any(Path(file).is_relative_to(place) for place in (STDLIB, ROOT / "overlapcalc"))
