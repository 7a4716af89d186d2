"""Claims about cones: true at the value, false one cell below it; and the cone in the lock."""

from __future__ import annotations

import pytest
from shared.guarded import HEAD, Project, entry
from shared.thorough import few

from overlapcalc.guard import Checked, check

MASKED = HEAD + (
    "class Net(nn.Module):\n"
    "    taps = {taps}\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        mask = torch.zeros(5, 5)\n"
    "        for i, j in self.taps:\n"
    "            mask[i + 2, j + 2] = 1\n"
    '        self.register_buffer("mask", mask)\n'
    "        self.weight = nn.Parameter(torch.rand(1, 1, 5, 5))\n"
    "    def forward(self, x):\n"
    '        return F.conv2d(F.pad(x, (2, 2, 2, 2), "{mode}"), self.weight * self.mask)\n'
)
FOUR = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]


def judged(project: Project, claim: str, taps: list[tuple[int, int]] = FOUR, mode: str = "constant") -> Checked:
    project.write("net.py", MASKED.format(taps=taps, mode=mode))
    found = check(project.configure(entry(more=claim)), keep=False)["net"]
    assert not found.error
    return found


@pytest.mark.parametrize(
    ("holds", "fails"),
    few([("max-cone = 4", "max-cone = 3"), ("max-skew = 2", "max-skew = 1"), ("max-skew = 9", "max-skew = 0")], 1),
)
def test_a_claim_holds_at_its_value_and_not_below(project: Project, holds: str, fails: str):
    assert judged(project, holds).code == 0
    found = judged(project, fails)
    assert found.code == 1
    (judgement,) = found.judgements
    assert judgement.value in ("4 cells", "2")
    if "skew" in fails:
        assert "(-1, 1)" in judgement.failures[0].why


def test_the_skew_is_that_of_the_steepest_tap(project: Project):
    steep = [*FOUR, (-1, 2)]
    assert judged(project, "max-skew = 3", steep).code == 0
    found = judged(project, "max-skew = 2", steep)
    assert found.judgements[0].value == "3"
    assert found.judgements[0].failures[0].why == "because of the cells at (-1, 2)"


def test_raster_order_at_borders_too(project: Project):
    """The own cell may be read; a cell to the right may not, nor a mirrored one."""
    claim = 'causal = "raster"'
    assert judged(project, claim).code == 0
    assert judged(project, claim, [*FOUR, (0, 0)]).code == 0
    (failure,) = judged(project, claim, [*FOUR, (0, 1)]).judgements[0].failures
    assert "(0, 1), which come later" in failure.why
    assert judged(project, claim, [(-1, 0), (0, -1)], "replicate").code == 0  # copies of the own cell
    assert judged(project, claim, FOUR, "replicate").code == 1  # above the first row, (-1, 1) is (0, 1)
    (failure,) = judged(project, claim, FOUR, "reflect").judgements[0].failures
    assert failure.value == "at cell (0, 0) of an image of the analysed size, it reads cell (0, 1)"
    assert judged(project, "causal = ['H']").code == 0
    assert judged(project, "causal = true").code == 1  # along W alone, (-1, 1) looks ahead


def test_what_has_no_front_and_what_is_no_claim(project: Project):
    (failure,) = judged(project, "max-skew = 5", [(1, 0)]).judgements[0].failures
    assert failure.value == "there is no front"
    for wrong in ("max-cone = -1", 'max-skew = "two"', 'causal = "zigzag"'):
        project.configure(entry(more=wrong))
        assert project.check().code == 2
    project.write("net.py", HEAD + "def Net():\n    return nn.Conv1d(1, 1, 3)\n")
    text = entry(more="max-skew = 2").replace('"1x1x32x32"', '"1x1x32"')
    found = check(project.configure(text), keep=False)["net"]
    assert "two axes" in found.judgements[0].error


def test_an_obstacle_is_the_answer(project: Project):
    project.write("net.py", HEAD + "def Net():\n    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.InstanceNorm2d(1))\n")
    found = check(project.configure(entry(more="max-cone = 99")), keep=False)["net"]
    assert found.code == 1
    assert "an obstacle stands in the way" in found.judgements[0].failures[0].value


def test_a_lock_holds_the_cone_of_a_masked_net(project: Project):
    project.write("net.py", MASKED.format(taps=FOUR, mode="constant"))
    project.configure(entry())
    assert project.lock().code == 0
    text = (project.root / "overlapcalc.lock").read_text()
    assert 'cone = ["output against x: ### #@."]' in text
    assert project.check().code == 0
    project.write("net.py", MASKED.format(taps=[*FOUR, (-1, 2)], mode="constant"))
    said = project.check()
    assert said.code == 1
    assert "cone went from output against x: ### #@. to output against x: #### #@.." in " ".join(said.out.split())


def test_a_lock_of_a_net_without_masks_has_no_cone(project: Project):
    project.write("net.py", HEAD + "def Net():\n    return nn.Conv2d(1, 1, 3)\n")
    project.configure(entry())
    project.lock()
    assert "cone" not in (project.root / "overlapcalc.lock").read_text()
