"""Everything known about each operator, in one table: its law, the steps before it, how it runs on a slab, its cost,
its twin, its question, and plain facts such as its kind (facts.py). A second registration of anything is refused, and
one scope undoes what was registered inside. Nothing else tells operators apart by their names."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import RuleError
from .call import Call
from .graph import Node
from .kind import Kind, Masking
from .law import Law
from .overloads import full_name

RuleFunction = Callable[[Call], Law]
R = TypeVar("R", bound=RuleFunction)


@dataclass(frozen=True)
class Rule:
    """`shown`: calls of this operator are rows of the table. `sizes`: arguments that the law accounts for, which may
    therefore differ between two sizes of the image as long as the laws agree."""

    law: RuleFunction
    shown: bool
    sizes: frozenset[str]


@dataclass(frozen=True)
class StepBefore:
    """An operator that does part of another one's work before it. Its first operand is the previous step, or the
    operand of that operator. args: the other arguments. shape: the shape of its output."""

    op: str
    args: Mapping[str, Any]
    shape: tuple[int, ...]


StepsFunction = Callable[[Call], list[StepBefore]]
Spelling = Callable[[Node], str]


@dataclass(frozen=True)
class Operator:
    """Everything known about one operator; None where nothing is.

    steps: what comes before it. slab: how it runs on a slab (slab.py). parts: how it runs in parts, a `Reduction`
    (parts.py). scan: how it runs along an axis, a `Scan` (scans.py). kernel, slab_kernel, dense: what its kernels
    carry out (cost.py). twin: how it is computed in integers modulo a prime; question: what it decides by the values of
    its samples, such as which are above zero (prove fills both in, as they need torch).

    Plain facts: kind. word: a short name, for tables. spelling: for a call, the operator that it is another spelling
    of. together: what a call amounts to with those before it (together.py). training: what it does in training mode
    only. stops_nan: it may turn NaN into a number. zero_weights: it may multiply by zero what it does not read.
    reads_memory: what it gives depends on how its first operand lies in memory. masking: what it does with samples
    that a mask has left out.
    """

    rule: Rule | None = None
    steps: StepsFunction | None = None
    slab: Callable[[Any], Any] | None = None
    parts: Any = None
    scan: Any = None
    sweep: Any = None
    kernel: Callable[[Call], int] | None = None
    slab_kernel: Callable[..., int | None] | None = None
    dense: bool = False
    twin: Callable[[Any], Any] | None = None
    question: Callable[..., Any] | None = None
    kind: Kind | None = None
    word: str | None = None
    spelling: Spelling | None = None
    together: Callable[..., Any] | None = None
    training: str | None = None
    stops_nan: bool | None = None
    zero_weights: bool | None = None
    reads_memory: bool | None = None
    masking: Masking | None = None


_OPERATORS: dict[str, Operator] = {}
_loading = threading.RLock()
_complete = False
UNKNOWN = Operator()
OURS = f"{__name__.partition('.')[0]}."
SAID = {
    "rule": "a rule",
    "steps": "steps before it",
    "slab": "a way to run on a slab",
    "parts": "a way to run in parts",
    "scan": "a way to run along an axis",
    "sweep": "a way to run to and fro along an axis",
    "kernel": "a cost",
    "slab_kernel": "a cost on a slab",
    "twin": "a twin",
    "question": "a question",
    "kind": "a kind",
    "word": "a word",
    "spelling": "a plain spelling",
    "together": "a way to see it with others",
    "training": "a training mode",
    "stops_nan": "an answer to whether it stops NaN",
    "zero_weights": "an answer to whether it has weights of zero",
    "reads_memory": "an answer to whether it reads memory",
    "masking": "a way with masks",
}


def _load() -> None:
    """Import our own rules before the first question or registration, so that a project's come after them.

    Other threads wait; the rules themselves, which register while they are imported, do not. Where the import fails, by
    an interruption say, all of it is undone, and the next question begins anew. The lock comes before Python's own of
    these modules: nobody else imports them.
    """
    global _complete
    if _complete:
        return
    with _loading:
        before = dict(_OPERATORS)
        try:
            from . import rules
        except BaseException:
            _OPERATORS.clear()
            _OPERATORS.update(before)
            for name in [name for name in sys.modules if name.startswith(f"{__package__}.rules")]:
                del sys.modules[name]
            raise
        _complete = not getattr(rules.__spec__, "_initializing", False)


def known_of(op: str) -> Operator:
    """The record of an operator, by its qualified name."""
    _load()
    return _OPERATORS.get(op, UNKNOWN)


def _home(said: Any) -> str:
    """The module that a registered function comes from; "" for a plain fact."""
    function = getattr(said, "law", said)
    return str(getattr(function, "__module__", "")) if callable(function) else ""


def say(what: str, ops: Iterable[str | Callable[..., object]], value: Any, **more: Any) -> None:
    """Set a field of the records of operators, named as for `rule`. Raises RuleError where one of them has it already,
    and for what names no operator."""
    names = refuse_said(what, ops)
    for name in names:
        _OPERATORS[name] = replace(known_of(name), **{what: value}, **more)


def refuse_said(what: str, ops: Iterable[str | Callable[..., object]]) -> list[str]:
    """The names of operators of which a field is not set yet. Raises as `say`."""
    names = [op_name(op) for op in ops]
    for name in names:
        there = getattr(known_of(name), what)
        if there is not None:
            way = "; unregister it first" if what == "rule" else ""
            where = f" ({_home(there)})" if _home(there) else ""
            raise RuleError(f"{name}: already has {SAID[what]}{where}{way}")
    return names


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
        say("rule", ops, Rule(function, shown, frozenset(sizes)))
        return function

    return register


def steps(op: str) -> Callable[[StepsFunction], StepsFunction]:
    """Register the steps before an operator, whose rule then has the last step as its only operand."""

    def register(function: StepsFunction) -> StepsFunction:
        say("steps", [op], function)
        return function

    return register


def steps_before(op: str) -> StepsFunction | None:
    return known_of(op).steps


def unregister(op: str | Callable[..., object]) -> None:
    """Forget the rule of an operator. Raises RuleError when it has none.

    >>> @rule("mylib::blur5")
    ... def blur5(call):
    ...     return call.local({-1: IndexMap.window(5, padding=2)})
    >>> unregister("mylib::blur5")
    >>> print(find("mylib::blur5"))
    None
    """
    name = op_name(op)
    if known_of(name).rule is None:
        raise RuleError(f"{name}: has no rule to unregister")
    _OPERATORS[name] = replace(known_of(name), rule=None)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Whatever is registered or forgotten inside is undone afterwards, except what our own modules register when they
    are imported: they are imported only once."""
    _load()
    before = dict(_OPERATORS)
    try:
        yield
    finally:
        after = dict(_OPERATORS)
        _OPERATORS.clear()
        _OPERATORS.update(before)
        for name, now in after.items():
            for what in SAID:
                value = getattr(now, what)
                if value is not None and getattr(known_of(name), what) is None and _home(value).startswith(OURS):
                    _OPERATORS[name] = replace(known_of(name), **{what: value})


def find(op: str) -> Rule | None:
    """The rule of an operator. `slice_copy` and the like are `slice` where views are not allowed."""
    return known_of(op).rule or known_of(op.removesuffix("_copy")).rule


def op_name(op: str | Callable[..., object]) -> str:
    """`"ns::name"` for a name, an OpOverload, an OpOverloadPacket or a torch.library custom op; `"ns::name.overload"`
    for an overload that the plain name does not stand for. Raises RuleError for anything else.

    >>> op_name("aten::conv2d.default"), op_name("aten::view.dtype")
    ('aten::conv2d', 'aten::view.dtype')
    """
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
