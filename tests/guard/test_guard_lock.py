"""The lock: the same bytes for the same needs, other words for others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from shared.guarded import CHAIN, GLOBAL, HEAD, Project, entry
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.guard.lock_diff import compare
from overlapcalc.guard.lockfile import VERSION, lock_text, read_lock
from overlapcalc.guard.needs import _word as word_of
from overlapcalc.guard.needs import needs_of
from overlapcalc.guard.requirements import Requirements
from overlapcalc.ops.graph import Constant, Node

ROOT = Path(__file__).parents[2]


_locks: dict[tuple[str, ...], bytes] = {}


def locked(project: Project, source: str, *entries: str) -> bytes:
    """The lock of these models, which is there then. One that was made before in a project like this is copied."""
    project.write("net.py", source)
    project.configure(*(entries or (entry(),)))
    anew, of = not (project.root / "overlapcalc.lock").exists(), (source, *entries)
    if anew and of in _locks:
        (project.root / "overlapcalc.lock").write_bytes(_locks[of])
        return _locks[of]
    said = project.lock()
    assert said.code == 0, said.err
    if anew:
        _locks[of] = project.lock_bytes
    return project.lock_bytes


def test_what_a_lock_says(project: Project):
    """The figures are those of test_guard_claims.py, by hand."""
    text = locked(project, CHAIN).decode()
    for figure in (
        "context.before = 3", "context.after = 2", "tile.before = 4", "tile.after = 2", "step = 2", "out-step = 1",
        'scale = "2"', "receptive-field.max = 7", "blocking-free = true", 'input = ["1x1x32x32"]',
    ):  # fmt: skip
        assert f"\n{figure}\n" in text
    assert 'b = { op = "conv2d", kernel = 5, padding = 2, stride = 2 }\n' in text
    assert text.endswith("\n")
    assert "\r" not in text


SAME = {
    "a renamed local": CHAIN.replace("y", "renamed"),
    "a renamed argument": CHAIN.replace("(self, x)", "(self, image)").replace("a(x)", "a(image)"),
    "moved lines": CHAIN.replace("class Net", "# a comment\n\n\nNUMBER = 3\n\n\nclass Net"),
    "another class for a local": CHAIN.replace("Net", "Other") + "Net = Other\n",
    "ends of lines of Windows": CHAIN.replace("\n", "\r\n"),
    "one expression": CHAIN.replace("        y = self.a(x)\n", "").replace("self.b(y)", "self.b(self.a(x))"),
    "layers registered in another order": CHAIN.replace(
        "        self.a = nn.Conv2d(1, 2, 3, padding=1)\n", ""
    ).replace("k // 2)\n", "k // 2)\n        self.a = nn.Conv2d(1, 2, 3, padding=1)\n"),
    "other weights": CHAIN.replace("super().__init__()", "super().__init__(); torch.manual_seed(7)"),
}  # fmt: skip


@pytest.mark.parametrize("name", few(SAME, 3))
def test_what_changes_nothing_changes_no_byte(project: Project, name):
    assert SAME[name] != CHAIN
    first = locked(project, CHAIN)
    assert locked(project, SAME[name]) == first
    assert project.check().code == 0


def test_the_order_of_tables_and_keys_changes_no_byte(project: Project):
    one = entry("a", more='kwargs = {k = 5}\naxes = ["H", "W"]')
    two = entry("b", more='axes = ["W", "H"]')
    first = locked(project, CHAIN, one, two)
    assert locked(project, CHAIN, two, one) == first
    turned = "".join(reversed(one.splitlines(keepends=True)[1:]))
    assert locked(project, CHAIN, "[[tool.overlapcalc.models]]\n", turned, two) == first


def test_another_process_writes_the_same_bytes(project: Project):
    """Another seed of hashes, too."""
    project.write("whole.py", GLOBAL)
    first = locked(project, CHAIN, entry(), entry("global", "whole.py:Net"))
    (project.root / "overlapcalc.lock").unlink()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "overlapcalc", "lock"], cwd=project.root, env=env, check=True, timeout=120)
    assert project.lock_bytes == first


def test_no_line_name_of_a_tracer_version_or_path_gets_in(project: Project):
    text = locked(project, CHAIN + "# " + GLOBAL.replace("\n", "\n# ")).decode()
    assert str(project.root) not in text
    assert "net.py" not in text
    assert not re.search(r"\b(add|conv2d|y|x|_|getitem)_?\d+\b|p_|torch|__", text.replace("conv2d", ""))


def test_several_outputs_and_inputs_go_by_their_place(project: Project):
    two = HEAD + (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.c = nn.Conv2d(1, 1, 3, padding=1)\n"
        "    def forward(self, x, z):\n"
        "        return {'b': self.c(x), 'a': x + z}\n"
    )
    both = entry().replace('"1x1x32x32"', '["1x1x32x32", "1x1x32x32"]')
    text = locked(project, two, both).decode()
    assert "[model.net.output0.input0.W]\ncontext.after = 1\n" in text
    assert '[model.net.output0.input1.W]\ncontext = "nothing"\n' in text
    assert "[model.net.output1.input1.W]\ncontext.after = 0\n" in text
    renamed = two.replace("x, z", "first, second").replace("(x)", "(first)").replace("x + z", "first + second")
    assert locked(project, renamed, both).decode() == text


@pytest.mark.parametrize("transposed", [False, True])
def test_an_operator_that_another_torch_calls_otherwise_has_one_word(transposed):
    """torch 2.5 lowers some calls to aten::convolution, 2.13 to aten::conv2d."""
    weight = Constant((1, 1, 3, 3))
    arguments = {"weight": weight, "transposed": transposed}
    word = "conv_transpose2d" if transposed else "conv2d"
    assert word_of(Node("a", "aten::convolution", arguments, (1, 1, 8, 8))) == word
    assert word_of(Node("a", f"aten::{word}", {"weight": weight}, (1, 1, 8, 8))) == word
    assert {word_of(Node("a", f"aten::{op}", {}, (1,))) for op in ("view", "_unsafe_view", "reshape")} == {"reshape"}


# ---- comparing ----------------------------------------------------------------------------------------------


def test_a_change_is_said_with_the_layer(project: Project):
    """A kernel of 7: y[2o-3, 2o+4), x[2o-4, 2o+5); tile in steps of 2: 4 before stays 4, 2 after becomes 4."""
    locked(project, CHAIN)
    project.write("net.py", CHAIN.replace("k=5", "k=7"))
    said = project.check()
    assert said.code == 1
    flat = " ".join(said.out.split())
    assert "context.before went from 3 to 4 on H and W" in flat
    assert "context.after went from 2 to 3 on H and W" in flat
    assert "tile.after went from 2 to 4 on H and W: `b` kernel 5 to 7, padding 2 to 3" in flat
    assert "tile.before" not in flat
    assert "overlapcalc check --update" in flat


def test_layers_alone_are_no_change(project: Project):
    """What the net needs is the same: said, and no failure."""
    locked(project, CHAIN)
    project.write("net.py", CHAIN.replace("self.b", "self.last"))
    said = project.check()
    assert said.code == 0
    assert "other layers need as much: `last` is new (conv2d kernel 5, padding 2, stride 2); `b` is gone" in " ".join(
        said.out.split()
    )


def test_an_obstacle_that_appears_or_goes_is_a_change(project: Project):
    locked(project, CHAIN)
    project.write("net.py", GLOBAL)
    flat = " ".join(project.check().out.split())
    assert "blocking-free went from true to false" in flat
    assert "obstacles is new on H and W: mean: global" in flat
    locked(project, GLOBAL)
    project.write("net.py", CHAIN)
    assert "blocking-free went from false to true" in " ".join(project.check().out.split())


def test_every_figure_that_differs_is_a_change():
    """The comparison sees each figure of each place, and true is not 1."""
    now = needs_of(oc.analyze(nn.Conv2d(1, 1, 3, 2, 1), (1, 1, 16, 16)))
    assert compare(now, now).same
    for place, figures in now.places.items():
        for name in figures:
            other = {**now.places, place: {**figures, name: 97}}
            found = compare(Requirements(now.net, other, now.layers), now)
            assert [change.figure for change in found.changes] == [name]
    for name in now.net:
        assert not compare(Requirements({**now.net, name: "97"}, now.places, now.layers), now).same
    assert not compare(Requirements({**now.net, "blocking-free": 1}, now.places, now.layers), now).same
    assert not compare(Requirements(now.net, {}, now.layers), now).same
    text = compare(
        Requirements({**now.net, "zoo": "3"}, now.places, now.layers), replace(now, net={**now.net, "zoo": 3})
    )
    assert str(text.changes[0]) == "zoo went from '3' to 3"


# ---- the file -----------------------------------------------------------------------------------------------


def test_a_lock_is_read_as_it_was_written(tmp_path: Path):
    """Names that TOML must quote, too."""
    net = {"blocking-free": True, "input": ("1x2", "1x3"), "size-verified": False}
    places = {("output0", "input", "W"): {"tile.before": 3, "tile.after": -2, "obstacles": ('a "b"', "c")}}
    needs = Requirements(
        net, places, {'od"d\\\x7f\n.layer#2': {"op": "é", "pad": [1, -2], "ceil_mode": True, "factor": 1.5}}
    )
    written = {'a "b".c\\d': needs, "ü": needs, "plain-name_2": Requirements(net, {}, {})}
    file = tmp_path / "overlapcalc.lock"
    file.write_bytes(lock_text(written).encode())
    assert read_lock(file) == written
    assert read_lock(tmp_path / "none") is None


def test_a_lock_with_ends_of_lines_of_windows_is_the_same(project: Project):
    locked(project, CHAIN)
    file = project.root / "overlapcalc.lock"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert project.check().code == 0


DAMAGED = {
    "half a file": lambda text: text[: len(text) // 2],
    "a conflict of a merge": lambda text: "<<<<<<< HEAD\n" + text,
    "another version": lambda text: text.replace("version = 1", "version = 0"),
    "no version": lambda text: text.replace("version = 1\n", ""),
    "version true": lambda text: text.replace("version = 1", "version = true"),
    "no figures": lambda text: text.replace('input = ["1x1x32x32"]\n', ""),
    "a figure of another type": lambda text: text.replace("blocking-free = true", "blocking-free = 1.5"),
    "an unknown key": lambda text: "extra = 1\n" + text,
    "models that are no table": lambda text: "version = 1\nmodel = 3\n",
    "bytes": lambda text: "\ufffe\0",
}


@pytest.mark.parametrize("name", few(DAMAGED, 5))
def test_a_damaged_lock_is_refused_by_name_and_can_be_written_anew(project: Project, name):
    first = locked(project, CHAIN)
    file = project.root / "overlapcalc.lock"
    file.write_text(DAMAGED[name](first.decode()), encoding="utf-8")
    said = project.check()
    assert said.code == 2
    assert f"{file}: " in said.err
    assert "overlapcalc lock" in said.err
    assert project.check("--update").code == 0
    assert project.lock_bytes == first


def test_a_newer_lock_is_refused_and_left_alone(project: Project):
    newer = locked(project, CHAIN).replace(b"version = 1", b"version = %d" % (VERSION + 1))
    (project.root / "overlapcalc.lock").write_bytes(newer)
    for said in (project.check(), project.check("--update"), project.lock()):
        assert said.code == 2
        assert "update overlapcalc" in said.err
    assert project.lock_bytes == newer


def test_update_is_whole_or_not_at_all(project: Project):
    first = locked(project, CHAIN, entry(), entry("other"))
    project.write("net.py", CHAIN.replace("k=5", "k=7"))
    project.configure(entry(), entry("other", "broken.py:Net"))
    said = project.check("--update")
    assert said.code == 2
    assert project.lock().code == 2
    assert project.lock_bytes == first
    assert not [file for file in os.listdir(project.root) if file.startswith(".overlapcalc.lock")]


def test_update_writes_although_a_claim_does_not_hold(project: Project):
    locked(project, CHAIN)
    project.configure(entry(more="max-tile = 4"))
    project.write("net.py", CHAIN.replace("k=5", "k=9"))
    said = project.check("--update")
    assert said.code == 1
    assert "overlapcalc.lock is written" in said.out
    project.configure(entry())
    assert project.check().code == 0


def test_update_of_one_model_leaves_the_others(project: Project):
    locked(project, CHAIN, entry("a"), entry("b"))
    project.write("net.py", CHAIN.replace("k=5", "k=7"))
    assert project.check("--update", "--model", "a").code == 0
    assert project.check("--model", "a").code == 0
    assert project.check("--model", "b").code == 1


def test_models_that_come_and_go_are_said(project: Project):
    locked(project, CHAIN, entry("a"), entry("b"))
    project.configure(entry("b"), entry("c"))
    said = project.check()
    assert said.code == 1
    assert "c is not in overlapcalc.lock" in said.out
    assert "a: in overlapcalc.lock, but no longer configured" in said.out
    assert project.check("--model", "b").code == 0
    assert "no longer in it: a, not configured in pyproject.toml" in project.lock().out
    assert project.check().code == 0
    assert b"model.a" not in project.lock_bytes


def test_a_second_configuration_beside_the_first_is_seen_to_drop_its_models(project: Project):
    locked(project, CHAIN, entry("a"))
    project.write("other.toml", entry("b"))
    assert (
        "a: in overlapcalc.lock, but no longer configured in other.toml" in project.check("--config", "other.toml").out
    )
    said = project.check("--config", "other.toml", "--update")
    assert "No longer in it: a, not configured in other.toml." in said.out


def test_a_model_that_nothing_is_held_against_says_so(project: Project):
    project.write("net.py", CHAIN)
    project.configure(entry("bare"), entry("claimed", more="step = 2"))
    said = project.check()
    assert said.code == 0
    assert said.out.count("nothing is claimed and there is no lock") == 1
    assert project.lock().code == 0
    assert "nothing is claimed" not in project.check().out


def test_a_lock_with_the_mark_of_an_editor_of_windows_is_read(project: Project):
    locked(project, CHAIN, entry("a"))
    (project.root / "overlapcalc.lock").write_bytes(b"\xef\xbb\xbf" + project.lock_bytes)
    assert project.check().code == 0


def test_without_a_lock_claims_are_checked_and_a_note_says_how_to_make_one(project: Project):
    project.write("net.py", CHAIN)
    project.configure(entry(more="max-tile = 4"))
    said = project.check()
    assert said.code == 0
    assert "`overlapcalc lock` makes one" in said.out
    project.configure(entry(more="max-tile = 3"))
    assert project.check().code == 1


def test_a_wider_kernel_is_seen_in_a_net_with_obstacles(project: Project):
    """Beside the norm, kernels of 3 and 5 reach 1 + 2 samples; of 3 and 7, 1 + 3."""
    source = (
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.Conv2d(2, 1, 5, padding=2))\n"
    )
    text = locked(project, source, entry(more='runs = "passes"\n')).decode()
    assert "\nbeside.after = 3\nbeside.before = 3\nbeside.step = 1\n" in text
    assert project.check().code == 0
    project.write("net.py", source.replace("5, padding=2", "7, padding=3"))
    said = project.check()
    assert said.code == 1
    assert "beside.before went from 3 to 4" in " ".join(said.out.split())
    project.write("net.py", source.replace("5, padding=2", "3, padding=1"))
    assert "beside.after went from 3 to 2" in " ".join(project.check().out.split())
