"""In-place operators rewritten as functional ones, where nothing else can see the memory that they write to.

`run_decompositions` does this for every program, but takes as long as the export. Most nets have nothing worse than
`relu_` on the result of a batch norm.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch.fx import Node as FxNode

from ..errors import SharedMemoryError
from ..ops import Kind
from .memory import Hidden, MemoryGroups, declared, found, writes
from .naming import facts_of, operator_name
from .places import at, layer_of


def made_functional(graph: torch.fx.Graph, but: Collection[FxNode] = ()) -> bool:
    """Rewrite every in-place operator of the graph, `but` some, if that is enough. Otherwise change nothing."""
    written = [node for node in graph.nodes if writes(node) and node not in but]
    twins = {node: _twin(node) for node in written}
    if any(twin is None for twin in twins.values()):
        return False
    memory = MemoryGroups(graph) if written else None
    groups = memory.groups() if memory else {}
    if memory and not all(_owned(groups[memory.of(node)]) for node in written):
        return False
    for node, twin in twins.items():
        _redirect(node)
        node.target = twin
    return True


def without_dropout(graph: torch.fx.Graph) -> None:
    """Remove dropout in eval mode, or with probability 0: it returns its operand itself, while its schema, and so
    torch's own rewriting of in-place operators, says that the result is another tensor."""
    for node in list(graph.nodes):
        if node.op == "call_function" and facts_of(node.target).kind is Kind.DROPOUT:
            schema = node.target._schema
            if len(schema.returns) > 1:
                continue
            given = dict(zip((a.name for a in schema.arguments), node.args, strict=False))
            if (given.get("train") is False or given.get("p") == 0) and isinstance(node.args[0], FxNode):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


LIKE: Mapping[str, Any] = {
    "aten::reshape_as": torch.ops.aten.reshape.default,
    "aten::view_as": torch.ops.aten.view.default,
}
"""Operators that take a shape from their second operand -> those that are given it."""


def with_shapes(graph: torch.fx.Graph) -> None:
    """Give operators that take the shape of another tensor that shape, in numbers."""
    for node in graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ())
        name = operator_name(node.target) if node.op == "call_function" else ""
        if name in LIKE and not node.kwargs and all(isinstance(n, int) for n in shape):
            node.target, node.args = LIKE[name], (node.args[0], list(shape))


def without_empty_pieces(graph: torch.fx.Graph) -> None:
    """Remove tensors without samples from what is joined, and whatever made them: padding by `x[:1].repeat(0)`, say."""
    for node in graph.nodes:
        if node.op == "call_function" and operator_name(node.target) == "aten::cat" and node.args:
            pieces = node.args[0]
            kept = [piece for piece in pieces if not _empty(piece)]
            same_type = any(piece.meta["val"].dtype == node.meta["val"].dtype for piece in kept)
            if len(kept) < len(pieces) and same_type:
                node.args = (kept, *node.args[1:])
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and _empty(node) and not node.users and not writes(node):
            graph.erase_node(node)


def _empty(node: Any) -> bool:
    shape = getattr(node.meta.get("val") if isinstance(node, FxNode) else None, "shape", ())
    return any(isinstance(n, int) and n == 0 for n in shape)


def _twin(node: FxNode) -> Any:
    """The operator that returns what an in-place one writes: `aten::relu` for `aten::relu_`, with equal arguments."""
    schema = node.target._schema  # type: ignore[union-attr]
    name = schema.name.partition("::")[2]
    written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    if not (schema.name.startswith("aten::") and name.endswith("_") and written == [schema.arguments[0].name]):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    twin = getattr(packet, schema.overload_name or "default", None) if packet is not None else None
    if twin is None or declared(twin._schema):
        return None
    alike = [a.name for a in twin._schema.arguments] == [a.name for a in schema.arguments]
    first = node.args[0] if node.args else None
    if not alike or not isinstance(first, FxNode):
        return None
    before, after = first.meta.get("val"), node.meta.get("val")
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        return None
    return twin if before.shape == after.shape and before.dtype == after.dtype else None


def _owned(group: list[FxNode]) -> bool:
    """Whether a piece of memory belongs to a single tensor that an operator created, with no view of it before the last
    write: views that come later show what is in it then."""
    first, *rest = sorted(group)
    written = max((node for node in rest if writes(node)), default=first)
    alone = all(writes(node) for node in rest if node < written)
    return alone and not writes(first) and first.op == "call_function" and first.target is not operator.getitem


def _redirect(node: FxNode) -> None:
    """Later readers of the overwritten tensor read the result instead."""
    written = node.args[0]
    assert isinstance(written, FxNode)
    for user in list(written.users):
        if user is not node and user > node:
            user.replace_input_with(written, node)


# ---- memory that is shared without saying so ---------------------------------------------------------------------

OPEN: Mapping[str, Any] = {
    "aten::unsafe_chunk": torch.ops.aten.chunk.default,
    "aten::unsafe_split": torch.ops.aten.split.Tensor,
    "aten::unsafe_split_with_sizes": torch.ops.aten.split_with_sizes.default,
    "aten::_unsafe_view": torch.ops.aten.view.default,
}
"""Operators that return views without saying so -> operators that return the same views and say so."""


def made_open(graphs: Sequence[torch.fx.Graph]) -> set[Any]:
    """Rewrite operators whose results lie in written memory without saying so, if that needs no decomposition.

    graphs: those of a program and of its parts, if it has any; then all memory counts as written if any is. Returns the
    operators that must be decomposed instead: the views inside them say so. Raises SharedMemoryError where neither
    helps.
    """
    if not any(writes(node) for graph in graphs for node in graph.nodes):
        return set()
    apart: set[Any] = set()
    for graph in graphs:
        memory = MemoryGroups(graph)
        written = {memory.of(node) for node in graph.nodes if writes(node)}
        for node in list(memory.hidden):
            if len(graphs) > 1 or memory.of(node) in written:
                apart.update(_opened(graph, node))
    return apart


def _opened(graph: torch.fx.Graph, node: FxNode) -> list[Any]:
    """See made_open, for one operator."""
    hidden, here = found(node), found(node, "cpu")
    if hidden is None or here is None or hidden.how != here.how:
        # a dedicated kernel may copy what other devices, which have none, take views of
        raise SharedMemoryError(_refusal(node, hidden or here, " on some devices"))
    if hidden.same:
        node.replace_all_uses_with(hidden.operands[0])
        graph.erase_node(node)
    elif node.target._schema.name in OPEN:  # type: ignore[union-attr]
        node.target = OPEN[node.target._schema.name]  # type: ignore[union-attr]
    elif _composite(node) and not hidden.within:
        return [node.target]
    else:
        raise SharedMemoryError(_refusal(node, hidden))
    return []


def _composite(node: FxNode) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    made: Any = getattr(torch.export, "default_decompositions", dict)()
    return bool(node.target.has_kernel_for_dispatch_key(key) and node.target in made)  # type: ignore[union-attr]


def _refusal(node: FxNode, hidden: Hidden | None, when: str = "") -> str:
    within = [name for name in hidden.within if name != str(node.target)] if hidden else []
    what = operator_name(node.target) + (f" (inside, {', '.join(within)})" if within else "")
    return (
        f"{layer_of(node) or 'the net'}: {what} gives back the memory of its operand{when}, which is written to in "
        f"place{at(node)}; call .clone() on one of them"
    )
