"""Which sizes a net accepts, by nets that refuse the others for a reason that is in plain sight."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shared.commands import run
from torch import Tensor, nn

import overlapcalc as oc


class Net(nn.Module):
    """A convolution of an image whose lengths it looks at first."""

    def __init__(self, accepts: Callable[[int, int], bool]) -> None:
        super().__init__()
        self.accepts, self.conv = accepts, nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        if not self.accepts(*x.shape[2:]):
            raise ValueError(f"no image of size {tuple(x.shape[2:])}")
        y: Tensor = self.conv(x)
        return y if level is None else y * level


ACCEPTED: list[tuple[Callable[[int, int], bool], dict[str, tuple[int, int, tuple[int, ...]]]]] = [
    (lambda h, w: True, {"H": (1, 1, (0,)), "W": (1, 1, (0,))}),
    (lambda h, w: h % 8 == 0 and w >= 5, {"H": (8, 8, (0,)), "W": (5, 1, (0,))}),
    (lambda h, w: h % 8 == 1 and w % 8 == 1, {"H": (1, 8, (1,)), "W": (1, 8, (1,))}),
    (lambda h, w: h % 6 in (0, 2) and h > 9 and w % 5 == 0, {"H": (12, 6, (0, 2)), "W": (5, 5, (0,))}),
    (lambda h, w: h % 32 == 0 and w % 100 != 7, {"H": (32, 32, (0,)), "W": (8, 1, (0,))}),
    (lambda h, w: h == w, {}),
]


@pytest.mark.parametrize(("accepts", "wanted"), ACCEPTED)
def test_what_is_found_is_what_the_net_looks_at(
    accepts: Callable[[int, int], bool], wanted: dict[str, tuple[int, int, tuple[int, ...]]]
) -> None:
    found = oc.sizes(Net(accepts), (1, 1, 30, 30))
    assert {axis: (one.smallest, one.step, one.residues) for axis, one in found.items()} == wanted
    for axis, one in found.items():
        other = found["W" if axis == "H" else "H"].next(30)
        for n in range(one.smallest, one.tried):
            assert (n in one) == accepts(*((n, other) if axis == "H" else (other, n)))


def test_the_size_of_layers() -> None:
    net = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 16, 3))
    found = oc.sizes(net, (1, 1, 50, 64))
    assert {axis: str(one) for axis, one in found.items()} == dict.fromkeys("HW", "multiples of 4 from 12")
    assert (found["H"].next(50), found["H"].before(50), found["H"].next(1), found["H"].before(11)) == (52, 48, 12, None)
    for n in range(1, 40):
        try:
            net(torch.zeros(1, 1, n, 64))
        except RuntimeError:
            assert n not in found["H"]
        else:
            assert n in found["H"]


def test_inputs_grow_together_and_one_sample_stays_one() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor, half: Tensor, level: Tensor) -> Tensor:
            return x * half.repeat_interleave(2, 2) * level

    found = oc.sizes(Pair(), [(1, 1, 15), (1, 1, 8), (1, 1, 1)])
    assert found == {}
    found = oc.sizes(Pair(), [(1, 1, 16), (1, 1, 8), (1, 1, 1)])
    assert (found["L"].smallest, found["L"].step, found["L"].residues) == (2, 2, (0,))


def test_one_sample_may_come_before_the_image() -> None:
    class Scaled(nn.Module):
        def forward(self, level: Tensor, x: Tensor) -> Tensor:
            return level * nn.functional.pixel_unshuffle(x, 2)

    found = oc.sizes(Scaled(), [(1, 1, 1, 1), (1, 1, 16, 12)])
    assert {axis: str(one) for axis, one in found.items()} == dict.fromkeys("HW", "multiples of 2 from 2")


def test_a_net_that_fails_at_one_size_is_refused_with_those_that_work() -> None:
    net = Net(lambda h, w: h % 8 == 0 and w % 8 == 0)
    with pytest.raises(oc.TraceError, match=r"H and W: multiples of 8 from 8\), 1x1x24x32 and 1x1x32x40 for example"):
        oc.analyze(net, (1, 1, 30, 36))
    with pytest.raises(oc.TraceError) as caught:
        oc.analyze(Net(lambda h, w: False), (1, 1, 30, 36))
    assert "other sizes" not in str(caught.value)


def test_a_saved_program_is_refused() -> None:
    program = torch.export.export(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 8, 8),))
    with pytest.raises(oc.InputError, match="ask the module that it was made of"):
        oc.sizes(program, (1, 1, 8, 8))


def test_the_command_says_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nnet = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 1, 3))\n"
    )
    said = run("analyze", f"{tmp_path}/net.py:net", "--input", "1x1x64x64", "--sizes")
    assert "Accepted sizes: H and W: multiples of 4 from 12 (tried up to " in said.stdout
    found = json.loads(
        run("analyze", f"{tmp_path}/net.py:net", "--input", "1x1x64x64", "--sizes", "--format", "json").stdout
    )
    assert found["accepted"]["W"] == {"smallest": 12, "step": 4, "residues": [0], "tried": 95}
    assert "accepted" not in json.loads(
        run("analyze", f"{tmp_path}/net.py:net", "--input", "1x1x64x64", "--format", "json").stdout
    )
