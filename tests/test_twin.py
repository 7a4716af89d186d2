"""The exact twin: tiles and whole images bit-identical where the mathematics says so, and nowhere else.

Expected reads are worked out by hand for each net; nothing here asks overlapcalc how much context a net needs.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from overlapcalc.twin import Modular, residues, twin_of


def run(twin, x):
    with Modular():
        return twin(x)


@pytest.mark.parametrize("short", [0, 1])
def test_forty_convolutions_with_default_weights(short):
    twin = twin_of(nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1) for _ in range(40))))
    x = residues((1, 1, 200), 1)
    whole, context = run(twin, x), 40 - short
    part = run(twin, x[..., 100 - context : 110 + context])[..., context : context + 10]
    assert torch.equal(part, whole[..., 100:110]) == (not short)
