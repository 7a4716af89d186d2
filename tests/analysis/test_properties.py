"""Random nets against brute force: some by fixed seeds, and some of hypothesis' choosing, which it can shrink. `make fuzz`
draws thousands."""

from __future__ import annotations

import random

import pytest
from fuzz import one
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from shared.agreement import compare, draw_shape
from shared.nets import Net
from shared.thorough import few

SEEDS, BATCH = 20, 5


@pytest.mark.parametrize("first", few(range(0, SEEDS, BATCH), 1))
def test_seeded_nets(first):
    refused = explained = 0
    for seed in range(first, first + BATCH):
        net, shape, outcome = one(seed)
        assert outcome.wrong == [], (seed, shape, net.module)
        assert outcome.reads > 0 or outcome.state == "refused"
        refused += outcome.state == "refused"
        explained += outcome.explained
    assert refused <= 1
    assert explained > 0


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_nets_of_hypothesis(data):
    net = Net(lambda low, high: data.draw(st.integers(low, high)))
    shape = draw_shape(net, random.Random(data.draw(st.integers(0, 99))))
    outcome = compare(net, shape, 0)
    assume(outcome.state != "skipped")
    assert outcome.wrong == [], (shape, net.module)
