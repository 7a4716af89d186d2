"""Nets with operators of real model zoos beyond the families: windows, lookups, writes into slices, antialiasing, unpooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from shared.nets import Do


class Codebook(nn.Module):
    """Vector quantisation as diffusion VAEs write it: distances, the nearest entry, a lookup."""

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(entries, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        flat = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        distance = flat.pow(2).sum(1, keepdim=True) + self.table.weight.pow(2).sum(1) - 2 * flat @ self.table.weight.t()
        found = self.table(distance.argmin(1)).view(x.shape[0], *x.shape[2:], -1)
        return found.permute(0, 3, 1, 2)


class Soft(Codebook):
    """The same with torch.cdist and soft weights, so that every sample shows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        flat = x.permute(0, 2, 3, 1).flatten(1, 2)
        soft = torch.cdist(flat, self.table.weight[None]).softmax(-1) @ self.table.weight
        return soft.transpose(1, 2).reshape(x.shape)


class SegNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.between, self.after = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(x)
        y, at = F.max_pool2d(x, 2, return_indices=True)
        return self.after(F.max_unpool2d(self.between(y), at, 2, output_size=x.shape[2:]))


def wavelet(x: torch.Tensor) -> torch.Tensor:
    """Haar there and back, written into slices as MWCNN does."""
    a, b, c, d = x[:, :, ::2, ::2], x[:, :, 1::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, 1::2]
    low, high = a + b + c + d, a - b + c - 3 * d
    out = x.new_zeros(x.shape)
    out[:, :, 0::2, 0::2] = low + high
    out[:, :, 1::2, 0::2] = low
    out[:, :, 0::2, 1::2] = high
    out[:, :, 1::2, 1::2] = low - 2 * high
    return out


def written_inside(x: torch.Tensor) -> torch.Tensor:
    out = x.new_ones(*x.shape[:3], x.shape[3] + 5)
    out[..., 2:-3] = x
    return F.avg_pool2d(out, 3, 1)


def every_other(x: torch.Tensor) -> torch.Tensor:
    out = x * 2
    out[..., 1::2] = F.avg_pool2d(x, (1, 5), 1, (0, 2))[..., 1::2]
    return out


def unfolded(x: torch.Tensor) -> torch.Tensor:
    """A filter by im2col."""
    y = F.unfold(x, (3, 5), dilation=(1, 2), padding=(1, 2), stride=(1, 2))
    rows, columns = x.shape[2], (x.shape[3] + 4 - 8 - 1) // 2 + 1
    return y.view(x.shape[0], x.shape[1], 15, rows, columns).mean(2)


def folded(x: torch.Tensor) -> torch.Tensor:
    """Overlapping windows, each seen through a filter, added up again."""
    size = x.shape[2:]
    y = F.unfold(x, 4, stride=2, padding=1)
    return F.fold(y * torch.linspace(0.5, 1.5, y.shape[1], dtype=x.dtype)[:, None], size, 4, stride=2, padding=1)


def _cleared_by_mask(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[y > 5] = 0.0
    return y


def _up_to_the_last(x: torch.Tensor) -> torch.Tensor:
    y = F.avg_pool2d(x, 3, 1, 1)
    y[:, :, 0::2] = x[:, :, 0::2]
    return y


CASES: list[tuple[str, nn.Module, tuple[int, ...]]] = [
    ("unfold", Do("", lambda x: x.unfold(2, 5, 3).sum(-1)), (1, 2, 29)),
    ("unfold in both axes", Do("", lambda x: x.unfold(2, 4, 2).unfold(3, 3, 3).amax((-1, -2))), (1, 1, 18, 17)),
    ("one place of windows", Do("", lambda x: x.unfold(2, 5, 3)[..., 2]), (1, 2, 29)),
    ("im2col", Do("", unfolded), (1, 2, 13, 21)),
    ("im2col and col2im", Do("", folded), (1, 1, 12, 16)),
    ("col2im, windows apart", Do("", lambda x: F.fold(F.unfold(x, 3, stride=3), x.shape[2:], 3, stride=3)), (1, 2, 9, 12)),
    ("unpooling", SegNet(), (1, 2, 12, 16)),
    ("a codebook", Soft(5, 2), (1, 2, 9, 7)),
    ("wavelets", Do("", wavelet), (1, 1, 12, 10)),
    ("written inside", Do("", written_inside), (1, 1, 9, 14)),
    ("every other column", Do("", every_other), (1, 1, 5, 18)),
    ("gather channels", Do("", lambda x: x.gather(1, (x[:, :2] > 0).long())), (1, 3, 9, 7)),
    ("antialiased to half", Do("", lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)), (1, 1, 24, 18)),
    ("antialiased to 2/3", Do("", lambda x: F.interpolate(x, scale_factor=2 / 3, mode="bilinear", antialias=True)), (1, 1, 24, 18)),
    ("antialiased cubic", Do("", lambda x: F.interpolate(x, scale_factor=0.25, mode="bicubic", antialias=True)), (1, 1, 48, 40)),
    ("antialiased up", Do("", lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", antialias=True)), (1, 1, 12, 10)),
    ("cleared by a mask", Do("", lambda x: _cleared_by_mask(F.avg_pool2d(x, 3, 1, 1))), (1, 2, 9, 7)),
    ("times a vector", Do("", lambda x: F.avg_pool2d((x.permute(0, 2, 3, 1) @ x.new_ones(3))[:, None], (1, 3), 1, (0, 1))), (1, 3, 8, 9)),
    ("a vector times", Do("", lambda x: F.avg_pool2d((x.new_ones(3) @ x.permute(0, 2, 1, 3))[:, None], (3, 1), 1, (1, 0))), (1, 3, 8, 9)),
    ("every other to the last but one", Do("", lambda x: _up_to_the_last(x)), (1, 1, 9, 10)),
    ("bins", Do("", lambda x: x * torch.bucketize(x, torch.tensor([0.2, 0.4]))), (1, 2, 9, 7)),
    ("complex", Do("", lambda x: torch.view_as_real(torch.complex(x, F.avg_pool2d(x, 3, 1, 1)) * (1 + 2j)).sum(-1)), (1, 1, 9, 7)),
    ("einsum of two maps", Do("", lambda x: torch.einsum("nchw,ndhw->ncdhw", x, F.avg_pool2d(x, 3, 1, 1)).flatten(1, 2)), (1, 2, 9, 7)),
]  # fmt: skip
