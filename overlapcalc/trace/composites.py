"""Composite operators: which are decomposed when a program is made functional, and which stay whole."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch._export import utils
from torch._ops import OpOverload
from torch.export import exported_program

from ..ops import find
from .naming import operator_name

ExportedProgram = Any

COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd

SOLVERS = "aten::linalg_"
"""Most of these look at their results for errors, and so would what they decompose into, which is no data flow."""
PLAIN = frozenset(f"{SOLVERS}{name}" for name in ("norm", "matrix_norm", "vecdot", "matmul", "multi_dot", "vander"))
"""Those that decompose into sums, products and moves."""
SIMPLE = frozenset(
    f"aten::{name}"
    for name in (
        "mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "binary_cross_entropy",
        "binary_cross_entropy_with_logits", "trace", "vdot", "addr", "renorm", "diag_embed",
        "nll_loss_forward", "nll_loss2d_forward",
    )
)  # fmt: skip
"""No composites, but torch can decompose them too."""


def decomposed(program: ExportedProgram, apart: Collection[Any]) -> ExportedProgram:
    """The program without in-place operators, and without composite operators that have no rule (meshgrid, say) or are
    named in `apart`. Other composite operators stay whole."""
    used = _operators(program).union(apart)
    with _looks_at(used):
        return program.run_decompositions(_table(used, apart))


def _operators(program: ExportedProgram) -> set[OpOverload]:
    """All operators of a program, including those of its branches."""
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    return {node.target for m in modules for node in m.graph.nodes if isinstance(node.target, OpOverload)}


def _table(used: Collection[OpOverload], apart: Collection[Any]) -> dict[Any, Any]:
    """Operator -> how to decompose it."""
    wanted = [op for op in used if _comes_apart(op) and (op in apart or find(operator_name(op)) is None)]
    if not wanted:
        return {}  # making torch's table takes longer than decomposing most programs
    made: Any = getattr(torch.export, "default_decompositions", dict)()
    inside = [getattr(torch.ops.aten, name.removeprefix("aten::")).default for name in SIMPLE if find(name) is None]
    return {op: made[op] for op in (*wanted, *inside) if op in made}


def _comes_apart(op: OpOverload) -> bool:
    """Whether torch can say an operator in terms of others that are more likely to have a rule."""
    name = op._schema.name
    if name in SIMPLE:
        return True
    return op.has_kernel_for_dispatch_key(COMPOSITE) and (not name.startswith(SOLVERS) or name in PLAIN)


@contextlib.contextmanager
def _looks_at(used: Collection[OpOverload]) -> Iterator[None]:
    """Torch guards each of its seven hundred or so composite operators against decomposition, and undoes that
    afterwards: two thirds of the time of a decomposition. Inside, it does so only for those that the program has.
    Versions of torch that keep the list elsewhere guard all of them, as usual."""
    name, kept = "_collect_all_valid_cia_ops", getattr(utils, "_is_preservable_cia_op", None)
    collect = getattr(exported_program, name, None)
    if collect is None or kept is None:
        yield
        return
    try:
        setattr(exported_program, name, lambda: {op for op in used if kept(op)})
        yield
    finally:
        setattr(exported_program, name, collect)
