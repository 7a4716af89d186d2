"""What is structural about a constant: masks, and how it varies along each dimension.

Masks are structure, weights are not. Constants are evaluated with every parameter replaced by arbitrary non-zero
numbers and real buffers, so that trained or initial zeros never count and trained values never show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node as FxNode

from ..graph import Constant

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
LIST_LIMIT = 1 << 16
"""Integer vectors up to this length are read as lists of indices."""


class Folder:
    """Evaluates the nodes of an exported graph that depend on no input, each at most once."""

    def __init__(self, tensors: dict[str, torch.Tensor], parameters: set[str]) -> None:
        self._tensors = tensors  # by placeholder name: buffers and lifted constants
        self._parameters = parameters
        self._known: dict[FxNode, Any] = {}
        self._origin: dict[FxNode, frozenset[str]] = {}

    def origin(self, node: FxNode) -> frozenset[str]:
        """Which of "parameter", "random" the value comes from."""
        if node not in self._origin:
            if node.op == "placeholder":
                found = frozenset({"parameter"} if node.name in self._parameters else set())
            else:
                tags = getattr(node.target, "tags", ())
                found = frozenset({"random"} if torch.Tag.nondeterministic_seeded in tags else set())
                if not _shape_only(node):
                    found = found.union(*(self.origin(n) for n in node.all_input_nodes))
            self._origin[node] = found
        return self._origin[node]

    def value(self, node: FxNode) -> Any:
        if node not in self._known:
            self._known[node] = self._evaluate(node)
        return self._known[node]

    def _evaluate(self, node: FxNode) -> Any:
        fake = node.meta.get("val")
        if node.op == "placeholder":
            if node.name in self._parameters:
                return _arbitrary(fake)
            return self._tensors[node.name]
        if node.op == "get_attr":
            return self._tensors[str(node.target)]

        def fetch(n: FxNode) -> Any:
            if _shape_only(node):  # only the shape and type are looked at
                return torch.zeros((), dtype=n.meta["val"].dtype).expand(n.meta["val"].shape)
            return self.value(n)

        args = torch.fx.map_arg(node.args, fetch)
        kwargs = dict(torch.fx.map_arg(node.kwargs, fetch))
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        target: Callable[..., Any] = node.target  # type: ignore[assignment]
        return target(*args, **kwargs)

    def constant(self, node: FxNode, role: str) -> Constant:
        """The constant that `node` gives. role: "weight" of a convolution, "plain" where only the shape counts,
        or "operand" where the values may meet an axis."""
        shape = tuple(int(n) for n in node.meta["val"].shape)
        origin = self.origin(node)
        if "random" in origin:
            return Constant(shape, random=True)
        if role == "weight":
            kernel = shape[2:]
            if node.name in self._parameters or all(k == 1 for k in kernel):
                return Constant(shape)
            return self._weight(node, shape)
        if role == "plain":
            return Constant(shape)
        if "parameter" in origin:
            return Constant(shape, tuple(0 if n == 1 else None for n in shape))
        value = self.value(node)
        if not isinstance(value, torch.Tensor):
            return Constant(shape)
        variation = tuple(_variation(value, d) for d in range(len(shape)))
        indices = None
        if value.dtype in INTEGERS and len(shape) == 1 and value.numel() <= LIST_LIMIT:
            indices = tuple(int(i) for i in value.tolist())
        alive, product = _alive(value, variation)
        return Constant(
            shape, variation, digest=_digest(value, variation), indices=indices, alive=alive, product=product
        )

    def _weight(self, node: FxNode, shape: tuple[int, ...]) -> Constant:
        value = self.value(node)
        real = (value != 0).flatten(0, 1)
        some, every = real.any(dim=0), real.all(dim=0)
        if bool(every.all()):
            return Constant(shape)
        taps = tuple(tuple(int(i) for i in at) for at in some.nonzero().tolist())
        return Constant(shape, taps=taps, uneven=not bool((some == every).all()))


def _shape_only(node: FxNode) -> bool:
    """Operators that look at the shape and type of their tensor and at no value of it."""
    name = getattr(node.target, "_schema", None)
    short = name.name.partition("::")[2] if name is not None else ""
    return short in SHAPE_ONLY


SHAPE_ONLY = frozenset(
    {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
    | {"rand_like", "randn_like", "randint_like"}
)


def _arbitrary(fake: Any) -> torch.Tensor:
    """Positive, all different, reproducible."""
    shape, dtype = tuple(int(n) for n in fake.shape), fake.dtype
    generator = torch.Generator().manual_seed(0)
    if dtype.is_floating_point:
        return torch.rand(shape, generator=generator, dtype=torch.float64).add_(0.5).to(dtype)
    if dtype.is_complex:
        return torch.rand(shape, generator=generator, dtype=torch.float64).add_(0.5).to(dtype)
    return torch.ones(shape, dtype=dtype)


def _variation(value: torch.Tensor, d: int) -> int | None:
    """0 when constant along d, the smallest period that fits at least twice, or None."""
    n = value.shape[d]
    if n <= 1:
        return 0
    rows = value.movedim(d, 0).reshape(n, -1)
    like_first = (rows == rows[0]).all(dim=1)
    if bool(like_first.all()):
        return 0
    for q in like_first[: n // 2 + 1].nonzero().flatten().tolist():
        if q > 1 and torch.equal(rows[: n - q], rows[q:]):
            return int(q)
    return None


def _alive(value: torch.Tensor, variation: tuple[int | None, ...]) -> tuple[tuple[tuple[bool, ...], ...], bool]:
    """Where the constant is not zero, as a product over dimensions; and whether that says it exactly."""
    real = value != 0
    if bool(real.all()):
        return (), True
    filled = torch.ones_like(real)
    out = []
    for d, q in enumerate(variation):
        others = [e for e in range(real.dim()) if e != d]
        line = real.any(dim=others) if others else real
        shape = [1] * real.dim()
        shape[d] = real.shape[d]
        filled = filled & line.reshape(shape)
        out.append(tuple(bool(b) for b in line[: max(1, q if q is not None else real.shape[d])].tolist()))
    return tuple(out), bool(torch.equal(filled, real))


def _digest(value: torch.Tensor, variation: tuple[int | None, ...]) -> str:
    """The values of one period; a dimension without a period is left to the law that refuses it."""
    if None in variation:
        return "varies"
    for d, q in enumerate(variation):
        value = value.narrow(d, 0, min(value.shape[d], max(1, q or 1)))
    flat = value.detach().to("cpu").reshape(-1)
    if flat.numel() > LIST_LIMIT:  # too long to write out: two moments stand for it
        wide = flat.to(torch.complex128 if flat.is_complex() else torch.float64)
        flat = torch.stack([wide.sum(), (wide * torch.arange(flat.numel())).sum()])
    raw = repr((str(value.dtype), tuple(value.shape), flat.tolist()))
    return hashlib.sha256(raw.encode()).hexdigest()[:16]
