"""One call of an operator as its rule sees it: arguments by name, widened per dimension, and the shapes involved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..algebra.index_map import IndexMap
from ..algebra.spans import EMPTY, Spans
from ..errors import RuleError
from .border import Border
from .graph import Constant, Data, Node, data_in
from .law import Cause, DimRead, Law, Link, Obstruction, Place, at_size, keep

MASKING = frozenset({"aten::mul", "aten::where", "aten::masked_fill"})
"""Operators through which a constant can make samples unread."""


@dataclass(frozen=True)
class Call:
    """A node together with the shapes of the tensors that it reads.

    `shapes[k]` is the shape of the k-th data operand in argument order (the numbering that `Link.operand` uses),
    `shape` the output's. `truths[k]`: operand k is boolean. `call["stride"]` is an argument, None where the operator
    has none of that name.

    >>> node = Node("conv", "aten::conv2d", {"input": Data("x"), "stride": (2,)}, shape=(1, 8, 16, 16))
    >>> call = Call(node, shapes=((1, 3, 32, 32),))
    >>> call.ints("stride", 2), call.position("input"), call["dilation"]
    ((2, 2), 0, None)
    """

    node: Node
    shapes: tuple[tuple[int, ...], ...]
    truths: tuple[bool, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    def __getitem__(self, name: str) -> Any:
        """The argument of that name, None where the operator has none."""
        return self.node.args.get(name)

    def position(self, name: str) -> int | None:
        """The index of the data operand that argument `name` is; None when it is a constant or absent."""
        before = 0
        for key, value in self.node.args.items():
            here = list(data_in([value]))
            if key == name:
                return before if here else None
            before += len(here)
        return None

    def positions(self, name: str) -> list[int | None]:
        """Like `position`, for an argument that is a list of tensors."""
        at = self.position(name)
        out: list[int | None] = []
        for value in self.node.args[name]:
            if isinstance(value, Data):
                assert at is not None
                out.append(at)
                at += 1
            else:
                out.append(None)
        return out

    def ints(self, name: str, n: int, default: int = 0) -> tuple[int, ...]:
        """An int or a list of ints as one int per spatial dimension. Raises RuleError for a list of another length."""
        value = self[name]
        if value is None or value == ():
            return (default,) * n
        if isinstance(value, int):
            return (int(value),) * n
        if len(value) == 1:
            return (int(value[0]),) * n
        if len(value) != n:
            raise RuleError(f"{self.node.layer}: {self.node.op} has {name}={value}, expected {n} values")
        return tuple(int(v) for v in value)

    def dim(self, name: str = "dim", operand: int = 0) -> int:
        """A dimension argument, negative ones counted from the end."""
        return int(self[name]) % max(1, len(self.shapes[operand]))

    def dims(self, name: str = "dim", operand: int = 0) -> tuple[int, ...]:
        """A list of dimensions; an empty or absent one means all of them."""
        value, n = self[name], len(self.shapes[operand])
        if value is None or value == ():
            return tuple(range(n))
        return tuple(int(d) % n for d in ((value,) if isinstance(value, int) else value))

    def constant(self, name: str) -> Constant | None:
        value = self[name]
        return value if isinstance(value, Constant) else None

    # ---- the common laws, so that a rule stays a few lines -------------------------------------------------

    def local(
        self,
        maps: Mapping[int, IndexMap],
        *,
        border: Border = Border.CONSTANT,
        exact: bool = True,
        constants: Mapping[str, Mapping[int, int]] | None = None,
    ) -> Law:
        """Dimension d of operand 0 is read by `maps[d]`, the others index by index.

        constants: where constant operands lie, as {dimension of the constant: dimension of the output that it lies
        along}; `{}` for one that every output sample may read all of, such as a kernel. A constant that is not named
        here and varies is refused.

        >>> call = Call(Node("blur", "mylib::blur5", {"x": Data("x")}, shape=(1, 3, 8, 32)), shapes=((1, 3, 8, 32),))
        >>> law = call.local({-1: IndexMap.window(5, padding=2)})  # a 5-tap filter along the last dimension
        >>> [dim.reads.reads(0, 1) for dim in law.links[0].dims[2:]]
        [Span(start=0, stop=1), Span(start=-2, stop=3)]
        """
        n = len(self.shapes[0])
        but = {d % n: DimRead(d % n, d % n, m, border) for d, m in maps.items()}
        places = [place for name, targets in (constants or {}).items() for place in self.place(name, targets)]
        return Law((Link(0, keep(n, but=but), exact=exact),), places=tuple(places))

    def place(
        self, argument: str, targets: Mapping[int, int] | None = None, *, item: int | None = None
    ) -> tuple[Place, ...]:
        """Where a constant operand lies (see `Place`); nothing where the argument is data or absent.

        For an argument that is a list of constants, without `item`: all of its items lie this way.
        """
        value = self[argument]
        if isinstance(value, (tuple, list)) and item is None:
            return tuple(p for i in range(len(value)) for p in self.place(argument, targets, item=i))
        if not isinstance(value if item is None else value[item], Constant):
            return ()
        return (Place(argument, item, tuple((targets or {}).items())),)

    def identity(self) -> Law:
        """Every output sample reads the same sample of operand 0."""
        return Law((Link(0, keep(len(self.shapes[0]))),))

    def broadcast(self, *, constants: bool = True) -> Law:
        """Every data operand index by index, broadcast from the right as torch does."""
        n = len(self.shape)
        links = []
        for k, shape in enumerate(self.shapes):
            dims = [DimRead(None, t) for t in range(n - len(shape))]
            for s, size in enumerate(shape):
                t = n - len(shape) + s
                if size == 1 and self.shape[t] > 1:
                    why = Obstruction(Cause.GLOBAL, "one sample is spread over the whole axis")
                    dims.append(replace(at_size(s, lambda _: [0], self.shape[t], why, None), target=t))
                else:
                    dims.append(DimRead(s, t, IndexMap.identity()))
            links.append(Link(k, tuple(dims)))
        if constants and self.node.op in MASKING:
            links = [self._masked(link) for link in links]
        return Law(tuple(links), places=self.broadcast_places() if constants else ())

    def broadcast_places(self) -> tuple[Place, ...]:
        """Every constant operand lies along the output's last dimensions, as torch broadcasts."""
        n = len(self.shape)
        found: list[Place] = []
        for name, value in self.node.args.items():
            if isinstance(value, Constant):
                own = len(value.shape)
                found += self.place(name, {s: n - own + s for s in range(own)})
        return tuple(found)

    def _masked(self, link: Link) -> Link:
        """Samples multiplied by a constant zero are not read. A mask that is no product gives only a bound."""
        n = len(self.shape)
        dims, exact = list(link.dims), link.exact
        for value in self.node.args.values():
            if not isinstance(value, Constant) or (self.node.op == "aten::mul" and not value.alive):
                continue
            if self.node.op != "aten::mul" or not value.product:
                exact = exact and not value.alive
                continue
            for s, alive in enumerate(value.alive):
                t = n - len(value.shape) + s
                if all(alive):
                    continue
                at = next((i for i, d in enumerate(dims) if d.target == t and d.source is not None), None)
                if at is None or dims[at].reads != IndexMap.identity() or value.variation[s] is None:
                    exact = False
                    continue
                q = len(alive)
                reads = IndexMap(q, q, tuple(Spans.span(p, p + 1) if live else EMPTY for p, live in enumerate(alive)))
                dims[at] = replace(dims[at], reads=reads)
        return replace(link, dims=tuple(dims), exact=exact)
