"""Family constants: products, convolutions and norms, each operand in turn a constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard

# ---- products ---------------------------------------------------------------------------------------------


@hazard("constants", "left", "right")
def matmul_rows(net: Any, x: Tensor) -> Tensor:
    """Batches are rows, features are channels."""
    t = x.permute(0, 2, 3, 1)
    return (net.put("left", t).expand_as(t) @ net.put("right", t).expand_as(t).mT[..., :2]).permute(0, 3, 1, 2)


@hazard("constants", "left", "right")
def matmul_channels(net: Any, x: Tensor) -> Tensor:
    t = x.permute(0, 2, 3, 1)
    c = x.shape[1]
    mixing = net.put("right", torch.eye(c, dtype=x.dtype).expand(1, x.shape[2], c, c)).expand(1, x.shape[2], c, c)
    return (net.put("left", t).expand_as(t) @ mixing).permute(0, 3, 1, 2)


@hazard("constants", "add", "one", "two")
def baddbmm(net: Any, x: Tensor) -> Tensor:
    t = x[0].permute(1, 2, 0)  # H, W, C
    two = t[:, :1].mT * t[:, :1]
    found = torch.baddbmm(
        net.put("add", t).expand_as(t), net.put("one", t).expand_as(t), net.put("two", two).expand_as(two)
    )
    return found.permute(2, 0, 1)[None]


@hazard("constants", "one", "two")
def bmm_pixels(net: Any, x: Tensor) -> Tensor:
    t = x[0].flatten(1).mT[..., None]  # H * W, C, 1
    found = torch.bmm(net.put("one", t).expand_as(t), net.put("two", t.mT).expand_as(t.mT))
    return found.flatten(1).mT.reshape(1, -1, *x.shape[2:])


@hazard("constants", "add", "one", "two")
def addmm(net: Any, x: Tensor) -> Tensor:
    t = x[0].flatten(1).mT
    c = x.shape[1]
    found = torch.addmm(
        net.put("add", t).expand_as(t), net.put("one", t).expand_as(t), net.put("two", t[:c] * 0 + 1).expand(c, c)
    )
    return found.mT.reshape(x.shape)


@hazard("constants", "weight", "bias", "input")
def linear(net: Any, x: Tensor) -> Tensor:
    c = x.shape[1]
    t = x.permute(0, 2, 3, 1)
    eye = torch.eye(c, dtype=x.dtype)
    found = F.linear(net.put("input", t).expand_as(t), net.put("weight", eye).expand_as(eye), net.put("bias", eye[0]))
    return found.permute(0, 3, 1, 2)


@hazard("constants", "weight", "bias")
def linear_columns(net: Any, x: Tensor) -> Tensor:
    """A product over W with a computed matrix: a band, a difference, a mean over everything."""
    w = x.shape[3]
    eye = torch.eye(w, dtype=x.dtype)
    return F.linear(x, net.put("weight", eye).expand_as(eye) * eye, net.put("bias", eye[0]))


@hazard("constants", "one", "two")
def einsum_channels(net: Any, x: Tensor) -> Tensor:
    two = x[:, :, 0, 0].mT * x[:, :, 0, 0]
    return torch.einsum("nchw,cd->ndhw", net.put("one", x).expand_as(x), net.put("two", two).expand_as(two))


@hazard("constants", "one", "two")
def einsum_rows(net: Any, x: Tensor) -> Tensor:
    two = torch.ones(x.shape[1], x.shape[2], 2, dtype=x.dtype)
    return torch.einsum("nchw,chd->ndhw", net.put("one", x).expand_as(x), net.put("two", two).expand_as(two))


@hazard("constants", "vector")
def outer(net: Any, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return x + torch.outer(net.put("vector", torch.ones(h, dtype=x.dtype)), torch.ones(w, dtype=x.dtype))


@hazard("constants", "tile")
def kron(net: Any, x: Tensor) -> Tensor:
    return torch.kron(x, net.put("tile", torch.ones(1, 1, 2, 2, dtype=x.dtype)).expand(1, 1, 2, 2).contiguous())


@hazard("constants", "one", "two", "weight", "bias")
def bilinear(net: Any, x: Tensor) -> Tensor:
    t = x.permute(0, 2, 3, 1).contiguous()
    c = x.shape[1]
    weight = torch.ones(2, c, c, dtype=x.dtype)
    found = F.bilinear(
        net.put("one", t).expand_as(t).contiguous(), net.put("two", t).expand_as(t).contiguous(),
        net.put("weight", weight).expand_as(weight), net.put("bias", weight[:, 0, 0]),
    )  # fmt: skip
    return found.permute(0, 3, 1, 2)


@hazard("constants", "one", "two")
def cdist(net: Any, x: Tensor) -> Tensor:
    t = x[0].permute(1, 2, 0)
    codes = t[:, :2] * 0 + 0.5
    return torch.cdist(net.put("one", t).expand_as(t), net.put("two", codes).expand_as(codes)).permute(2, 0, 1)[None]


@hazard("constants", "codes", "values")
def codebook(net: Any, x: Tensor) -> Tensor:
    """The nearest of a few codes: cdist, argmin, embedding."""
    c = x.shape[1]
    t = x[0].permute(1, 2, 0).reshape(-1, c)
    codes = torch.linspace(0, 1, 4, dtype=x.dtype)[:, None].expand(4, c)
    place = torch.cdist(t, net.put("codes", codes).expand(4, c).contiguous()).argmin(-1)
    found = F.embedding(place, net.put("values", codes).expand(4, c).contiguous())
    return found.mT.reshape(x.shape)


# ---- convolutions and norms -------------------------------------------------------------------------------


@hazard("constants", "input", "weight", "bias")
def conv(net: Any, x: Tensor) -> Tensor:
    weight = torch.ones(2, x.shape[1], 3, 3, dtype=x.dtype)
    return F.conv2d(
        net.put("input", x).expand_as(x),
        net.put("weight", weight).expand_as(weight),
        net.put("bias", weight[:, 0, 0, 0]),
        padding=1,
    )


@hazard("constants", "input", "weight", "bias")
def transposed(net: Any, x: Tensor) -> Tensor:
    weight = torch.ones(x.shape[1], 2, 4, 4, dtype=x.dtype)
    return F.conv_transpose2d(
        net.put("input", x).expand_as(x),
        net.put("weight", weight).expand_as(weight),
        net.put("bias", weight[0, :, 0, 0]),
        2,
        1,
    )


@hazard("constants", "input", "weight")
def conv_of_rows(net: Any, x: Tensor) -> Tensor:
    """Rows are the channels of a grouped convolution along W."""
    t = x[0]  # C, H, W
    weight = torch.ones(t.shape[1], 1, 3, dtype=x.dtype)
    return F.conv1d(
        net.put("input", t).expand_as(t), net.put("weight", weight).expand_as(weight), padding=1, groups=t.shape[1]
    )[None]


@hazard("constants", "mean", "var", "weight", "bias")
def batch_norm(net: Any, x: Tensor) -> Tensor:
    one = torch.ones(x.shape[1], dtype=x.dtype)
    mean, var, weight, bias = (net.put(name, one) for name in ("mean", "var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias)


@hazard("constants", "mean", "var", "weight", "bias")
def batch_norm_rows(net: Any, x: Tensor) -> Tensor:
    one = torch.ones(x.shape[2], dtype=x.dtype)
    mean, var, weight, bias = (net.put(name, one) for name in ("mean", "var", "weight", "bias"))
    found = F.batch_norm(x.mT[0].permute(1, 2, 0), mean, var, weight, bias)
    return found.permute(2, 0, 1)[None].mT


@hazard("constants", "input", "weight", "bias")
def layer_norm_channels(net: Any, x: Tensor) -> Tensor:
    t = torch.cat([x, x * x + 0.1], 1).permute(0, 2, 3, 1)
    one = torch.ones(t.shape[-1], dtype=x.dtype)
    return F.layer_norm(
        net.put("input", t).expand_as(t), one.shape, net.put("weight", one), net.put("bias", one)
    ).permute(0, 3, 1, 2)


@hazard("constants", "input", "weight", "bias")
def layer_norm_rows(net: Any, x: Tensor) -> Tensor:
    one = torch.ones(x.shape[-1], dtype=x.dtype)
    return F.layer_norm(net.put("input", x).expand_as(x), one.shape, net.put("weight", one), net.put("bias", one))


@hazard("constants", "input", "weight", "bias")
def group_norm_pixels(net: Any, x: Tensor) -> Tensor:
    t = torch.cat([x, x * x + 0.1], 1)[0].flatten(1).mT.contiguous()
    one = torch.ones(t.shape[-1], dtype=x.dtype)
    found = F.group_norm(net.put("input", t).expand_as(t), 1, net.put("weight", one), net.put("bias", one))
    return found.mT.reshape(1, -1, *x.shape[2:])


@hazard("constants", "weight", "bias")
def group_norm_rows(net: Any, x: Tensor) -> Tensor:
    t = x.permute(0, 2, 1, 3)[0]  # H, C, W: rows are the batch
    one = torch.ones(t.shape[1], dtype=x.dtype)
    return F.group_norm(t, 1, net.put("weight", one), net.put("bias", one)).permute(1, 0, 2)[None]


@hazard("constants", "weight", "bias")
def instance_norm_columns(net: Any, x: Tensor) -> Tensor:
    t = x.permute(3, 1, 2, 0)[..., 0]  # W, C, H: columns are the batch
    one = torch.ones(t.shape[1], dtype=x.dtype)
    return F.instance_norm(t, weight=net.put("weight", one), bias=net.put("bias", one)).permute(1, 2, 0)[None]


@hazard("constants", "weight")
def rms_norm(net: Any, x: Tensor) -> Tensor:
    t = torch.cat([x, x * x], 1).permute(0, 2, 3, 1)
    return F.rms_norm(t, t.shape[-1:], net.put("weight", torch.ones(t.shape[-1], dtype=x.dtype))).permute(0, 3, 1, 2)


@hazard("constants", "vector", "matrix")
def mv(net: Any, x: Tensor) -> Tensor:
    t = x[0].flatten(1).mT
    found = torch.mv(net.put("matrix", t).expand_as(t), net.put("vector", t[0] * 0 + 1).expand_as(t[0]))
    return found.view(1, 1, *x.shape[2:])


@hazard("constants", "add", "matrix", "vector")
def addmv(net: Any, x: Tensor) -> Tensor:
    t = x[0].flatten(1).mT
    vector = net.put("vector", t[0] * 0 + 1).expand_as(t[0])
    found = torch.addmv(net.put("add", t[:, 0]), net.put("matrix", t).expand_as(t), vector)
    return found.view(1, 1, *x.shape[2:])


@hazard("constants", "weight", "bias")
def conv_along_rows(net: Any, x: Tensor) -> Tensor:
    """A convolution along W; rows are the batch."""
    t = x[0].permute(1, 0, 2)
    weight = torch.ones(2, t.shape[1], 3, dtype=x.dtype)
    bias = net.put("bias", weight[:, 0, 0])
    return F.conv1d(t, net.put("weight", weight).expand_as(weight), bias, padding=1).permute(1, 0, 2)[None]


@hazard("constants", "weight", "input")
def conv_in_depth(net: Any, x: Tensor) -> Tensor:
    """Channels are the depth of a convolution in three dimensions."""
    t = x[:, None]
    weight = torch.ones(1, 1, 1, 3, 3, dtype=x.dtype)
    weight = net.put("weight", weight).expand_as(weight)
    return F.conv3d(net.put("input", t).expand_as(t), weight, padding=(0, 1, 1))[:, 0]


@hazard("constants", "weight")
def kernel_per_row(net: Any, x: Tensor) -> Tensor:
    """A kernel of its own for every row: rows by channels are the groups."""
    h, w = x.shape[2:]
    t = F.pad(x, (1, 1))[0].permute(1, 0, 2).reshape(1, -1, w + 2)
    weight = torch.ones(t.shape[1], 1, 3, dtype=x.dtype)
    found = F.conv1d(t, net.put("weight", weight).expand_as(weight), groups=t.shape[1])
    return found.view(h, -1, w).permute(1, 0, 2)[None]


@hazard("constants", "left", "right")
def tensordot(net: Any, x: Tensor) -> Tensor:
    right = torch.ones(x.shape[1], 2, dtype=x.dtype)
    left = net.put("left", x).expand_as(x)
    return torch.tensordot(left, net.put("right", right).expand_as(right), ([1], [0])).permute(0, 3, 1, 2)
