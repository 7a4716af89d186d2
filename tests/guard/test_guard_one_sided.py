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


def test_a_look_ahead_in_time(project: Project):
    """Two samples ahead: 2 ms at 1000 a second, and no less."""
    body = SUMMED["two samples ahead"]
    for limit, rate, holds in (
        ('"2 ms"', "rate = 1000", True), ('"1.9 ms"', "rate = 1000", False), ('"0.002 s"', "rate = 1000", True),
        ('{L = "2ms"}', "rate = 1000.0", True), ('"2 ms"', "rate = 999.9", False), ('"2 ms"', "rate = 1499", True),
    ):  # fmt: skip
        found = judged(project, body, f"max-lookahead = {limit}\n{rate}")
        assert found.judgements[0].holds is holds, (limit, rate)
    assert found.judgements[0].value == "L 2 (1.334 ms)"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('max-lookahead = "2 ms"', "models.net.max-lookahead: a time needs a rate; add rate = 48000"),
        ("rate = 48000", "models.net.rate: it is for a time such as"),
        ('max-lookahead = "2 min"\nrate = 1', 'a time such as "20 ms"'),
        ('max-lookahead = "2 ms"\nrate = 0', "models.net.rate: 0 is not allowed"),
    ],
)
def test_a_time_and_a_rate_need_each_other(project: Project, more: str, said: str):
    project.write("net.py", net("x"))
    project.configure(entry(more=more))
    found = project.check()
    assert found.code == 2
    assert said in found.err


def test_a_time_along_an_axis_without_a_rate_cannot_be_judged(project: Project):
    for more in ('max-lookahead = "2 ms"\nfps = 25', 'max-lookahead = {L = "2 ms"}\nfps = 25'):
        found = judged(project, "x", more)
        assert found.code == 2
        assert "needs a rate" in found.judgements[0].error


def test_the_layer_that_needs_most_is_named(project: Project):
    """The convolution is padded by 2 on either side, and no other layer looks ahead."""
    failure = judged(project, SUMMED["two samples ahead"], "max-lookahead = 1").judgements[0].failures[0]
    assert (failure.layer, failure.path) == ("c", ("c (+4)", "pad (-2)"))
    assert "adds 2 of the 2 ahead" in failure.why
    assert failure.help == "pad 2 more before it, and as much less behind"


def test_the_lock_holds_how_far_a_net_with_a_state_reads_ahead(project: Project):
    project.write("net.py", net(SUMMED["two samples ahead"]))
    project.configure(entry().replace("1x1x32x32", "1x1x24"))
    assert project.lock().code == 0
    assert "look-ahead = 2" in (project.root / "overlapcalc.lock").read_text()
    project.write("net.py", net("self.c(F.pad(x, (1, 3))).cumsum(-1)"))
    found = project.check()
    assert found.code == 1
    assert "look-ahead went from 2 to 3 on L" in " ".join(found.out.split())
