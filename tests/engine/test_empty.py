"""Images, batches and outputs that hold nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import overlapcalc as oc


def test_an_empty_batch_is_refused():
    with pytest.raises(oc.InputError, match="holds nothing"):
        oc.run(nn.Conv2d(1, 1, 3), torch.zeros(0, 1, 20, 20), block=8)


@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
def test_an_image_of_which_nothing_is_left_is_refused(schedule):
    """One sample more, and there is one row."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ZeroPad2d((0, 0, -10, -10)))
    with pytest.raises(oc.InputError, match="on 1x1x20x40 output is empty along H; give a larger image"):
        oc.tiled(net, (1, 1, 20, 40), schedule=schedule, block=8)
    assert oc.tiled(net, (1, 1, 21, 40), schedule=schedule, block=8)(torch.rand(1, 1, 21, 40)).shape == (1, 1, 1, 40)
