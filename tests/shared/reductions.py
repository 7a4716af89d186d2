"""One call of every operator that runs in parts, on an image of any size: (N, C, H, W), cut along H or W."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .banded import In, Whole

A = torch.ops.aten
Draw = Callable[..., Tensor]
"""Sizes -> a tensor of the same kind as the image."""
Family = Callable[[Tensor, int, Draw], Whole]
"""The image, the dimension along which it is cut, what draws other operands."""


def over(target, result=None, *, named="self", **args) -> Family:
    """An operator with a list of dimensions: those behind the channels."""
    return lambda x, d, draw: Whole(target, {named: In(x, d), "dim": [2, 3], **args}, result)


def along(target, result=None, **args) -> Family:
    """An operator over one dimension: the one that is cut."""
    return lambda x, d, draw: Whole(target, {"self": In(x, d), "dim": d, **args}, result)


def everything(target, **args) -> Family:
    return lambda x, d, draw: Whole(target, {"self": In(x, d), **args})


def rare(x: Tensor, share: float) -> Tensor:
    """True for the largest samples."""
    return x > x.double().flatten().quantile(1 - share)


def true(target, share: float) -> Family:
    return lambda x, d, draw: Whole(target, {"self": In(rare(x, share), d), "dim": d, "keepdim": True})


def weighted(target, result=None, *, own=(), **args) -> Family:
    """A norm with one weight and one bias per channel."""

    def family(x: Tensor, d: int, draw: Draw) -> Whole:
        c = x.shape[1]
        given = {"input": In(x, d), "weight": draw(c), "bias": draw(c), **args}
        return Whole(target, {**given, **({"N": x.shape[0], "C": c, "HxW": x[0, 0].numel()} if own else {})}, result)

    return family


def last_dimensions(target, result=None, *, bias=True, eps=1e-5, weight=True) -> Family:
    def family(x: Tensor, d: int, draw: Draw) -> Whole:
        shape = list(x.shape[2:])
        args = {"input": In(x, d), "normalized_shape": shape, "weight": draw(*shape) if weight else None, "eps": eps}
        return Whole(target, {**args, **({"bias": draw(*shape)} if bias else {})}, result)

    return family


def pool(target, result=None) -> Family:
    """One window over the axis that is cut, and windows of one sample along the other."""
    return lambda x, d, draw: Whole(
        target, {"self": In(x, d), "kernel_size": [x.shape[i] if i == d else 1 for i in (2, 3)]}, result
    )


def adaptive(target, result=None) -> Family:
    return lambda x, d, draw: Whole(
        target, {"self": In(x, d), "output_size": [1 if i == d else x.shape[i] for i in (2, 3)]}, result
    )


def rows(x: Tensor, d: int) -> Tensor:
    """(N, C, samples along the cut): a column of the image."""
    return x.select(5 - d, 0)


def on_rows(target, result=None, **args) -> Family:
    return lambda x, d, draw: Whole(target, {"self": In(rows(x, d), 2), **args}, result)


def products(target, first: str, second: str, *, summand: Callable[[Tensor], tuple[int, ...]] | None = None,
             batched: bool = True, **args) -> Family:  # fmt: skip
    """Rows times columns, summed over the axis that is cut."""

    def family(x: Tensor, d: int, draw: Draw) -> Whole:
        a = rows(x, d) if batched else rows(x, d)[0]
        b = draw(*a.shape[:-1], a.shape[-1]).transpose(-1, -2)
        given = {} if summand is None else {"self": draw(*summand(a))}
        return Whole(target, {**given, first: In(a, a.dim() - 1), second: In(b, a.dim() - 2), **args})

    return family


def vectors(x: Tensor, d: int, draw: Draw) -> Whole:
    a = rows(x, d)[0, 0]
    return Whole(A.dot.default, {"self": In(a, 0), "tensor": In(draw(a.shape[0]), 0)})


def matrix_and_vector(x: Tensor, d: int, draw: Draw) -> Whole:
    a = rows(x, d)[0]
    return Whole(A.mv.default, {"self": In(a, 1), "vec": In(draw(a.shape[1]), 0)})


def linear(x: Tensor, d: int, draw: Draw) -> Whole:
    a = rows(x, d)
    return Whole(A.linear.default, {"input": In(a, 2), "weight": In(draw(3, a.shape[2]), 1), "bias": draw(3)})


def gram(x: Tensor, d: int, draw: Draw) -> Whole:
    other = draw(*x.shape)
    return Whole(A.einsum.default, {"equation": "nchw,ndhw->ncd", "tensors": [In(x, d), In(other, d)]})


def gram_with_constant(x: Tensor, d: int, draw: Draw) -> Whole:
    return Whole(A.einsum.default, {"equation": "nchw,ce->ne", "tensors": [In(x, d), draw(x.shape[1], 3)]})


def vector_norm(p: float) -> Family:
    return over(A.linalg_vector_norm.default, ord=p, keepdim=True)


ADDED: dict[str, Family] = {
    "sum": over(A.sum.dim_IntList),
    "sum of all": everything(A.sum.default),
    "mean": over(A.mean.dim, keepdim=True),
    "nansum": over(A.nansum.default),
    "nanmean": over(A.nanmean.default),
    "prod": along(A.prod.dim_int, keepdim=True),
    "prod of all": everything(A.prod.default),
    "norm 0": vector_norm(0),
    "norm 1": vector_norm(1),
    "norm 2": vector_norm(2),
    "norm 3.5": vector_norm(3.5),
    "norm": over(A.norm.ScalarOpt_dim, p=2, keepdim=True),
    "norm of all": everything(A.norm.Scalar, p=3),
    "frobenius_norm": over(A.frobenius_norm.dim),
    "logsumexp": over(A.logsumexp.default, keepdim=True),
    "adaptive_avg_pool2d": adaptive(A.adaptive_avg_pool2d.default),
    "_adaptive_avg_pool2d": adaptive(A._adaptive_avg_pool2d.default),
    "adaptive_avg_pool1d": on_rows(A.adaptive_avg_pool1d.default, output_size=[1]),
    "avg_pool2d": pool(A.avg_pool2d.default),
    "matmul": products(A.matmul.default, "self", "other"),
    "bmm": products(A.bmm.default, "self", "mat2"),
    "mm": products(A.mm.default, "self", "mat2", batched=False),
    "addmm": products(A.addmm.default, "mat1", "mat2", batched=False, summand=lambda a: (a.shape[0], a.shape[0]),
                      beta=2, alpha=3),
    "baddbmm": products(A.baddbmm.default, "batch1", "batch2", summand=lambda a: (1, a.shape[1], a.shape[1]), beta=3,
                        alpha=1),
    "mv": matrix_and_vector,
    "dot": vectors,
    "linear": linear,
    "einsum": gram,
    "einsum with a constant": gram_with_constant,
    "rms_norm": last_dimensions(A.rms_norm.default, bias=False),
    "rms_norm without an epsilon": last_dimensions(A.rms_norm.default, bias=False, weight=False, eps=None),
    "_fused_rms_norm": last_dimensions(A._fused_rms_norm.default, 0, bias=False),
    "softmax": along(A.softmax.int),
    "_softmax": along(A._softmax.default, half_to_float=False),
    "_safe_softmax": along(A._safe_softmax.default),
    "log_softmax": along(A.log_softmax.int),
    "_log_softmax": along(A._log_softmax.default, half_to_float=False),
    "mean of var_mean": over(A.var_mean.correction, 1),
}  # fmt: skip
"""A band that is left out and one that counts twice both show."""

SPREAD: dict[str, Family] = {
    "var": over(A.var.dim, unbiased=True),
    "var of all": everything(A.var.default, unbiased=False),
    "std": over(A.std.correction, correction=0, keepdim=True),
    "var_mean": over(A.var_mean.correction, 0, correction=2),
    "std_mean": over(A.std_mean.dim, 0, unbiased=False),
    "group_norm": weighted(A.group_norm.default, num_groups=2, eps=1e-3),
    "native_group_norm": weighted(A.native_group_norm.default, 0, own=True, group=2, eps=1e-5),
    "instance_norm": weighted(A.instance_norm.default, running_mean=None, running_var=None, use_input_stats=True,
                              momentum=0.1, eps=1e-5, cudnn_enabled=False),
    "batch_norm": weighted(A.batch_norm.default, running_mean=None, running_var=None, training=True, momentum=0.1,
                           eps=1e-5, cudnn_enabled=False),
    "_native_batch_norm_legit": weighted(A._native_batch_norm_legit.no_stats, 0, training=True, momentum=0.1,
                                         eps=1e-5),
    "layer_norm": last_dimensions(A.layer_norm.default),
    "native_layer_norm": last_dimensions(A.native_layer_norm.default, 0),
}  # fmt: skip
"""A combination without the term between bands shows too."""

CHOSEN: dict[str, Family] = {
    "amax": along(A.amax.default),
    "amin": along(A.amin.default),
    "max": along(A.max.dim, 0),
    "places of max": along(A.max.dim, 1),
    "min": along(A.min.dim, 0, keepdim=True),
    "places of min": along(A.min.dim, 1, keepdim=True),
    "argmax": along(A.argmax.default),
    "argmin": along(A.argmin.default, keepdim=True),
    "aminmax, low": along(A.aminmax.default, 0),
    "aminmax, high": along(A.aminmax.default, 1, keepdim=True),
    "norm inf": lambda x, d, draw: Whole(A.linalg_vector_norm.default, {"self": In(x, d), "ord": math.inf, "dim": [d]}),
    "norm -inf": lambda x, d, draw: Whole(
        A.linalg_vector_norm.default, {"self": In(x, d), "ord": -math.inf, "dim": [d]}
    ),
    "any": true(A.any.dim, 0.1),
    "all": true(A.all.dim, 0.9),
    "adaptive_max_pool2d": adaptive(A.adaptive_max_pool2d.default, 0),
    "adaptive_max_pool1d": on_rows(A.adaptive_max_pool1d.default, 0, output_size=[1]),
    "max_pool2d": pool(A.max_pool2d.default),
    "max_pool2d_with_indices": pool(A.max_pool2d_with_indices.default, 0),
}
"""To count a band twice changes nothing: the same sample is chosen."""

COUNTED: dict[str, Family] = {
    "count_nonzero": lambda x, d, draw: Whole(A.count_nonzero.dim_IntList, {"self": In(rare(x, 0.4), d), "dim": [2, 3]})
}

FAMILIES = {**ADDED, **SPREAD, **CHOSEN, **COUNTED}

WHOLE_NUMBERS = ("sum", "sum of all", "prod", "prod of all", "matmul", "bmm", "addmm", "baddbmm", "einsum", "amax",
                 "amin", "max", "min", "places of max", "argmax", "argmin", "aminmax, low")  # fmt: skip
"""Operators that take whole numbers, and give them."""
