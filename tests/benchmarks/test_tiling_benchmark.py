"""The tiling benchmark: figures of the right things, wrong tools seen as wrong, missing ones said to be missing."""

from __future__ import annotations

import pytest
import torch
from shared.thorough import few

import overlapcalc as oc
from benchmarks import highwater, subjects
from benchmarks.cost import memory
from benchmarks.cost.interior import interior
from benchmarks.highwater import NotMeasured, growth
from benchmarks.page import Origin
from benchmarks.process import apart, here
from benchmarks.subjects import FOUR
from benchmarks.tiling import compare, measure
from benchmarks.tiling.page import TARGETS, page, verdict
from benchmarks.tiling.tools import TOOLS, Tool, job

pytestmark = pytest.mark.usefixtures("traced_once")

SIZE = (96, 160)


@pytest.mark.parametrize("name", FOUR)
def test_the_four_nets_make_images_and_keep_the_signal(name):
    net, x = subjects.build(name), subjects.example(subjects.shape(name, 64, 96), torch.float32)
    with torch.no_grad():
        y = net(x)
    finer = y if name == "decoder" else x
    assert finer.shape == (1, 3, 64, 96)
    assert 0.1 < float(y.std()) < 10
    again = subjects.build(name)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


# ---- the tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", few(few(FOUR, 2), 1))
def test_ours_is_right_and_blocks_alone_are_wrong(name):
    shape = subjects.shape(name, *SIZE)
    net, x = subjects.build(name).double(), subjects.example(shape, torch.float64)
    with torch.no_grad():
        whole = net(x)
        for tool, right in (("ours", True), ("alone", False)):
            out = TOOLS[tool].prepare(job(net, shape, 32))(x)
            assert out.shape == whole.shape
            assert (float((out - whole).abs().max() / whole.abs().max()) < 1e-12) == right


def test_a_job_is_in_samples_of_the_input():
    found = job(subjects.build("decoder"), subjects.shape("decoder", *SIZE), 32)
    assert (found.block, found.step, found.before, found.after, found.halo) == (2, 1, 1, 2, 2)
    found = job(subjects.build("encoder"), subjects.shape("encoder", *SIZE), 32)
    assert (found.block, found.step, found.before, found.after, found.halo) == (32, 16, 32, 16, 32)


@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if tool.package])
def test_other_tools_run_where_they_are_installed(tool):
    if TOOLS[tool].version is None:
        pytest.skip("not installed")
    found = here(measure.values, net="stack", shape=subjects.shape("stack", *SIZE), tool=tool, block=64)
    assert found["fed"] > 1
    assert (found["differs"] < 1e-5) == (tool != "monai")


# ---- one measurement ----------------------------------------------------------------------------------------


def test_samples_fed_are_those_of_the_run_alone():
    task = {"net": "encoder", "shape": subjects.shape("encoder", *SIZE), "block": 32}
    found = here(measure.values, tool="alone", **task)
    assert found["fed"] == 1.0
    assert "seconds" not in found
    found = here(measure.values, tool="ours", timed=True, **task)
    assert found["fed"] == pytest.approx((96 + 2 * 48) * (160 + 4 * 48) / (96 * 160))
    assert found["seconds"] > 0


def test_what_fails_in_a_measurement_is_its_error():
    net, shape = "stack", (1, 3, 32, 32)
    assert "KeyError" in here(measure.values, net=net, shape=shape, tool="nothing", block=32)["error"]
    assert "RuntimeError" in here(measure.memory, net=net, shape=(1, 4, 32, 32))["error"]
    assert apart(measure.memory, timeout=0.01, net=net, shape=shape)["error"] == "not ready after 0.01 s"


def test_memory_is_that_of_the_call():
    memory = oc.plan(subjects.build("stack"), (1, 3, 256, 256)).full_memory
    assert memory is not None
    planned = memory.activations
    found = apart(measure.memory, quiet=True, net="stack", shape=(1, 3, 256, 256))
    if "error" in found:
        pytest.skip(found["error"])
    assert found["growth"] == pytest.approx(planned, rel=0.3)


def test_memory_that_cannot_be_measured_is_no_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(highwater, "RESET", tmp_path / "none" / "clear_refs")
    with pytest.raises(NotMeasured, match="cannot be set back"):
        growth(lambda: None)


# ---- the pages ----------------------------------------------------------------------------------------------


def row(**more: object) -> dict[str, object]:
    return {
        "net": "stack", "tool": "ours", "block": 128, "size": (512, 768), "fed": 1.26, "differs": 1e-7, "wrong": False,
        "seconds": 1.5, "whole": 1.0, "setup": 0.5, "memory": {"growth": 2**20}, "whole_memory": {"growth": 2**22},
        "plan": 2**20, "plan_whole": 2**21, "double": {"differs": 1e-16}, **more,
    }  # fmt: skip


def test_the_page_has_a_row_for_whatever_happened():
    others = [
        {"net": "stack", "tool": "monai", "block": 128, "size": (512, 768), "error": "not installed"},
        {
            "net": "stack",
            "tool": "lightstream",
            "block": 128,
            "size": (512, 768),
            "fed": 1.5,
            "error": "wrong shape: [1]",
        },
        row(tool="alone", fed=1.0, differs=0.5, wrong=True),
    ]
    text = page([row(), *others], (512, 768), 1, Origin("command", "abc1234", "2026-11-26", ("torch 0",), ""))
    assert "| 128 | overlapcalc, crop | 1.260 | 1.263 | 1.0e-07 | 1.0e-16 | 1.50 | 0.50 | 0.250 | right |" in text
    assert "| 128 | MONAI sliding window |  |  |  |  |  |  |  | not installed |" in text
    assert "| 128 | lightstream, tile = block | 1.500 |  |  |  |  |  |  | wrong shape: [1] |" in text
    assert "0.5" in text.split("control")[1].split("wrong values")[0]
    assert "| stack | 128 | 4.0 | 2.0 | 2.00 | 1.0 | 1.0 | 1.00 |" in text
    assert verdict(others[0]) == "not installed"


def test_ours_must_be_right_and_within_its_target():
    assert not compare.bad(row())
    assert compare.bad(row(wrong=True))
    assert compare.bad(row(error="crashed"))
    assert compare.bad(row(fed=TARGETS["stack", 128] + 0.001))
    assert not compare.bad(row(tool="monai", wrong=True))


def test_a_tool_that_is_missing_or_fails_does_not_stop_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "apart", here)
    missing = Tool("nobody's", "a-package-that-nobody-has", TOOLS["ours"].prepare)
    monkeypatch.setitem(TOOLS, "monai", missing)
    out = tmp_path / "results" / "page.md"
    arguments = ["--nets", "encoder", "--blocks", "32", "--size", *map(str, SIZE), "--tools", "ours", "monai"]
    assert compare.main([*arguments, "--out", str(out)]) == 0
    text = out.read_text()
    assert "nobody's |  |  |  |  |  |  |  | not installed |" in text
    assert "| right |" in text
    assert str(tmp_path) not in text
    capsys.readouterr()


def test_memory_page(capsys, monkeypatch):
    monkeypatch.setattr(memory, "apart", here)
    assert memory.main(["--nets", "encoder", "examples/obstacle", "--size", "64", "96"]) == 0
    text = capsys.readouterr().out
    assert "| encoder | float32 |" in text
    assert "| examples/obstacle | float32 |" in text


@pytest.mark.parametrize(("name", "most"), few([("stack", 1.16), ("encoder", 1.62), ("decoder", 1.09)], 1))
def test_work_of_an_interior_block_that_is_trimmed(name, most):
    """Blocks of 128. A stack by hand: layer i of ten computes 128 + 2 * (10 - i) samples to a side, ends at 128."""
    macs, kernel = interior(name, 128, "trim")
    assert 1 < macs <= most
    assert kernel >= macs
    if name == "stack":
        channels = [3 * 32, *[32 * 32] * 8, 32 * 3]
        work = sum(c * (128 + 2 * (9 - i)) ** 2 for i, c in enumerate(channels))
        assert macs == kernel == pytest.approx(work / (sum(channels) * 128**2))
