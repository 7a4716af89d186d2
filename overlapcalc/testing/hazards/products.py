"""Family constants: products, attention, recurrences, convolutions and norms, each operand in turn a constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .hazard import hazard
from .operands import LAYOUTS, image, sequences

HIDDEN = 3


def _tokens(net: Any, x: Tensor) -> Tensor:
    return sequences(x, net.operands.layout)


def _back(net: Any, t: Tensor, x: Tensor) -> Tensor:
    return image(t, net.operands.layout, x)


# ---- attention and recurrences ----------------------------------------------------------------------------


@hazard("constants", "query", "key", "value", "mask", layouts=LAYOUTS)
def attention(net: Any, x: Tensor) -> Tensor:
    t = _tokens(net, x)
    mask = net.put("mask", torch.zeros(t.shape[0], t.shape[1], t.shape[1], dtype=x.dtype))
    found = F.scaled_dot_product_attention(
        net.put("query", t), net.put("key", t), net.put("value", t), attn_mask=mask.expand(-1, t.shape[1], t.shape[1])
    )
    return _back(net, found, x)


@hazard("constants", "mask", layouts=LAYOUTS)
def attention_bool(net: Any, x: Tensor) -> Tensor:
    t = _tokens(net, x)
    mask = net.put("mask", torch.ones(t.shape[0], t.shape[1], t.shape[1], dtype=torch.bool), "bool")
    return _back(net, F.scaled_dot_product_attention(t, t, t, attn_mask=mask | torch.eye(t.shape[1], dtype=torch.bool)), x)


@hazard("constants", "query", "key", "value", "bias", layouts=LAYOUTS)
def attention_by_hand(net: Any, x: Tensor) -> Tensor:
    t = _tokens(net, x)
    scores = net.put("query", t) @ net.put("key", t).mT
    weights = torch.softmax(scores + net.put("bias", torch.zeros_like(scores)), -1)
    return _back(net, weights @ net.put("value", t), x)



class Widen(nn.Module):
    """Features of any number, to so many."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(out))

    def forward(self, t: Tensor) -> Tensor:
        return t.mean(-1, keepdim=True) * self.weight


@hazard(
    "constants", "query", "key", "value", "mask", "padding", layouts=LAYOUTS,
    parts=lambda c: {"into": Widen(4), "heads": nn.MultiheadAttention(4, 2, batch_first=True)},
)  # fmt: skip
def multihead(net: Any, x: Tensor) -> Tensor:
    t = net.into(_tokens(net, x))
    n = t.shape[1]
    mask = net.put("mask", torch.zeros(n, n, dtype=x.dtype)).expand(n, n)
    padding = net.put("padding", torch.zeros(t.shape[0], n, dtype=torch.bool), "bool")
    padding = ~padding if net.operands.position == "padding" else padding
    found, _ = net.heads(
        net.put("query", t).expand_as(t), net.put("key", t).expand_as(t), net.put("value", t).expand_as(t),
        attn_mask=mask, key_padding_mask=padding.to(x.dtype) * -3, need_weights=False,
    )  # fmt: skip
    return _back(net, found[..., :1] if net.operands.layout == "pixels" else found, x)


@hazard(
    "constants", "input", layouts=LAYOUTS,
    parts=lambda c: {"into": Widen(4), "layer": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)},
)  # fmt: skip
def encoder_layer(net: Any, x: Tensor) -> Tensor:
    t = net.into(_tokens(net, x))
    found = net.layer(t + net.put("input", torch.zeros_like(t)))
    return _back(net, found[..., :1] if net.operands.layout == "pixels" else found, x)


def _recurrent(maker: Any) -> Any:
    return lambda c: {"into": Widen(2), "cell": maker(2, HIDDEN, batch_first=True)}


@hazard("constants", "input", "hidden", "cell", layouts=LAYOUTS, parts=_recurrent(nn.LSTM))
def lstm(net: Any, x: Tensor) -> Tensor:
    t = net.into(_tokens(net, x))
    zero = torch.zeros(1, t.shape[0], HIDDEN, dtype=x.dtype)
    states = net.put("hidden", zero).expand_as(zero).contiguous(), net.put("cell", zero).expand_as(zero).contiguous()
    found, _ = net.cell(net.put("input", t).expand_as(t), states)
    return _back(net, found, x)


@hazard("constants", "input", "hidden", layouts=LAYOUTS, parts=_recurrent(nn.GRU))
def gru(net: Any, x: Tensor) -> Tensor:
    t = net.into(_tokens(net, x))
    zero = torch.zeros(1, t.shape[0], HIDDEN, dtype=x.dtype)
    found, _ = net.cell(net.put("input", t).expand_as(t), net.put("hidden", zero).expand_as(zero).contiguous())
    return _back(net, found, x)


@hazard("constants", "input", "hidden", layouts=LAYOUTS, parts=_recurrent(nn.RNN))
def rnn(net: Any, x: Tensor) -> Tensor:
    t = net.into(_tokens(net, x))
    zero = torch.zeros(1, t.shape[0], HIDDEN, dtype=x.dtype)
    found, _ = net.cell(net.put("input", t).expand_as(t), net.put("hidden", zero).expand_as(zero).contiguous())
    return _back(net, found, x)


@hazard("constants", "hidden", "input", parts=lambda c: {"into": Widen(2), "cell": nn.LSTMCell(2, HIDDEN)})
def lstm_cell(net: Any, x: Tensor) -> Tensor:
    t = net.into(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]))
    zero = torch.zeros(t.shape[0], HIDDEN, dtype=x.dtype)
    found, _ = net.cell(net.put("input", t).expand_as(t), (net.put("hidden", zero).expand_as(zero), zero))
    return found.view(1, x.shape[2], x.shape[3], HIDDEN).permute(0, 3, 1, 2)


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
    found = torch.baddbmm(net.put("add", t).expand_as(t), net.put("one", t).expand_as(t), net.put("two", two).expand_as(two))
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
    found = torch.addmm(net.put("add", t).expand_as(t), net.put("one", t).expand_as(t), net.put("two", t[:c] * 0 + 1).expand(c, c))
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
    """A product over W with a matrix that is made: a band, a difference, a mean of all."""
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
        net.put("input", x).expand_as(x), net.put("weight", weight).expand_as(weight), net.put("bias", weight[:, 0, 0, 0]), padding=1
    )


@hazard("constants", "input", "weight", "bias")
def transposed(net: Any, x: Tensor) -> Tensor:
    weight = torch.ones(x.shape[1], 2, 4, 4, dtype=x.dtype)
    return F.conv_transpose2d(
        net.put("input", x).expand_as(x), net.put("weight", weight).expand_as(weight), net.put("bias", weight[0, :, 0, 0]), 2, 1
    )


@hazard("constants", "input", "weight")
def conv_of_rows(net: Any, x: Tensor) -> Tensor:
    """Rows are the channels of a grouped convolution along W."""
    t = x[0]  # C, H, W
    weight = torch.ones(t.shape[1], 1, 3, dtype=x.dtype)
    return F.conv1d(net.put("input", t).expand_as(t), net.put("weight", weight).expand_as(weight), padding=1, groups=t.shape[1])[None]


@hazard("constants", "mean", "var", "weight", "bias")
def batch_norm(net: Any, x: Tensor) -> Tensor:
    one = torch.ones(x.shape[1], dtype=x.dtype)
    return F.batch_norm(x, *(net.put(name, one) for name in ("mean", "var", "weight", "bias")), training=False)


@hazard("constants", "mean", "var", "weight", "bias")
def batch_norm_rows(net: Any, x: Tensor) -> Tensor:
    one = torch.ones(x.shape[2], dtype=x.dtype)
    found = F.batch_norm(x.mT[0].permute(1, 2, 0), *(net.put(n, one) for n in ("mean", "var", "weight", "bias")), training=False)
    return found.permute(2, 0, 1)[None].mT


@hazard("constants", "input", "weight", "bias")
def layer_norm_channels(net: Any, x: Tensor) -> Tensor:
    t = torch.cat([x, x * x + 0.1], 1).permute(0, 2, 3, 1)
    one = torch.ones(t.shape[-1], dtype=x.dtype)
    return F.layer_norm(net.put("input", t).expand_as(t), one.shape, net.put("weight", one), net.put("bias", one)).permute(0, 3, 1, 2)


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
