"""What every codec here is made of, whatever names its checkpoint uses, and the whole of it for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .checkerboard import anchors
from .priors import EntropyBottleneck, GaussianConditional


@dataclass(frozen=True)
class Group:
    """Channels of the latents that are coded together, and the nets that say how they are distributed.

    channel_context: reads the channels of all groups before. context_prediction: reads the anchors; None where all
    positions are coded at once. entropy_parameters: one position of contexts to scales and means; None where the
    hyper transform gives them.
    """

    channels: int
    gaussian_conditional: GaussianConditional
    channel_context: nn.Module | None = None
    context_prediction: nn.Module | None = None
    entropy_parameters: nn.Module | None = None

    def given(self, hyper: Tensor, before: Sequence[Tensor]) -> Tensor:
        """What is known before the group is begun: of the hyper transform, and of the groups before."""
        if self.channel_context is None:
            return hyper
        return torch.cat([self.channel_context(torch.cat(list(before), 1)), hyper], 1)

    def parameters(self, given: Tensor, decoded: Tensor | None) -> Tensor:
        """Scales and means, one after the other. decoded: the anchors, and 0 elsewhere; None while they are coded."""
        if self.entropy_parameters is None:
            return given
        batch, _, height, width = given.shape
        if self.context_prediction is None or decoded is None:
            context = given.new_zeros(batch, 2 * self.channels, height, width)
        else:
            context = self.context_prediction(decoded)
        return self.entropy_parameters(torch.cat([context, given], 1))


@dataclass(frozen=True)
class Parts:
    """The transforms and the densities of a codec."""

    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    h_s: nn.Module
    entropy_bottleneck: EntropyBottleneck
    groups: tuple[Group, ...]


class Latents(NamedTuple):
    """Decoded latents, and the densities that they were coded under."""

    values: Tensor
    scales: Tensor
    means: Tensor


class Estimate(NamedTuple):
    """A picture as it would be decoded, and the likelihoods of its latents; their -log2 adds up to the bits."""

    picture: Tensor
    y: Tensor
    z: Tensor


def walk(groups: Sequence[Group], hyper: Tensor, value: Callable[[int, Tensor], Tensor]) -> Latents:
    """Decodes group by group, anchors first. value: of the number of a group and its means, the decoded latents."""
    values: list[Tensor] = []
    scales: list[Tensor] = []
    means: list[Tensor] = []
    for i, group in enumerate(groups):
        given = group.given(hyper, values)
        found = group.parameters(given, None)
        if group.context_prediction is not None:
            first = anchors(found)
            decoded = torch.where(first, value(i, found.chunk(2, 1)[1]), 0.0)
            found = torch.where(first, found, group.parameters(given, decoded))
        scale, mean = found.chunk(2, 1)
        values.append(value(i, mean))
        scales.append(scale)
        means.append(mean)
    return Latents(torch.cat(values, 1), torch.cat(scales, 1), torch.cat(means, 1))


class Codec(nn.Module):
    """A learned image codec with a hyperprior. Sizes must be multiples of what its transforms take together."""

    @property
    def parts(self) -> Parts:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Estimate:
        """While training, likelihoods are those of noise in the place of rounding, and gradients pass rounding."""
        parts = self.parts
        y = parts.g_a(x)
        z = parts.h_a(y)
        median = parts.entropy_bottleneck.medians[:, :, 0, None]
        hyper = parts.h_s(_rounded(z - median) + median)
        split = y.split([group.channels for group in parts.groups], 1)
        latents = walk(parts.groups, hyper, lambda i, mean: _rounded(split[i] - mean) + mean)
        density = parts.groups[0].gaussian_conditional
        return Estimate(
            parts.g_s(latents.values),
            density.likelihood(self._coded(y, latents.means), latents.scales, latents.means),
            parts.entropy_bottleneck.likelihood(self._coded(z, median)),
        )

    def _coded(self, x: Tensor, around: Tensor) -> Tensor:
        if self.training:
            return x + torch.rand_like(x) - 0.5
        return torch.round(x - around) + around


def _rounded(x: Tensor) -> Tensor:
    """Rounded, with the gradient of the identity."""
    return x + (torch.round(x) - x).detach() if x.requires_grad else torch.round(x)
