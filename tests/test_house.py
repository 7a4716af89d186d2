"""Imports point down only. A check that can fail: see the last test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "overlapcalc"
TORCH_FREE = (
    "index", "cells", "pairing", "factors", "layout", "views", "graph", "unpool", "grid", "errors", "reach", "propagator", "demand",
    "lattice", "measure", "names", "detail", "layers", "source", "axis", "analysis", "sizecheck", "cli", "version",
    "named", "trail", "frontier", "reasons", "local", "explain", "collector", "pairing", "passing", "growth",
    "sameness", "extent", "asked", "slabplan", "tiling", "work", "plan", "planner", "shares", "amount", "smallest", "image",
)  # fmt: skip
FLOORS = ["errors", "complete", "collector", "named", "version", "amount", "index", "cells", "pairing", "factors", "layout", "graph", "unpool", "grid", "ops", "reach",
          "passing", "views", "propagator", "demand", "lattice", "trail", "measure", "names", "detail", "layers", "frontier",
          "reasons", "sizecheck", "source", "sameness", "axis", "local", "explain", "analysis", "extent", "tiling", "work", "plan", "asked", "slabplan", "planner", "shares",
          "smallest", "image", "growth", "trace", "inputs", "analyze", "engine", "planning", "running", "saved", "spec", "guess", "twin", "proofs",
          "verifying", "files", "guard", "report", "testing", "pytest_plugin", "cli"]  # fmt: skip


def imports(file: Path, top_only: bool = False) -> set[str]:
    """Absolute names of imported modules; relative ones resolved."""
    package = ["overlapcalc", *file.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(file.read_text())
    found = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{a.name}" for a in node.names}
    return found


def floor(name: str) -> int | None:
    parts = name.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 and parts[0] == "overlapcalc" and parts[1] in FLOORS else None


def modules() -> list[Path]:
    return [f for f in PACKAGE.rglob("*.py") if f.name not in ("__init__.py", "__main__.py") or f.parent != PACKAGE]


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_floors(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    used = imports(file)
    if parts[0] in (*TORCH_FREE, "report", "ops"):
        assert not any(n.split(".")[0] == "torch" for n in imports(file))
    if parts[0] not in ("report", "cli"):
        assert not any(n.split(".")[0] == "rich" for n in used)
    mine = FLOORS.index(parts[0])
    for name in used:
        other = floor(name)
        assert other is None or other <= mine, f"{file.name} imports {name}, which lies above it"
    if parts[0] == "report":
        assert not any(n.startswith(("overlapcalc.trace", "overlapcalc.analyze")) for n in used)
    if parts[0] == "ops" and parts[-1] not in ("__init__", "call", "cost", "law", "registry", "slab"):
        families = {f.stem for f in (PACKAGE / "ops").glob("*.py")} - {
            "__init__",
            "call",
            "cost",
            "law",
            "registry",
            "slab",
        }
        for family in families - {parts[-1]}:
            assert f"overlapcalc.ops.{family}" not in used, f"{parts[-1]} imports the family {family}"


def test_index_is_standard_library_only():
    assert not any(
        n.split(".")[0] in ("torch", "networkx", "rich", "overlapcalc") for n in imports(PACKAGE / "index.py")
    )


def test_nothing_but_the_plugin_imports_pytest():
    for file in set(PACKAGE.rglob("*.py")) - {PACKAGE / "pytest_plugin.py"}:
        assert not any(n.split(".")[0] == "pytest" for n in imports(file))


def test_only_the_strategies_import_hypothesis():
    found = {f for f in PACKAGE.rglob("*.py") if any(n.split(".")[0] == "hypothesis" for n in imports(f))}
    assert found == {PACKAGE / "testing" / "strategies.py", PACKAGE / "testing" / "recipes.py"}


def test_brute_force_knows_no_law():
    """Of the package it imports nothing but errors, and what imports it is not the core."""
    oracle = imports(PACKAGE / "testing" / "oracle.py")
    assert {n.split(".")[1] for n in oracle if n.startswith("overlapcalc.")} == {"errors"}
    for file in modules():
        if PACKAGE / "testing" not in file.parents:
            assert not any(n.startswith("overlapcalc.testing") for n in imports(file))


def test_the_check_can_fail(tmp_path):
    bad = PACKAGE / "index.py"
    assert floor("overlapcalc.cli") > floor("overlapcalc.index")
    fake = tmp_path / "x.py"
    fake.write_text("import torch\nfrom overlapcalc.cli import main\n")
    found = {a.name for n in ast.parse(fake.read_text()).body if isinstance(n, ast.Import) for a in n.names}
    assert "torch" in found
    assert "torch" not in imports(bad)
    assert "torch" in imports(PACKAGE / "trace" / "tracer.py")
