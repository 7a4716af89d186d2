"""What forward may take besides tensors: refused at the door, with a way out that works."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc

X = torch.zeros(1, 3, 12, 10)
SHAPE = (1, 3, 12, 10)


class Net(nn.Module):
    """Takes an image in a dictionary, and how often to repeat it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, batch: dict[str, Tensor], times: int) -> dict[str, Tensor]:
        return {"image": self.conv(batch["image"]).repeat_interleave(times, 1)}


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Any:
        return self.net({"image": x}, times=2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": SHAPE}, r"^inputs is a dictionary \('image'\), and"),
        ({"image": X}, r"^inputs is a dictionary \('image'\), and"),
        ([{"image": SHAPE}, SHAPE], "^input 0 is a dict of inputs;"),
        ([X, [X, X]], "^input 1 is a list of inputs;"),
        ([[SHAPE, SHAPE], SHAPE], "^input 0 is a list of inputs;"),
        ([SHAPE, 2], "^input 1 is 2, which is no tensor and no shape;"),
        ([X, 0.5], "^input 1 is 0.5, which is no tensor and no shape;"),
        ([X, None], "^input 1 is None, which is no tensor and no shape;"),
        ([SHAPE, "fast"], "^input 1 is 'fast', which is no tensor and no shape;"),
        (
            [SHAPE],
            "^Net.forward takes 2 inputs, 1 given; give one shape per input tensor. Where it takes something else,",
        ),
    ],
)
def test_what_is_no_tensor_is_refused(given: Any, said: str) -> None:
    with pytest.raises(oc.InputError, match=said) as refused:
        oc.analyze(Net(), given)
    assert "put a module around the net" in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("given", [(X, 2), ({"image": X}, X)])
def test_runs_refuse_it_too(given: Any) -> None:
    with pytest.raises(oc.InputError, match="put a module around the net"):
        oc.run(Net(), *given, schedule="trim", block=5)


def test_the_way_out_works() -> None:
    found = oc.analyze(Around(), SHAPE)
    assert found["H"].context == oc.Sides(1, 1)
    net, x = Around().double(), torch.rand(SHAPE, dtype=torch.float64)
    blocks = oc.run(net, x, schedule="trim", block=5)
    torch.testing.assert_close(blocks["image"], net(x)["image"], rtol=0, atol=1e-13)


def test_what_is_given_by_name_only_is_named() -> None:
    class ByName(Net):
        def forward(self, x: Tensor, *, times: int, fast: bool = True) -> Tensor:  # type: ignore[override]
            return self.conv(x) * times

    with pytest.raises(oc.InputError, match=r"^ByName\.forward takes times by name only; put a module"):
        oc.analyze(ByName(), SHAPE)
