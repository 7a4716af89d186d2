"""Matrices in the last two dimensions: inverses, determinants and factors. Each is one whole; others are apart."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ..call import Call
from ..law import DimRead, Law, Link, keep, whole
from ..registry import rule

SOLVED = "solves for a matrix that lies along the axis"


@rule(
    *(
        f"aten::{name}"
        for name in (
            "linalg_inv", "inverse", "linalg_pinv", "linalg_pinv.atol_rtol_tensor", "linalg_pinv.atol_rtol_float",
            "linalg_det", "_linalg_det", "linalg_slogdet", "_linalg_slogdet", "linalg_cholesky", "cholesky",
            "linalg_eigh", "_linalg_eigh", "linalg_eigvalsh", "linalg_svd", "_linalg_svd", "linalg_svdvals",
            "linalg_qr", "linalg_lu", "linalg_matrix_exp", "linalg_matrix_power",
        )
    ),
    shown=False,
)  # fmt: skip
def solved(call: Call) -> Law:
    """Of each matrix all is read; the dimensions before are those of the result."""
    batch = len(call.shapes[0]) - 2
    read = (*keep(batch), *(whole(batch + i, None, SOLVED) for i in range(2)))
    return Law((Link(0, (*read, *(DimRead(None, t) for t in range(batch, len(call.shape))))),))


@rule("aten::diagonal", shown=False)
def diagonal(call: Call) -> Law:
    """Two dimensions become the last one."""
    n = len(call.shapes[0])
    gone = {int(call[name] if call[name] is not None else d) % n for d, name in enumerate(("dim1", "dim2"))}
    left = [d for d in range(n) if d not in gone]
    read = [
        *(DimRead(d, t, IndexMap.identity()) for t, d in enumerate(left)),
        *(whole(d, None, "takes a diagonal") for d in sorted(gone)),
    ]
    return Law((Link(0, (*read, DimRead(None, n - 2))),))
