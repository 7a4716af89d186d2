"""Rearrangements of space written by hand with view and permute, for any number of axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def whole(x: torch.Tensor, r: int) -> torch.Tensor:
    """Cropped to a multiple of r along every axis."""
    for d in range(2, x.dim()):
        x = x.narrow(d, 0, x.shape[d] // r * r)
    return x


def pieces(x: torch.Tensor, r: int) -> torch.Tensor:
    """(N, C, H, W) -> (N, C, H/r, r, W/r, r)."""
    shape = [n for size in x.shape[2:] for n in (size // r, r)]
    return x.reshape(*x.shape[:2], *shape)


def to_depth(x: torch.Tensor, r: int) -> torch.Tensor:
    """Space to depth: place first, then channel, as in YOLO's focus layer."""
    n = x.dim() - 2
    y = pieces(whole(x, r), r)
    y = y.permute(0, *range(3, 2 * n + 2, 2), 1, *range(2, 2 * n + 2, 2))
    return y.reshape(y.shape[0], -1, *y.shape[n + 2 :])


def from_depth(x: torch.Tensor, r: int) -> torch.Tensor:
    """Depth to space, the inverse of `to_depth`."""
    n = x.dim() - 2
    size = x.shape[2:]
    y = x.reshape(x.shape[0], *[r] * n, -1, *size)
    order = [0, n + 1] + [d for i in range(n) for d in (n + 2 + i, 1 + i)]
    return y.permute(order).reshape(x.shape[0], -1, *[r * s for s in size])


class Tokens(nn.Module):
    """All positions in one dimension, a norm and a linear layer over channels, and back."""

    def __init__(self, c: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(c, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.linear(tokens).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])


class Windows(nn.Module):
    """Windows of k samples a side laid into the batch, `inside` on (windows, places, C), and back."""

    def __init__(self, k: int, inside: nn.Module) -> None:
        super().__init__()
        self.k, self.inside = k, inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = whole(x, self.k)
        n = x.dim() - 2
        y = pieces(x, self.k)
        y = y.permute(0, *range(2, 2 * n + 2, 2), *range(3, 2 * n + 2, 2), 1)
        y = self.inside(y.reshape(-1, self.k**n, x.shape[1]))
        count = [s // self.k for s in x.shape[2:]]
        y = y.reshape(x.shape[0], *count, *[self.k] * n, -1)
        order = [0, 2 * n + 1] + [d for i in range(n) for d in (1 + i, 1 + n + i)]
        return y.permute(order).reshape(x.shape[0], -1, *x.shape[2:])

    def extra_repr(self) -> str:
        return f"k={self.k}"


class Attention(nn.Module):
    """Every place of a window reads every other one."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(c, 3 * c)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return (q @ k.transpose(-1, -2)).mul(0.01).softmax(-1) @ v


class Places(nn.Module):
    """A linear layer over the places of a window: a lower triangle, so that place i reads places up to i."""

    def __init__(self, k: int, axes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(k**axes, k**axes))
        self.register_buffer("mask", torch.ones(k**axes, k**axes).tril())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return (tokens.transpose(1, 2) @ (self.weight * self.mask)).transpose(1, 2)


def in_batches(x: torch.Tensor, do: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The first axis laid into the batch, `do`, and out again."""
    y = do(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
