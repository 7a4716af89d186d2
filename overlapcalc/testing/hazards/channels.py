"""Family channels: dimensions that are not axes but as long as an axis, or as a part of one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard


def many(x: Tensor, count: int) -> Tensor:
    """This many channels, all different."""
    return x[:, :1] * torch.arange(1, count + 1, dtype=x.dtype)[:, None, None]


@hazard("channels")
def expand_height(net: Any, x: Tensor) -> Tensor:
    return x[:, :1].expand(-1, x.shape[2], -1, -1).sum(1, keepdim=True)


@hazard("channels")
def repeat_width(net: Any, x: Tensor) -> Tensor:
    return x.repeat(1, x.shape[3] // 4, 1, 1).sum(1, keepdim=True)


@hazard("channels")
def repeat_interleave_width(net: Any, x: Tensor) -> Tensor:
    return x.repeat_interleave(x.shape[3] // 4, 1)[:, -2:].prod(1, keepdim=True) + x.repeat_interleave(
        x.shape[3] // 4, 1
    ).sum(1, keepdim=True)


@hazard("channels")
def octaves(net: Any, x: Tensor) -> Tensor:
    f = 2.0 ** torch.arange(int(math.log2(x.shape[3])), dtype=x.dtype)
    return torch.cat([x, torch.sin(x[:, :1] * f[:, None, None]).mean(1, keepdim=True)], 1)


@hazard("channels")
def octaves_all(net: Any, x: Tensor) -> Tensor:
    f = 2.0 ** torch.arange(int(math.log2(x.shape[2])), dtype=x.dtype)
    return torch.sin(x[:, :1] * f[:, None, None])


@hazard("channels")
def slice_half(net: Any, x: Tensor) -> Tensor:
    return many(x, 24)[:, : x.shape[3] // 2].mean(1, keepdim=True)


@hazard("channels")
def slice_from(net: Any, x: Tensor) -> Tensor:
    return many(x, 24)[:, x.shape[2] // 4 :].mean(1, keepdim=True)


@hazard("channels")
def slice_step(net: Any, x: Tensor) -> Tensor:
    return many(x, 24)[:, :: x.shape[2] // 8].sum(1, keepdim=True)


@hazard("channels")
def narrow(net: Any, x: Tensor) -> Tensor:
    return many(x, 40).narrow(1, x.shape[3] // 4, 3).sum(1, keepdim=True)


@hazard("channels")
def select(net: Any, x: Tensor) -> Tensor:
    return many(x, 40)[:, x.shape[2] // 3][:, None]


@hazard("channels")
def index_list(net: Any, x: Tensor) -> Tensor:
    return many(x, 40)[:, torch.arange(x.shape[3] // 2)].sum(1, keepdim=True)


@hazard("channels")
def index_one(net: Any, x: Tensor) -> Tensor:
    return many(x, 40)[:, torch.tensor([x.shape[3] // 2, 0])]


@hazard("channels")
def levels(net: Any, x: Tensor) -> Tensor:
    return torch.bucketize(x.contiguous(), torch.linspace(0, 1, x.shape[3], dtype=x.dtype)).to(x.dtype)


@hazard("channels")
def split_width(net: Any, x: Tensor) -> Tensor:
    return many(x, 40).split(x.shape[3] // 4, 1)[1].sum(1, keepdim=True)


@hazard("channels")
def split_lengths(net: Any, x: Tensor) -> Tensor:
    n = x.shape[3] // 2
    return many(x, 40).split([n, 40 - n], 1)[1].mean(1, keepdim=True)


@hazard("channels")
def chunk(net: Any, x: Tensor) -> Tensor:
    return many(x, 48).chunk(x.shape[2] // 4, 1)[1].sum(1, keepdim=True)


@hazard("channels")
def tensor_split(net: Any, x: Tensor) -> Tensor:
    return many(x, 48).tensor_split([x.shape[2] // 4, x.shape[2] // 2], 1)[1].sum(1, keepdim=True)


@hazard("channels")
def view_groups(net: Any, x: Tensor) -> Tensor:
    y = many(x, 48)
    return y.view(1, -1, 2 ** (x.shape[3] // 8), *x.shape[2:]).sum(1)[:, :1]


@hazard("channels")
def unflatten(net: Any, x: Tensor) -> Tensor:
    n = x.shape[2] // 4
    return many(x, 4 * n).unflatten(1, (4, n)).amax(2)


@hazard("channels")
def pad_channels(net: Any, x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, 0, x.shape[3] // 4), value=0.5).mean(1, keepdim=True)


@hazard("channels")
def conv_of_size(net: Any, x: Tensor) -> Tensor:
    """A quarter as many output channels as the image has rows, added up."""
    weight = torch.ones(x.shape[2] // 4, x.shape[1], 3, 3, dtype=x.dtype)
    return F.conv2d(x, weight, padding=1).sum(1, keepdim=True)


@hazard("channels")
def mean_of_expanded(net: Any, x: Tensor) -> Tensor:
    """Size-dependent channels whose number cancels: this is local."""
    return x[:, :1].expand(-1, x.shape[2], -1, -1).mean(1, keepdim=True)


@hazard("channels")
def new_batch(net: Any, x: Tensor) -> Tensor:
    """A quarter as many images as the image has columns, one of which is used."""
    n = x.shape[3] // 4
    return (x.expand(n, -1, -1, -1) * torch.arange(n, dtype=x.dtype)[:, None, None, None]).sum(0, keepdim=True)


@hazard("channels")
def one_hot(net: Any, x: Tensor) -> Tensor:
    hot = F.one_hot((x[:, 0] * 3).long().clamp(0, 3), x.shape[3])
    return hot.sum(-1)[:, None].to(x.dtype) + hot[..., : x.shape[3] // 8].sum(-1)[:, None].to(x.dtype)


@hazard("channels")
def frequencies(net: Any, x: Tensor) -> Tensor:
    n = x.shape[2] // 2
    f = torch.linspace(1, 2, n, dtype=x.dtype)
    return torch.einsum("nhw,f->nfhw", x[:, 0], f).cos().sum(1, keepdim=True)


@hazard("channels")
def sum_dimension(net: Any, x: Tensor) -> Tensor:
    """Over dimension 1, which is as long as W: the outer product of a row with all channels."""
    t = x[:, 0]  # 1, H, W
    return (t[:, None] * torch.ones(x.shape[3], 1, 1, dtype=x.dtype)).sum(1, keepdim=True)


@hazard("channels")
def cumsum_channels(net: Any, x: Tensor) -> Tensor:
    return many(x, x.shape[3] // 4).cumsum(1)[:, -1:]


@hazard("channels")
def last_channel(net: Any, x: Tensor) -> Tensor:
    return many(x, x.shape[2] // 2)[:, -1:]


@hazard("channels")
def output_of_size(net: Any, x: Tensor) -> Tensor:
    return many(x, x.shape[2] // 2)


@hazard("channels")
def matrix_of_size(net: Any, x: Tensor) -> Tensor:
    n = x.shape[3] // 4
    t = many(x, n).permute(0, 2, 3, 1) @ torch.ones(n, 2, dtype=x.dtype)
    return t.permute(0, 3, 1, 2)


@hazard("channels")
def interpolate_channels(net: Any, x: Tensor) -> Tensor:
    """Along channels, to a length taken from the image."""
    t = x[:, None]  # 1, 1, C, H, W
    return F.interpolate(t, (x.shape[2] // 4, *x.shape[2:]))[:, 0].sum(1, keepdim=True)


@hazard("channels")
def adaptive_channels(net: Any, x: Tensor) -> Tensor:
    t = many(x, 24).permute(0, 2, 3, 1).flatten(1, 2)
    return F.adaptive_avg_pool1d(t, x.shape[3] // 4)[..., :1].mT.reshape(1, 1, *x.shape[2:])


@hazard("channels")
def unfold_channels(net: Any, x: Tensor) -> Tensor:
    return many(x, 24).unfold(1, x.shape[3] // 4, 1)[:, 0].permute(0, 3, 1, 2).sum(1, keepdim=True)


@hazard("channels")
def movedim_of_size(net: Any, x: Tensor) -> Tensor:
    y = x.unsqueeze(1).expand(-1, x.shape[3] // 4, -1, -1, -1).flatten(1, 2)
    return y.unflatten(1, (-1, x.shape[1])).sum(1)
