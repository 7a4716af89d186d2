"""Layers of which a wrong account is easily given, in random nets: refused by name, or right. More by `make fuzz`."""

from __future__ import annotations

import random

import fuzz
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import trial
from shared.thorough import few

import overlapcalc as oc
import overlapcalc.testing as kit
from overlapcalc.ops import registry
from overlapcalc.testing.hazards.hazard import RECIPES, drawn
from overlapcalc.testing.nets import Call

NETS = 2
FAMILY = pytest.mark.parametrize("family", kit.HAZARDS)


def lone(*figures, channels=2):
    """A net of nothing but this hazard."""
    return kit.Net(Call.of(kit.Hazard, channels, *figures), channels, "HW")


@FAMILY
@pytest.mark.parametrize("nets", few([1, NETS], 1))
def test_nets_are_refused_by_name_or_right(family, nets):
    states = []
    for seed in range(nets):
        net = kit.hazard_net(family, seed)
        verdict = trial.judge(net, seed, look_for_local=False, thorough=False)
        assert verdict.wrong == [], f"{family} {seed}\n{net!r}"
        states.append(verdict.state)
    assert set(states) & {"right", "refused"}


@FAMILY
def test_a_net_is_the_same_every_time_and_prints_as_it_is(family):
    net = kit.hazard_net(family, 3)
    assert repr(net) == repr(kit.hazard_net(family, 3)) != repr(kit.hazard_net(family, 4))
    again = eval(repr(net), {**vars(kit), "nn": torch.nn})
    x = net.image((17, 19))
    assert torch.equal(again(x), net.build()(x))


@settings(max_examples=2, deadline=None)
@given(net=kit.cnns(extra=kit.hazards("types", 20), depth=2), seed=st.integers(0, 9))
def test_hazards_in_nets_of_hypothesis(net, seed):
    assert trial.judge(net, seed, look_for_local=False, thorough=False).wrong == []


def test_a_constant_varies_as_its_name_says():
    x = torch.rand(1, 3, 8, 12, dtype=torch.float64)
    made = {}
    for pattern in ("same", "ramp", "periodic", "late", "last", "size", "half"):
        made[pattern] = kit.Hazard(3, "constants.add", "right", pattern, -1).put("right", x)[0, 0, 0]
    assert made["same"].unique().numel() == made["size"].unique().numel() == 1
    assert made["ramp"].diff().allclose(torch.full((11,), 0.1, dtype=torch.float64))
    assert made["periodic"][2:].equal(made["periodic"][:-2])
    assert [int(made[p].diff().nonzero()) for p in ("late", "last", "half")] == [4, 10, 5]


def test_every_operand_of_every_recipe_can_be_a_constant():
    x = torch.rand(1, 3, 16, 20, dtype=torch.float64) + 0.1
    for recipe in RECIPES.values():
        for position in recipe.positions:
            layout = recipe.layouts[-1] if recipe.layouts else ""
            hazard = kit.positive(kit.Hazard(3, recipe.name, position, "ramp", -1, layout))
            with torch.no_grad():
                assert hazard(x).dim() == 4, (recipe.name, position)
    assert len(kit.hazards("constants", 7)) == 7


# ---- that it can fail -------------------------------------------------------------------------------------


def test_a_false_rule_is_found():
    """A rule that says that sums from the start read their own place alone."""
    net = lone("overloads.cumsum_columns")
    assert trial.judge(net, 0).wrong == []
    with registry.kept():
        oc.unregister("aten::cumsum")
        oc.rule("aten::cumsum")(lambda call: call.local({}))
        verdict = trial.judge(net, 0)
    assert any(text.startswith("reads along W") for text in verdict.wrong), verdict
    assert any("on the tile" in text for text in verdict.wrong), verdict


def test_a_constant_that_nobody_looked_at_is_found(monkeypatch):
    """An analysis of the same net whose levels are the same in every row: what a rule that ignores them would say."""
    seen, honest = lone("constants.searchsorted_rows", "levels", "same", -2), oc.analyze
    monkeypatch.setattr(oc, "analyze", lambda model, x, **more: honest(seen.build(), x, **more))
    assert trial.judge(seen, 0, thorough=False).wrong == []
    verdict = trial.judge(lone("constants.searchsorted_rows", "levels", "ramp", -2), 0, thorough=False)
    assert [text for text in verdict.wrong if text.startswith("H of") and "differ" in text], verdict


def test_a_bare_exception_is_found(monkeypatch):
    def broken(*given, **more):
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(oc, "analyze", broken)
    assert trial.judge(lone("types.sobel"), 0).wrong == ["analyze: bare IndexError: tuple index out of range"]


def test_a_refusal_of_what_is_local_is_told(monkeypatch):
    def refused(*given, **more):
        raise oc.UnknownOperatorError("no rule for 1 operator: aten::conv2d")

    monkeypatch.setattr(oc, "analyze", refused)
    local, far = trial.judge(lone("types.sobel"), 0), trial.judge(lone("overloads.mean_columns"), 0)
    assert [text[0] for text in local.local] == ["H", "W"]
    assert local.state == far.state == "refused"
    assert [text[0] for text in far.local] == ["H"]  # its mean is along W


def test_the_command_prints_what_disagrees(monkeypatch, capsys):
    verdict = trial.Verdict(wrong=["W of 20: differ"], causes=["aten::roll on H: rolls"])
    monkeypatch.setattr(fuzz, "judge", lambda net, seed: verdict)
    monkeypatch.setattr(
        "sys.argv", ["fuzz.py", "--nets", "4", "--family", "channels", "--shard", "1/2", "--first", "5"]
    )
    assert fuzz.main() == 1
    out = capsys.readouterr().out
    assert "python tests/fuzz.py --family channels --seed 5\n" in out
    assert "--seed 6" not in out
    assert "--seed 7\n" in out
    assert "channels: 2 nets" in out
    assert "2  aten::roll on H: rolls" in out
    assert "disagreements: 2" in out


def test_the_command_agrees_on_right_nets(monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "judge", lambda net, seed: trial.Verdict(right=["trim"]))
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--nets", "3", "--family", "types"])
    assert fuzz.main() == 0
    assert "types: 3 nets" in capsys.readouterr().out


def test_seeds_are_drawn_from_all_recipes():
    rng = random.Random(0)
    assert len({drawn("channels", rng)[0] for _ in range(300)}) > 40
