"""The nets on blocks as the rows of a matrix, each with the blocks that it reads beside it: fast training on a CPU.

A masked convolution computes with zeros where its taps are closed; here it is one matrix product over the open ones.
For kernels 3111, whose nets read four neighbours and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.lic.gdn import GDN
from examples.lic.priors import GaussianConditional

from .layers import open_taps
from .nets import Nets

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
"""In the order of the taps of a masked 3x3 convolution."""
SKEW = 2
"""Blocks of one `2 * row + column` read none of each other."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of several pictures, each picture row by row.

    samples: (blocks, samples). neighbours: of each block the numbers of its four, and the number of blocks where there
    is none. steps: blocks that may be coded at once. pictures: of which picture each block is.
    """

    samples: Tensor
    neighbours: Tensor
    steps: tuple[Tensor, ...]
    pictures: Tensor

    @classmethod
    def of(cls, pictures: Sequence[Tensor]) -> Blocks:
        """pictures: as channels, (samples, rows, columns) each."""
        neighbours, times, start = [], [], 0
        beyond = sum(p.shape[1] * p.shape[2] for p in pictures)
        for picture in pictures:
            rows, columns = picture.shape[1:]
            numbers = F.pad(start + torch.arange(rows * columns).reshape(rows, columns), (1, 1, 1, 0), value=beyond)
            near = [numbers[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i, j in NEIGHBOURS]
            neighbours.append(torch.stack(near, -1).reshape(-1, len(NEIGHBOURS)))
            times.append((SKEW * torch.arange(rows)[:, None] + torch.arange(columns)).flatten())
            start += rows * columns
        time = torch.cat(times)
        sizes = torch.tensor([p.shape[1] * p.shape[2] for p in pictures])
        return cls(
            torch.cat([p.flatten(1).T for p in pictures]).contiguous(),
            torch.cat(neighbours),
            tuple(torch.split(torch.argsort(time, stable=True), torch.bincount(time).tolist())),
            torch.repeat_interleave(torch.arange(len(pictures)), sizes),
        )


def with_nothing(samples: Tensor) -> Tensor:
    """With a last row of zeros, which is what lies beyond the border."""
    return torch.cat([samples, samples.new_zeros(1, samples.shape[1])])


def read(samples: Tensor, neighbours: Tensor) -> Tensor:
    """What stands in the neighbours, one after the other. samples: with the row of zeros."""
    return samples[neighbours].flatten(1)


def on_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer gives for blocks as rows. Of a convolution with several taps, `x` has what each reads.

    Raises ValueError where it has something else: a layer that reads what hidden layers made of other blocks.
    """
    if isinstance(layer, nn.Sequential):
        for part in layer:
            x = on_rows(part, x)
        return x
    if isinstance(layer, nn.Conv2d):
        taps = open_taps(layer)
        if x.shape[1] != taps * layer.in_channels:
            raise ValueError(
                f"a convolution with {taps} open taps of {layer.in_channels} channels, {x.shape[1]} values"
            )
        weight = layer.weight.flatten(2)[:, :, :taps].transpose(1, 2).flatten(1)
        return F.linear(x, weight, layer.bias)
    if isinstance(layer, GDN):
        norm = F.linear(x * x, layer.gamma_reparam(layer.gamma), layer.beta_reparam(layer.beta))
        return x * torch.sqrt(norm) if layer.inverse else x * torch.rsqrt(norm)
    return layer(x)


class Estimate(NamedTuple):
    """Of each block: the reconstruction, not yet clamped, and its bits."""

    reconstruction: Tensor
    bits: Tensor


def estimate(nets: Nets, x: Tensor, around: Tensor, *, training: bool = False) -> Estimate:
    """x: blocks as rows. around: what stands in their neighbours, by `read`.

    training: bits are those of latents with noise in the place of rounding, and gradients pass rounding.
    """
    analysis, synthesis, entropy = nets
    scales, means = on_rows(entropy, around).chunk(2, 1)
    y = _transformed(analysis, x, around)
    rounded = torch.round(y - means) + means
    counted = y + torch.rand_like(y) - 0.5 if training else rounded
    decoded = y + (rounded - y).detach() if training else rounded
    likelihood = _DENSITY.likelihood(counted, scales, means)
    return Estimate(_transformed(synthesis, decoded, around), -likelihood.log2().sum(1))


def _transformed(transform: Any, own: Tensor, around: Tensor) -> Tensor:
    return on_rows(transform.rest, on_rows(transform.own, own) + on_rows(transform.context, around))


_DENSITY = GaussianConditional()


class Closed(NamedTuple):
    """Reconstructions of blocks that were coded one after the other, clamped, and their bits."""

    reconstruction: Tensor
    bits: Tensor


@torch.no_grad()
def closed(nets: Nets, blocks: Blocks) -> Closed:
    """The closed loop in floats, all blocks of a step at once."""
    made = with_nothing(torch.zeros_like(blocks.samples))
    bits = blocks.samples.new_zeros(len(blocks.samples))
    for step in blocks.steps:
        found = estimate(nets, blocks.samples[step], read(made, blocks.neighbours[step]))
        made[step] = found.reconstruction.clamp(-0.5, 0.5)
        bits[step] = found.bits
    return Closed(made[:-1], bits)
