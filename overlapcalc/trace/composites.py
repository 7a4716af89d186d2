"""Composite operators: which are taken apart when a program is made functional, and which stay whole."""

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


def decomposed(program: ExportedProgram, apart: Collection[Any]) -> ExportedProgram:
    """The program without operators that write in place, and without composite ones that have no rule (meshgrid, say)
    or are named in `apart`. Other composite operators stay whole."""
    used = _operators(program).union(apart)
    with _looks_at(used):
        return program.run_decompositions(_table(used, apart))


def _operators(program: ExportedProgram) -> set[OpOverload]:
    """All operators of a program, those of its branches included."""
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    return {node.target for m in modules for node in m.graph.nodes if isinstance(node.target, OpOverload)}


def _table(used: Collection[OpOverload], apart: Collection[Any]) -> dict[Any, Any]:
    """operator -> how to take it apart."""
    wanted = [
        op
        for op in used
        if op.has_kernel_for_dispatch_key(COMPOSITE)
        and not op._schema.name.startswith("aten::linalg_")
        and (op in apart or find(operator_name(op)) is None)
    ]
    if not wanted:
        return {}  # torch's table takes longer to make than most programs to take apart
    made: Any = getattr(torch.export, "default_decompositions", dict)()
    return {op: made[op] for op in wanted if op in made}


@contextlib.contextmanager
def _looks_at(used: Collection[OpOverload]) -> Iterator[None]:
    """Torch guards each of its some seven hundred composite operators against being taken apart, and undoes that
    afterwards: two thirds of the time of a decomposition. Those that the program has are enough. Versions of torch
    that keep the list elsewhere take all of them, as before."""
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
