"""Constants that a net writes piece by piece are computed beforehand: the same as when torch follows the writes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import never_wrong
from shared.nets import Do
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.trace import export


def blur(x: Tensor) -> Tensor:
    return F.avg_pool1d(x, 3, 1, 1)


def striped(x: Tensor) -> Tensor:
    """Every fourth column is masked, by writes through views."""
    mask = torch.ones(1, 1, x.shape[2], dtype=x.dtype)
    mask[:, :, ::4] = 0.25
    mask[:, :, 1::4] = 0.5
    return blur(x) * mask


def read_between(x: Tensor) -> Tensor:
    """What is read before the last write is another constant."""
    mask = torch.ones(1, 1, x.shape[2], dtype=x.dtype)
    mask[:, :, ::2] = 3
    before = mask * 2
    mask[:, :, ::2] = 5
    return blur(x) * before + mask


def of_its_type(x: Tensor) -> Tensor:
    mask = x.new_ones(x.shape[2])
    mask[::2].add_(1)
    return blur(x) * mask


def two_that_meet(x: Tensor) -> Tensor:
    a, b = torch.zeros(x.shape[2]), torch.zeros(x.shape[2])
    a[::2] = 1
    b.copy_(a)
    b[1::2] = 2
    return blur(x) * b + a


class Counting(nn.Module):
    """What it keeps is another number on every call."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        self.kept[0].add_(1)
        return blur(x) * self.kept[0]


class Masked(nn.Module):
    """Attention in shifted windows of 4, masked as in Swin transformers: the mask is written region by region."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def mask(self, n: int) -> Tensor:
        regions = torch.zeros(n)
        for k, part in enumerate((slice(0, -4), slice(-4, -2), slice(-2, None))):
            regions[part] = k
        windows = regions.view(-1, 4)
        return (windows[:, :, None] != windows[:, None]).float() * -100

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2]
        y = x.roll(-2, 2).transpose(1, 2).reshape(-1, 4, 4)
        q, k, v = self.qkv(y).chunk(3, 2)
        y = ((q @ k.transpose(1, 2)) + self.mask(n).to(x.dtype)).softmax(2) @ v
        return y.reshape(1, n, 4).transpose(1, 2).roll(2, 2)


@pytest.fixture
def decomposed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every time torch is asked to follow writes."""
    asked: list[int] = []
    real = export.decomposed
    monkeypatch.setattr(export, "decomposed", lambda *given: asked.append(1) or real(*given))
    return asked


@pytest.mark.skipif(torch.__version__ < "2.6", reason="torch.export rewrites in-place operators itself")
@pytest.mark.parametrize(("function", "beforehand"), [(striped, True), (of_its_type, True), (read_between, False)])
def test_it_is_local(function, beforehand, decomposed):
    net = Do("", function)
    assert tuple(oc.analyze(net, (1, 1, 32))["L"].context) == (1, 1)
    assert bool(decomposed) != beforehand
    assert never_wrong(net, (1, 1, 40)) == "L"


def test_one_constant_that_is_written_into_another():
    assert never_wrong(Do("", two_that_meet), (1, 1, 40)) == "L"


def test_what_a_net_keeps_is_not_computed_beforehand():
    net = Counting()
    with pytest.raises(oc.OverlapcalcError):
        oc.run(net, torch.rand(1, 1, 32), block=8)
    assert net.kept[0].item() == 0


@pytest.mark.skipif(torch.__version__ < "2.6", reason="torch.export rewrites in-place operators itself")
def test_masks_of_shifted_windows(decomposed):
    never_wrong(Masked(), (1, 4, 24))
    assert not decomposed
