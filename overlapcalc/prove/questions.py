"""What an operator asks about each sample: is it above a threshold, between which levels, which row of a table?

A proof whose inputs all get the same answer proves nothing about the other branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..ops.registry import known_of, say

Values = Mapping[str, Any]
"""The arguments of a call by name."""

LEVELS, STEPS, PLACES, CHOICE, LOGIC, OPAQUE = "levels", "steps", "places", "choice", "logic", "opaque"
FIRST = "first"
ABOVE, BETWEEN = "above", "between"


@dataclass(frozen=True)
class Question:
    """operand: the argument in question; item: which one of it, where it is a list. kind:

    LEVELS: which of `levels` (numbers or constant tensors) lie below it; against: the data operand that it is compared
    with instead. STEPS: the multiple of `unit` that it is rounded to, or (`wraps`) reduced by. PLACES: which of `size`
    rows is looked up. CHOICE: which of two operands is taken. LOGIC: a combination of booleans. FIRST: which index
    along dimension `dim` is the largest (the smallest, with `least`).
    OPAQUE: a user's own operator, which may ask anything.
    ways: the answers 0, 1... in words; empty where the result itself is the answer, one of `size` if that is known.
    needed: the answers that a proof should meet; all when empty.
    below: a sample that equals the level lies below it. instead: for LEVELS, what to ask where the real question has
    the same answer for all moved samples: whether they lie ABOVE the level, or in every second gap BETWEEN the levels.
    """

    kind: str
    operand: str
    ways: tuple[str, ...] = ()
    levels: tuple[Any, ...] = ()
    against: str = ""
    unit: float = 1.0
    wraps: bool = False
    size: int = 0
    item: int | None = None
    needed: tuple[int, ...] = ()
    dim: int = 0
    least: bool = False
    below: bool = False
    instead: str = ""

    def of(self, values: Values) -> Tensor:
        """The operand in question."""
        found = values[self.operand]
        tensor: Tensor = found if self.item is None else found[self.item]
        return tensor

    def replaced(self, values: Values, by: Tensor) -> dict[str, Any]:
        """The same arguments with the operand in question replaced."""
        new: Any = by
        if self.item is not None:
            new = list(values[self.operand])
            new[self.item] = by
        return {**values, self.operand: new}

    def answers(self, values: Values, result: Any) -> Tensor:
        """The answer for each sample."""
        x = self.of(values)
        if self.kind == CHOICE:
            return x.to(torch.int64)
        if self.kind == PLACES:
            return x.remainder(self.size)
        if self.kind == FIRST:
            return x.argmin(self.dim) if self.least else x.argmax(self.dim)
        if self.wraps:
            return (x.to(torch.float64) / self.unit).floor()
        if self.kind == LEVELS and len(self.ways) > 2:
            return torch.stack([(x > level).to(torch.int64).expand_as(x) for level in self.levels]).sum(0)
        first: Tensor = result if isinstance(result, Tensor) else result[0]
        if self.kind == LEVELS and first.dtype is not torch.bool and self.ways:
            above: Tensor = x > (values[self.against] if self.against else self.levels[0])
            return above.to(torch.int64)
        return first.to(torch.int64) if first.dtype is torch.bool else first

    def asked_for(self) -> int:
        """The number of different answers that a proof should meet."""
        if self.kind == FIRST:
            return 2
        return len(self.needed) or len(self.ways) or min(self.size or 3, 8)


def question(op: str, values: Values, data: Set[str]) -> Question | None:
    """What the operator asks about its data; None where it asks nothing about data. op: without namespace."""
    ask: Ask | None = _own if "::" in op else known_of(f"aten::{op}").question
    found = None if ask is None else ask(op, values, data)
    if found is None or found.operand not in data:
        return None
    x = found.of(values)
    whole = found.kind in (CHOICE, LOGIC)
    if not isinstance(x, Tensor) or x.is_complex() or not x.numel() or (x.dtype is torch.bool) != whole:
        return None
    return found


def _own(op: str, values: Values, data: Set[str]) -> Question | None:
    named = (name for name in values if name in data and _floating(values[name]))
    operand = next(named, None)
    return None if operand is None else Question(OPAQUE, operand)


Ask = Callable[[str, Values, Set[str]], Question | None]


def _asks(*ops: str) -> Callable[[Ask], Ask]:
    """Register what ATen operators ask, by their functional names. Raises RuleError for a second registration."""

    def register(ask: Ask) -> Ask:
        say("question", (f"aten::{op}" for op in ops), ask)
        return ask

    return register


FALSE_TRUE = ("false", "true")
EQUAL = ("eq", "ne", "not_equal")
"""Two numbers stop being equal wherever one of them moves."""


@_asks("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal", *EQUAL)
def _comparison(op: str, values: Values, data: Set[str]) -> Question:
    mine, other = ("self", "other") if "self" in data else ("other", "self")
    asks = Question(LEVELS, mine, FALSE_TRUE, below=op in ("gt", "le", "greater", "less_equal"),
                    instead=ABOVE if op in EQUAL else "")  # fmt: skip
    return replace(asks, against=other) if other in data else replace(asks, levels=(values[other],))


@_asks("isnan", "isinf", "isposinf", "isneginf", "isfinite", "signbit")
def _of_kind(op: str, values: Values, data: Set[str]) -> Question:
    operand = "input" if "input" in values else "self"
    return Question(LEVELS, operand, FALSE_TRUE, (0.0,), instead=ABOVE)


@_asks("maximum", "minimum", "fmax", "fmin", "max", "min", "clamp_min", "clamp_max", "heaviside")
def _larger(op: str, values: Values, data: Set[str]) -> Question | None:
    mine, other = "self", {"clamp_min": "min", "clamp_max": "max", "heaviside": "values"}.get(op, "other")
    if mine not in data and other in data:
        mine, other = other, mine
    if op == "heaviside":
        return Question(LEVELS, "self", ("at most 0", "above 0"), (0.0,))
    if values.get(other) is None:
        return _first(op, values, data) if values.get("dim") is not None else None
    ways = ("the smaller", "the larger")
    if other in data:
        return Question(LEVELS, mine, ways, against=other)
    return Question(LEVELS, mine, ways, (values[other],))


@_asks("amax", "amin", "argmax", "argmin", "aminmax", "topk", "sort", "argsort", "msort", "kthvalue", "median",
       "nanmedian", "mode", "softmax", "_softmax", "log_softmax", "_log_softmax", "logsumexp", "cummax", "cummin",
       "logcumsumexp")  # fmt: skip
def _first(op: str, values: Values, data: Set[str]) -> Question | None:
    """Which of several is the extreme one: nothing of the others may reach the result."""
    x, dim = values["self"], values.get("dim", 0 if op == "msort" else None)
    if isinstance(dim, (list, tuple)):
        dim = dim[0] if len(dim) == 1 else None
    if dim is None or not _floating(x) or not x.dim() or x.shape[dim] < 2:
        return None
    return Question(FIRST, "self", dim=dim, least=op in ("amin", "argmin", "min", "cummin"))


@_asks("relu", "sign", "sgn", "threshold")
def _one_threshold(op: str, values: Values, data: Set[str]) -> Question:
    level = float(values["threshold"]) if op == "threshold" else 0.0
    return Question(LEVELS, "self", (f"at most {level:g}", f"above {level:g}"), (level,))


@_asks("clamp", "clip", "hardtanh", "relu6", "hardsigmoid", "hardswish", "hardshrink", "softshrink",
       "fake_quantize_per_tensor_affine", "fake_quantize_per_tensor_affine_cachemask")  # fmt: skip
def _two_thresholds(op: str, values: Values, data: Set[str]) -> Question | None:
    if op in ("hardshrink", "softshrink"):
        low, high = -float(values["lambd"]), float(values["lambd"])
    elif op in ("clamp", "clip"):
        low, high = values["min"], values["max"]
    elif op.startswith("fake_quantize"):
        unit, zero = _size_of(values["scale"]), int(values["zero_point"])
        low, high = ((values[end] - zero) * unit for end in ("quant_min", "quant_max"))
    elif op == "hardtanh":
        low, high = float(values["min_val"]), float(values["max_val"])
    else:
        low, high = (0.0, 6.0) if op == "relu6" else (-3.0, 3.0)
    if {"min", "max"} & data and op in ("clamp", "clip"):
        return Question(
            LEVELS, "self", ("below its bound", "above its bound"), against="min" if "min" in data else "max"
        )
    if low is None or high is None:
        level = high if low is None else low
        return Question(LEVELS, "self", ("below its bound", "above its bound"), (level,))
    return Question(LEVELS, "self", ("below its bounds", "between its bounds", "above its bounds"), (low, high))


SOFT = ("sigmoid", "tanh", "silu", "gelu", "mish", "softplus", "erf", "erfc", "log_sigmoid_forward", "exp", "expm1")
LIVE = 8.0
"""Functions that saturate are not flat up to here."""


@_asks(*SOFT)
def _soft(op: str, values: Values, data: Set[str]) -> Question:
    ways = ("far below its bend", "near its bend", "far above its bend")
    return Question(LEVELS, "self", ways, (-LIVE, LIVE), needed=(1,))


@_asks("bucketize", "searchsorted", "isin")
def _in_a_list(op: str, values: Values, data: Set[str]) -> Question | None:
    operand = "elements" if op == "isin" else "self"
    levels = values[{"bucketize": "boundaries", "searchsorted": "sorted_sequence", "isin": "test_elements"}[op]]
    if {"boundaries", "sorted_sequence", "test_elements"} & data:
        return None
    if op == "isin":
        return Question(LEVELS, operand, FALSE_TRUE, (levels,), instead=BETWEEN)
    return Question(LEVELS, operand, (), (levels,), size=levels.shape[-1] + 1)


@_asks("floor", "ceil", "round", "trunc", "fix", "floor_divide", "remainder", "fmod", "div", "divide", "_to_copy", "to",
       "frac")  # fmt: skip
def _steps(op: str, values: Values, data: Set[str]) -> Question | None:
    unit = 1.0
    if op in ("_to_copy", "to"):
        kind = values.get("dtype")
        if kind is torch.bool:
            return Question(LEVELS, "self", FALSE_TRUE, (0.0,), instead=ABOVE)
        if kind is None or kind.is_floating_point or kind.is_complex or not _floating(values["self"]):
            return None
    elif op in ("div", "divide") and values.get("rounding_mode") is None:
        return None
    elif op in ("floor_divide", "remainder", "fmod", "div", "divide"):
        if "other" in data:
            return None
        unit = _size_of(values["other"])
    return Question(STEPS, "self", unit=unit, wraps=op in ("remainder", "fmod", "frac"))


@_asks("embedding")
def _embedding(op: str, values: Values, data: Set[str]) -> Question:
    return Question(PLACES, "indices", size=values["weight"].shape[0])


@_asks("index_select", "gather", "take", "take_along_dim")
def _along(op: str, values: Values, data: Set[str]) -> Question:
    x, dim = values["self"], values.get("dim")
    size = x.numel() if op == "take" or dim is None else x.shape[dim] if x.dim() else 1
    return Question(PLACES, "indices" if op == "take_along_dim" else "index", size=size)


@_asks("index", "_unsafe_index")
def _index(op: str, values: Values, data: Set[str]) -> Question | None:
    places = [d for d, i in enumerate(values["indices"]) if isinstance(i, Tensor) and i.dtype is not torch.bool]
    if not places:
        return None
    item = max(places, key=lambda d: int(values["indices"][d].numel()))  # the others are ramps over the image
    return Question(PLACES, "indices", size=values["self"].shape[item], item=item)


@_asks("where", "masked_fill")
def _where(op: str, values: Values, data: Set[str]) -> Question:
    ways = ("the second operand", "the first operand") if op == "where" else ("the operand", "the value")
    return Question(CHOICE, "condition" if op == "where" else "mask", ways)


@_asks("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "__and__", "__or__",
       "__xor__")  # fmt: skip
def _logic(op: str, values: Values, data: Set[str]) -> Question:
    return Question(LOGIC, "self" if "self" in data else "other", FALSE_TRUE)


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _size_of(number: Any) -> float:
    found = (
        float(number.detach().abs().to(torch.float64).median()) if isinstance(number, Tensor) else abs(float(number))
    )
    return found or 1.0
