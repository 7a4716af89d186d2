"""Spellings that models of several zoos have, by passes against the whole image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
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
