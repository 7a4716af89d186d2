"""Random small nets: chains, residuals, down and up again, unequal branches, in one to three dimensions.

A net is drawn through a `choose(low, high)` function, so the same generator serves a seeded fuzz run and
hypothesis, which then shrinks the choices. Imports nothing of overlapcalc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shared import viewed

Choose = Callable[[int, int], int]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TCONV = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Do(nn.Module):
    """A function as a module, with the text of the call for its repr."""

    def __init__(self, text: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.text, self.function = text, function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.text


class ChannelsLast(nn.Module):
    """A layer norm and a linear layer over channels, by way of a permute."""

    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.norm, self.mix, self.n = nn.LayerNorm(channels), nn.Linear(channels, channels), n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.permute(0, *range(2, self.n + 2), 1)
        return self.mix(self.norm(last)).permute(0, self.n + 1, *range(1, self.n + 1))


class GDN(nn.Module):
    """x / sqrt(beta + gamma * x^2), gamma a 1x1 convolution."""

    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.beta, self.gamma = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.rand(channels, channels))
        self.n = n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = (self.gamma**2).reshape(*self.gamma.shape, *[1] * self.n)
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[self.n]
        return x * torch.rsqrt(convolve(x * x, weight, self.beta**2))


class Branches(nn.Module):
    """Branches from one tensor, cut to the shortest, then added, multiplied or concatenated."""

    def __init__(self, branches: list[nn.Module], how: str, n: int) -> None:
        super().__init__()
        self.branches, self.how, self.n = nn.ModuleList(branches), how, n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ys = [b(x) for b in self.branches]
        for d in range(2, self.n + 2):
            length = min(y.shape[d] for y in ys)
            ys = [y.narrow(d, 0, length) for y in ys]
        if self.how == "cat":
            return torch.cat(ys, 1)
        total = ys[0]
        for y in ys[1:]:
            total = total + y if self.how == "add" else total * y
        return total

    def extra_repr(self) -> str:
        return self.how


class Parts(nn.Module):
    """Splits the channels, sends each part its own way, and keeps some of them."""

    def __init__(self, parts: list[nn.Module], widths: list[int], keep: list[int], n: int) -> None:
        super().__init__()
        self.parts, self.widths, self.keep, self.n = nn.ModuleList(parts), widths, keep, n

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pieces = x.split(self.widths, 1)
        ys = [self.parts[i](pieces[i]) for i in self.keep]
        for d in range(2, self.n + 2):
            length = min(y.shape[d] for y in ys)
            ys = [y.narrow(d, 0, length) for y in ys]
        return torch.cat(ys, 1) if len(ys) > 1 else ys[0]

    def extra_repr(self) -> str:
        return f"widths={self.widths}, keep={self.keep}"


def shuffle_channels(x: torch.Tensor, groups: int) -> torch.Tensor:
    return x.unflatten(1, (groups, x.shape[1] // groups)).transpose(1, 2).flatten(1, 2)


class Net:
    """A drawn net: the module, its number of axes, its input channels, the families used, how NaN behaves in it."""

    def __init__(self, choose: Choose, *, axes: int | None = None, depth: int | None = None) -> None:
        self.choose = choose
        self.n = axes if axes is not None else (1, 1, 1, 2, 2, 1, 2, 3)[choose(0, 7)]
        self.families: list[str] = []
        self.zero_taps = False
        self.channels = choose(1, 4)
        self.module, self.out_channels = self._chain(self.channels, depth or choose(1, 6 if self.n < 3 else 3), 2)

    def pick(self, *options: Any) -> Any:
        return options[self.choose(0, len(options) - 1)]

    # ---- pieces -------------------------------------------------------------------------------------------

    def _chain(self, channels: int, depth: int, nesting: int) -> tuple[nn.Module, int]:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layer, channels = self._layer(channels, nesting)
            layers.append(layer)
        return (layers[0] if len(layers) == 1 else nn.Sequential(*layers)), channels

    def _layer(self, c: int, nesting: int) -> tuple[nn.Module, int]:
        makers: list[Callable[[int], tuple[nn.Module, int]]] = [
            self._conv, self._conv, self._conv, self._tconv, self._tconv, self._pool, self._pad, self._crop,
            self._nearest, self._linear, self._pointwise, self._channelwise, self._masked, self._viewed,
        ]  # fmt: skip
        if self.n == 2:
            makers += [self._pixel_shuffle, self._pixel_unshuffle]
        if nesting:
            makers += [lambda c: self._branches(c, nesting)] * 3
            makers += [lambda c: self._parts(c, nesting), lambda c: self._down_up(c, nesting)]
        return self.pick(*makers)(c)

    def _use(self, family: str) -> None:
        self.families.append(family)

    def _groups(self, c: int, out: int) -> int:
        return self.pick(*[g for g in (1, 1, 2, 3, 4) if c % g == 0 and out % g == 0])

    def _conv(self, c: int) -> tuple[nn.Module, int]:
        k, s, d = self.pick(1, 2, 3, 3, 4, 5), self.pick(1, 1, 1, 2, 2, 3), self.pick(1, 1, 1, 2, 3)
        out = self.choose(1, 4)
        groups = self._groups(c, out)
        mode = self.pick("zeros", "zeros", "reflect", "replicate")
        self._use(f"conv {mode}" + (" strided" if s > 1 else "") + (" dilated" if d > 1 and k > 1 else ""))
        if s == 1 and self.choose(0, 4) == 0:
            self._use("conv same")
            return CONV[self.n](c, out, k, padding="same", dilation=d, groups=groups, padding_mode=mode), out
        p = self.pick(0, d * (k - 1) // 2, d * (k - 1) // 2, self.choose(0, 4))
        return CONV[self.n](c, out, k, s, p, d, groups, self.choose(0, 1) == 1, mode), out

    def _tconv(self, c: int) -> tuple[nn.Module, int]:
        k, s, d = self.pick(1, 2, 3, 4, 5), self.pick(1, 2, 2, 2, 3), self.pick(1, 1, 1, 1, 2)
        p = self.choose(0, max(0, d * (k - 1) // 2))
        extra = self.choose(0, max(s, d) - 1)
        out = self.choose(1, 4)
        self._use("tconv" + (" dilated" if d > 1 and k > 1 else "") + (" bias-only" if k < s else ""))
        groups = self._groups(c, out)
        return TCONV[self.n](c, out, k, s, p, extra, groups, True, d), out

    def _pool(self, c: int) -> tuple[nn.Module, int]:
        k, s = self.pick(2, 2, 3, 4), self.pick(1, 2, 2, 3)
        p, ceil = self.choose(0, k // 2), self.choose(0, 1) == 1
        if self.choose(0, 1):
            self._use("max pool" + (" ceil" if ceil else ""))
            return MAX[self.n](k, s, p, self.pick(1, 1, 2), ceil_mode=ceil), c
        self._use("avg pool" + (" ceil" if ceil else ""))
        return AVG[self.n](k, s, p, ceil_mode=ceil, count_include_pad=self.choose(0, 1) == 1), c

    def _pad(self, c: int) -> tuple[nn.Module, int]:
        mode = self.pick("constant", "constant", "reflect", "replicate")
        low = -2 if mode == "constant" else 0
        pads = [self.choose(low, 4) for _ in range(2 * self.n)]
        self._use(f"pad {mode}" + (" negative" if min(pads) < 0 else ""))
        value = self.choose(0, 1) * 0.5 if mode == "constant" else None
        return Do(f"pad {pads} {mode}", lambda x: F.pad(x, pads, mode, value)), c

    def _crop(self, c: int) -> tuple[nn.Module, int]:
        cuts = []
        for _ in range(self.n):
            step = self.pick(1, 1, 1, 2, 3)
            cuts.append(slice(self.choose(0, 3), self.pick(None, None, -1, -3), step))
        self._use("slice" + (" strided" if any(s.step > 1 for s in cuts) else ""))
        return Do(f"crop {cuts}", lambda x: x[(slice(None), slice(None), *cuts)]), c

    def _nearest(self, c: int) -> tuple[nn.Module, int]:
        r = self.pick(2, 2, 3)
        self._use("nearest")
        return nn.Upsample(scale_factor=r), c

    def _linear(self, c: int) -> tuple[nn.Module, int]:
        r = self.pick(2.0, 2.0, 3.0, 0.5, 1.5, 0.75)
        self._use("linear resampling")
        self.zero_taps = True
        return nn.Upsample(scale_factor=r, mode=LINEAR[self.n]), c

    def _pixel_shuffle(self, c: int) -> tuple[nn.Module, int]:
        r = 2
        self._use("pixel shuffle")
        if self.choose(0, 1) and c == 4:
            return nn.PixelShuffle(r), 1
        out = self.choose(1, 2)
        return nn.Sequential(
            nn.Conv2d(c, out * r * r, self.pick(1, 3), padding=self.pick(0, 1)), nn.PixelShuffle(r)
        ), out

    def _pixel_unshuffle(self, c: int) -> tuple[nn.Module, int]:
        self._use("pixel unshuffle")
        crop = Do("crop to even", lambda x: x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2])
        if c > 2:
            narrow: nn.Module = nn.Conv2d(c, 1, 1)
            return nn.Sequential(crop, narrow, nn.PixelUnshuffle(2)), 4
        return nn.Sequential(crop, nn.PixelUnshuffle(2)), 4 * c

    def _pointwise(self, c: int) -> tuple[nn.Module, int]:
        self._use("pointwise")
        made = self.pick(
            nn.LeakyReLU(0.3), nn.Sigmoid(), nn.GELU(), nn.PReLU(c), nn.Hardswish(), NORM[self.n](c),
            Do("x*sigmoid(x)", lambda x: x * torch.sigmoid(x)), Do("y-3", lambda x: 3.0 - x), nn.Dropout(0.5),
        )  # fmt: skip
        return made, c

    def _channelwise(self, c: int) -> tuple[nn.Module, int]:
        which = self.choose(0, 4) if c > 1 else self.choose(2, 4)  # over one channel, they give a constant
        self._use(("softmax channels", "channels-last", "GDN", "channel shuffle", "norm over channels")[which])
        if which == 0:
            return nn.Softmax(dim=1), c
        if which == 1:
            return ChannelsLast(c, self.n), c
        if which == 2:
            return GDN(c, self.n), c
        if which == 3:
            g = self.pick(*[g for g in (1, 2, 3) if c % g == 0])
            return Do(f"shuffle channels {g}", lambda x: shuffle_channels(x, g)), c
        return Do("x/norm(x)", lambda x: x / (x.norm(dim=1, keepdim=True) + 1)), c

    def _viewed(self, c: int) -> tuple[nn.Module, int]:
        """Rearrangements of space by view and permute."""
        which = self.pick("to depth", "to and from depth", "tokens", "windows", "attention")
        self._use(which)
        k = self.pick(2, 2, 3) if self.n < 3 else 2
        if which == "tokens":
            out = self.choose(1, 3)
            return viewed.Tokens(c, out), out
        if which == "windows":
            inside = self.pick(nn.Identity(), viewed.Places(k, self.n), nn.Linear(c, c))
            self.zero_taps = self.zero_taps or isinstance(inside, viewed.Places)
            return viewed.Windows(k, inside), c
        if which == "attention":
            return viewed.Windows(k, viewed.Attention(c)), c
        narrow = CONV[self.n](c, 1, 1)
        wide = k**self.n
        if which == "to depth":
            rest = CONV[self.n](wide, 3, self.pick(1, 3), groups=1, padding=self.pick(0, 1))
            return nn.Sequential(narrow, Do(f"to depth {k}", lambda x: viewed.to_depth(x, k)), rest), 3
        inside = self.pick(nn.Identity(), CONV[self.n](wide, wide, 3, padding=1, groups=wide), nn.Dropout())
        back = Do(f"from depth {k}", lambda x: viewed.from_depth(x, k))
        return nn.Sequential(narrow, Do(f"to depth {k}", lambda x: viewed.to_depth(x, k)), inside, back), 1

    def _masked(self, c: int) -> tuple[nn.Module, int]:
        self._use("masked conv")
        self.zero_taps = True
        out, k = self.choose(1, 3), self.pick(3, 5)
        mask = torch.ones(k**self.n)
        for i in range(k**self.n):
            mask[i] = self.choose(0, 1)
        mask[self.choose(0, k**self.n - 1)] = 1
        return Masked(c, out, k, mask.reshape((k,) * self.n), self.n), out

    # ---- shapes of nets -----------------------------------------------------------------------------------

    def _branches(self, c: int, nesting: int) -> tuple[nn.Module, int]:
        how = self.pick("add", "mul", "cat")
        out = self.choose(1, 3)
        branches, total = [], 0
        for _ in range(self.choose(2, 3)):
            body, width = self._keeping(c, nesting - 1)
            if how != "cat" and width != out:
                body, width = nn.Sequential(body, CONV[self.n](width, out, 1)), out
            branches.append(body)
            total += width
        self._use(f"branches {how}")
        return Branches(branches, how, self.n), total if how == "cat" else out

    def _keeping(self, c: int, nesting: int) -> tuple[nn.Module, int]:
        """A branch that keeps the scale, so that it can meet the others."""
        kind = self.choose(0, 4)
        if kind == 0:
            return nn.Identity(), c
        if kind == 1:
            return self._down_up(c, nesting)
        out = self.choose(1, 3)
        k, d = self.pick(1, 3, 5, 4), self.pick(1, 1, 2, 4)
        if kind == 2:
            return TCONV[self.n](c, out, k, 1, self.choose(0, d * (k - 1) // 2), 0, 1, True, d), out
        return CONV[self.n](c, out, k, 1, self.choose(0, d * (k - 1)), d), out

    def _down_up(self, c: int, nesting: int) -> tuple[nn.Module, int]:
        """By two down, something, by two up; the skip keeps its own scale."""
        self._use("down and up")
        mid = self.choose(1, 3)
        down: nn.Module = self.pick(
            CONV[self.n](c, mid, 3, 2, 1), CONV[self.n](c, mid, 2, 2), CONV[self.n](c, mid, 5, 2, 2),
            nn.Sequential(MAX[self.n](2), CONV[self.n](c, mid, 3, padding=1)),
            nn.Sequential(AVG[self.n](3, 2, 1), CONV[self.n](c, mid, 1)),
        )  # fmt: skip
        up: nn.Module = self.pick(
            TCONV[self.n](mid, mid, 2, 2), TCONV[self.n](mid, mid, 3, 2, 1), TCONV[self.n](mid, mid, 4, 2, 1),
            nn.Upsample(scale_factor=2), TCONV[self.n](mid, mid, 1, 2),
        )  # fmt: skip
        inside: list[nn.Module] = []
        if nesting > 0 and self.choose(0, 1):
            body, width = self._keeping(mid, nesting - 1)
            inside = [body] if width == mid else [body, CONV[self.n](width, mid, 1)]
        whole = nn.Sequential(down, *inside, up)
        if self.choose(0, 1):
            return Branches([whole, nn.Identity()], "cat", self.n), mid + c
        return whole, mid

    def _parts(self, c: int, nesting: int) -> tuple[nn.Module, int]:
        if c < 2:
            return self._branches(c, nesting)
        self._use("split channels")
        cut = self.choose(1, c - 1)
        widths = [cut, c - cut]
        keep = self.pick([0], [1], [0, 1], [1, 0])
        parts, total = [], []
        for w in widths:
            body, out = self._keeping(w, nesting - 1)
            parts.append(body)
            total.append(out)
        return Parts(parts, widths, keep, self.n), sum(total[i] for i in keep)


class Masked(nn.Module):
    """A convolution whose weight is multiplied by a mask, the same for all channels."""

    def __init__(self, c: int, out: int, k: int, mask: torch.Tensor, n: int) -> None:
        super().__init__()
        self.conv, self.n = CONV[n](c, out, k, padding=k // 2), n
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[self.n]
        return convolve(x, self.conv.weight * self.mask, self.conv.bias, 1, self.conv.padding)

    def extra_repr(self) -> str:
        return f"mask={self.mask.int().tolist()}"


def healthy(module: nn.Module, seed: int) -> nn.Module:
    """Weights far from zero and positive, in float64: every tap shows, nothing cancels."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.rand(p.shape, generator=generator, dtype=torch.float64) + 0.3)
            if p.dim() > 2:
                p.div_(p.flatten(1).sum(dim=1).mean())
    return module
