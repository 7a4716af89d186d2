"""Spellings that models of several zoos have, by passes against the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_structure

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
    "cross entropy of classes": lambda x: F.cross_entropy(x, x.argmax(1)),
    "cross entropy, one class ignored": lambda x: F.cross_entropy(
        x, x.argmax(1), weight=torch.tensor([1.0, 3.0], dtype=x.dtype), ignore_index=0
    ),
    "cross entropy of samples": lambda x: F.cross_entropy(x, x.argmax(1), reduction="none"),
    "vdot": lambda x: x * torch.vdot(x.flatten(), x.flatten()),
    "addr": lambda x: torch.addr(x[0, 0], x[0, 0, :, 0], x[0, 1, 0]),
    "renorm": lambda x: x.renorm(2, 1, 1.0),
    "diag_embed": lambda x: torch.diag_embed(x[0, 0, :, 0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_the_like_run_in_parts(name: str) -> None:
    """A quantizer of a VQ-VAE returns its loss beside its codes."""
    assert error(LOSSES[name], 1, 2, 16, 6) < 1e-14


BESIDE: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "a pair": lambda x, y: (y, F.mse_loss(y, x)),
    "a dictionary": lambda x, y: {"out": y, "loss": F.l1_loss(y, x)},
    "in depth": lambda x, y: {"out": [y], "losses": {"bits": y.abs().log2().sum() / -9.0}},
    "of classes": lambda x, y: (y, F.cross_entropy(y, x.argmax(1))),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_number_beside_the_image_is_an_obstacle_of_its_own(name: str) -> None:
    net = _Net(lambda x: BESIDE[name](x, F.avg_pool2d(x, 3, 1, 1)))
    found = oc.analyze(net, (1, 2, 16, 6))
    assert found.between("output0")["H"].context == oc.Sides(1, 1)
    assert not found.between("output0").obstacles("W")
    with pytest.raises(oc.ObstacleError, match="output1"):
        assert found.between("output1")["H"]
    x = torch.randn(1, 2, 16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_passes, whole = oc.run(net, x, schedule="passes", block=4), net(x)
    assert tree_structure(by_passes) == tree_structure(whole)
    for a, b in zip(tree_leaves(by_passes), tree_leaves(whole), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_an_error_of_a_mean_is_one_reduction() -> None:
    plan = oc.plan(_Net(LOSSES["mse"]), (1, 2, 16, 6), schedule="passes", block=4)
    assert plan.passes is not None
    assert [len(one.ends) for one in plan.passes.each] == [1]
    assert not any(one.whole for one in plan.passes.each)


def _squares(x: Tensor) -> Tensor:
    """3x3 matrices over the channels, one for each row and column; far from singular."""
    rows = x[:, :9].permute(0, 2, 3, 1)
    return rows.reshape(*rows.shape[:3], 3, 3) + 9 * torch.eye(3).to(x)


MATRICES: dict[str, Callable[[Tensor], Tensor]] = {
    "inverse": lambda x: torch.linalg.inv(_squares(x)),
    "x.inverse": lambda x: _squares(x).inverse(),
    "determinant": lambda x: torch.linalg.det(_squares(x)),
    "logarithm of the determinant": lambda x: torch.linalg.slogdet(_squares(x))[1],
    "singular values": lambda x: torch.linalg.svdvals(_squares(x)),
    "pseudoinverse": lambda x: torch.linalg.pinv(_squares(x)),
    "factor": lambda x: torch.linalg.cholesky(_squares(x) @ _squares(x).mT),
    "exponential": lambda x: torch.linalg.matrix_exp(_squares(x) / 9),
    "power": lambda x: torch.linalg.matrix_power(_squares(x) / 9, 3),
    "diagonal": lambda x: torch.diagonal(_squares(x), dim1=-2, dim2=-1),
    "trace": lambda x: torch.trace(x[0, 0, :6]),
    "of the whole image": lambda x: torch.linalg.inv(x[:, 0, :, :] @ x[:, 0, :, :].mT + 9 * torch.eye(16).to(x)),
    "a diagonal of the image": lambda x: x[:, 0].diagonal(1, 1, 2),
    "whitened channels": lambda x: torch.einsum(
        "cd,bdhw->bchw", torch.linalg.inv(torch.einsum("bchw,bdhw->cd", x, x) + torch.eye(9).to(x)), x
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_are_solved_for_one_by_one(name: str) -> None:
    assert error(MATRICES[name], 1, 9, 16, 6) < 1e-13


def test_matrices_over_the_channels_do_not_hold_rows_back() -> None:
    """A row more or less, anywhere else, changes nothing."""
    analysis = oc.analyze(_Net(MATRICES["inverse"]), (1, 9, 16, 6))
    assert not analysis.obstacles


def test_a_tolerance_that_is_data_is_read_all_over_the_image():
    """Of a pseudo-inverse, the rule speaks of the matrices alone."""

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.movedim(1, -1)
            matrices = y[..., :, None] * y[..., None, :] + torch.eye(3, dtype=x.dtype)
            return torch.linalg.pinv(matrices, rtol=x[:, 0].abs() / 2)[..., 0].movedim(-1, 1)

    net, x = Net(), torch.randn(1, 3, 12, 5, dtype=torch.float64)
    assert {o.axis for o in oc.analyze(net, x).obstacles} == {"H", "W"}
    assert torch.allclose(oc.run(net, x, schedule="passes", block=5), net(x), rtol=0, atol=1e-10)
