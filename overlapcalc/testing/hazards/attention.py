"""Family constants: attention and recurrences, each operand in turn a constant."""

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
    return _back(
        net, F.scaled_dot_product_attention(t, t, t, attn_mask=mask | torch.eye(t.shape[1], dtype=torch.bool)), x
    )


@hazard("constants", "query", "key", "value", "bias", layouts=LAYOUTS)
def attention_by_hand(net: Any, x: Tensor) -> Tensor:
    t = _tokens(net, x)
    scores = net.put("query", t) @ net.put("key", t).mT
    weights = torch.softmax(scores + net.put("bias", torch.zeros_like(scores)), -1)
    return _back(net, weights @ net.put("value", t), x)


class Widen(nn.Module):
    """Any number of features, to this many."""

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
