"""Multiply-accumulates of products of data, counted by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn
from torch import Tensor, nn

import overlapcalc as oc


class Windows(nn.Module):
    """Attention within windows of 4x4: 80 of them, 16 queries and 16 keys of 8 channels each."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        t = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 1, 16, c)
        y = F.scaled_dot_product_attention(t, t, t)
        return y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def with_bias_of_data(s: nn.Module, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    t = x.permute(0, 2, 3, 1).reshape(-1, c)
    return torch.addmm(t, t, s.weight).reshape(n, h, w, c).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("model", "shape", "macs"),
    [
        (Windows(), (1, 8, 32, 40), 80 * 16 * 16 * (8 + 8)),
        (Fn(with_bias_of_data, weight=nn.Parameter(torch.randn(4, 4))), (2, 4, 20, 24), 2 * 20 * 24 * 4 * 4),
        (Fn(lambda s, x: torch.einsum("nchw,ndhw->ncdhw", x, x).flatten(1, 2)), (2, 4, 20, 24), 2 * 20 * 24 * 4 * 4),
    ],
)
def test_macs_of_products_of_data_by_hand(model, shape, macs):
    made = oc.plan(model, shape, block=8)
    assert made.full.macs == made.full.kernel_macs == macs
    assert made.work.macs == macs
