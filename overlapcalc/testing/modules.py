"""The modules of drawn nets that torch does not have: branches, a slice, norms over channels.

Each prints as one line and works with any number of axes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """What Add, Multiply and Cat have in common."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def results(self, x: Tensor) -> list[Tensor]:
        """The result of each branch on the same tensor, cut at its end to the shortest."""
        found = [branch(x) for branch in self.branches]
        for d in range(2, x.dim()):
            length = min(y.shape[d] for y in found)
            found = [y.narrow(d, 0, length) for y in found]
        return found


class Add(Branches):
    """Branches of one tensor, cut to the shortest and added.

    >>> Add(nn.Identity(), nn.Conv1d(3, 3, 5))(torch.rand(1, 3, 16)).shape
    torch.Size([1, 3, 12])
    """

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.results(x)
        for y in rest:
            first = first + y
        return first


class Multiply(Branches):
    """Branches of one tensor, cut to the shortest and multiplied.

    >>> Multiply(nn.Identity(), nn.Identity())(torch.tensor([[[3.0]]])).item()
    9.0
    """

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.results(x)
        for y in rest:
            first = first * y
        return first


class Cat(Branches):
    """Branches of one tensor, cut to the shortest, their channels side by side.

    >>> Cat(nn.Identity(), nn.Conv1d(3, 8, 5))(torch.rand(1, 3, 16)).shape
    torch.Size([1, 11, 12])
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.results(x), 1)


class Slice(nn.Module):
    """`x[..., start:stop:step]` along every axis.

    >>> Slice(1, -1)(torch.rand(1, 3, 16, 16)).shape
    torch.Size([1, 3, 14, 14])
    """

    def __init__(self, start: int, stop: int | None = None, step: int = 1) -> None:
        super().__init__()
        self.cut = slice(start, stop, step)

    def forward(self, x: Tensor) -> Tensor:
        cuts = (slice(None), slice(None), *[self.cut] * (x.dim() - 2))
        return x[cuts]


class Channels(nn.Module):
    """`x[:, start:stop]`: some of the channels. It reads only what they read:

    >>> net = nn.Sequential(Cat(nn.Conv1d(3, 4, 9, padding=4), nn.Conv1d(3, 4, 1)), Channels(4))
    >>> oc.analyze(net, (1, 3, 32))["L"].receptive_field
    (1, 1)
    """

    def __init__(self, start: int, stop: int | None = None) -> None:
        super().__init__()
        self.cut = slice(start, stop)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.cut]


class Whole(nn.Module):
    """As many samples from the start as `factor` divides, along every axis: what a pixel unshuffle needs.

    >>> Whole(4)(torch.rand(1, 3, 18, 17)).shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        for d in range(2, x.dim()):
            x = x.narrow(d, 0, x.shape[d] // self.factor * self.factor)
        return x


class ChannelNorm(nn.Module):
    """A layer norm over channels, sample by sample, by way of a permute.

    >>> ChannelNorm(2)(torch.tensor([[[1.0], [3.0]]])).round().flatten().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        n = x.dim() - 1
        last = x.permute(0, *range(2, n + 1), 1)
        normed: Tensor = self.norm(last)
        return normed.permute(0, n, *range(1, n))


class GDN(nn.Module):
    """`x / sqrt(beta + gamma * x^2)`, gamma over channels: the divisive normalisation of learned codecs.

    >>> round(GDN(1)(torch.tensor([[[10.0]]])).item(), 3)  # 10 / sqrt(1 + 0.1 * 100)
    3.015
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta, self.gamma = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.eye(channels) / 10)

    def forward(self, x: Tensor) -> Tensor:
        last = x.movedim(1, -1)
        return (last * torch.rsqrt(last * last @ self.gamma.abs() + self.beta.abs())).movedim(-1, 1)


class Gate(nn.Module):
    """`x` times its mean over space, as in squeeze-and-excitation: an obstacle.

    >>> oc.analyze(Gate(), (1, 3, 32)).obstacles[0].cause
    'global'
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean(tuple(range(2, x.dim())), keepdim=True)


class Mirror(nn.Module):
    """`x` back to front along its last axis: an obstacle.

    >>> Mirror()(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [3.0, 2.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1)
