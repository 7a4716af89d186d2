"""A project on disk with guarded models, checked in this process."""

from __future__ import annotations

import contextlib
import io
import os
import time
from dataclasses import dataclass
from pathlib import Path

from overlapcalc.cli import main

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
CHAIN = HEAD + (
    "class Net(nn.Module):\n"
    "    def __init__(self, k=5):\n"
    "        super().__init__()\n"
    "        self.a = nn.Conv2d(1, 2, 3, padding=1)\n"
    "        self.b = nn.Conv2d(2, 1, k, stride=2, padding=k // 2)\n"
    "    def forward(self, x):\n"
    "        y = self.a(x)\n"
    "        return self.b(y)\n"
)
GLOBAL = HEAD + (
    "class Net(nn.Module):\n"
    "    def forward(self, x):\n"
    "        return x - x.mean((2, 3), keepdim=True)\n"
)  # fmt: skip
NORMS = HEAD + (
    "def Net():\n"
    "    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),\n"
    "                         nn.GroupNorm(1, 4), nn.Conv2d(4, 1, 3, padding=1))\n"
)
ENTRY = '[[tool.overlapcalc.models]]\nname = "{name}"\nspec = "{spec}"\ninput = "1x1x32x32"\n{more}\n'


def entry(name: str = "net", spec: str = "net.py:Net", more: str = "") -> str:
    return ENTRY.format(name=name, spec=spec, more=more)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A directory with a configuration; `check()` and `lock()` are the commands, in this process."""

    root: Path

    def write(self, name: str, text: str, *, age: float = 5.0) -> Path:
        """A file that was written a while ago: what was written just now is never cached."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
        then = time.time() - age
        os.utime(file, (then, then))
        return file

    def configure(self, *entries: str) -> Path:
        return self.write("pyproject.toml", "".join(entries))

    @property
    def lock_bytes(self) -> bytes:
        return (self.root / "overlapcalc.lock").read_bytes()

    def check(self, *arguments: str, cache: bool = False) -> Said:
        return self.run("check", *([] if cache else ["--no-cache"]), *arguments)

    def lock(self) -> Said:
        return self.run("lock")

    def run(self, command: str, *arguments: str) -> Said:
        """Not under GitHub Actions, unless a test sets it up."""
        out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.root)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code: object = main([command, *arguments])
                except SystemExit as stop:
                    code = stop.code
        finally:
            os.chdir(here)
        return Said(int(str(code or 0)), out.getvalue(), err.getvalue())
