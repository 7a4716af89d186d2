"""The four codecs: shapes as published, names of parameters as in CompressAI 1.2.8, so that its checkpoints load.

N and M are the channels of the transforms and of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from torch import nn

from examples.lic.codec import Codec, Group, Parts
from examples.lic.gdn import GDN
from examples.lic.layers import Attention, Bottleneck, ResidualBlock, ResidualDown, ResidualUp, conv, deconv, subpixel
from examples.lic.nested import ChannelGroups, Checkerboard, Hyper, LatentCodec, Nested, aggregation, thirds
from examples.lic.priors import EntropyBottleneck, GaussianConditional

# ---- transforms ---------------------------------------------------------------------------------------------------


def analysis(N: int, M: int) -> nn.Sequential:
    """Four convolutions 5x5 of stride 2, with GDN between."""
    return nn.Sequential(conv(3, N), GDN(N), conv(N, N), GDN(N), conv(N, N), GDN(N), conv(N, M))


def synthesis(N: int, M: int) -> nn.Sequential:
    return nn.Sequential(
        deconv(M, N), GDN(N, inverse=True), deconv(N, N), GDN(N, inverse=True),
        deconv(N, N), GDN(N, inverse=True), deconv(N, 3),
    )  # fmt: skip


def hyper_analysis(N: int, M: int) -> nn.Sequential:
    return nn.Sequential(conv(M, N, 3, 1), nn.LeakyReLU(), conv(N, N), nn.LeakyReLU(), conv(N, N))


def hyper_synthesis(N: int, M: int) -> nn.Sequential:
    return nn.Sequential(
        deconv(N, M), nn.LeakyReLU(), deconv(M, M * 3 // 2), nn.LeakyReLU(), conv(M * 3 // 2, 2 * M, 3, 1)
    )


# ---- codecs -------------------------------------------------------------------------------------------------------


class MeanScaleHyperprior(Codec):
    """Minnen et al. 2018 without autoregression: the hyperprior alone gives scales and means."""

    def __init__(self, N: int = 192, M: int = 320) -> None:
        super().__init__()
        self.M = M
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.g_a, self.g_s = analysis(N, M), synthesis(N, M)
        self.h_a, self.h_s = hyper_analysis(N, M), hyper_synthesis(N, M)
        self.gaussian_conditional = GaussianConditional()

    @property
    def parts(self) -> Parts:
        group = Group(self.M, self.gaussian_conditional)
        return Parts(self.g_a, self.g_s, self.h_a, self.h_s, self.entropy_bottleneck, (group,))


class JointCheckerboardHierarchicalPriors(Nested):
    """Minnen et al. 2018 with the checkerboard context of He et al. 2021 in the place of autoregression.

    CompressAI has no class for it; the names are those that its parts have when they are put together.
    """

    def __init__(self, N: int = 192, M: int = 320) -> None:
        hyper = Hyper(N, hyper_analysis(N, M), hyper_synthesis(N, M))
        super().__init__(analysis(N, M), synthesis(N, M), LatentCodec(Checkerboard(M, thirds(M)), hyper))


class Cheng2020AnchorCheckerboard(Nested):
    """Cheng et al. 2020 without attention and mixtures, with the checkerboard context of He et al. 2021."""

    def __init__(self, N: int = 192) -> None:
        g_a = nn.Sequential(
            ResidualDown(3, N), ResidualBlock(N), ResidualDown(N, N), ResidualBlock(N),
            ResidualDown(N, N), ResidualBlock(N), conv(N, N, 3, 2),
        )  # fmt: skip
        g_s = nn.Sequential(
            ResidualBlock(N), ResidualUp(N, N), ResidualBlock(N), ResidualUp(N, N),
            ResidualBlock(N), ResidualUp(N, N), ResidualBlock(N), subpixel(N, 3),
        )  # fmt: skip
        h_a = nn.Sequential(
            conv(N, N, 3, 1), nn.LeakyReLU(), conv(N, N, 3, 1), nn.LeakyReLU(), conv(N, N, 3, 2), nn.LeakyReLU(),
            conv(N, N, 3, 1), nn.LeakyReLU(), conv(N, N, 3, 2),
        )  # fmt: skip
        wide = N * 3 // 2
        h_s = nn.Sequential(
            conv(N, N, 3, 1), nn.LeakyReLU(), subpixel(N, N), nn.LeakyReLU(), conv(N, wide, 3, 1), nn.LeakyReLU(),
            subpixel(wide, wide), nn.LeakyReLU(), conv(wide, 2 * N, 3, 1),
        )  # fmt: skip
        super().__init__(g_a, g_s, LatentCodec(Checkerboard(N, thirds(N)), Hyper(N, h_a, h_s)))


class Elic2022Official(Nested):
    """ELIC (He et al. 2022): groups of channels of growing size, a checkerboard within each.

    groups: channels of each; ValueError if they do not add up to M. widths: of the contexts between channels.
    """

    def __init__(
        self, N: int = 192, M: int = 320, *, groups: Sequence[int] | None = None, widths: tuple[int, int] = (224, 128)
    ) -> None:
        groups = [16, 16, 32, 64, M - 128] if groups is None else list(groups)
        if sum(groups) != M or min(groups) < 1:
            raise ValueError(f"groups {groups}: they must be positive and add up to M, {M}")
        g_a = nn.Sequential(
            conv(3, N), *_bottlenecks(N), conv(N, N), *_bottlenecks(N), Attention(N),
            conv(N, N), *_bottlenecks(N), conv(N, M), Attention(M),
        )  # fmt: skip
        g_s = nn.Sequential(
            Attention(M), deconv(M, N), *_bottlenecks(N), deconv(N, N), Attention(N), *_bottlenecks(N),
            deconv(N, N), *_bottlenecks(N), deconv(N, 3),
        )  # fmt: skip
        wide = N * 3 // 2
        h_a = nn.Sequential(conv(M, N, 3, 1), nn.ReLU(), conv(N, N), nn.ReLU(), conv(N, N))
        h_s = nn.Sequential(deconv(N, N), nn.ReLU(), deconv(N, wide), nn.ReLU(), deconv(wide, 2 * N, 3, 1))
        boards = [Checkerboard(c, _ramp((2 + 2 * (k > 0)) * c + 2 * N, 2 * c, 2 * N)) for k, c in enumerate(groups)]
        contexts = [
            _channel_context(before, *widths, 2 * c)
            for before, c in zip(accumulate(groups[:-1]), groups[1:], strict=True)
        ]
        super().__init__(g_a, g_s, LatentCodec(ChannelGroups(boards, contexts), Hyper(N, h_a, h_s)))


def _channel_context(inputs: int, first: int, second: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        conv(inputs, first, 5, 1), nn.ReLU(), conv(first, second, 5, 1), nn.ReLU(), conv(second, outputs, 5, 1)
    )


def _bottlenecks(N: int) -> list[Bottleneck]:
    return [Bottleneck(N) for _ in range(3)]


def _ramp(inputs: int, outputs: int, least: int) -> nn.Sequential:
    """Channels go down in equal steps, never below `least` on the way."""
    middle = [max(least, ((3 - i) * inputs + i * outputs) // 3) for i in (1, 2)]
    return aggregation(inputs, outputs, middle, nn.ReLU)
