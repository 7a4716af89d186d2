"""What is structural about a constant: masks, and how it varies along each dimension.

Masks are structure, weights are not. Constants are evaluated with real buffers and with every parameter replaced by
arbitrary numbers (see generic.py), so that trained or initial zeros never count and trained values never show.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node as FxNode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ..ops import Kind
from ..ops.graph import Constant
from .generic import FILLINGS, MOSTS, dependent, is_smooth, made_up, parameter
from .naming import facts_of
from .values import ROWS_LIMIT, alive_in, borders_of, digest_of, marks_of, rows_of, variation_along

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
LIST_LIMIT = 1 << 16
"""Integer vectors up to this length are read as lists of indices."""


class Folder:
    """Evaluates the nodes of an exported graph that depend on no input, each at most once per filling.

    names: placeholder -> the parameter, buffer or constant that it stands for. state: placeholders of buffers that the
    forward pass changes.
    """

    def __init__(
        self, tensors: dict[str, torch.Tensor], parameters: set[str], names: dict[str, str], state: set[str]
    ) -> None:
        self._tensors = tensors  # by placeholder name: buffers and lifted constants
        self._parameters, self._names, self._state = parameters, names, state
        self._known: dict[tuple[FxNode, int], Any] = {}
        self._dependent: dict[FxNode, torch.Tensor] = {}
        self._most = MOSTS[0]
        self._origin: dict[FxNode, frozenset[str]] = {}

    def origin(self, node: FxNode) -> frozenset[str]:
        """Which of "parameter" and "random" the value comes from; state that changes with every call is random too."""
        if node not in self._origin:
            if node.op == "placeholder":
                kinds = {"parameter": self._parameters, "random": self._state}
                found = frozenset(kind for kind, names in kinds.items() if node.name in names)
            else:
                tags = getattr(node.target, "tags", ())
                found = frozenset({"random"} if torch.Tag.nondeterministic_seeded in tags else set())
                found = found.union(*(self.origin(n) for n in looked_at(node)))
            self._origin[node] = found
        return self._origin[node]

    def value(self, node: FxNode, filling: int = 0) -> Any:
        """The value with parameters replaced by the given filling (see generic.py)."""
        while True:
            try:
                return self._value(node, filling)
            except Exception:
                rest = [most for most in MOSTS if most < self._most]
                if not rest or "parameter" not in self.origin(node):
                    raise
                self._most = rest[0]  # made-up whole numbers may be indices
                self._known = {key: v for key, v in self._known.items() if "parameter" not in self.origin(key[0])}

    def _value(self, node: FxNode, filling: int) -> Any:
        if "parameter" not in self.origin(node):
            filling = 0
        if (node, filling) not in self._known:
            self._known[node, filling] = self._evaluate(node, filling)
        return self._known[node, filling]

    def _evaluate(self, node: FxNode, filling: int) -> Any:
        if node.op == "placeholder":
            if node.name in self._parameters:
                fake: Any = node.meta.get("val")
                shape = tuple(int(n) for n in fake.shape)
                return parameter(shape, fake.dtype, self._names.get(node.name, node.name), filling, self._most)
            return self._tensors[node.name]
        if node.op == "get_attr":
            return self._tensors[str(node.target)]
        seen = looked_at(node)

        def fetch(n: FxNode) -> Any:
            if n not in seen:  # only its shape and type are used
                return torch.zeros((), dtype=n.meta["val"].dtype).expand(n.meta["val"].shape)
            return self._value(n, filling)

        args = torch.fx.map_arg(node.args, fetch)
        kwargs = dict(torch.fx.map_arg(node.kwargs, fetch))
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        target: Callable[..., Any] = node.target  # type: ignore[assignment]
        result = target(*args, **kwargs)
        if "parameter" not in self.origin(node) or target is operator.getitem:
            return result
        return self._whatever(node, tree_leaves((args, kwargs)), result, filling)

    def _whatever(self, node: FxNode, given: list[Any], result: Any, filling: int) -> Any:
        """The result, with made-up values wherever it may differ for other parameters without these fillings showing it
        (see generic.py)."""
        operands = [n for n in looked_at(node) if "parameter" in self.origin(n)]
        if is_smooth(node.target, [self._value(n, filling) for n in operands], result):
            return result  # so it is for those of them that do depend on parameters
        places = {n: self._depends(n) for n in operands}
        touched = [self._value(n, filling) for n, where in places.items() if bool(where.any())]
        if not touched or is_smooth(node.target, touched, result):
            return result
        if isinstance(result, torch.Tensor) and torch.Tag.pointwise in getattr(node.target, "tags", ()):
            where = torch.zeros((), dtype=torch.bool)
            for one in places.values():
                where = where | one
            return torch.where(where, made_up(node.target, given, result, filling, self._most), result)
        leaves, structure = tree_flatten(result)
        made = [
            made_up(node.target, given, leaf, filling, self._most, item) if isinstance(leaf, torch.Tensor) else leaf
            for item, leaf in enumerate(leaves)
        ]
        return tree_unflatten(made, structure)

    def _depends(self, node: FxNode) -> torch.Tensor:
        """Where the value of a node depends on parameters."""
        if node not in self._dependent:
            values = [self._value(node, filling) for filling in range(3)]
            plain = [v if isinstance(v, torch.Tensor) else torch.tensor(True) for v in values]
            unlike = not all(isinstance(v, torch.Tensor) for v in values)
            self._dependent[node] = plain[0] if unlike else dependent(plain)
        return self._dependent[node]

    def constant(self, node: FxNode, role: str) -> Constant:
        """The constant that `node` computes. role: "weight" of a convolution, "plain" where only the shape counts,
        "matrix" for a factor of a matrix product, or "operand" where the values may meet an axis."""
        found = replace(self._constant(node, role), made=node.op != "placeholder")
        if role != "operand" or self.origin(node):
            return found
        value = self.value(node)
        return replace(found, marks=marks_of(value), truth=getattr(value, "dtype", None) is torch.bool)

    def _constant(self, node: FxNode, role: str) -> Constant:
        shape = tuple(int(n) for n in node.meta["val"].shape)
        origin = self.origin(node)
        if "random" in origin:
            return Constant(shape, random=True)
        direct = self._names.get(node.name, "") if node.op == "placeholder" else ""
        if direct and (role == "plain" or node.name in self._parameters):
            return Constant(shape, tuple(0 if n == 1 else None for n in shape), digest=direct)
        value = self.value(node)
        if not isinstance(value, torch.Tensor):
            return Constant(shape)
        variation = tuple(variation_along(value, d) for d in range(len(shape)))
        borders = borders_of(value, variation) if role == "operand" and "parameter" not in origin else ()
        digest = digest_of(value, variation, borders)
        if role == "weight":
            return self._weight(node, shape, digest)
        pattern, uneven = self._pattern(node) if role == "matrix" else (None, False)
        if role == "plain" or "parameter" in origin:
            return Constant(shape, variation, uneven=uneven, digest=digest, pattern=pattern)
        indices = None
        if value.dtype in INTEGERS and len(shape) == 1 and value.numel() <= LIST_LIMIT:
            indices = tuple(int(i) for i in value.tolist())
        alive, product = alive_in(value, variation)
        rows = rows_of(value, variation)
        return Constant(
            shape, variation, uneven=uneven, digest=digest, indices=indices, alive=alive, product=product, rows=rows,
            pattern=pattern, borders=borders,
        )  # fmt: skip

    def _weight(self, node: FxNode, shape: tuple[int, ...], digest: str) -> Constant:
        """A tap is masked for good if no filling makes it real; where channels differ, the taps are a bound."""
        real = self._real(node).flatten(0, 1)
        some, every = real.any(dim=0), real.all(dim=0)
        if bool(every.all()):
            return Constant(shape, digest=digest)
        taps = tuple(tuple(int(i) for i in at) for at in some.nonzero().tolist())
        return Constant(shape, taps=taps, uneven=not bool((some == every).all()), digest=digest)

    def _real(self, node: FxNode) -> torch.Tensor:
        """Where at least one filling makes the value other than zero."""
        real: torch.Tensor = self.value(node) != 0
        if "parameter" in self.origin(node):
            for filling in range(1, FILLINGS):
                if bool(real.all()):
                    break
                real = real | (self.value(node, filling) != 0)
        return real

    def _pattern(self, node: FxNode) -> tuple[tuple[tuple[int, ...], ...] | None, bool]:
        """See Constant.pattern; and whether the matrices of a stack differ."""
        real = self._real(node)
        if real.dim() < 2 or bool(real.all()) or real.numel() > ROWS_LIMIT:
            return None, bool(real.numel() > ROWS_LIMIT) and not bool(real.all())
        stack = real.flatten(0, -3) if real.dim() > 2 else real[None]
        some = stack.any(dim=0)
        columns = tuple(tuple(int(i) for i in row.nonzero().flatten().tolist()) for row in some)
        return columns, not bool((stack == some).all())


def looked_at(node: FxNode) -> list[FxNode]:
    """The operands whose values count. Operators that create a tensor like another one use only its shape and type;
    so do those that give a tensor the shape or the type of another, and whatever has no sample to compute."""
    if is_empty(node):
        return []
    kind = facts_of(node.target).kind
    if kind is Kind.AS:
        return [n for n in node.all_input_nodes if n is node.args[0]]
    if kind is not Kind.LIKE:
        return node.all_input_nodes
    return [n for n in node.all_input_nodes if n is not node.args[0]]


def is_empty(node: FxNode) -> bool:
    """Whether a call gives a tensor without samples, of which only shape and type can count; an output is one."""
    fake = node.meta.get("val")
    if node.op != "call_function" or node.target is operator.getitem or not isinstance(fake, torch.Tensor):
        return False
    return 0 in fake.shape and not any(user.op == "output" for user in node.users)
