"""Holders of a codec's parts, under the names that CompressAI's checkpoints give them, and what aggregates contexts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from .checkerboard import CheckerboardConv2d
from .codec import Codec, Group, Parts
from .layers import conv
from .priors import EntropyBottleneck, GaussianConditional


class Hyper(nn.Module):
    def __init__(self, channels: int, h_a: nn.Module, h_s: nn.Module) -> None:
        super().__init__()
        self.entropy_bottleneck = EntropyBottleneck(channels)
        self.h_a, self.h_s = h_a, h_s


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gaussian_conditional = GaussianConditional()


class Checkerboard(nn.Module):
    def __init__(self, channels: int, entropy_parameters: nn.Module) -> None:
        super().__init__()
        self.channels = channels
        self.entropy_parameters = entropy_parameters
        self.context_prediction = CheckerboardConv2d(channels, 2 * channels)
        self.y = Conditional()

    def group(self, channel_context: nn.Module | None = None) -> Group:
        return Group(
            self.channels,
            self.y.gaussian_conditional,
            channel_context,
            self.context_prediction,
            self.entropy_parameters,
        )

    def groups(self) -> tuple[Group, ...]:
        return (self.group(),)


class ChannelGroups(nn.Module):
    def __init__(self, boards: Sequence[Checkerboard], contexts: Sequence[nn.Module]) -> None:
        """contexts: of every group but the first."""
        super().__init__()
        self.channel_context = nn.ModuleDict({f"y{k}": context for k, context in enumerate(contexts, 1)})
        self.latent_codec = nn.ModuleDict({f"y{k}": board for k, board in enumerate(boards)})

    def groups(self) -> tuple[Group, ...]:
        found, contexts = [], dict(self.channel_context.items())
        for name, board in self.latent_codec.items():
            assert isinstance(board, Checkerboard)
            found.append(board.group(contexts.get(name)))
        return tuple(found)


class LatentCodec(nn.Module):
    def __init__(self, y: Checkerboard | ChannelGroups, hyper: Hyper) -> None:
        super().__init__()
        self.y, self.hyper = y, hyper


class Nested(Codec):
    """A codec whose checkpoint has all but the outer transforms under `latent_codec`."""

    def __init__(self, g_a: nn.Module, g_s: nn.Module, latent_codec: LatentCodec) -> None:
        super().__init__()
        self.g_a, self.g_s, self.latent_codec = g_a, g_s, latent_codec

    @property
    def parts(self) -> Parts:
        y, hyper = self.latent_codec.y, self.latent_codec.hyper
        return Parts(self.g_a, self.g_s, hyper.h_a, hyper.h_s, hyper.entropy_bottleneck, y.groups())


def aggregation(inputs: int, outputs: int, middle: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Contexts of one position to scales and means: 1x1 convolutions."""
    widths = [inputs, *middle, outputs]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [conv(a, b, 1, 1), activation()]
    return nn.Sequential(*layers[:-1])


def thirds(M: int) -> nn.Sequential:
    """12/3 M channels to 6/3 M, as in Minnen et al. 2018 and Cheng et al. 2020."""
    return aggregation(M * 12 // 3, M * 6 // 3, (M * 10 // 3, M * 8 // 3), nn.LeakyReLU)
