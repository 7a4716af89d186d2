"""Operands that give another one its type or its shape, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import overlapcalc as oc
from overlapcalc.testing import assert_reads, assert_same_by_blocks


class Net(nn.Module):
    """A convolution, and what follows it with constants of its own."""

    def __init__(self, steps: Callable[[Net, Tensor], Tensor], size: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steps, self.conv = steps, nn.Conv1d(2, 2, size, padding=size // 2)
        self.own, self.gain = nn.Parameter(torch.rand(2, 2, size)), nn.Parameter(torch.rand(1, 2, 1))
        self.register_buffer("causal", torch.arange(size) <= size // 2)
        self.register_buffer("ramp", torch.arange(24.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(self, x)


STEPS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "weights of the data's type": lambda n, x: F.conv1d(x, n.own.type_as(x), padding=n.own.shape[-1] // 2),
    "weights of the mean's type": lambda n, x: F.conv1d(x, n.own.type_as(x.mean()), padding=n.own.shape[-1] // 2),
    "a mask of its type": lambda n, x: F.conv1d(x, n.own * n.causal.type_as(x.flip(2)), padding=n.own.shape[-1] // 2),
    "weights of their shape": lambda n, x: F.conv1d(x, n.own[:, :1].expand_as(n.own), padding=n.own.shape[-1] // 2),
    "a gain of its shape": lambda n, x: n.conv(x) * n.gain.expand_as(x.flip(2)),
    "a gain of its shape, and type": lambda n, x: n.conv(x) * n.gain.expand_as(x).type_as(x.cumsum(2)),
    "data of its type": lambda n, x: (n.conv(x) * 9).type_as(x.flip(2)),
    "of its own type": lambda n, x: n.conv(x.type_as(x)),
    "of the shape of another": lambda n, x: n.conv(x)[:, :1].expand_as(x.flip(2)).flatten(1).view_as(x.flip(2)),
}


WIDER = ("weights of the data's type", "a mask of its type")


@pytest.mark.parametrize(("name", "size"), [*((name, 3) for name in STEPS), *((name, 5) for name in WIDER)])
def test_only_the_type_or_the_shape_is_read(name: str, size: int) -> None:
    net = Net(STEPS[name], size)
    half = size // 2
    found = assert_reads(net, torch.rand(1, 2, 24))["L"].context
    assert (found.before, found.after) == (half, 0 if "mask" in name else half)
    if size == 3 and ("weights" in name or "gain" in name):
        assert_same_by_blocks(net, torch.rand(1, 2, 24), block=5, schedule="trim")


def test_a_constant_of_the_data_s_type_is_followed_by_its_values() -> None:
    """It lies along the axis as the constant itself does."""
    net = Net(lambda n, x: n.conv(x) * n.ramp.type_as(x))
    assert [o.cause for o in oc.analyze(net, (1, 2, 24)).obstacles] == ["absolute-position"]
    x = torch.rand(1, 2, 24)
    with torch.no_grad():
        assert torch.allclose(oc.run(net, x, block=5, schedule="trim"), net(x), atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [torch.full_like, lambda x, y: torch.ones_like(x) * y])
def test_a_proof_in_float64_has_constants_in_float64(made: Callable[[Tensor, float], Tensor]) -> None:
    """A tenth in float32 is another number."""
    net = Net(lambda n, x: n.conv(x) * made(x, 0.1) + n.gain.double().type_as(x))
    assert oc.verify(net, (1, 2, 12), block=6, schedule="trim").proved
