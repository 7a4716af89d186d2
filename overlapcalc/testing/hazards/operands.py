"""Constants as operands: how they vary, and how an image becomes a sequence for operators over sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PATTERNS = (
    "same",
    "ramp",
    "fraction",
    "periodic",
    "thirds",
    "late",
    "last",
    "size",
    "half",
    "table",
    "learned",
    "counted",
    "broad",
)
"""How a constant of n samples varies along its dimension: not at all; with its index i; with i / n; with period 2, or
3; from the fifth on; at the last; with n alone; in the first half; as a buffer, or a parameter, that is cut to n; as a
cumulative sum of ones; with its index, having one sample along all other dimensions."""
LAYOUTS = ("rows", "columns", "pixels", "windows")
"""The sequences of an image: along W, one per row; along H, one per column; over the channels of each pixel; over the
pixels of 4 x 4 windows."""
WINDOW = 4
LATE = 5


@dataclass(frozen=True)
class Operands:
    """Which operand is a constant, and which constant it is."""

    position: str
    pattern: str
    dim: int
    layout: str

    def __str__(self) -> str:
        return ", ".join(str(part) for part in (self.position, self.pattern, self.dim, self.layout) if part)

    def constant(self, data: Tensor, kind: str, limit: int, table: Tensor, learned: Tensor) -> Tensor:
        """A constant of the shape of `data`. kind: real (0.3 and more), bool, index (below limit), sorted (rising along
        the last dimension), sign (on both sides of 0)."""
        dim = max(self.dim, -data.dim())
        n = data.shape[dim]
        place = torch.arange(n, device=data.device)
        steps = {
            "same": torch.full((n,), 3), "ramp": place, "fraction": place, "periodic": place % 2, "thirds": place % 3,
            "late": (place >= LATE).long(), "last": (place == n - 1).long(), "size": torch.full((n,), n),
            "half": (place < n // 2).long(), "table": (10 * table[:n]).long(), "learned": place, "counted": place,
            "broad": place,
        }[self.pattern]  # fmt: skip
        shape = [1] * data.dim()
        shape[dim] = n
        wide = shape if self.pattern == "broad" and kind == "real" else list(data.shape)
        if kind == "bool":
            return (steps % 2 == 0).view(shape).expand(wide)
        if kind == "index":
            return (steps % max(1, limit)).view(shape).expand(wide).contiguous()
        real = {
            "fraction": place.to(data.dtype) / n,
            "table": table[:n].to(data.dtype),
            "learned": learned[:n].to(data.dtype),
            "counted": torch.ones_like(data, dtype=torch.float64).cumsum(dim).movedim(dim, 0).reshape(n, -1)[:, 0] / 10,
        }.get(self.pattern, steps.to(data.dtype) / 10)
        found = (0.3 + real).view(shape).expand(wide)
        if kind == "sign":
            return found - 0.8
        if kind == "sorted":
            return (found + torch.arange(wide[-1], dtype=data.dtype)).contiguous()
        return found.contiguous()


def sequences(x: Tensor, layout: str) -> Tensor:
    """(1, C, H, W) -> (batch, sequence, features)."""
    n, c, h, w = x.shape
    if layout == "rows":
        return x.permute(0, 2, 3, 1).reshape(n * h, w, c)
    if layout == "columns":
        return x.permute(0, 3, 2, 1).reshape(n * w, h, c)
    if layout == "pixels":
        return x.permute(0, 2, 3, 1).reshape(n * h * w, c, 1)
    k, rows, columns = WINDOW, h // WINDOW, w // WINDOW
    x = x[:, :, : rows * k, : columns * k]
    return x.view(n, c, rows, k, columns, k).permute(0, 2, 4, 3, 5, 1).reshape(n * rows * columns, k * k, c)


def image(t: Tensor, layout: str, x: Tensor) -> Tensor:
    """The inverse of `sequences(x, layout)`."""
    n, _, h, w = x.shape
    if layout == "rows":
        return t.view(n, h, w, -1).permute(0, 3, 1, 2)
    if layout == "columns":
        return t.view(n, w, h, -1).permute(0, 3, 2, 1)
    if layout == "pixels":
        return t.reshape(n, h, w, -1).permute(0, 3, 1, 2)
    k, rows, columns = WINDOW, h // WINDOW, w // WINDOW
    t = t.reshape(n, rows, columns, k, k, -1).permute(0, 5, 1, 3, 2, 4)
    return t.reshape(n, -1, rows * k, columns * k)
