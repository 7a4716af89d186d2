"""The sizes that an exported program allows: its dynamic dimensions, and their possible values."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy
import torch
from torch.fx import Node as FxNode

from ..errors import Argument, InputError, TraceError

Shapes = tuple[tuple[int, ...], ...]
Bound = Mapping[Any, Any]
"""Symbol -> its value, a sympy Integer."""
SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
GUARDED = re.compile(r"L((?:\['?\w+'?\])+)\.size\(\)\[(\d+)\]")
"""How a program names a size in its guards: L['x'].size()[2]."""


class Sizes:
    """The symbols in the input shapes of a program, and the conditions on them.

    inputs: name -> shape, made of numbers and symbolic sizes.
    """

    def __init__(self, program: Any, inputs: Mapping[str, tuple[Any, ...]]) -> None:
        self._inputs = dict(inputs)
        self._ranges = dict(getattr(program, "range_constraints", None) or {})
        self._guards = [str(guard) for guard in getattr(program, "_guards_code", None) or []]
        self._asserted = list(_asserted(program))
        self.fixed = not any(isinstance(n, SYMBOLIC) for shape in inputs.values() for n in shape)

    def examples(self) -> Shapes:
        """The shapes that the program was exported with. Raises InputError where it does not say."""
        out = []
        for name, shape in self._inputs.items():
            sizes = [n.node.hint if isinstance(n, SYMBOLIC) else n for n in shape]
            if any(n is None for n in sizes):
                raise InputError(
                    f"input {name} has the shape {_shown(shape)} in the program, which does not say at which size "
                    "it was made; give its shape with ",
                    Argument("inputs"),
                )
            out.append(tuple(int(n) for n in sizes))
        return tuple(out)

    def bound(self, shapes: Shapes) -> Bound:
        """The value of each symbol at these input shapes. Raises TraceError where the program does not allow them."""
        bound: dict[Any, Any] = {}
        derived: list[tuple[Any, int]] = []
        for (name, own), shape in zip(self._inputs.items(), shapes, strict=True):
            fits = len(own) == len(shape)
            for n, given in zip(own, shape, strict=False):
                if not isinstance(n, SYMBOLIC):
                    fits = fits and n == given
                elif n.node.expr.is_Symbol:
                    fits = fits and bound.setdefault(n.node.expr, sympy.Integer(given)) == given
                else:
                    derived.append((n.node.expr, given))
            if not fits:
                raise TraceError(self._refusal(name, shape))
        for expression, given in derived:
            self._solve(expression, given, bound)
        self._in_range(bound)
        for guard in self._guards:
            if not _holds(guard, dict(zip(self._inputs, shapes, strict=True)), shapes == self._made_with()):
                raise TraceError(f"the program holds only where {_readable(guard)}")
        for asked in self._asserted:
            if not self._number(asked, bound):
                raise TraceError(f"the program asserts {asked}, which does not hold at this size")
        return bound

    def _refusal(self, name: str, shape: tuple[int, ...]) -> str:
        own, given = _shown(self._inputs[name]), "x".join(map(str, shape))
        only = (
            "only this size can be analysed"
            if self.fixed
            else "sizes that are numbers are fixed, equal names are equal"
        )
        return f"input {name} is {own} in the program, not {given}; {only}"

    def _solve(self, expression: Any, given: int, bound: dict[Any, Any]) -> None:
        """A dimension such as 8*s0."""
        unknown = [s for s in expression.free_symbols if s not in bound]
        if len(unknown) == 1:
            left = expression.xreplace(bound)
            roots = [r for r in sympy.solve(left - given, unknown[0]) if r.is_Integer]
            if len(roots) == 1:
                bound[unknown[0]] = roots[0]
        if expression.xreplace(bound) != given:
            raise TraceError(f"a size of {given} is not of the form {expression}, which the program requires")

    def _in_range(self, bound: Bound) -> None:
        for expression, allowed in self._ranges.items():
            value = expression.xreplace(bound)
            if value.free_symbols:
                continue
            if not (bool(allowed.lower <= value) and bool(value <= allowed.upper)):
                raise TraceError(
                    f"{expression} = {value} is outside what the program allows, {allowed.lower} to {allowed.upper}"
                )

    def _made_with(self) -> Shapes | None:
        try:
            return self.examples()
        except InputError:
            return None

    # ---- the rest of the graph ------------------------------------------------------------------------------

    def concrete(self, value: Any, bound: Bound) -> Any:
        """The value of a node with numbers instead of symbols; a tensor becomes another one without data."""
        if isinstance(value, torch.Tensor):
            shape = [self._number(n, bound) for n in value.shape]
            return torch.empty(shape, dtype=value.dtype, device="meta")
        if isinstance(value, (list, tuple)):
            return tuple(self.concrete(v, bound) for v in value)
        return self._number(value, bound) if isinstance(value, SYMBOLIC) else value

    def concrete_arguments(self, value: Any, bound: Bound) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self.concrete_arguments(v, bound) for v in value)
        return self._number(value, bound) if isinstance(value, SYMBOLIC) else value

    @staticmethod
    def _number(n: Any, bound: Bound) -> Any:
        if not isinstance(n, SYMBOLIC):
            return n
        value = n.node.expr.xreplace(bound)
        if value.free_symbols:
            raise TraceError(f"{value} is a size that is known only at run time")
        return (
            bool(value) if isinstance(n, torch.SymBool) else int(value) if isinstance(n, torch.SymInt) else float(value)
        )


def _asserted(program: Any) -> Iterator[Any]:
    """What the program asserts about its sizes at run time."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten._assert_scalar.default:
            asked = node.args[0].meta.get("val") if isinstance(node.args[0], FxNode) else node.args[0]
            if isinstance(asked, SYMBOLIC):
                yield asked


# ---- guards -----------------------------------------------------------------------------------------------------

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Div: operator.truediv, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {"max": max, "min": min, "abs": abs}


def _holds(guard: str, shapes: Mapping[str, tuple[int, ...]], made_with: bool) -> bool:
    """Whether a guard of the program, a Python expression, holds. It is parsed, never run.

    One that is more than arithmetic on input sizes is taken to hold at the size that the program was exported with, and
    nowhere else.
    """

    def size(found: re.Match[str]) -> str:
        name = "_".join(re.findall(r"\w+", found[1]))
        return str(shapes[name][int(found[2])]) if name in shapes else found[0]

    try:
        return bool(_value(ast.parse(GUARDED.sub(size, guard), mode="eval").body))
    except (SyntaxError, TypeError, ValueError, ZeroDivisionError):
        return made_with


def _value(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, bool)):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.BoolOp):
        parts = [bool(_value(v)) for v in node.values]
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        return FUNCTIONS[node.func.id](*(_value(v) for v in node.args))
    if isinstance(node, ast.Compare) and all(type(op) in OPERATORS for op in node.ops):
        values = [_value(v) for v in (node.left, *node.comparators)]
        return all(OPERATORS[type(op)](a, b) for op, a, b in zip(node.ops, values, values[1:], strict=False))
    raise ValueError(ast.dump(node))


def _readable(guard: str) -> str:
    """The guard as a person would write it: `x.size()[2] % 8 == 0`."""
    return GUARDED.sub(lambda m: f"{'_'.join(re.findall(r'[a-zA-Z0-9]+', m[1]))}.shape[{m[2]}]", guard)


def _shown(shape: tuple[Any, ...]) -> str:
    return "x".join(str(n).replace("*", " times ") for n in shape)
