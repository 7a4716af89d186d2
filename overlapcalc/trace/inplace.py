"""In-place operators as their functional twins, where nothing else can see the memory that they write to.

`run_decompositions` does this for every program, but takes as long as the export. Most nets need no more than
`relu_` on the result of a batch norm.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node as FxNode


def made_functional(graph: torch.fx.Graph) -> bool:
    """Rewrite every in-place operator of the graph, if that is all that it takes. Otherwise nothing is changed."""
    twins: dict[FxNode, Any] = {}
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        twin = _twin(node)
        if twin is None or not _alone(node.args[0], twins):
            return False
        twins[node] = twin
    for node, twin in twins.items():
        _redirect(node)
        node.target = twin
    return True


def without_dropout(graph: torch.fx.Graph) -> None:
    """Dropout in eval mode gives back the very tensor that it is given; its schema, and so torch's own rewriting of
    in-place operators, says that it is another one."""
    for node in list(graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and schema is not None and schema.name in DROPOUTS:
            train = dict(zip((a.name for a in schema.arguments), node.args, strict=False)).get("train")
            if train is False and isinstance(node.args[0], FxNode):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


DROPOUTS = frozenset(
    f"aten::{name}{end}"
    for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
    for end in ("", "_")
)


def _twin(node: FxNode) -> Any:
    """The operator that gives what an in-place one writes: `aten::relu` of `aten::relu_`, arguments alike."""
    schema = node.target._schema  # type: ignore[union-attr]
    name = schema.name.partition("::")[2]
    written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    if not (schema.name.startswith("aten::") and name.endswith("_") and written == [schema.arguments[0].name]):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    twin = getattr(packet, schema.overload_name or "default", None) if packet is not None else None
    if twin is None or twin._schema.is_mutable or _views(twin):
        return None
    alike = [a.name for a in twin._schema.arguments] == [a.name for a in schema.arguments]
    first = node.args[0] if node.args else None
    if not alike or not isinstance(first, FxNode):
        return None
    before, after = first.meta.get("val"), node.meta.get("val")
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return None
    return twin if before.shape == after.shape and before.dtype == after.dtype else None


def _views(target: Any) -> bool:
    """Whether a result may share memory with an operand."""
    schema = getattr(target, "_schema", None)
    return schema is None or any(r.alias_info is not None for r in schema.returns) or schema.name in MAY_ALIAS


MAY_ALIAS = frozenset(
    f"aten::{name}"
    for name in (
        "reshape", "contiguous", "to", "flatten", "einsum", "matmul", "type_as", "conj", "resolve_conj", "resolve_neg",
        "real", "pad", "sum_to_size", "atleast_1d", "atleast_2d", "atleast_3d",
    )
)  # fmt: skip
"""Composite operators that sometimes give back their operand, which their schema does not say."""


def _alone(written: Any, twins: dict[FxNode, Any]) -> bool:
    """Whether a tensor owns its memory, and no view of it exists."""
    if not isinstance(written, FxNode) or written.op != "call_function" or written.target is operator.getitem:
        return False
    if written not in twins and _views(written.target):
        return False
    if written in twins and not _alone(written.args[0], twins):
        return False
    for user in written.users:
        if user.op == "call_function" and _views(user.target) and not getattr(user.target, "_schema", None):
            return False
        if user.op == "call_function" and _views(user.target) and not user.target._schema.is_mutable:  # type: ignore[union-attr]
            return False
    return True


def _redirect(node: FxNode) -> None:
    """What reads the written tensor later, reads what was written."""
    written = node.args[0]
    assert isinstance(written, FxNode)
    for user in list(written.users):
        if user is not node and user > node:
            user.replace_input_with(written, node)
