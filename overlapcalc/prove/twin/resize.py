"""Resampling: the operator's own positions and weights, as residues.

Both are read off the operator, which is run on single samples along one dimension at a time; what the analysis
believes about it plays no part. In float32 it may read other samples than in float64; then the twin is a mixture of
both.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...ops.positions import tidy
from .call import Call
from .modular import PRIME, mod, of_number
from .registry import twin

SHARE = 40_503
"""The share of float64 in a mixture; that of float32 is the rest, so that a mixture of two equal rows is that row."""
Row = tuple[tuple[int, float], ...]
"""For one output: the input samples that it reads, with the residues of their weights."""


@twin("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
      "_upsample_nearest_exact2d", "_upsample_nearest_exact3d")  # fmt: skip
def copied(call: Call) -> Tensor:
    """The operator itself: residues are whole numbers that float32 holds exactly."""
    if not any(t.is_floating_point() for t in call.operands()):
        result: Tensor = call.replayed(lambda name, value: value)
        return result

    def run(dtype: torch.dtype) -> Tensor:
        def change(name: str, value: Any) -> Any:
            return call.residues_of(value).to(dtype) if isinstance(value, Tensor) else value

        y: Tensor = call.replayed(change)
        return y.double()

    wide, narrow = run(torch.float64), run(torch.float32)
    return wide if torch.equal(wide, narrow) else mod(mod(wide * SHARE) + mod(narrow * (PRIME + 1 - SHARE)))


@twin("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
      "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa")  # fmt: skip
def resampled(call: Call) -> Tensor:
    x, sizes = call.tensor("input" if "input" in call.values else "self"), call["output_size"]
    if sizes is None or call["scale_factors"] is not None:
        raise call.refused("a factor where the size was expected")
    if not any(t.is_floating_point() for t in call.operands()):
        raise call.refused("interpolates whole numbers, with a rounding of its own")
    names = ["scales"] if len(sizes) == 1 else ["scales_d", "scales_h", "scales_w"][3 - len(sizes) :]
    first = x.dim() - len(sizes)
    for i, name in enumerate(names):
        others = tuple(1 if size == 1 else 2 for size in sizes)
        along = x.shape[first + i], int(sizes[i]), call[name]
        x = _combined(x, first + i, _rows(call.name, i, others, along, name, bool(call["align_corners"]), x.device))
    return x


@lru_cache(maxsize=1024)
def _rows(
    name: str,
    i: int,
    others: tuple[int, ...],
    along: tuple[int, int, float | None],
    scale: str,
    align_corners: bool,
    device: torch.device,
) -> tuple[Row, ...]:
    """The rows of the outputs along the i-th spatial dimension. along: its size, the number of outputs, the factor.
    others: the sizes of the other dimensions, which stay."""
    operator = getattr(torch.ops.aten, name).default
    size, outputs, factor = along
    sizes = [*others[:i], size, *others[i + 1 :]]
    named: dict[str, Any] = {"output_size": [*others[:i], outputs, *others[i + 1 :]], scale: factor}
    if any(a.name == "align_corners" for a in operator._schema.arguments):
        named["align_corners"] = align_corners
    ones = torch.eye(size, dtype=torch.float64, device=device)
    ones = ones.reshape(size, 1, *(size if d == i else 1 for d in range(len(sizes)))).expand(-1, -1, *sizes)

    def weights(dtype: torch.dtype) -> Tensor:
        y: Tensor = operator(ones.to(dtype).contiguous(), **named)
        return y.movedim(2 + i, 2).reshape(size, outputs, -1)[..., 0].T.double().cpu()

    wide, narrow = weights(torch.float64), weights(torch.float32)
    close = (wide - narrow).abs().max() <= 8 * size * torch.finfo(torch.float32).eps
    return tuple(
        tuple(
            (j, of_number(tidy(w)) if close else _mixed(w, v))
            for j, (w, v) in enumerate(zip(*row, strict=True))
            if tidy(w) or (not close and tidy(v))
        )
        for row in zip(wide.tolist(), narrow.tolist(), strict=True)
    )


def _mixed(wide: float, narrow: float) -> float:
    return (of_number(tidy(wide)) * SHARE + of_number(tidy(narrow)) * (PRIME + 1 - SHARE)) % PRIME


def _combined(x: Tensor, d: int, rows: tuple[Row, ...]) -> Tensor:
    """The weighted sums along one dimension."""
    total: Tensor | None = None
    for t in range(max(1, *map(len, rows))):
        chosen = [row[t] if t < len(row) else (0, 0.0) for row in rows]
        places = torch.tensor([j for j, _ in chosen], device=x.device)
        column = torch.tensor([w for _, w in chosen], dtype=x.dtype, device=x.device)
        part = x.index_select(d, places).mul_(column.reshape(-1, *[1] * (x.dim() - 1 - d)))
        total = part if total is None else total.add_(part)
    assert total is not None
    return mod(total)
