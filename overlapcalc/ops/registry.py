"""Which rule speaks for which operator. A second rule for the same operator is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import RuleError
from .call import Call
from .law import Law
from .overloads import full_name

RuleFunction = Callable[[Call], Law]
R = TypeVar("R", bound=RuleFunction)


@dataclass(frozen=True)
class Rule:
    """`shown`: calls of this operator are rows of the table. `sizes`: arguments that the law accounts for, so
    that they may differ between two sizes of the image as long as the laws agree."""

    law: RuleFunction
    shown: bool
    sizes: frozenset[str]


@dataclass(frozen=True)
class Step:
    """An operator that comes before another one in its stead: its first operand is the step before, or what that
    operator reads. args: the other arguments. shape: what it gives."""

    op: str
    args: Mapping[str, Any]
    shape: tuple[int, ...]


StepsFunction = Callable[[Call], list[Step]]

_RULES: dict[str, Rule] = {}
_STEPS: dict[str, StepsFunction] = {}


def rule(*ops: str | Callable[..., object], shown: bool = True, sizes: tuple[str, ...] = ()) -> Callable[[R], R]:
    """Register a function as the rule of one or more operators.

    ops: qualified names such as `"mylib::blur"`, or torch operators (`torch.ops.mylib.blur`, its `.default`). Other
    overloads are other operators: `"mylib::blur.wide"`, `torch.ops.mylib.blur.wide` (see overloads.py).
    shown: give these calls a row in the table. sizes: names of arguments that the law turns into geometry.
    Raises RuleError for an operator that has a rule already.

    >>> @rule("mylib::blur5")
    ... def blur5(call):
    ...     return call.local({-1: IndexMap.window(5, padding=2)})
    """

    def register(function: R) -> R:
        names = [op_name(op) for op in ops]
        for name in names:
            if name in _RULES:
                raise RuleError(f"{name}: already has a rule ({_RULES[name].law.__module__}); unregister it first")
        for name in names:
            _RULES[name] = Rule(function, shown, frozenset(sizes))
        return function

    return register


def steps(op: str) -> Callable[[StepsFunction], StepsFunction]:
    """Register what comes before an operator, whose rule then speaks of the last step as its only operand."""

    def register(function: StepsFunction) -> StepsFunction:
        _STEPS[op] = function
        return function

    return register


def steps_before(op: str) -> StepsFunction | None:
    return _STEPS.get(op)


def unregister(op: str | Callable[..., object]) -> None:
    """Forget the rule of an operator. Raises RuleError when it has none."""
    if _RULES.pop(op_name(op), None) is None:
        raise RuleError(f"{op_name(op)}: has no rule to unregister")


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Rules that are registered or forgotten inside are as they were afterwards."""
    rules, befores = dict(_RULES), dict(_STEPS)
    try:
        yield
    finally:
        for now, then in ((_RULES, rules), (_STEPS, befores)):
            now.clear()
            now.update(then)  # type: ignore[arg-type]


def find(op: str) -> Rule | None:
    """The rule of an operator. `slice_copy` and its like are what `slice` is where views are not allowed."""
    return _RULES.get(op) or _RULES.get(op.removesuffix("_copy"))


def op_name(op: str | Callable[..., object]) -> str:
    """`"ns::name"` of a name, an OpOverload, an OpOverloadPacket or a torch.library custom op; `"ns::name.overload"` of
    an overload for which the plain name does not speak."""
    if isinstance(op, str):
        name = op
    else:
        inner = getattr(op, "_qualname", None) or getattr(op, "_qualified_op_name", None)
        name = inner if isinstance(inner, str) else str(getattr(op, "name", lambda: "")())
    space, _, rest = name.partition("::")
    plain, _, overload = rest.partition(".")
    if not space or not plain:
        raise RuleError(f"{op!r} names no operator; give a name such as 'mylib::blur' or torch.ops.mylib.blur")
    return full_name(f"{space}::{plain}", overload)
