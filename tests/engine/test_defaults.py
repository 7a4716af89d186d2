"""What nobody asked for: blocks that suit the net, and a plan that is made once, in a process that has never traced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import overlapcalc as oc

ROOT = Path(__file__).parents[2]
ONCE = """
import torch
from torch import nn
import overlapcalc as oc
from overlapcalc.engine.run import Tiled

made = []
own = Tiled._made
Tiled._made = lambda self, signature: made.append(signature) or own(self, signature)
net = oc.tiled(nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.ReLU()), (1, 1, 64), block=16)
for _ in range(2):
    net(torch.zeros(1, 1, 64))
print(len(made))
for change in range(2):
    net.model.changed = change
    net(torch.zeros(1, 1, 64))
print(len(made))
"""


def test_a_net_is_planned_once_in_a_process_that_has_never_traced():
    """The first trace imports parts of torch that replace functions of it. The control then changes the net, twice."""
    done = subprocess.run([sys.executable, "-c", ONCE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3"]


@pytest.mark.parametrize("schedule", ["crop", "trim", "stream"])
def test_a_net_of_one_axis_has_long_blocks(schedule):
    net = nn.Conv1d(1, 1, 9, padding=4)
    assert oc.plan(net, (1, 1, 20000), schedule=schedule).count == 3  # 8192, 8192 and the rest
    plane = nn.Conv2d(1, 1, 3, padding=1)
    wanted = {"crop": 2 * 3, "trim": 2 * 3, "stream": 18}[schedule]  # 256 x 256; 18 bands of 32 along W
    assert oc.plan(plane, (1, 1, 300, 576), schedule=schedule).count == wanted
    assert oc.plan(plane, (1, 1, 300, 576), axes="W", schedule=schedule).count == wanted // (
        1 if schedule == "stream" else 2
    )


def test_a_budget_allows_long_stretches_where_there_is_one_axis():
    net, size = nn.Conv1d(1, 8, 9, padding=4), 200_000
    made = oc.plan(net, (1, 1, size), schedule="stream", memory="8MiB")
    assert made.memory is not None
    assert made.memory.total <= 8 * 2**20
    assert made.strips["L"].block > 2048
