"""Families overloads and types: operators of one name that do different things, and types within a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard

Plain = Callable[[Tensor], Tensor]


def _unpooled(x: Tensor) -> Tensor:
    even = x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
    largest, places = F.max_pool2d(even, 2, return_indices=True)
    return F.max_unpool2d(largest, places, [2, 2])


OVERLOADS: dict[str, Plain] = {
    "view_int": lambda x: x.view(torch.int64).to(x.dtype) * 1e-19,
    "view_float_int": lambda x: x.float().view(torch.int32).to(x.dtype) * 1e-9,
    "view_narrower": lambda x: x.view(torch.float32).to(x.dtype).nan_to_num(0, 1, 1).clamp(-9, 9)[..., 1::2],
    "view_bytes": lambda x: x.float().view(torch.uint8).to(x.dtype),
    "tensor_split_indices": lambda x: x.repeat(1, 4, 1, 1).tensor_split([1, 3], 1)[1],
    "tensor_split_sections": lambda x: x.repeat(1, 4, 1, 1).tensor_split(3, 1)[0],
    "tensor_split_columns": lambda x: x.tensor_split([3, 7], 3)[1],
    "tensor_split_last": lambda x: x.tensor_split([3], 3)[1],
    "tensor_split_tensor": lambda x: x.repeat(1, 4, 1, 1).tensor_split(torch.tensor([1, 3]), 1)[1],
    "split_sizes": lambda x: torch.split(x.repeat(1, 3, 1, 1), [x.shape[1], 2 * x.shape[1]], 1)[1],
    "split_sizes_columns": lambda x: x.split([4, x.shape[3] - 4], 3)[1],
    "split_int_columns": lambda x: x.split(5, 3)[0],
    "split_op": lambda x: torch.ops.aten.split.sizes(x, [2, x.shape[2] - 2], 2)[1],
    "chunk_rows": lambda x: x.chunk(2, 2)[0],
    "vsplit": lambda x: x.repeat(1, 2, 1, 1).hsplit([1])[1],
    "unbind_channels": lambda x: x.unbind(1)[0][:, None],
    "unbind_rows": lambda x: torch.stack(list(x.unbind(2)), 2),
    "max_other": lambda x: x.max(x * 0 + 0.5),
    "max_dim": lambda x: x.max(1, keepdim=True)[0],
    "max_index": lambda x: x.max(1, keepdim=True)[1].to(x.dtype),
    "max_rows": lambda x: x + x.max(2, keepdim=True)[0],
    "max_all": lambda x: x + x.max(),
    "min_other": lambda x: x.min(x.flip(1)),
    "mean_dims": lambda x: x.mean((0, 1), keepdim=True),
    "mean_none": lambda x: x - x.mean(()),
    "mean_dtype": lambda x: x.float().mean(1, keepdim=True, dtype=torch.float64),
    "mean_negative": lambda x: x.mean(-3, keepdim=True),
    "mean_columns": lambda x: x - x.mean(-1, keepdim=True),
    "std_correction": lambda x: torch.cat([x, x * 2], 1).std(1, correction=0, keepdim=True),
    "std_unbiased": lambda x: torch.cat([x, x * 2], 1).std(1, unbiased=False, keepdim=True),
    "var_columns": lambda x: x.var(3, correction=2, keepdim=True) + x,
    "var_mean": lambda x: torch.cat(torch.var_mean(torch.cat([x, x * 2], 1), 1, keepdim=True), 1),
    "repeat_interleave_int": lambda x: x.repeat_interleave(2, 3),
    "repeat_interleave_rows": lambda x: x.repeat_interleave(3, dim=2),
    "repeat_interleave_tensor": lambda x: x.repeat_interleave(torch.arange(x.shape[1]) + 1, 1),
    "repeat_interleave_list": lambda x: x.repeat_interleave(torch.arange(x.shape[3]) % 2 + 1, 3),
    "squeeze_dims": lambda x: x[:, :1].squeeze((0, 1))[None, None],
    "squeeze_all": lambda x: x[:, :1].squeeze()[None, None],
    "where_scalars": lambda x: torch.where(x > 0.5, 1.0, 0.0) + x,
    "where_scalar_tensor": lambda x: torch.where(x > 0.5, torch.tensor(2.0, dtype=x.dtype), x),
    "where_other_scalar": lambda x: torch.where(x > 0.5, x, 0.25),
    "sum_dtype": lambda x: x.float().sum(1, keepdim=True, dtype=torch.float64),
    "sum_all_dims": lambda x: x + x.sum((2, 3), keepdim=True),
    "sum_nothing": lambda x: x.sum((), keepdim=True) * 0 + x,
    "prod_dim": lambda x: x.prod(1, keepdim=True),
    "any_dim": lambda x: (x > 0.5).any(1, keepdim=True).to(x.dtype),
    "all_dims": lambda x: (x > 0.1).all(1, keepdim=True).to(x.dtype),
    "add_alpha": lambda x: torch.add(x, x, alpha=2),
    "sub_alpha": lambda x: torch.rsub(x, 1.0, alpha=0.5),
    "pow_scalar_base": lambda x: torch.pow(2.0, x),
    "pow_negative": lambda x: x.pow(-1),
    "round_decimals": lambda x: x.round(decimals=1),
    "div_trunc": lambda x: torch.div(x * 7, 2, rounding_mode="trunc"),
    "clamp_tensor": lambda x: x.clamp(x * 0 + 0.2, x * 0 + 0.8),
    "transpose_names": lambda x: x.transpose(-2, -1).transpose(2, 3),
    "flip_channels": lambda x: x.flip(1),
    "flip_twice": lambda x: x.flip(3).flip(-1),
    "rot180_twice": lambda x: torch.rot90(torch.rot90(x, 2, (2, 3)), 2, (2, 3)),
    "flip_columns": lambda x: x.flip(3) + x,
    "roll_none": lambda x: x + x.roll(1),
    "roll_columns": lambda x: x + x.roll(2, 3),
    "roll_both_ways": lambda x: x.roll((1, 2), (2, 3)).roll((-1, -2), (2, 3)),
    "cumsum_channels": lambda x: x.cumsum(1),
    "cumsum_columns": lambda x: x.cumsum(-1),
    "sort_channels": lambda x: x.sort(1, descending=True)[0],
    "sort_columns": lambda x: x.sort(-1)[0],
    "argsort_channels": lambda x: x.argsort(1).to(x.dtype),
    "norm_p": lambda x: x.norm(p=1, dim=1, keepdim=True),
    "norm_inf": lambda x: torch.linalg.vector_norm(x, torch.inf, dim=1, keepdim=True),
    "norm_columns": lambda x: x / x.norm(dim=3, keepdim=True),
    "norm_dtype": lambda x: torch.linalg.vector_norm(x.float(), dim=1, keepdim=True, dtype=torch.float64),
    "logsumexp_dims": lambda x: x.logsumexp((0, 1), keepdim=True),
    "softmax_dtype": lambda x: torch.softmax(torch.cat([x, 2 * x], 1), 1, dtype=torch.float64),
    "diff_columns": lambda x: x.diff(dim=3),
    "diff_twice": lambda x: x.diff(2, dim=2),
    "unfold_columns": lambda x: x.unfold(3, 3, 1).mean(-1),
    "unfold_stride": lambda x: x.unfold(2, 3, 2).amax(-1),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(3),
    "diagonal_channels": lambda x: x.diagonal(0, 2, 3).unsqueeze(2) + x[..., :1] if x.shape[2] <= x.shape[3] else x,
    "max_pool_indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[1].to(x.dtype),
    "max_unpool": _unpooled,
    "avg_pool_divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2),
    "lp_pool": lambda x: F.lp_pool2d(x, 2, 2),
    "pad_circular": lambda x: F.pad(x, (1, 1, 1, 1), "circular"),
    "pad_tuple": lambda x: F.pad(x, (1, 2, 0, 1), "reflect"),
    "pad_three": lambda x: F.pad(x, (0, 1, 2, 0, 1, 1), value=0.5),
    "movedim_many": lambda x: torch.movedim(x, (2, 3), (3, 2)).mT,
    "flatten_some": lambda x: x.flatten(1, 2).unflatten(1, (x.shape[1], x.shape[2])),
    "view_minus": lambda x: x.view(1, -1, x.shape[3]).view(1, x.shape[1], -1, x.shape[3]),
    "rows_as_pairs": lambda x: x[:, :, : x.shape[2] // 2 * 2].reshape(1, x.shape[1], -1, 2 * x.shape[3]),
    "index_none": lambda x: x[None, :, None][0, :, 0] if False else x[:, :, None, :, None][:, :, 0, :, 0],
    "index_negative": lambda x: x[:, -1:, 1:-1, ::2],
    "index_step": lambda x: x[:, :, 2::3],
    "masked_select_shape": lambda x: x * (x > 0.5),
    "nan_to_num": lambda x: x.nan_to_num(0.0),
    "quantile_channels": lambda x: torch.cat([x, x * 2], 1).quantile(0.5, 1, keepdim=True),
    "median_channels": lambda x: torch.cat([x, x * 2], 1).median(1, keepdim=True)[0],
    "mode_channels": lambda x: torch.cat([x, x], 1).mode(1, keepdim=True)[0],
    "aminmax": lambda x: torch.cat(torch.aminmax(torch.cat([x, x * 2], 1), dim=1, keepdim=True), 1),
    "fft_columns": lambda x: torch.fft.rfft(x, dim=3).abs()[..., :1] + x,
    "fft_channels": lambda x: torch.fft.fft(x, dim=1).real,
    "histogram": lambda x: x + torch.histc(x, 4, 0, 1).mean(),
    "count_nonzero": lambda x: (x > 0.5).count_nonzero(1)[:, None].to(x.dtype),
    "searchsorted_right": lambda x: torch.searchsorted(
        torch.tensor([0.2, 0.5, 0.9], dtype=x.dtype), x.contiguous(), right=True
    ).to(x.dtype),
    "glu": lambda x: F.glu(torch.cat([x, x * 2], 1), 1),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "celu": lambda x: F.celu(x - 0.5, 0.3),
    "bilinear_pixel_shuffle": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), 2),
    "local_response": lambda x: F.local_response_norm(torch.cat([x, x * 2], 1), 2),
    "normalize": lambda x: F.normalize(torch.cat([x, x * 2], 1), dim=1),
    "addcmul_value": lambda x: torch.addcmul(x, x, x, value=2),
    "fold_shape": lambda x: F.fold(F.unfold(x, 2), x.shape[2:], 2),
    "cross_entropy": lambda x: F.cross_entropy(torch.cat([x, x * 2], 1), (x[:, 0] > 0.5).long(), reduction="none")[
        :, None
    ],
    "bernoulli_none": lambda x: F.dropout(x, 0.5, False),
    "take_channels": lambda x: x.take_along_dim(x.argsort(1), 1),
    "scatter_reduce": lambda x: x.scatter_reduce(1, x.argsort(1), x * 2, "amax"),
    "cummax_channels": lambda x: x.cummax(1)[0],
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "block_permute": lambda x: x[:, :, : x.shape[2] // 2 * 2].unflatten(2, (-1, 2)).flip(3).flatten(2, 3),
    "trunc_frac": lambda x: (x * 3).frac() + (x * 3).trunc(),
    "tensordot": lambda x: torch.tensordot(x, torch.ones(x.shape[1], 2, dtype=x.dtype), ([1], [0])).permute(0, 3, 1, 2),
    "complex_view": lambda x: torch.view_as_real(torch.complex(x, x * 2)).movedim(-1, 1).flatten(1, 2),
    "expand_minus": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "sum_expand": lambda x: x.sum(1, keepdim=True).expand_as(x) + x,
    "hardtanh": lambda x: F.hardtanh(x, 0.3, 0.6),
    "std_mean_all": lambda x: x / torch.std_mean(x)[0],
    "argmax_rows": lambda x: x + x.argmax(2, keepdim=True).to(x.dtype),
}


def _float_inside(function: Plain) -> Plain:
    return lambda x: function(x.float()).to(x.dtype)


def sobel(x: Tensor) -> Tensor:
    kernel = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=x.dtype, device=x.device)
    weight = torch.stack([kernel, kernel.T])[:, None].repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, weight, padding=1, groups=x.shape[1])


def gaussian(x: Tensor) -> Tensor:
    place = torch.arange(5, dtype=x.dtype) - 2
    row = torch.exp(-(place**2) / 3)
    kernel = (row[:, None] * row)[None, None].expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel / kernel.sum((-1, -2), keepdim=True), groups=x.shape[1])


def blur_by_shifts(x: Tensor) -> Tensor:
    y = F.pad(x, (1, 1, 1, 1), "replicate")
    return (y[..., :-2, 1:-1] + y[..., 2:, 1:-1] + y[..., 1:-1, :-2] + y[..., 1:-1, 2:]) / 4


def norm_of_channels(x: Tensor) -> Tensor:
    t = torch.cat([x, x * x + 0.1], 1)
    mean = t.mean(1, keepdim=True)
    return (t - mean) * torch.rsqrt(t.var(1, keepdim=True) + 1e-6)


def layer_norm(x: Tensor) -> Tensor:
    t = torch.cat([x, x * x + 0.1], 1).permute(0, 2, 3, 1)
    return F.layer_norm(t, t.shape[-1:]).permute(0, 3, 1, 2)


def resized(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(torch.cat([x, x * 2], 1), 1)


def quantised(x: Tensor) -> Tensor:
    return (x * 255).round().to(torch.uint8).to(x.dtype) / 255


def integers(x: Tensor) -> Tensor:
    return F.max_pool2d((x * 100).int().to(x.dtype), 3, 1, 1)


def booleans(x: Tensor) -> Tensor:
    return (F.max_pool2d((x > 0.6).to(x.dtype), 3, 1, 1) > 0).to(x.dtype) + x


def half(x: Tensor) -> Tensor:
    return (x.half() * 2).to(x.dtype)


def bfloat(x: Tensor) -> Tensor:
    return x.bfloat16().to(x.dtype) + 1


def complexes(x: Tensor) -> Tensor:
    return (x.to(torch.complex128) * 1j).imag


def default_type(x: Tensor) -> Tensor:
    return x * torch.tensor(1.5) + torch.ones(x.shape[1], 1, 1) / 3


def promoted(x: Tensor) -> Tensor:
    return x.float() + x


def haar(x: Tensor) -> Tensor:
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=x.dtype) / 2**0.5
    kernel = torch.einsum("ai,bj->abij", rows, rows).reshape(4, 1, 2, 2).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, kernel, stride=2, groups=x.shape[1])


def identity_matrix(x: Tensor) -> Tensor:
    return F.conv2d(x, torch.eye(x.shape[1], dtype=x.dtype)[:, :, None, None])


def laplacian(x: Tensor) -> Tensor:
    kernel = x.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, groups=x.shape[1])


def double_inside(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.double(), 3, 1, 1).to(x.dtype)


def nearest_float(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=1.5)


TYPES: dict[str, Plain] = {
    f.__name__: f
    for f in (
        sobel, gaussian, blur_by_shifts, norm_of_channels, layer_norm, resized, softmax, quantised, integers, booleans,
        half, bfloat, complexes, default_type, promoted, haar, identity_matrix, laplacian, double_inside, nearest_float,
    )
}  # fmt: skip


def _plain(function: Plain) -> Callable[[Any, Tensor], Tensor]:
    return lambda net, x: function(x)


for _name, _function in OVERLOADS.items():
    hazard("overloads", name=_name)(_plain(_function))
for _name, _function in TYPES.items():
    hazard("types", name=_name)(_plain(_function))
    if _name not in ("half", "bfloat", "complexes", "promoted", "double_inside"):
        hazard("types", name=f"{_name} in float32")(_plain(_float_inside(_function)))
