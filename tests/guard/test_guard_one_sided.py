"""`causal` and `max-lookahead` of nets that accumulate: true of what reads nothing ahead, though no tile runs it."""

from __future__ import annotations

import pytest
from shared.causal import look_ahead
from shared.guarded import HEAD, Project, entry

from overlapcalc.guard import Checked, check

LAYERS = "        self.c = nn.Conv1d(1, 1, 5)\n        self.g = nn.GRU(1, 1, batch_first=True)\n"
SUMMED = {
    "zeros before": "self.c(F.pad(x, (4, 0))).cumsum(-1)",
    "two samples ahead": "self.c(F.pad(x, (2, 2))).cumsum(-1)",
    "ahead afterwards": "self.c(F.pad(x.cumsum(-1), (3, 1)))",
    "a recurrent layer": "self.g(x.transpose(1, 2))[0].transpose(1, 2)",
    "mirrored before": "self.c(F.pad(x, (4, 0), mode='reflect')).cumsum(-1)",
    "mirrored before a delay": "F.pad(x, (9, 0), mode='reflect')[..., :-9].cumsum(-1)",
}


def net(body: str) -> str:
    return HEAD + (
        "class Net(nn.Module):\n    def __init__(self):\n"
        f"        super().__init__()\n{LAYERS}    def forward(self, x):\n        return {body}\n"
    )


def judged(project: Project, body: str, more: str) -> Checked:
    project.write("net.py", net(body))
    return check(project.configure(entry(more=more).replace("1x1x32x32", "1x1x24")), keep=False)["net"]


@pytest.mark.parametrize("name", SUMMED)
def test_look_ahead_is_what_brute_force_finds(project: Project, name: str):
    most = look_ahead(net(SUMMED[name]), 24)
    assert (most == 0) is (name in ("zeros before", "a recurrent layer"))
    found = judged(project, SUMMED[name], f"max-lookahead = {most}" + ("" if most else "\ncausal = true"))
    assert found.code == 0, found
    if most:
        less = judged(project, SUMMED[name], f"max-lookahead = {most - 1}\ncausal = true")
        assert [j.claim for j in less.judgements if j.failures] == ["max-lookahead", "causal"]
        assert "reads on up to" in less.judgements[0].failures[0].value


@pytest.mark.parametrize("body", ["x.flip(-1).cumsum(-1).flip(-1)", "x.cumsum(-1) - x.mean(-1, keepdim=True)"])
def test_what_reads_the_end_does_not_pass(project: Project, body: str):
    found = judged(project, body, "causal = true\nmax-lookahead = 999")
    assert [j.failures[0].value for j in found.judgements] == ["an obstacle stands in the way"] * 2


def test_it_is_still_no_net_for_tiles(project: Project):
    found = judged(project, SUMMED["zeros before"], "blocking-free = true\nmax-context = 99\ncausal = true")
    assert [bool(j.failures) for j in found.judgements] == [True, True, False]
