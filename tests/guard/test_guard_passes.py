"""Claims of nets that are not local: what runs, in how many passes, with how much memory and disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
from shared.guarded import CHAIN, GLOBAL, HEAD, NORMS, Project, entry
from shared.once import Traces
from shared.thorough import few

import overlapcalc as oc
from overlapcalc.guard import check
from overlapcalc.guard.claims.passes import HOW
from overlapcalc.ops import registry
from overlapcalc.ops.parts import reduction_of

ROWS = HEAD + (
    "class Net(nn.Module):\n"
    "    def forward(self, x):\n"
    "        return x - x.mean(3, keepdim=True)\n"
)  # fmt: skip
SIZED = HEAD + (
    "class Net(nn.Module):\n"
    "    def forward(self, x):\n"
    "        return F.interpolate(x, size=[n + 3 for n in x.shape[2:]])\n"
)  # fmt: skip
ROWS = HEAD + (
    "class Net(nn.Module):\n"
    "    def forward(self, x):\n"
    "        return x - x.mean(3, keepdim=True)\n"
)  # fmt: skip
RING = HEAD + "def Net():\n    return nn.Conv2d(1, 2, 3, padding=1, padding_mode='circular')\n"
NOISE = HEAD + (
    "class Net(nn.Module):\n"
    "    def forward(self, x):\n"
    "        return x + torch.rand_like(x)\n"
)  # fmt: skip


TRACES = Traces()


def judgement(project: Project, source: str, *more: str):
    project.write("net.py", source)
    with TRACES.once(same=source):
        (found,) = check(project.configure(entry(more="\n".join(more))), keep=False)["net"].judgements
    return found


@pytest.mark.parametrize(
    ("source", "how"), [(CHAIN, "tiles"), (SIZED, "regions"), (NORMS, "passes"), (GLOBAL, "passes"), (NOISE, "nothing")]
)
def test_what_runs_is_exactly_as_claimed(project: Project, source, how):
    for claimed in HOW:
        found = judgement(project, source, f'runs = "{claimed}"')
        assert not found.error
        assert found.holds is (claimed == how), (claimed, how)
        better = HOW.index(how) < HOW.index(claimed)
        assert all(("better than claimed" in failure.help) is better for failure in found.failures)


def test_the_operator_that_is_in_the_way_is_named(project: Project):
    found = judgement(project, NORMS, 'runs = "tiles"')
    first = found.failures[0]
    assert (first.where, first.value, first.layer) == ("H", "3 passes", "1")
    assert first.why == "group_norm is a reduction"
    assert first.path == ("1 (reduction)", "4 (reduction)")
    better = judgement(project, CHAIN, 'runs = "passes"').failures[0]
    assert better.help == 'it is better than claimed: claim "tiles"'
    drawn = judgement(project, NOISE, 'runs = "passes"').failures[0]
    assert drawn.value == "nothing"
    assert "no two runs" in drawn.why


def test_axes_apart(project: Project):
    assert judgement(project, ROWS, 'runs = {H = "tiles", W = "passes"}').holds
    assert not judgement(project, ROWS, 'runs = {H = "passes", W = "passes"}').holds
    assert not judgement(project, ROWS, 'runs = "passes"').holds
    assert judgement(project, ROWS, "max-passes = {H = 1}").holds
    assert not judgement(project, ROWS, "max-passes = 1").holds
    assert judgement(project, ROWS, "max-passes = 2").holds
    assert "names the axis D" in judgement(project, ROWS, 'runs = {D = "tiles"}').error


def test_a_limit_of_passes_holds_at_the_value_and_not_below(project: Project):
    """Two norms: the statistics of either end a pass, and one more gives the output."""
    assert judgement(project, NORMS, "max-passes = 3").holds
    found = judgement(project, NORMS, "max-passes = 2")
    assert not found.holds
    assert found.failures[0].value == "3"
    assert judgement(project, CHAIN, "max-passes = 1").holds
    assert not judgement(project, NOISE, "max-passes = 99").holds


def namespace(source: str):
    found: dict = {}
    exec(source, found)
    return found["Net"]()


@pytest.mark.parametrize("schedule", few(["schedule = 'passes'", ""], 1))
def test_memory_and_disk_hold_at_the_value_and_not_below(project: Project, schedule):
    """The conv of 4 channels in float32, 64 x 48, waits for its norm, twice; both are on disk at once."""
    plan = oc.plan(namespace(NORMS), (1, 1, 48, 64), block=8, schedule="passes")
    setting = ("image = '64x48'", "block = 8", schedule)
    assert plan.passes.disk >= 4 * 64 * 48 * 4
    for key, value in (("max-memory", plan.memory.total), ("max-disk", plan.passes.disk)):
        assert judgement(project, NORMS, *setting, f"{key} = {value}").holds
        found = judgement(project, NORMS, *setting, f"{key} = {value - 1}")
        assert not found.holds
        assert "3 passes in bands of 8 along W" in found.failures[0].value
        assert found.failures[0].why


def test_disk_is_blamed_on_what_is_stored(project: Project):
    failure = judgement(project, NORMS, "image = '64x48'", "block = 8", "max-disk = 1").failures[0]
    assert failure.layer in ("0", "3")
    assert set(failure.path) == {"0 (48 KiB)", "3 (48 KiB)"}


def test_what_is_local_needs_no_disk(project: Project):
    assert judgement(project, CHAIN, "image = '64x48'", "block = 16", "max-disk = 1").holds


def test_work_of_passes_is_that_of_the_whole(project: Project):
    assert judgement(project, NORMS, "image = '64x48'", "block = 8", "max-macs-ratio = 1").holds


def test_other_schedules_do_not_run_it(project: Project):
    for schedule in ("crop", "trim", "stream"):
        found = judgement(project, NORMS, "image = '64x48'", f"schedule = '{schedule}'", "max-memory = '9GiB'")
        assert not found.holds
        assert found.value == "no plan"
        assert [f.layer for f in found.failures] == ["1", "4", "1", "4"]
    drawn = judgement(project, NOISE, "image = '64x48'", "schedule = 'passes'", "max-memory = '9GiB'")
    assert not drawn.holds
    assert not drawn.error


def test_too_little_disk_takes_memory(project: Project):
    setting = "image = '64x48'", "block = 8"
    plan = oc.plan(namespace(NORMS), (1, 1, 48, 64), block=8, schedule="passes")
    assert judgement(project, NORMS, *setting, f"max-memory = {plan.memory.total}").holds
    assert not judgement(project, NORMS, *setting, "disk = '1KiB'", f"max-memory = {plan.memory.total}").holds


WRONG = [
    ("runs = 'bands'", "models.net.runs", "'passes'"),
    ("runs = true", "models.net.runs", "'tiles'"),
    ("runs = {W = 'bands'}", "models.net.runs", "'nothing'"),
    ("max-passes = 0", "models.net.max-passes", "at least 1"),
    ("max-passes = '3'", "models.net.max-passes", "a whole number"),
    ("max-disk = 'much'\nimage = '8x8'", "models.net.max-disk", "2GiB"),
    ("max-disk = 9", "models.net.max-disk", 'add image = "3840x2160"'),
    ("disk = '1GiB'", "models.net.disk", "of which none is claimed"),
    ("max-disk = 9\nimage = '8x8'\ndisk = 'much'", "models.net.disk", "2GiB"),
    ("max-disk = 9\nimage = '8x8'\nspill = 3", "models.net.spill", "the folder"),
    ("max-disk = 9\nimage = '8x8'\nschedule = 'crop'\ndisk = '1GiB'", "models.net.disk", 'schedule = "passes"'),
    ("max-disk = 9\nimage = '8x8'\nschedule = 'stream'\nspill = 'tmp'", "models.net.spill", 'schedule = "passes"'),
]


@pytest.mark.parametrize(("more", "key", "allowed"), WRONG, ids=[more for more, _, _ in WRONG])
def test_wrong_values_are_refused_with_what_is_allowed(project: Project, more, key, allowed):
    project.write("net.py", NORMS)
    project.configure(entry(more=more))
    said = project.check()
    assert said.code == 2
    assert key in said.err + said.out
    assert allowed in said.err + said.out


def test_a_pass_more_fails_the_check(project: Project):
    """A change of the net that needs one pass more fails the check, with the operator's name."""
    project.write("net.py", NORMS)
    claims = "image = '64x48'\nblock = 8\nschedule = 'passes'\nruns = 'passes'\nmax-passes = 3\nmax-disk = '1MiB'"
    project.configure(entry(more=claims))
    assert project.check().code == 0
    project.write("net.py", NORMS.replace("nn.ReLU()", "nn.InstanceNorm2d(4)"))
    said = project.check()
    assert said.code == 1, said.out + said.err
    assert "max-passes" in said.out
    assert "`1`" in said.out


def test_passes_are_proved_where_the_schedule_says_so(project: Project):
    project.write("net.py", NORMS)
    lines = 'verify = "cpu"\nschedule = "passes"'
    (found,) = check(project.configure(entry(more=lines)), keep=False)["net"].judgements
    assert found.holds
    assert found.value == "5 of 5 proofs, schedule passes"
    (without,) = check(project.configure(entry(more='verify = "cpu"')), keep=False)["net"].judgements
    assert not without.holds
    assert without.value == "nothing to prove"
    assert 'set schedule = "passes"' in without.failures[-1].help


def test_a_wrong_combine_is_refuted_by_the_claim(project: Project):
    with registry.kept():
        parts = replace(reduction_of("aten::group_norm"), combine=lambda a, b: a)
        registry._OPERATORS["aten::group_norm"] = replace(registry.known_of("aten::group_norm"), parts=parts)
        found = judgement(project, NORMS, 'verify = "cpu"', 'schedule = "passes"')
    assert not found.holds
    assert {failure.where for failure in found.failures} >= {"exact twin", "values"}


def test_nothing_may_go_to_the_disk(project: Project):
    found = judgement(project, NORMS, "image = '64x48'", "block = 8", "disk = 0", "max-disk = 0")
    assert found.holds
    assert not judgement(project, NORMS, "image = '64x48'", "block = 8", "max-disk = 0").holds


def test_the_outcome_of_proofs_by_passes_is_kept(project: Project):
    """They ask the system which folder is on a disk, and write a file there; neither decides anything."""
    project.write("net.py", GLOBAL)
    project.configure(entry(more='schedule = "passes"\nverify = "cpu"'))
    assert "(unchanged)" not in project.check(cache=True).out
    assert "(unchanged)" in project.check(cache=True).out
