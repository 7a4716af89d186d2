"""Convolutions and matrix products: the float64 operator on residues, then the remainder."""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call
from .modular import MOST_TERMS, mod
from .registry import twin


def _bounded(call: Call, terms: int) -> None:
    if terms > MOST_TERMS:
        raise call.refused(f"sums of {terms} products do not fit in 53 bits")


def _product(call: Call, a: Tensor, b: Tensor) -> Tensor:
    _bounded(call, a.shape[-1])
    return mod(a @ b)


@twin("convolution", "_convolution", "convolution_overrideable", "cudnn_convolution", "cudnn_convolution_transpose",
      "mkldnn_convolution", "_slow_conv2d_forward", "slow_conv3d_forward", "slow_conv_transpose2d",
      "slow_conv_transpose3d", "slow_conv_dilated2d", "slow_conv_dilated3d", "_conv_depthwise2d",
      "conv_depthwise3d")  # fmt: skip
def convolution(call: Call) -> Tensor:
    x = call.tensor("input" if "input" in call.values else "self")
    weight, bias = call.tensor("weight"), call.maybe("bias")
    n = weight.dim() - 2
    transposed = bool(call["transposed"]) or "transpose" in call.name
    groups = int(call["groups"] or 1)
    _bounded(call, weight[:, 0].numel() // groups if transposed else weight[0].numel())
    y = mod(
        torch.convolution(
            x,
            weight,
            None,
            list(call["stride"] or [1]),
            list(call["padding"] or [0]),
            list(call["dilation"] or [1] * n),
            transposed,
            list(call["output_padding"] or [0] * n),
            groups,
        )
    )
    return y if bias is None else mod(y + bias.reshape(-1, *[1] * n))


@twin("mm", "bmm", "mv", "dot", "vdot")
def product(call: Call) -> Tensor:
    first, second = [name for name, v in call.values.items() if isinstance(v, Tensor) and name != "out"]
    return _product(call, call.tensor(first), call.tensor(second))


@twin("linear")
def linear(call: Call) -> Tensor:
    y = _product(call, call.tensor("input"), call.tensor("weight").transpose(-1, -2))
    bias = call.maybe("bias")
    return y if bias is None else mod(y + bias)


@twin("addmm", "addmv", "baddbmm")
def product_and_sum(call: Call) -> Tensor:
    _, first, second = [name for name, v in call.values.items() if isinstance(v, Tensor) and name != "out"]
    y = _product(call, call.tensor(first), call.tensor(second))
    return mod(mod(call.tensor("self") * call.factor("beta")) + mod(y * call.factor("alpha")))
