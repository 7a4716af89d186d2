"""Where training starts: the best linear codec, as weights of the nets.

A ridge regression predicts a block from its four neighbours; the residual goes through its Karhunen-Loeve transform.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from examples.lic.gdn import GDN

from .nets import Nets
from .rows import NEIGHBOURS, Blocks, read, with_nothing

RIDGE = 1e-3
"""Added to the variances of what the regression reads, which are about 0.05."""
GAMMA = 1e-5
"""Of every GDN: nearly the identity."""
FAINT = 0.1
"""Of the weights that torch draws: what they are scaled by where the linear codec has none."""


def step(rate: float) -> float:
    """The step of a quantiser, of samples from -0.5 to 0.5, at which bits per pixel + rate * error is least.

    For a fine quantiser, whose error is step^2 / 12, and which takes one bit more a sample for half the step: with
    three samples a pixel it is sqrt(18 / (rate * ln 2)).

    >>> round(step(435.6675), 3)
    0.244
    """
    return math.sqrt(18 / (rate * math.log(2)))


@torch.no_grad()
def start_linear(nets: Nets, blocks: Blocks, rate: float) -> None:
    """Sets the weights in place. blocks: originals. rate: see `step`."""
    scale = 1 / step(rate)
    analysis, synthesis, entropy = (_faint(net) for net in nets)
    x = blocks.samples
    around = read(with_nothing(x), blocks.neighbours).near
    weight, constant = _ridge(around, x)
    predicted = around @ weight.T + constant
    own = _principal(x - predicted, analysis.rest[-1].out_channels)
    m, kept = own.shape[1], synthesis.rest[-1].in_channels
    others = _principal(predicted - predicted @ own @ own.T, kept - m)
    basis = torch.cat([own, others], 1)

    _set(analysis.own, scale * own.T, -scale * own.T @ constant)
    _set(analysis.context, -scale * own.T @ weight)
    _set(synthesis.own, torch.eye(kept, m), scale * basis.T @ constant)
    _set(synthesis.context, scale * basis.T @ weight)
    for transform, passed in ((analysis, m), (synthesis, kept)):
        for layer in transform.rest[:-1]:
            if isinstance(layer, nn.Conv2d):
                _set(layer, torch.eye(passed, layer.in_channels))
    _set(analysis.rest[-1], torch.eye(m, kept))
    _set(synthesis.rest[-1], basis / scale, x.mean(0) - x.mean(0) @ basis @ basis.T)
    entropy[-1].bias[:m] = scale * ((x - predicted) @ own).std(0)


def _faint(net: Any) -> Any:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight *= FAINT
            assert layer.bias is not None
            layer.bias.zero_()
        if isinstance(layer, GDN):
            layer.gamma.copy_(layer.gamma_reparam.stored(GAMMA * torch.eye(len(layer.gamma))))
    return net


def _set(layer: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    """The first outputs of a convolution. weight: as `rows.on_rows` multiplies by it."""
    outputs, taps = len(weight), weight.shape[1] // layer.in_channels
    layer.weight.flatten(2)[:outputs, :, :taps] = weight.reshape(outputs, taps, -1).transpose(1, 2)
    if bias is not None:
        layer.bias[:outputs] = bias


def _ridge(around: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Weights, (samples, len(NEIGHBOURS) * samples), and constants of the prediction."""
    assert around.shape[1] == len(NEIGHBOURS) * x.shape[1]
    means, mean = around.mean(0), x.mean(0)
    centred = around - means
    gram = centred.T @ centred + RIDGE * len(x) * torch.eye(around.shape[1])
    weight = torch.linalg.solve(gram, centred.T @ (x - mean)).T
    return weight, mean - weight @ means


def _principal(x: Tensor, number: int) -> Tensor:
    """The directions of largest variance, as columns."""
    centred = x - x.mean(0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    return directions.flip(1)[:, :number]
