"""Family channels: arguments that follow the image's size, for operators along an axis or along none."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .channels import many
from .hazard import hazard


@hazard("channels")
def select_of_constant(net: Any, x: Tensor) -> Tensor:
    return x * torch.arange(64, dtype=x.dtype)[x.shape[3]]


@hazard("channels")
def quantised(net: Any, x: Tensor) -> Tensor:
    n = x.shape[2]
    return (x * n).round() / n


@hazard("channels")
def scalar(net: Any, x: Tensor) -> Tensor:
    return x * x.shape[3] + x.shape[2]


@hazard("channels")
def scalar_half(net: Any, x: Tensor) -> Tensor:
    return x / math.sqrt(x.shape[3] // 2)


@hazard("channels")
def number_of_samples(net: Any, x: Tensor) -> Tensor:
    return x / x.numel() + x.nelement() / x.shape[1]


@hazard("channels")
def pad_value(net: Any, x: Tensor) -> Tensor:
    return F.pad(x, (2, 2, 1, 1), value=x.shape[3] / 10)


@hazard("channels")
def groups(net: Any, x: Tensor) -> Tensor:
    y = many(x, 48)
    weight = torch.ones(48, 48 // (2 ** (x.shape[3] // 8)), 1, 1, dtype=x.dtype)
    return F.conv2d(y, weight, groups=2 ** (x.shape[3] // 8))[:, :2]


@hazard("channels")
def kernel_by_size(net: Any, x: Tensor) -> Tensor:
    k = 2 * (x.shape[3] // 10) + 1
    return F.avg_pool2d(x, k, 1, k // 2)


@hazard("channels")
def dilation_by_size(net: Any, x: Tensor) -> Tensor:
    d = x.shape[2] // 8
    return F.conv2d(x, torch.ones(1, x.shape[1], 3, 3, dtype=x.dtype), padding=d, dilation=d)


@hazard("channels")
def stride_by_size(net: Any, x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, max(1, x.shape[3] // 9))


@hazard("channels")
def repeated_filter(net: Any, x: Tensor) -> Tensor:
    for _ in range(int(math.log2(x.shape[3])) - 2):
        x = F.avg_pool2d(x, 3, 1, 1)
    return x


@hazard("channels")
def branch_by_size(net: Any, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1) if x.shape[3] >= 20 else x


@hazard("channels")
def shuffle_channels(net: Any, x: Tensor) -> Tensor:
    return F.channel_shuffle(many(x, 48), 2 ** (x.shape[2] // 8))[:, 1:3]


@hazard("channels")
def roll_channels(net: Any, x: Tensor) -> Tensor:
    return many(x, 5).roll(x.shape[3] // 4, 1)


@hazard("channels")
def topk(net: Any, x: Tensor) -> Tensor:
    return many(x, 40).topk(x.shape[3] // 4, 1)[0].sum(1, keepdim=True)


@hazard("channels")
def kthvalue(net: Any, x: Tensor) -> Tensor:
    return many(x, 40).kthvalue(x.shape[3] // 4, 1)[0][:, None]


@hazard("channels")
def softmax_temperature(net: Any, x: Tensor) -> Tensor:
    return torch.softmax(torch.cat([x, x * 2], 1) / math.log(x.shape[2]), 1)


@hazard("channels")
def clamp_by_size(net: Any, x: Tensor) -> Tensor:
    return x.clamp(max=x.shape[3] / 40)


@hazard("channels")
def pow_by_size(net: Any, x: Tensor) -> Tensor:
    return x ** (x.shape[2] / 16)


@hazard("channels")
def eps_by_size(net: Any, x: Tensor) -> Tensor:
    t = torch.cat([x, x * 2], 1).permute(0, 2, 3, 1)
    return F.layer_norm(t, t.shape[-1:], eps=x.shape[2] / 20).permute(0, 3, 1, 2)


@hazard("channels")
def stack_of_size(net: Any, x: Tensor) -> Tensor:
    return torch.stack([x * k for k in range(x.shape[2] // 4)]).sum(0)


@hazard("channels")
def cat_of_size(net: Any, x: Tensor) -> Tensor:
    return torch.cat([x * k for k in range(1, x.shape[3] // 4)], 1).amax(1, keepdim=True)


@hazard("channels")
def linspace_end(net: Any, x: Tensor) -> Tensor:
    return x * torch.linspace(0, x.shape[3], x.shape[1], dtype=x.dtype)[:, None, None]


@hazard("channels")
def arange_step(net: Any, x: Tensor) -> Tensor:
    return x + torch.arange(0, 40, x.shape[2] // 4, dtype=x.dtype).sum()
