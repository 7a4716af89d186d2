"""CPS: residual blocks of even kernels that need no padding, and the joint hyperprior codec around them.

The shapes are those of the paper and of the code that its authors published, with two differences. BRB has the 1x1 skip
of the paper; their code adds the input itself where channels agree. The autoregressive context, one position
after the other, is the checkerboard of He et al. 2021, so that the codec is coded as the others are; it takes no part
in stitching.
"""

from __future__ import annotations

from torch import Tensor, nn

from examples.lic.gdn import GDN
from examples.lic.nested import Checkerboard, Hyper, LatentCodec, Nested, thirds


def halved(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 2, 2)


def doubled(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 2, 2)


class EDRB(nn.Module):
    """Even down-sampling residual block: half the size each way, each output reads its own 2x2 inputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = halved(inputs, outputs)
        self.leaky_relu = nn.LeakyReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 1)
        self.gdn = GDN(outputs)
        self.skip = halved(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gdn(self.conv2(self.leaky_relu(self.conv1(x))))
        return y + self.skip(x)


class EURB(nn.Module):
    """Even up-sampling residual block: twice the size each way, each output reads one input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.subpel_conv = doubled(inputs, outputs)
        self.leaky_relu = nn.LeakyReLU()
        self.conv = nn.Conv2d(outputs, outputs, 1)
        self.igdn = GDN(outputs, inverse=True)
        self.upsample = doubled(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.igdn(self.conv(self.leaky_relu(self.subpel_conv(x))))
        return y + self.upsample(x)


class BRB(nn.Module):
    """Bottleneck residual block: a 3x3 convolution makes it smaller by 2, a transposed one gives that back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.leaky_relu = nn.LeakyReLU()
        self.conv2 = nn.ConvTranspose2d(channels, channels, 3)
        self.skip = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.leaky_relu(self.conv2(self.leaky_relu(self.conv1(x))))
        return y + self.skip(x)


class CPS(Nested):
    """The codec, of N channels throughout. Sizes are multiples of 64."""

    def __init__(self, N: int = 192) -> None:
        g_a = nn.Sequential(EDRB(3, N), BRB(N), EDRB(N, N), BRB(N), EDRB(N, N), BRB(N), halved(N, N))
        g_s = nn.Sequential(doubled(N, N), BRB(N), EURB(N, N), BRB(N), EURB(N, N), BRB(N), EURB(N, 3))
        h_a = nn.Sequential(halved(N, N), nn.LeakyReLU(), halved(N, N), nn.LeakyReLU(), nn.Conv2d(N, N, 1))
        wide = N * 3 // 2
        h_s = nn.Sequential(doubled(N, N), nn.LeakyReLU(), doubled(N, wide), nn.LeakyReLU(), nn.Conv2d(wide, 2 * N, 1))
        super().__init__(g_a, g_s, LatentCodec(Checkerboard(N, thirds(N)), Hyper(N, h_a, h_s)))
