"""What a net computes from its parameters, whatever their values are.

A constant made from parameters is evaluated with arbitrary numbers in their place (see constants.py). That shows what
holds for all numbers as long as the net computes smoothly: a sum of products that is zero for numbers drawn at random
is zero for all. A threshold, a rounding or a look-up is not smooth: numbers that all lie on one side of it show
nothing. The result of such an operator is therefore made up in turn: another arbitrary number for each of its inputs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from .values import digest_of

FILLINGS = 6
"""The number of sets of made-up parameters that may show a value to be real."""
MOSTS = (97, 6, 1)
"""The largest made-up integers. They may be indices: where the net fails with them, smaller ones are tried."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOVES = _names("""
    _reshape_alias _unsafe_view alias as_strided atleast_1d atleast_2d atleast_3d broadcast_to cat
    channel_shuffle chunk clone concat concatenate constant_pad_nd contiguous copy detach diag diag_embed
    diagonal diagonal_scatter dstack empty_like expand expand_as expand_copy fill flatten flip fliplr flipud
    full_like hstack lift_fresh lift_fresh_copy meshgrid moveaxis movedim narrow new_empty new_full new_ones
    new_zeros ones_like pad permute pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d
    reflection_pad3d repeat replication_pad1d replication_pad2d replication_pad3d reshape resolve_conj
    resolve_neg roll rot90 select select_scatter slice slice_scatter split split_with_sizes squeeze stack
    swapaxes swapdims t tensor_split tile transpose tril triu unbind unflatten unfold unsafe_chunk unsafe_split
    unsqueeze view view_as view_as_complex view_as_real vstack zero zeros_like
""")
SMOOTH = _names("""
    _adaptive_avg_pool2d _conj adaptive_avg_pool1d adaptive_avg_pool2d add addbmm addcdiv addcmul addmm addmv
    asinh atan avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear bmm complex conj conj_physical
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution cos cumsum div divide
    dot einsum fft_fft fft_fft2 fft_ifft fft_ifft2 fft_irfft fft_irfft2 fft_rfft fft_rfft2 ger group_norm imag
    inner instance_norm kron layer_norm lerp linalg_matrix_norm linalg_norm linalg_vector_norm linear matmul
    mean mm mul multiply mv native_group_norm native_layer_norm neg negative norm outer real reciprocal rms_norm
    rsub sin square std std_mean sub subtract sum tan tensordot trace true_divide upsample_bicubic2d
    upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d var var_mean vdot
""")
"""Not included: functions that are zero, or NaN, far on one side: `exp`, `sqrt` and `log` in finite precision."""
PICKS = _names("""
    _unsafe_index _unsafe_index_put embedding gather index index_add index_copy index_fill index_put
    index_select masked_fill masked_scatter repeat_interleave scatter scatter_add take take_along_dim where
""")
"""Smooth as long as what selects (a mask, indices) does not depend on a parameter."""
TYPES = frozenset({"to", "_to_copy", "type_as", "float", "double", "half"})
"""Smooth unless they turn real numbers into integers."""


def is_smooth(target: Any, tainted: Sequence[Tensor], result: Any) -> bool:
    """Whether what an operator shows for some numbers holds for all. tainted: its operands that depend on
    parameters."""
    schema = getattr(target, "_schema", None)
    name = schema.name.partition("::")[2] if schema is not None and schema.name.startswith("aten::") else ""
    real = all(t.is_floating_point() or t.is_complex() for t in tainted)
    if name in MOVES:
        return True
    if name in TYPES:
        return not real or not isinstance(result, Tensor) or result.is_floating_point() or result.is_complex()
    if name in PICKS:
        return real
    if schema is not None and any(argument.name == "rounding_mode" for argument in schema.arguments):
        return False
    return name in SMOOTH and not any(t.dtype is torch.bool for t in tainted)


def parameter(shape: tuple[int, ...], dtype: torch.dtype, name: str, filling: int, most: int) -> Tensor:
    """Made-up values: all different, different for every name, reproducible. Real numbers are never zero; by filling
    they are positive, negative, then of both signs."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{filling}{name}".encode()))
    values = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
    if not (dtype.is_floating_point or dtype.is_complex):
        return _whole(values, dtype, filling, most)
    values.add_(0.5)
    if filling == 1:
        values.neg_()
    elif filling > 1:
        values.mul_(torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu").sub_(0.5).sign_()).mul_(
            filling - 1
        )
    return values.to(dtype)


def made_up(target: Any, given: Sequence[Any], result: Tensor, filling: int, most: int, item: int = 0) -> Tensor:
    """A replacement for the result of an operator that is not smooth.

    If it works sample by sample: an arbitrary function of its inputs there, equal for equal inputs. Otherwise unrelated
    values, equal for equal operands.
    """
    seed = zlib.crc32(repr((str(target), item, [v for v in given if not isinstance(v, Tensor)])).encode())
    operands = [v for v in given if isinstance(v, Tensor)]
    if torch.Tag.pointwise in getattr(target, "tags", ()):
        mixed: Tensor = torch.zeros((), dtype=torch.float64)
        for k, operand in enumerate(operands, 1):
            mixed = mixed + torch.sin(_number(operand) * (12.9898 + 1.37 * k) + seed % 997 + k) * (1 + 0.618 * k)
        share = (mixed * 43758.5453).remainder(1.0).expand(result.shape)
    else:
        for operand in operands:
            seed = zlib.crc32(digest_of(operand, (None,) * operand.dim()).encode(), seed)
        share = torch.rand(
            result.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu"
        )
    if not (result.is_floating_point() or result.is_complex()):
        return _whole(share, result.dtype, filling, most)
    return ((1 + share) * (-1 if filling == 1 else 1)).to(result.dtype)


def _whole(share: Tensor, dtype: torch.dtype, filling: int, most: int) -> Tensor:
    """Numbers in [0, 1) as integers from 1 to `most`; as booleans, or 0 and 1, all of them equal in some fillings."""
    if dtype is torch.bool or most == 1:
        same = {1: True, 2: False}.get(filling)
        return (share >= 0.5 if same is None else torch.full_like(share, same)).to(dtype)
    return (1 + (share * most).floor()).to(dtype)


def _number(value: Tensor) -> Tensor:
    value = torch.view_as_real(value).sum(-1) if value.is_complex() else value
    return value.to(torch.float64).nan_to_num()


def dependent(fillings: Sequence[Tensor]) -> Tensor:
    """Where a value depends on parameters: it differs between fillings."""
    first = fillings[0]
    found = torch.zeros(first.shape, dtype=torch.bool)
    for other in fillings[1:]:
        if other.shape != first.shape:
            return torch.ones(first.shape, dtype=torch.bool)
        found = found | ~((first == other) | ((first != first) & (other != other)))
    return found if prod(first.shape) else torch.zeros(first.shape, dtype=torch.bool)
