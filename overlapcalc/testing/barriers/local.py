"""Local layers of drawn nets."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from torch import nn

from ..by_axes import AVG, CONV, MAX, NORM, TCONV
from ..modules import GDN, ChannelNorm, Channels, Slice
from ..nets import Call


class LocalLayers:
    """Layers along n axes, each a function of the channels of its input."""

    def __init__(self, rng: random.Random, n: int) -> None:
        self._rng, self._n = rng, n

    def drawn(self, c: int) -> Call:
        """A random layer."""
        return self._rng.choice(self._kinds())(c)

    def _kinds(self) -> list[Callable[[int], Call]]:
        return [
            self._conv, self._conv, self._strided, self._transposed, self._pool, self._pointwise, self._channels,
            self._up, self._cut,
        ]  # fmt: skip

    def _conv(self, c: int) -> Call:
        rng, kernel = self._rng, self._rng.choice([1, 3, 3, 5])
        figures: dict[str, Any] = {"padding": rng.choice([kernel // 2, kernel // 2, 0, 1])}
        if rng.random() < 0.2:
            figures["dilation"] = 2
        if figures["padding"] and rng.random() < 0.3:
            figures["padding_mode"] = rng.choice(["reflect", "replicate"])
        if rng.random() < 0.2:
            figures["groups"] = c
        return Call.of(CONV[self._n], c, c * rng.randint(1, 2), kernel, **figures)

    def _strided(self, c: int) -> Call:
        kernel = self._rng.choice([2, 3, 4])
        return Call.of(CONV[self._n], c, c + self._rng.randint(0, 2), kernel, stride=2, padding=self._rng.randint(0, 1))

    def _transposed(self, c: int) -> Call:
        kernel = self._rng.choice([2, 3, 4, 5])
        return Call.of(TCONV[self._n], c, self._rng.randint(1, 3), kernel, stride=2, padding=self._rng.randint(0, 1))

    def _pool(self, c: int) -> Call:
        maker: Callable[..., nn.Module] = self._rng.choice([MAX[self._n], AVG[self._n]])
        return Call.of(maker, self._rng.choice([2, 3]), self._rng.choice([1, 2]), padding=self._rng.randint(0, 1))

    def _pointwise(self, c: int) -> Call:
        return Call.of(self._rng.choice([nn.GELU, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.Softplus]))

    def _channels(self, c: int) -> Call:
        maker: Callable[..., nn.Module] = self._rng.choice([NORM[self._n], GDN, ChannelNorm])
        return Call.of(maker, c) if maker is not ChannelNorm or c > 1 else Call.of(Channels, 0)

    def _up(self, c: int) -> Call:
        linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[self._n]
        return Call.of(nn.Upsample, scale_factor=2, mode=self._rng.choice(["nearest", linear]))

    def _cut(self, c: int) -> Call:
        return Call.of(Slice, self._rng.randint(0, 2), self._rng.choice([None, -1]))
