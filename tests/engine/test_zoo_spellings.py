"""Spellings that models of several zoos have, by passes against the whole image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overlapcalc as oc


class _Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def error(function: Callable[[Tensor], Tensor], *shape: int) -> float:
    """The largest difference from the whole over the largest output."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = _Net(function).eval()
    whole = net(x)
    found = oc.run(net, x, schedule="passes", block=4)
    assert isinstance(found, Tensor)
    return float((found - whole).abs().max() / whole.abs().max())


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "linalg.norm": lambda x: x / torch.linalg.norm(x, dim=(2, 3), keepdim=True),
    "linalg.norm of columns": lambda x: x / torch.linalg.norm(x, dim=2, keepdim=True),
    "linalg.norm, largest": lambda x: x / torch.linalg.norm(x, torch.inf, dim=2, keepdim=True),
    "linalg.matrix_norm": lambda x: x / torch.linalg.matrix_norm(x, keepdim=True),
    "linalg.matrix_norm, largest row": lambda x: x / torch.linalg.matrix_norm(x, torch.inf, keepdim=True),
    "linalg.vecdot": lambda x: x * torch.linalg.vecdot(x, x + 1, dim=2)[:, :, None],
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_the_linalg_module_run_in_parts(name: str) -> None:
    assert error(NORMS[name], 1, 2, 16, 6) < 1e-14


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mse": lambda x: F.mse_loss(x, x.relu()),
    "mse, summed": lambda x: F.mse_loss(x, x.relu(), reduction="sum"),
    "mse of samples": lambda x: F.mse_loss(x, x.relu(), reduction="none"),
    "mse against a constant": lambda x: F.mse_loss(x, torch.full_like(x, 0.3)),
    "huber": lambda x: F.huber_loss(x, x.relu()),
    "smooth l1": lambda x: F.smooth_l1_loss(x, x.relu()),
    "soft margin": lambda x: F.soft_margin_loss(x, x.sign()),
    "cross entropy of two": lambda x: F.binary_cross_entropy(x.sigmoid(), (x > 1).to(x)),
    "cross entropy of logits": lambda x: F.binary_cross_entropy_with_logits(x, (x > 1).to(x)),
    "vdot": lambda x: x * torch.vdot(x.flatten(), x.flatten()),
    "addr": lambda x: torch.addr(x[0, 0], x[0, 0, :, 0], x[0, 1, 0]),
    "renorm": lambda x: x.renorm(2, 1, 1.0),
    "diag_embed": lambda x: torch.diag_embed(x[0, 0, :, 0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_the_like_run_in_parts(name: str) -> None:
    """A quantizer of a VQ-VAE returns its loss beside its codes."""
    assert error(LOSSES[name], 1, 2, 16, 6) < 1e-14


def test_an_error_of_a_mean_is_one_reduction() -> None:
    plan = oc.plan(_Net(LOSSES["mse"]), (1, 2, 16, 6), schedule="passes", block=4)
    assert plan.passes is not None
    assert [len(one.ends) for one in plan.passes.each] == [1]
    assert not any(one.whole for one in plan.passes.each)
