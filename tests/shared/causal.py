"""Random nets that may be fed their own output: no cell reads itself or a later one. And the plainest way to run them.

Imports nothing of overlapcalc.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Causal(nn.Module):
    """A convolution over a random part of the cells before, in row-major order, and of its own if `own`."""

    def __init__(self, draw: random.Random, n: int, inputs: int, outputs: int, *, own: bool) -> None:
        super().__init__()
        self.n, self.reach, self.dilation = n, draw.choice((1, 1, 2) if n < 3 else (1,)), draw.choice((1, 1, 2))
        self.groups = draw.choice((1, 1, 2)) if inputs % 2 == outputs % 2 == 0 else 1
        size = 2 * self.reach + 1
        mask = torch.zeros(*(size,) * n, dtype=torch.float64)
        centre = (self.reach,) * n
        before = [at for at in product(range(size), repeat=n) if at < centre or (own and at == centre)]
        for at in before:
            mask[at] = float(draw.random() < 0.6)
        mask[draw.choice(before)] = 1.0
        self.register_buffer("mask", mask)
        self.weight = nn.Parameter(torch.randn(outputs, inputs // self.groups, *mask.shape, dtype=torch.float64) / 3)
        self.bias = nn.Parameter(torch.randn(outputs, dtype=torch.float64)) if draw.random() < 0.7 else None
        self.apart = draw.random() < 0.3  # padding as an operator of its own

    def forward(self, x: Tensor) -> Tensor:
        pad = self.reach * self.dilation
        if self.apart:
            x = F.pad(x, [pad] * (2 * self.n))
        return CONV[self.n](
            x, self.weight * self.mask, self.bias, padding=0 if self.apart else pad, dilation=self.dilation,
            groups=self.groups,
        )  # fmt: skip


class Beside(nn.Module):
    """Two branches over the same input, added, concatenated, or one as a gate."""

    def __init__(self, a: nn.Module, b: nn.Module, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = a, b, how

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        if self.how == "cat":
            return torch.cat([a, b], 1)
        return a * torch.sigmoid(b) if self.how == "gate" else a + b


class Shifted(nn.Module):
    """What was read one row, or one column, further on."""

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.pad = [side for d in reversed(range(n)) for side in ((1, -1) if d == dim else (0, 0))]

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad, value=0.5)


class Pooled(nn.Module):
    """The largest, or the mean, of what stands above and to the left, up to its own cell."""

    def __init__(self, n: int, how: str) -> None:
        super().__init__()
        self.n, self.how = n, how

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [side for _ in range(self.n) for side in (1, 0)])
        return getattr(F, f"{self.how}_pool{self.n}d")(x, 2, stride=1)


class ChannelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(1 + x.square().sum(1, keepdim=True))


def causal_net(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A net whose output has the shape of its input, and a shape at which it runs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    n = draw.choice((1, 2, 2, 2, 3))
    images, first = draw.choice((1, 1, 2)), draw.choice((1, 2))
    block = draw.choice((1, 1, 2)) if n == 2 else 1
    layers: list[nn.Module] = []
    channels = first
    if block == 2:
        down = draw.choice(("unshuffle", "conv"))
        layers.append(nn.PixelUnshuffle(2) if down == "unshuffle" else nn.Conv2d(first, 4 * first, 2, stride=2))
        channels = 4 * first

    def body(channels: int, outputs: int, own: bool) -> nn.Module:
        return Causal(draw, n, channels, outputs, own=own)

    layers.append(draw.choice((body(channels, 4, False), nn.Sequential(Shifted(n, 0), body(channels, 4, True)))))
    channels = 4
    for _ in range(draw.randint(0, 3)):
        kind = draw.choice(("conv", "beside", "norm", "pool", "point", "shift", "split", "softmax"))
        if kind == "conv":
            layers += [body(channels, 4, True), nn.LeakyReLU(0.1)]
        elif kind == "beside":
            how = draw.choice(("add", "cat", "gate"))
            layers.append(Beside(body(channels, 4, True), body(channels, 4, True), how))
            channels = 8 if how == "cat" else 4
            if how == "cat":
                layers.append(body(8, 4, True))
                channels = 4
        elif kind == "norm":
            layers.append(ChannelNorm())
        elif kind == "pool":
            layers.append(Pooled(n, draw.choice(("max", "avg"))))
        elif kind == "shift":
            layers.append(Shifted(n, draw.randrange(n)))
        elif kind == "split":
            layers.append(Halved())
        elif kind == "softmax":
            layers.append(nn.Softmax(1))
        else:
            layers += [(nn.Conv1d, nn.Conv2d, nn.Conv3d)[n - 1](4, 4, 1), nn.Tanh()]
    if block == 2:
        up = draw.choice(("shuffle", "transposed", "nearest"))
        if up == "shuffle":
            layers += [body(4, 4 * first, True), nn.PixelShuffle(2)]
        elif up == "transposed":
            layers.append(nn.ConvTranspose2d(4, first, 2, stride=2))
        else:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(4, first, 1)]
    else:
        layers.append(body(4, first, True))
    size = {1: (draw.randint(5, 12),), 2: (block * draw.randint(3, 5), block * draw.randint(3, 6)), 3: (3, 3, 4)}[n]
    return nn.Sequential(*layers).double().eval(), (images, first, *size)


class Halved(nn.Module):
    """The halves of the channels, exchanged and added in part."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return torch.cat([b, a + 0.5 * b], 1)


def naively(
    net: Callable[[Tensor], Tensor], shape: Sequence[int], cell: Sequence[int], hook: Callable[[Tensor], Tensor]
) -> Tensor:
    """Cell by cell in row-major order, the whole net each time."""
    x = torch.zeros(*shape, dtype=torch.float64)
    counts = [size // step for size, step in zip(shape[2:], cell, strict=True)]
    with torch.no_grad():
        for place in product(*map(range, counts)):
            here = tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, cell, strict=True))
            x[(..., *here)] = hook(net(x)[(..., *here)])
    return x


def look_ahead(source: str, size: int, *, scale: int | None = None) -> int:
    """Brute force: how many samples behind its own place the worst output depends on."""
    namespace: dict = {}
    exec(source, namespace)
    net: nn.Module = namespace["Net"]().double().eval()
    for p in net.parameters():
        nn.init.normal_(p)
    x = torch.randn(1, 1, size, dtype=torch.float64)
    y = net(x)
    scale = scale or max(1, round(size / y.shape[-1]))  # 1, or that of a pooling
    found = 0
    for s in range(size):
        other = x.clone()
        other[..., s] += 1
        changed = (net(other) != y).nonzero()[:, -1]
        if len(changed):
            found = max(found, s + 1 - (int(changed.min()) + 1) * scale)
    return found
