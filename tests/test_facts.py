"""Facts about operators live with the operator: nobody else tells operators apart by their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import overlapcalc as oc
from overlapcalc.ops import Kind, registry
from overlapcalc.ops.facts import describe, kind_of, may_stop_nan, plain_name, spelling, word_of
from overlapcalc.ops.graph import Constant, Data, Node

PACKAGE = Path(oc.__file__).parent
HOMES = ("ops/", "prove/twin/", "testing/")
"""Where facts are said: laws and what belongs to them, twins, and the kit with its recipes."""
MAY_NAME = {
    "prove/questions.py": "what operators ask of their samples is said here, in the one table, for it needs torch",
    "trace/generic.py": "operators that torch runs on constants of the net: few have a law, and none is a node",
    "trace/memory.py": "kernels of which torch need not be asked whether their results share memory; a wrong name would "
    "cost no more than time",
    "trace/functionalize.py": "pairs of operators of torch that give the same views",
    "trace/composites.py": "which of torch's own decompositions are taken",
}
NAMED = re.compile(r"\b(aten|prims|torchvision|overlapcalc)::\(?\w")
SPEAKS_OF_OPERATORS = re.compile(r"\bop\b|\.called\b|\btarget\b|schema|op_name|operator_name|short_name|\bfunc\b")
OTHERS = {"input", "output", "placeholder", "get_attr", "call_function", "block"}
"""Not operators: nodes of torch.fx, inputs of a graph, the first entry of an explanation."""
MANY = 3
"""So many names of operators in one place are a list of operators."""


def plain_names() -> set[str]:
    """Names of operators without namespace and overload."""
    return {op.partition("::")[2].partition(".")[0] for op in registry._OPERATORS}


def literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return tree


def compared(node: ast.AST) -> list[ast.expr]:
    """The expressions that a comparison, a look-up or a question such as `x.startswith(y)` sets side by side."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Subscript):
        return [node.value, node.slice]
    asks = ("startswith", "endswith", "get", "match", "search", "fullmatch")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in asks:
        return [node.func.value, *node.args]
    return []


def names_operators(text: str) -> Iterator[str]:
    """Where a file tells operators apart by their names."""
    tree = without_docstrings(ast.parse(text))
    values = {t.id: s.value for s in tree.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)}
    known = plain_names()
    for node in ast.walk(tree):
        at = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if NAMED.search(node.value):
                yield f"{at}: {node.value!r} is the name of an operator"
            if len(known & set(node.value.split())) >= MANY and "." not in node.value:
                yield f"{at}: a list of operators"
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            if len(known & set(literals(node))) >= MANY:
                yield f"{at}: a list of operators"
        sides = compared(node)
        if any(SPEAKS_OF_OPERATORS.search(ast.unparse(side)) for side in sides):
            met = (values.get(side.id, side) if isinstance(side, ast.Name) else side for side in sides)
            flat = [side for side in met if isinstance(side, (ast.Constant, ast.Tuple, ast.Set, ast.Dict, ast.Call))]
            told = {s for side in flat if not SPEAKS_OF_OPERATORS.search(ast.unparse(side)) for s in literals(side)}
            if {s for s in told - OTHERS if re.search(r"\w\w", s) and not s.endswith("::")}:
                yield f"{at}: compares an operator with {', '.join(sorted(told))}"


def files() -> list[str]:
    found = (f.relative_to(PACKAGE).as_posix() for f in sorted(PACKAGE.rglob("*.py")))
    return [name for name in found if not name.startswith(HOMES)]


@pytest.mark.parametrize("name", [name for name in files() if name not in MAY_NAME])
def test_nobody_else_knows_operators_by_name(name):
    assert not list(names_operators((PACKAGE / name).read_text()))


@pytest.mark.parametrize("name", MAY_NAME)
def test_what_may_name_operators_does(name):
    assert list(names_operators((PACKAGE / name).read_text()))


@pytest.mark.parametrize(
    "line",
    [
        'WIDE = "conv" in node.op',
        'if node.op.startswith("max_pool"): ...',
        'if schema.name == "aten::view": ...',
        'VIEW = f"aten::view{end}"',
        'up = call.op in ("gt", "le")',
        'NAMES = {"conv2d": "c"}\nword = NAMES.get(op, op)',
        'NAMES = ("conv2d", "odd")\nif short_name(node.op) in NAMES: ...',
        'DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout")',
        'MOVES = set("cat permute reshape".split())',
        'if getattr(func, "__name__", "") == "dropout": ...',
    ],
)
def test_the_check_can_fail(line):
    assert list(names_operators(line))


@pytest.mark.parametrize(
    "line",
    [
        '"""`aten::conv2d`, say."""',
        'if node.op == "input": ...',
        'if fx.op in ("placeholder", "get_attr"): ...',
        'if kind_of(node) is Kind.POOLING: ...',
        'name = f"aten::{op}"',
        'if op.startswith("aten::"): ...',
    ],
)
def test_the_check_lets_through_what_names_no_operator(line):
    assert not list(names_operators(line))
