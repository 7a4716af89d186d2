"""What the documentation of the guard says is so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from shared.guarded import CHAIN, NORMS, Project, entry

from overlapcalc.guard.claims import KINDS
from overlapcalc.guard.config import OPTIONS, read_config

ROOT = Path(__file__).parents[2]
DOCS, README = ((ROOT / name).read_text() for name in ("docs/guard.md", "README.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_every_key_is_documented_and_no_other(project: Project):
    rows = re.findall(r"^\| `([a-z-]+)(?: = true)?` \|", DOCS, re.MULTILINE)
    prose = ["image", "block", "schedule", "disk", "spill"]
    assert sorted([*rows, *prose]) == sorted([*OPTIONS, *KINDS])
    assert all(f"`{key}`" in DOCS for key in prose)


def test_the_configuration_of_the_docs_holds(project: Project):
    text, _, _ = blocks(DOCS, "toml")
    shutil.copy(ROOT / "examples/codec.py", project.root)
    file = project.configure(text)
    claimed = {claim.key for model in read_config(file).models for claim in model.claims}
    assert claimed == set(KINDS) - {"causal", "max-skew", *BY_PASSES}  # an encoder reads ahead, and needs no passes
    said = project.check()
    assert said.code == 0, said.out


def test_the_configuration_of_a_net_in_time_holds(project: Project):
    _, text, _ = blocks(DOCS, "toml")
    project.write("filter.py", "from torch import nn\n\ndef Net():\n    return nn.Conv1d(1, 1, 1921, padding=960)\n")
    file = project.configure(text)
    assert project.check().code == 0  # 960 samples are 20 ms
    project.configure(file.read_text().replace("48000", "47999"))
    assert project.check().code == 1


BY_PASSES = {"runs", "max-passes", "max-disk"}


def test_the_configuration_of_a_net_that_is_not_local_holds(project: Project):
    _, _, text = blocks(DOCS, "toml")
    project.write("restore.py", NORMS)
    file = project.configure(text)
    claimed = {claim.key for model in read_config(file).models for claim in model.claims}
    assert claimed > BY_PASSES
    said = project.check()
    assert said.code == 0, said.out


def test_the_workflow_uses_nothing_but_the_package_and_runs(project: Project):
    workflow = blocks(DOCS, "yaml")[0]
    uses = re.findall(r"- uses: (\S+)", workflow)
    assert [name.partition("@")[0] for name in uses] == ["actions/checkout", "actions/setup-python"]
    install, *commands = re.findall(r"- run: (.*)", workflow)
    assert install == "pip install overlapcalc"
    project.write("net.py", CHAIN)
    for more, code in (("max-tile = 4", 0), ("max-tile = 3", 1)):
        project.configure(entry(more=more))
        assert [project.run(*command.split()[1:]).code for command in commands] == [code]


def test_the_hook_runs(project: Project):
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text()
    (name,) = re.findall(r"^- id: (.*)$", hook, re.MULTILINE)
    assert f"- id: {name}" in blocks(DOCS, "yaml")[1]
    (command,) = re.findall(r"^  entry: (.*)$", hook, re.MULTILINE)
    assert command.split()[0] == "overlapcalc"
    project.write("net.py", CHAIN)
    project.configure(entry())
    assert project.run(*command.split()[1:]).code == 0
    (files,) = re.findall(r"^  files: (.*)$", hook, re.MULTILINE)
    for changed in ("pyproject.toml", "sub/overlapcalc.lock", "sub/net.py"):
        assert re.search(files, changed)


def test_the_readme_shows_what_check_prints_to_the_letter(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    (text,) = blocks(README, "toml")
    code = (ROOT / "examples/codec.py").read_text()
    project.write("examples/codec.py", code)
    project.configure(text)
    assert project.lock().code == 0
    assert project.check().code == 0
    project.write("examples/codec.py", code.replace("GDN(N), conv(N, M))", "GDN(N), conv(N, M, 7))"))
    said = project.check()
    assert said.code == 1
    assert README.partition("$ overlapcalc check\n")[2].partition("```")[0] == said.out
