"""The nets on blocks as the rows of a matrix, each with the blocks that it reads beside it: fast training on a CPU.

A masked convolution computes with zeros where its taps are closed; here it is one matrix product over the open ones.
With kernels 3111 the nets read four neighbours and nothing else. With 3311 the second layer of n reads what the first
one makes of four neighbours and of the block itself; so the first layer runs at those five places, which read eleven
blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.lic.blocks import open_taps
from examples.lic.gdn import GDN
from examples.lic.priors import GaussianConditional

from .nets import Nets

Place = tuple[int, int]
"""Rows and columns of blocks, from a block."""
NEIGHBOURS: tuple[Place, ...] = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
"""In the order of the taps of a masked 3x3 convolution of type A."""
HIDDEN = (*NEIGHBOURS, (0, 0))
"""In the order of those of type B."""
_FARTHER = {(i + k, j + n) for i, j in NEIGHBOURS for k, n in NEIGHBOURS} - {*NEIGHBOURS}
PLACES = (*NEIGHBOURS, *sorted(_FARTHER))
"""Eleven, the four neighbours first: all that layers read that read the neighbours' features."""
_FEATURES = tuple(tuple(PLACES.index((i + k, j + n)) for k, n in NEIGHBOURS) for i, j in HIDDEN)
"""Of each hidden place the numbers of the four places that it reads."""
SKEW = 2
"""Blocks of one `2 * row + column` read none of each other."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of several pictures, each picture row by row.

    samples: (blocks, samples). neighbours: of each block the numbers of those at its places, and the number of blocks
    where there is none. steps: blocks that may be coded at once. pictures: of which picture each block is.
    """

    samples: Tensor
    neighbours: Tensor
    steps: tuple[Tensor, ...]
    pictures: Tensor

    @classmethod
    def of(cls, pictures: Sequence[Tensor], places: Sequence[Place] = NEIGHBOURS) -> Blocks:
        """pictures: as channels, (samples, rows, columns) each. places: see `places_of`."""
        neighbours, times, start = [], [], 0
        beyond = sum(p.shape[1] * p.shape[2] for p in pictures)
        for picture in pictures:
            rows, columns = picture.shape[1:]
            numbers = F.pad(start + torch.arange(rows * columns).reshape(rows, columns), (2, 2, 2, 0), value=beyond)
            near = [numbers[2 + i : 2 + i + rows, 2 + j : 2 + j + columns] for i, j in places]
            neighbours.append(torch.stack(near, -1).reshape(-1, len(places)))
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


def places_of(nets: Nets) -> tuple[Place, ...]:
    """Where these nets read blocks."""
    entropy: Any = nets.entropy
    return PLACES if open_taps(entropy[2]) > 1 else NEIGHBOURS


def with_nothing(samples: Tensor) -> Tensor:
    """With a last row of zeros, which is what lies beyond the border."""
    return torch.cat([samples, samples.new_zeros(1, samples.shape[1])])


class Around(NamedTuple):
    """What stands around blocks, (blocks, places, samples), and which of the places the picture has, (blocks, places).

    Beyond the border are zeros.
    """

    samples: Tensor
    there: Tensor

    @property
    def near(self) -> Tensor:
        """Of the four neighbours, one after the other: what a masked 3x3 convolution reads."""
        return self.samples[:, : len(NEIGHBOURS)].flatten(1)


def read(samples: Tensor, neighbours: Tensor) -> Around:
    """samples: with the row of zeros."""
    return Around(samples[neighbours], neighbours < len(samples) - 1)


def on_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """What the layer gives for blocks as rows. Of a convolution with several taps, the last
    dimension of `x` has what each reads, one after the other. Raises ValueError where it has something else."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            x = on_rows(part, x)
        return x
    if isinstance(layer, nn.Conv2d):
        taps = open_taps(layer)
        if x.shape[-1] != taps * layer.in_channels:
            raise ValueError(
                f"a convolution with {taps} open taps of {layer.in_channels} channels, {x.shape[-1]} values"
            )
        weight = layer.weight.flatten(2)[:, :, :taps].transpose(1, 2).flatten(1)
        return F.linear(x, weight, layer.bias)
    if isinstance(layer, GDN):
        norm = F.linear(x * x, layer.gamma_reparam(layer.gamma), layer.beta_reparam(layer.beta))
        return x * torch.sqrt(norm) if layer.inverse else x * torch.rsqrt(norm)
    return layer(x)


def hidden(first: nn.Module, around: Around) -> Tensor:
    """What the first layer makes at the hidden places, one after the other.

    Zeros where the picture has none: a padded net has them there, not what the layer would make of nothing. Raises
    ValueError.
    """
    if around.samples.shape[1] != len(PLACES):
        raise ValueError(f"{around.samples.shape[1]} places; layers that read hidden neighbours need {len(PLACES)}")
    four = around.samples[:, torch.tensor(_FEATURES)].flatten(2)
    there = F.pad(around.there[:, : len(NEIGHBOURS)], (0, 1), value=True)
    return torch.where(there[..., None], on_rows(first, four), 0.0).flatten(1)


def distribution(entropy: Any, around: Around) -> tuple[Tensor, Tensor]:
    """Scales and means of the latents, by n."""
    first, rest = nn.Sequential(*list(entropy)[:2]), nn.Sequential(*list(entropy)[2:])
    features = hidden(first, around) if open_taps(entropy[2]) > 1 else on_rows(first, around.near)
    scales, means = on_rows(rest, features).chunk(2, -1)
    return scales, means


class Estimate(NamedTuple):
    """Of each block: the reconstruction, not yet clamped, and its bits."""

    reconstruction: Tensor
    bits: Tensor


def estimate(nets: Nets, x: Tensor, around: Around, *, training: bool = False) -> Estimate:
    """x: blocks as rows. around: what stands around them, by `read`.

    training: bits are those of latents with noise in the place of rounding, and gradients pass rounding.
    """
    analysis, synthesis, entropy = nets
    scales, means = distribution(entropy, around)
    y = _transformed(analysis, x, around)
    rounded = torch.round(y - means) + means
    counted = y + torch.rand_like(y) - 0.5 if training else rounded
    decoded = y + (rounded - y).detach() if training else rounded
    likelihood = _DENSITY.likelihood(counted, scales, means)
    return Estimate(_transformed(synthesis, decoded, around), -likelihood.log2().sum(1))


def _transformed(transform: Any, own: Tensor, around: Around) -> Tensor:
    return on_rows(transform.rest, on_rows(transform.own, own) + on_rows(transform.context, around.near))


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
