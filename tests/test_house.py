"""The house: which folders there are, which floor each lies on, and that imports point down only."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "overlapcalc"
FLOORS = {
    "version": 1, "lazy": 1, "stages": 1, "errors": 1, "algebra": 1,
    "ops": 2,
    "trace": 3, "propagate": 3,
    "analysis": 4, "io": 4,
    "planning": 5,
    "engine": 6,
    "prove": 7,
    "guard": 8, "report": 8,
    "testing": 9,
    "cli": 10,
}  # fmt: skip
"""Of folders and of single modules. On a floor, folders import each other in one direction only."""
TORCH_FREE = {"version", "lazy", "stages", "errors", "algebra", "ops", "propagate", "planning", "report", "cli"}
"""Neither these nor, when they are imported, what they import at once, load torch."""
TORCH_FREE_MODULES = {"analysis": {"analyze", "called", "trying", "inputs", "guess"}}
"""Folders of which all but these modules are free of torch."""
ONLY_IN = {
    "rich": {"report", "cli", "guard"},
    "networkx": {"ops"},
    "pytest": {"guard"},
    "hypothesis": {"testing"},
}
MOST_LINES = 300


def modules() -> list[Path]:
    return sorted(
        f for f in PACKAGE.rglob("*.py") if f.name not in ("__init__.py", "__main__.py") or f.parent != PACKAGE
    )


def folder(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(file: Path) -> set[str]:
    """Absolute names of imported modules and of what is imported from them; relative ones resolved."""
    package = ["overlapcalc", *file.relative_to(PACKAGE).parts[:-1]] if file.is_relative_to(PACKAGE) else []
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{a.name}" for a in node.names}
    return found


def packages(file: Path) -> set[str]:
    """The packages of others that a file imports, anywhere in it."""
    return {name.split(".")[0] for name in imports(file)} - {"overlapcalc"}


def folders(file: Path) -> set[str]:
    """The folders of ours that a file imports."""
    return {name.split(".")[1] for name in imports(file) if name.startswith("overlapcalc.")} & set(FLOORS)


def climbs(file: Path, home: str) -> Iterator[str]:
    """What a file of the folder `home` imports that lies above it."""
    for other in folders(file):
        if FLOORS[other] > FLOORS[home]:
            yield f"{file.name} imports {other}, which lies above {home}"


def test_every_folder_has_a_floor_and_says_what_it_is_for():
    entries = {p.stem for p in PACKAGE.iterdir() if not p.name.startswith("_") and p.suffix in ("", ".py")}
    assert entries == set(FLOORS)
    for file in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(file.read_text())), file


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_down(file):
    home, used = folder(file), packages(file)
    assert not list(climbs(file, home))
    if home in TORCH_FREE or file.stem not in TORCH_FREE_MODULES.get(home, {file.stem}):
        assert "torch" not in used
    for package, homes in ONLY_IN.items():
        assert package not in used or home in homes, f"{file.name} imports {package}"
    assert len(file.read_text().splitlines()) <= MOST_LINES


def test_folders_of_one_floor_do_not_import_each_other_both_ways():
    edges = {(folder(f), other) for f in modules() for other in folders(f)}
    assert not {(a, b) for a, b in edges if a != b and (b, a) in edges}


def test_the_algebra_is_standard_library_only():
    for file in (PACKAGE / "algebra").glob("*.py"):
        assert not packages(file) & {"torch", "networkx", "rich", "numpy"}
        assert folders(file) <= {"algebra"}


def test_a_family_of_rules_imports_no_other_one():
    families = {f.stem for f in (PACKAGE / "ops" / "rules").glob("*.py")} - {"__init__"}
    for family in families:
        used = imports(PACKAGE / "ops" / "rules" / f"{family}.py")
        assert not {other for other in families - {family} if f"overlapcalc.ops.rules.{other}" in used}


def test_a_check_that_finds_nothing_changed_needs_neither_torch_nor_rules():
    """What `overlapcalc check` imports before it asks its cache. The control imports what an analysis does."""
    heavy = {
        "torch",
        "networkx",
        "numpy",
        "overlapcalc.ops.rules",
        "overlapcalc.analysis.analysis",
        "overlapcalc.propagate",
    }
    script = "import sys; from overlapcalc.{0} import *; print(*sys.modules)"
    for module, expected in (
        ("guard.checking", set()),
        ("analysis.analyze", heavy - {"networkx", "overlapcalc.ops.rules"}),
    ):
        done = subprocess.run([sys.executable, "-c", script.format(module)], capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) & heavy == expected


def test_brute_force_knows_no_law():
    """Of the package it imports nothing but errors, and what imports it is not the core."""
    assert folders(PACKAGE / "testing" / "oracle.py") == {"errors"}


def test_the_checks_can_fail(tmp_path):
    fake = tmp_path / "x.py"
    fake.write_text("import torch\nfrom overlapcalc.cli import main\n")
    assert packages(fake) == {"torch"}
    assert list(climbs(fake, "algebra")) == ["x.py imports cli, which lies above algebra"]
    assert not list(climbs(fake, "cli"))
    assert "torch" in packages(PACKAGE / "trace" / "lowering.py")


def test_the_tests_that_are_left_out_for_their_time_exist():
    for name in (ROOT / "tests" / "long.txt").read_text().splitlines():
        file, _, function = name.partition("[")[0].partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), name
