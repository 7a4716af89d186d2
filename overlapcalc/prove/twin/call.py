"""One operator call as the twin sees it: arguments by name, tensors as residues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from ...errors import NoTwin
from .modular import PRIME, key, of_number, of_tensor

ABOUT_MEMORY = frozenset(
    {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "generator", "out"}
)
"""Arguments that say where and how the result is stored, not what it is."""


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an argument or a result, which may be a tensor, a list of them, or something else."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def written(func: OpOverload) -> list[str]:
    """The names of the arguments that an operator writes to."""
    return [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]


@dataclass(frozen=True)
class Call:
    """`name` is the functional name: `relu` for `aten::relu_`. `values` has every argument, including defaults."""

    func: OpOverload
    name: str
    values: dict[str, Any]
    is_data: Callable[[Tensor], bool]
    layer: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def refused(self, why: str) -> NoTwin:
        where = f"{self.layer}: {self.func}" if self.layer else str(self.func)
        return NoTwin(
            f"{where}: {why}; the exact twin does not apply to a net that does this to data: use the other proofs"
        )

    def operands(self) -> list[Tensor]:
        """All tensors except those that the result overwrites."""
        return [t for name, v in self.values.items() if name not in ABOUT_MEMORY for t in tensors(v)]

    def residues_of(self, t: Tensor) -> Tensor:
        """The operand as float64 residues: data as they are, constants by the fixed map."""
        if t.is_complex() or t.layout != torch.strided:
            raise self.refused(f"operand of type {t.dtype}, layout {t.layout}")
        if not self.is_data(t):
            return of_tensor(t)
        if t.is_floating_point():
            return t.to(torch.float64)
        return t.to(torch.float64) if t.dtype == torch.bool else t.remainder(PRIME).to(torch.float64)

    def tensor(self, name: str) -> Tensor:
        value = self.values[name]
        assert isinstance(value, Tensor), name
        return self.residues_of(value)

    def maybe(self, name: str) -> Tensor | None:
        return None if self[name] is None else self.tensor(name)

    def factor(self, name: str) -> Tensor | float:
        """A tensor or a number as residues; 1 where it is missing."""
        value = self.values.get(name, 1)
        return self.residues_of(value) if isinstance(value, Tensor) else self.number(value)

    def number(self, value: Any) -> float:
        if isinstance(value, complex):
            raise self.refused("a complex number")
        return of_number(value)

    @property
    def key(self) -> int:
        """A residue for the operator and those of its arguments that are not tensors."""
        rest = [
            (name, v)
            for name, v in sorted(self.values.items())
            if name not in ABOUT_MEMORY and v is not None and not any(True for _ in tensors(v))
        ]
        return key(self.name, rest)

    def with_others(self, result: Tensor) -> Any:
        """The result as the first of the operator's results; the others are meaningless."""
        returns = self.func._schema.returns
        if len(returns) == 1:
            return result
        others = [result.new_empty(0) if str(r.type) == "Tensor" else 0 for r in returns[1:]]
        return (result, *others)

    def functional(self) -> Call:
        """The same call without its output argument; what it writes to is its first operand."""
        return Call(
            self.func, self.name, {n: v for n, v in self.values.items() if n != "out"}, self.is_data, self.layer
        )

    def replayed(self, change: Callable[[str, Any], Any]) -> Any:
        """The operator itself on changed arguments; whatever it would write to is copied first."""
        over = written(self.func)
        if "out" in over or any(self.func._schema.arguments[0].name != name for name in over):
            raise self.refused("a variant with an output argument")
        positional, named = [], {}
        for a in self.func._schema.arguments:
            if a.name not in self.values:
                continue
            value = change(a.name, self.values[a.name])
            if a.name in over:
                value = value.clone()
            if a.kwarg_only:
                named[a.name] = value
            else:
                positional.append(value)
        return self.func(*positional, **named)


def bound(
    func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], is_data: Callable[[Tensor], bool], layer: str
) -> Call:
    values: dict[str, Any] = {}
    for i, a in enumerate(func._schema.arguments):
        if i < len(args) and not a.kwarg_only:
            values[a.name] = args[i]
        elif a.name in kwargs:
            values[a.name] = kwargs[a.name]
        else:
            values[a.name] = a.default_value if a.has_default_value() else None
    return Call(func, functional_name(func), values, is_data, layer)


def functional_name(func: OpOverload) -> str:
    namespace, _, name = func._schema.name.partition("::")
    if written(func) and name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    return name if namespace == "aten" else f"{namespace}::{name}"
