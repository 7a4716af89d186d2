"""What a net makes of its parameters: the answer holds for all values that they may have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared.blockwise import never_wrong
from shared.thorough import few
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc

D = torch.float64


class Of(nn.Module):
    """A function of the image and of one parameter."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], p: Tensor) -> None:
        super().__init__()
        self.function = function
        self.p = nn.Parameter(p, requires_grad=p.is_floating_point())

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.p)


def kernel(make: Callable[[Tensor], Tensor], p: Tensor) -> Of:
    """A depthwise 5x5 convolution by a kernel that is made of a parameter."""
    return Of(lambda x, p: F.conv2d(x, make(p).to(x.dtype), padding=2, groups=3), p)


def wide(scale: float = 40.0) -> Tensor:
    return torch.randn(3, 1, 5, 5, dtype=D, generator=torch.Generator().manual_seed(0)) * scale


def whole(dtype: torch.dtype, low: int, high: int) -> Tensor:
    return torch.randint(low, high, (3, 1, 5, 5), generator=torch.Generator().manual_seed(0)).to(dtype)


MASK = F.pad(torch.ones(3, 3, dtype=D), (1, 1, 1, 1))

KERNELS = {
    "threshold": (lambda p: F.relu(p - 10), wide(), 2),
    "where": (lambda p: torch.where(p.abs() > 10, p, torch.zeros_like(p)), wide(), 2),
    "round": (lambda p: torch.round(p / 100), wide(80), 2),
    "clamp": (lambda p: (p - 7).clamp(0, 1), wide(), 2),
    "hard mask": (lambda p: p * (torch.sigmoid(p) > 0.5), wide(), 2),
    "fake int8": (lambda p: torch.clamp(torch.round(p / p.abs().amax() * 127), -128, 127), wide(), 2),
    "int8": (lambda p: (p - 1).to(D) / 128, whole(torch.int8, -128, 128), 2),
    "uint8 with zero point": (lambda p: (p.to(torch.int16) - 128).to(D), whole(torch.uint8, 0, 256), 2),
    "whole part": (lambda p: (p // 4).to(D), whole(torch.int64, -100, 100), 2),
    "two in a byte": (lambda p: ((p >> 4) & 15).to(D), whole(torch.uint8, 0, 256), 2),
    "rounded, then masked": (lambda p: torch.round(p) * MASK, wide(), 1),
    "masked, then cut": (lambda p: F.relu(p * MASK), wide(), 1),
    "masked, then rounded": (lambda p: torch.round(p * MASK).clamp(-128, 127), wide(), 1),
    "standardized": (lambda p: (p - p.mean()) / (p.std() + 1e-5), wide(), 2),
    "bell": (lambda p: torch.exp(-((100 * p) ** 2)), wide(1e-3), 2),
    "bell, then masked": (lambda p: torch.exp(-((100 * p) ** 2)) * MASK, wide(1e-3), 1),
    "hot softmax": (lambda p: (p * 3e4).flatten(1).softmax(1).reshape(p.shape), wide(1e-5), 2),
    "saturated": (lambda p: 1 - torch.sigmoid(p * 1e3), wide(1e-3), 2),
    "its own difference": (lambda p: (F.relu(p) - F.relu(p.clone())) + MASK, wide(), 1),
}
"""How a kernel is made, of what, and the context that all values of the parameter need."""


@pytest.mark.parametrize(
    "name",
    few(
        KERNELS,
        (
            "threshold",
            "fake int8",
            "two in a byte",
            "masked, then cut",
            "standardized",
            "bell, then masked",
            "its own difference",
        ),
    ),
)
def test_kernels(name):
    make, p, context = KERNELS[name]
    model = kernel(make, p)
    assert never_wrong(model, (1, 3, 16, 18)) == "HW"
    w = oc.analyze(model.double(), (1, 3, 16, 18))["W"]
    assert tuple(w.context) == (context, context)


class Placed(nn.Module):
    """Taps at learned places within a kernel of 9, as in dilated convolutions with learnable spacings."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.w = nn.Parameter(torch.randn(3, 1, 4, dtype=D, generator=generator))
        self.at = nn.Parameter((torch.rand(2, 3, 1, 4, dtype=D, generator=generator) - 0.5) * 8)

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.arange(9, dtype=self.w.dtype) - 4
        rows, columns = (F.relu(1 - (at[..., None] - grid).abs()) for at in self.at)
        return F.conv2d(x, torch.einsum("cin,cinh,cinw->cihw", self.w, rows, columns), padding=4, groups=3)


def test_taps_may_be_learned_anywhere_in_the_kernel():
    assert never_wrong(Placed(), (1, 3, 20, 22)) == "HW"
    assert oc.analyze(Placed(), (1, 3, 20, 22))["W"].context.before == 4


def mixed(make: Callable[[Tensor], Tensor], p: Tensor) -> Of:
    """Channels of the image and of its blurred copy, mixed by a matrix."""

    def function(x: Tensor, p: Tensor) -> Tensor:
        both = torch.cat([x, F.avg_pool2d(x, 5, 1, 2)], 1)
        return F.conv2d(both, make(p)[:, :, None, None].to(x.dtype))

    return Of(function, p)


@pytest.mark.parametrize(
    ("make", "p"),
    [
        (lambda p: p - 1, torch.tensor([[1, 1, 1, 0, 2, 3]]).repeat(2, 1)),
        (lambda p: F.relu(p - 10), torch.full((2, 6), 30.0, dtype=D)),
    ],
    ids=["whole numbers", "threshold"],
)
def test_channels_that_a_matrix_may_take(make, p):
    model = mixed(make, p)
    assert never_wrong(model, (1, 3, 16, 18)) == "HW"
    assert tuple(oc.analyze(model, torch.rand(1, 3, 16, 18, dtype=D))["W"].context) == (2, 2)


def table(make: Callable[[Tensor], Tensor], p: Tensor) -> Of:
    """Multiplied by what is made of a table along W."""
    return Of(lambda x, p: x * make(p[..., : x.shape[-1]]).to(x.dtype), p)


LINE = torch.randn(1, 1, 1, 64, dtype=D, generator=torch.Generator().manual_seed(0)) * 5
TWO = torch.tensor([2.0, 3.0], dtype=D)
TABLES = {
    "sign": (torch.sign, LINE),
    "where": (lambda p: torch.where(p > 0, 2.0, 1.0), LINE),
    "floor": (lambda p: torch.floor(p * 0.3), LINE),
    "clamp": (lambda p: p.clamp(min=3), LINE),
    "whole": (lambda p: (p / 2).long(), LINE),
    "negative part": (lambda p: F.relu(-p), LINE),
    "looked up": (lambda p: TWO[(p > 0).long()], LINE),
    "truth": (lambda p: p, LINE > 0),
    "number": (lambda p: p, (LINE * 10).long()),
    "sorted": (lambda p: p.sort(dim=-1)[0], LINE),
    "logarithm": (lambda p: torch.log(p + 20), LINE),
    "logarithm of what is negative for small ones": (lambda p: torch.log(p - 20), LINE + 60),
    "root of it": (lambda p: torch.sqrt(p - 20), LINE + 60),
}


@pytest.mark.parametrize("name", few(TABLES, ("sign",)))
def test_a_table_along_an_axis_is_one_whatever_is_made_of_it(name):
    assert never_wrong(table(*TABLES[name]), (1, 3, 16, 18)) == "H"


@pytest.mark.parametrize(
    "make",
    few(
        [
            lambda p: F.relu(p).expand(1, 3, 1, 18),
            lambda p: (p > 0).to(D) + torch.zeros(1, 1, 1, 18, dtype=D),
            lambda p: torch.clamp_min(p, 1e-6).sqrt() * torch.ones(1, 1, 1, 18, dtype=D),
        ],
        1,
    ),
    ids=["relu", "truth", "bound"],
)
def test_what_is_the_same_for_all_columns_stays_so(make):
    assert (
        never_wrong(Of(lambda x, p: x * make(p)[..., : x.shape[-1]], LINE[..., :3].movedim(3, 1)), (1, 3, 16, 18))
        == "HW"
    )
