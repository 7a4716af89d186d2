"""Family aliases: writes that show, or do not, through other names of the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hazard import hazard

ALIASES: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda z: z,
    "dropout": lambda z: F.dropout(z, 0.0, True),
    "dropout_eval": lambda z: F.dropout(z, 0.5, False),
    "alpha_dropout": lambda z: F.alpha_dropout(z, 0.0, True),
    "feature_dropout": lambda z: F.dropout2d(z, 0.0, True),
    "feature_alpha": lambda z: F.feature_alpha_dropout(z, 0.0, True),
    "conj_physical": lambda z: torch.conj_physical(z),
    "conj": lambda z: z.conj(),
    "resolve_conj": lambda z: z.resolve_conj(),
    "resolve_neg": lambda z: z.resolve_neg(),
    "contiguous": lambda z: z.contiguous(),
    "to": lambda z: z.to(z.dtype),
    "to_copy": lambda z: z.to(z.dtype, copy=True),
    "type_as": lambda z: z.type_as(z),
    "double": lambda z: z.double(),
    "detach": lambda z: z.detach(),
    "data": lambda z: z.data,
    "real": lambda z: z.real,
    "view": lambda z: z.view(z.shape),
    "view_as": lambda z: z.view_as(z),
    "reshape": lambda z: z.reshape(z.shape),
    "reshape_as": lambda z: z.reshape_as(z),
    "expand": lambda z: z.expand(z.shape),
    "expand_as": lambda z: z.expand_as(z),
    "broadcast_to": lambda z: z.broadcast_to(z.shape),
    "squeeze": lambda z: z.squeeze(-1),
    "positive": lambda z: +z,
    "clone": lambda z: z.clone(),
    "alias": lambda z: torch.ops.aten.alias(z),
    "identity": lambda z: nn.Identity()(z),
    "narrow": lambda z: z.narrow(1, 0, z.shape[1]),
    "slice": lambda z: z[:],
    "ellipsis": lambda z: z[...],
    "flatten_unflatten": lambda z: z.flatten(2).unflatten(2, z.shape[2:]),
    "permute_twice": lambda z: z.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "transpose_twice": lambda z: z.mT.mT,
    "movedim": lambda z: z.movedim(1, -1).movedim(-1, 1),
    "unsqueeze": lambda z: z.unsqueeze(0).squeeze(0),
    "as_strided": lambda z: z.as_strided(z.shape, z.stride()),
    "chunk": lambda z: z.chunk(1, 1)[0],
    "split": lambda z: z.split(z.shape[1], 1)[0],
    "unsafe_chunk": lambda z: z.unsafe_chunk(1, 1)[0],
    "unsafe_split": lambda z: z.unsafe_split(z.shape[1], 1)[0],
    "unsafe_split_with_sizes": lambda z: z.unsafe_split_with_sizes([z.shape[1]], 1)[0],
    "tensor_split": lambda z: z.tensor_split(1, 1)[0],
    "hsplit": lambda z: z.hsplit(1)[0],
    "unbind": lambda z: z.unbind(0)[0][None],
    "atleast": lambda z: torch.atleast_3d(z),
    "swapaxes": lambda z: z.swapaxes(2, 3).swapaxes(3, 2),
    "ravel": lambda z: z.ravel().view(z.shape),
    "pad_nothing": lambda z: F.pad(z, (0, 0)),
    "interpolate_one": lambda z: F.interpolate(z, z.shape[2:]),
    "einsum_same": lambda z: torch.einsum("nchw->nchw", z),
    "einsum_permuted": lambda z: torch.einsum("nchw->nhwc", z).permute(0, 3, 1, 2),
    "channels_last": lambda z: z.contiguous(memory_format=torch.channels_last),
    "unfold": lambda z: z.unfold(3, 1, 1)[..., 0],
    "zero_repeat": lambda z: z.repeat(1, 1, 1, 1),
    "tile": lambda z: z.tile((1,)),
    "cartesian": lambda z: torch.cartesian_prod(z.flatten()).view(z.shape),
    "lift": lambda z: torch.ops.aten.lift(z),
    "diagonal": lambda z: torch.diagonal(z[..., None, None], 0, -2, -1)[..., 0],
    "roll_nothing": lambda z: z.roll(0, 1),
    "flip_nothing": lambda z: z.flip(()),
    "add_zero": lambda z: z.add(0),
    "relu": lambda z: z.relu(),
    "cat_one": lambda z: torch.cat([z], 1),
    "stack_one": lambda z: torch.stack([z])[0],
    "nan_to_num": lambda z: z.nan_to_num(),
    "requires_grad": lambda z: z.requires_grad_(False),
    "view_dtype": lambda z: z.view(torch.int64).view(torch.float64),
    "as_complex": lambda z: torch.view_as_real(torch.view_as_complex(torch.stack([z, z], -1)))[..., 0],
    "half_same": lambda z: z.type(z.dtype),
    "index_all": lambda z: z[:, torch.arange(z.shape[1])],
    "broadcast_tensors": lambda z: torch.broadcast_tensors(z, z[..., :1])[0],
    "nested_part": lambda z: z[:, :1],
    "rows_part": lambda z: z[:, :, 1:],
    "columns_part": lambda z: z[..., ::2],
}
"""Ways to get another name for a tensor, some of which copy."""


def _write_copy(y: Tensor, v: Tensor) -> None:
    y.copy_(v)


def _write_add(y: Tensor, v: Tensor) -> None:
    y.add_(v)


def _write_slice(y: Tensor, v: Tensor) -> None:
    y[:, :1] += v[:, :1]


def _write_rows(y: Tensor, v: Tensor) -> None:
    y[:, :, 1:-1] = v[:, :, 1:-1]


def _write_out(y: Tensor, v: Tensor) -> None:
    torch.mul(v, 2.0, out=y)


def _write_masked(y: Tensor, v: Tensor) -> None:
    y[:] = torch.where(v > 0.5, v, y)


def _write_relu(y: Tensor, v: Tensor) -> None:
    F.relu(y.sub_(v), inplace=True)


WRITERS = {
    "copy": _write_copy,
    "add": _write_add,
    "slice": _write_slice,
    "rows": _write_rows,
    "out": _write_out,
    "masked": _write_masked,
    "relu": _write_relu,
}
WRITTEN = {"other": "the name made", "first": "the first name"}


def _written(alias: str, writer: str, which: str) -> Any:
    """Write through one name and read through both."""

    def function(net: Any, x: Tensor) -> Tensor:
        z = net.narrow(x).relu()
        y = ALIASES[alias](z)
        target = y if which == "other" else z
        v = net.wide(x)
        if target.shape != v.shape:
            v = ALIASES[alias](v)
        WRITERS[writer](target, v)
        return torch.cat([z * 0.5, z + 1] if alias.endswith("_part") else [z, y * 0.25], 1)

    return function


def _convs(c: int) -> dict[str, nn.Module]:
    return {"narrow": nn.Conv2d(c, 2, 3, padding=1), "wide": nn.Conv2d(c, 2, 5, padding=2)}


for _alias in ALIASES:
    for _writer in WRITERS:
        for _which in WRITTEN:
            hazard("aliases", name=f"{_alias} {_writer} {_which}", parts=_convs)(_written(_alias, _writer, _which))


@hazard("aliases", parts=_convs)
def chunks(net: Any, x: Tensor) -> Tensor:
    z = net.narrow(x).relu()
    a, b = z.unsafe_chunk(2, 1)
    z.copy_(net.wide(x))
    return torch.cat([a, b], 1)


@hazard("aliases", parts=_convs)
def grids(net: Any, x: Tensor) -> Tensor:
    """meshgrid returns views."""
    z = net.narrow(x).relu()[0, 0, 0]
    a, _ = torch.meshgrid(z, torch.arange(3, dtype=x.dtype), indexing="ij")
    z.copy_(net.wide(x)[0, 0, 0])
    return x + a[:, 0]


@hazard("aliases", parts=_convs)
def input_written(net: Any, x: Tensor) -> Tensor:
    y = x.view(x.shape)
    y += 1
    return net.wide(x)


@hazard("aliases", parts=_convs)
def part_of_part(net: Any, x: Tensor) -> Tensor:
    z = net.narrow(x).relu()
    rows = z[:, :, 1:]
    rows[..., 1:].mul_(net.wide(x)[:, :, 1:, 1:])
    return z


@hazard("aliases", parts=_convs)
def swapped(net: Any, x: Tensor) -> Tensor:
    """Two parts of one tensor, swapped through a name that is no copy."""
    z = net.narrow(x).relu() + net.wide(x)
    first = z[:, :1]
    z[:, :1] = z[:, 1:]
    z[:, 1:] = first
    return z


@hazard("aliases", parts=_convs)
def shifted_in_place(net: Any, x: Tensor) -> Tensor:
    z = net.narrow(x).relu()
    z[..., 1:] = z[..., :-1].clone()
    return z + net.wide(x)


@hazard("aliases", parts=_convs)
def buffer_of_rows(net: Any, x: Tensor) -> Tensor:
    found = torch.zeros(1, 2, *x.shape[2:], dtype=x.dtype)
    found[:, :, ::2] = net.narrow(x)[:, :, ::2]
    found[:, :, 1::2] = net.wide(x)[:, :, 1::2]
    return found


@hazard("aliases", parts=_convs)
def real_part(net: Any, x: Tensor) -> Tensor:
    z = torch.complex(net.narrow(x), net.wide(x))
    z.real.copy_(net.wide(x))
    return z.real + z.imag


@hazard("aliases", parts=_convs)
def real_view(net: Any, x: Tensor) -> Tensor:
    z = torch.complex(net.narrow(x), net.wide(x))
    torch.view_as_real(z)[..., 0].mul_(net.wide(x))
    return z.abs()


@hazard("aliases", parts=_convs)
def out_of_cat(net: Any, x: Tensor) -> Tensor:
    z = torch.empty(1, 4, *x.shape[2:], dtype=x.dtype)
    torch.cat([net.narrow(x), net.wide(x)], 1, out=z)
    return z


@hazard("aliases", parts=_convs)
def expanded_written(net: Any, x: Tensor) -> Tensor:
    z = net.narrow(x)[:, :1].clone()
    y = z.expand(-1, 2, -1, -1)
    z.add_(net.wide(x)[:, :1])
    return y
