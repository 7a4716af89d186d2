"""Facts about operators live with the operator: nobody else tells operators apart by their names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import overlapcalc as oc
from overlapcalc.guard import ahead
from overlapcalc.guard.judgement import Failure
from overlapcalc.ops import Kind, registry
from overlapcalc.ops.facts import describe, kind_of, may_stop_nan, plain_name, spelling, word_of
from overlapcalc.ops.graph import Constant, Data, Node
from overlapcalc.report.op_text import what

PACKAGE = Path(oc.__file__).parent
HOMES = ("ops/", "prove/twin/", "testing/")
"""Where facts are said: laws and what belongs to them, twins, and the kit with its recipes."""
MAY_NAME = {
    "prove/questions.py": "what operators ask of their samples is said here, in the one table, for it needs torch",
    "trace/generic.py": "operators that torch runs on constants of the net: few have a law, and none is a node",
    "trace/memory.py": "kernels of which torch need not be asked whether their results share memory; a wrong name would "
    "cost no more than time",
    "trace/functionalize.py": "pairs of operators of torch that give the same views",
    "trace/numbers.py": "functions of Python that give numbers, or take a tensor for one: they are no operators yet",
    "trace/on_shapes.py": "a function of Python that asks for the values of a constant before any operator does",
    "cli/blocks.py": "modes of padding, which are words of torch and of operators",
    "planning/padding.py": "modes of padding, which are words of torch and of operators",
    "trace/composites.py": "which of torch's own decompositions are taken",
    "trace/recurrent_shapes.py": "operators that torch would run step by step to find out the shapes of their results",
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
    values = {
        t.id: s.value for s in tree.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)
    }
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
        "if kind_of(node) is Kind.POOLING: ...",
        'name = f"aten::{op}"',
        'if op.startswith("aten::"): ...',
    ],
)
def test_the_check_lets_through_what_names_no_operator(line):
    assert not list(names_operators(line))


# ---- what is said, and who listens -----------------------------------------------------------------------------------


def node(op: str, **args: object) -> Node:
    return Node(op, op, {"input": Data("x"), **args}, (1, 1, 4, 4))


def test_a_call_goes_by_its_plain_name():
    weight = Constant((3, 2, 5, 5))
    assert plain_name(node("aten::convolution", weight=weight, transposed=False)) == "aten::conv2d"
    assert plain_name(node("aten::convolution", weight=weight, transposed=True)) == "aten::conv_transpose2d"
    assert plain_name(node("aten::convolution", weight=Data("w"), transposed=True)) == "aten::convolution"
    assert plain_name(node("aten::max_pool3d_with_indices")) == "aten::max_pool3d"
    assert {plain_name(node(f"aten::{n}")) for n in ("view", "_unsafe_view", "reshape", "view_copy")} == {
        "aten::reshape"
    }
    assert plain_name(node("aten::slice_copy")) == "aten::slice"
    assert plain_name(node("aten::view.dtype")) == "aten::view.dtype"
    assert plain_name(node("mylib::view")) == "mylib::view"


def test_kinds_follow_the_call():
    weight = Constant((3, 2, 5, 5))
    assert kind_of(node("aten::convolution", weight=weight, transposed=False)) is Kind.CONVOLUTION
    assert kind_of(node("aten::convolution", weight=weight, transposed=True)) is Kind.TRANSPOSED_CONVOLUTION
    assert kind_of(node("aten::_convolution", weight=Data("w"))) is Kind.CONVOLUTION
    assert kind_of(node("aten::max_pool2d_with_indices")) is Kind.POOLING
    assert kind_of(node("mylib::deconvolve_mean")) is None


def test_facts_are_said_once_and_undone_with_their_scope():
    with registry.kept():
        describe("mylib::told", kind="pooling", word="told", stops_nan=False, zero_weights=True, training="learns")
        spelling("mylib::retold")(lambda _: "mylib::told")
        told = registry.known_of("mylib::told")
        assert (told.kind, told.word, told.training) == (Kind.POOLING, "told", "learns")
        assert kind_of(node("mylib::retold")) is Kind.POOLING
        for fact in ({"kind": "norm"}, {"word": "x"}, {"stops_nan": True}, {"zero_weights": False}, {"training": "x"}):
            (what,) = fact
            with pytest.raises(oc.RuleError, match=f"mylib::told: already has {registry.SAID[what]}$"):
                describe("mylib::told", **fact)
        with pytest.raises(oc.RuleError, match="kind='blur': expected one of 'convolution'"):
            describe("mylib::blur", kind="blur")
    assert registry.known_of("mylib::told") == registry.known_of("mylib::retold") == registry.UNKNOWN


def test_what_an_operator_asks_is_said_in_the_same_table():
    from overlapcalc.prove import questions

    assert registry.known_of("aten::relu").question is not None
    with pytest.raises(oc.RuleError, match="aten::relu: already has a question"):
        questions._asks("relu")(lambda op, values, data: None)
    with registry.kept():
        questions._asks("asks_nothing")(lambda op, values, data: None)
    assert registry.known_of("aten::asks_nothing") == registry.UNKNOWN


def test_an_operator_of_somebodys_own_may_stop_nan_unless_it_says_not():
    assert all(map(may_stop_nan, ("aten::sign", "prims::sign", "mylib::blur")))
    assert not any(map(may_stop_nan, ("aten::conv2d", "overlapcalc::cut", "input")))
    with registry.kept():
        describe("mylib::blur", stops_nan=False)
        assert not may_stop_nan("mylib::blur")


def test_words_of_operators():
    assert word_of("aten::max_pool2d_with_indices") == "max-pool"
    assert word_of("aten::_adaptive_avg_pool3d") == "adaptive avg-pool"
    assert word_of("mylib::group_norm") == "group_norm"
    assert word_of("mylib::_blur2d") == "blur"


@pytest.fixture(scope="module")
def library():
    """`mylib::deconvolve_mean`, which looks like a convolution by its name and its arguments."""
    with torch.library._scoped_library("factslib", "FRAGMENT") as lib:
        lib.define("deconvolve_mean(Tensor x, Tensor weight, int stride) -> Tensor")
        lib.impl("deconvolve_mean", lambda x, weight, stride: x * weight.mean() * stride, "CompositeExplicitAutograd")
        yield torch.ops.factslib.deconvolve_mean


class Deconvolved(nn.Module):
    """A layer of two operators."""

    def __init__(self, op) -> None:
        super().__init__()
        self.op, self.weight = op, nn.Parameter(torch.ones(1, 1, 3, 3))

    def forward(self, x):
        return self.op(x, self.weight, 2) + x


@pytest.mark.parametrize("told", [False, True])
def test_a_name_makes_no_convolution(library, told):
    """It is one where it says so: then it shows its kernel, its strides, and its layer is called after it."""
    with registry.kept():
        oc.rule("factslib::deconvolve_mean")(lambda call: call.local({}, constants={"weight": {}}))
        if told:
            describe("factslib::deconvolve_mean", kind="convolution", word="deconv")
        a = oc.analyze(nn.Sequential(nn.Conv2d(1, 1, 3), Deconvolved(library)), (1, 1, 16, 16))
        rows = {row.op: row for row in a.layers}
        row = rows["factslib::deconvolve_mean"]
        assert row.name == ("1" if told else "1.deconvolve_mean")
        assert dict(row.detail) == ({"kernel": 3, "stride": 2} if told else {})
        assert what(row) == ("deconv k3 s2" if told else "deconvolve_mean")


def test_instance_norm_in_a_program_is_no_training_mode():
    """Decomposed, it asks for batch statistics, as batch norm does in training; but it has none of its own to update."""
    net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.InstanceNorm2d(2)).eval()
    with torch.no_grad():
        program = torch.export.export(net, (torch.rand(1, 2, 16, 16),)).run_decompositions()
    assert {o.cause for o in oc.analyze(program).obstacles} == {"global"}


@pytest.mark.parametrize(
    ("layer", "explained"), [(nn.Conv1d(1, 1, 5, 2, 2), True), (nn.ConvTranspose1d(1, 1, 5, 2, 2), False)]
)
def test_a_transposed_convolution_is_not_explained_as_a_convolution(layer, explained):
    """Decomposed, both are `aten::convolution`: which it is, its arguments say."""
    with torch.no_grad():
        program = torch.export.export(nn.Sequential(layer), (torch.rand(1, 1, 33),)).run_decompositions()
    a = oc.analyze(program)
    assert {row.op for row in a.layers} == {"aten::convolution"}
    failure = ahead._blamed(Failure("L", "reads ahead"), a.between(), "L")
    assert failure.layer == "0"
    assert ("its output o stands over" in failure.why) is explained
    assert bool(failure.help) is explained


LOADING = """
import sys, threading, time
from overlapcalc.errors import RuleError
from overlapcalc.ops import registry

{0}
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "overlapcalc.ops.rules.resize":
            at_resize()

sys.meta_path.insert(0, Finder())
{1}
"""
INTERRUPTED = (
    """
stops = [KeyboardInterrupt()]
def at_resize():
    if stops:
        raise stops.pop()
""",
    """
try:
    registry.find("aten::relu")
except KeyboardInterrupt:
    print(len(registry._OPERATORS))
print(registry.find("aten::upsample_nearest2d") is not None, registry.find("aten::conv2d") is not None)
""",
)
RACED = (
    """
reached = threading.Event()
def at_resize():
    reached.set()
    time.sleep(0.2)
""",
    """
first = threading.Thread(target=registry.find, args=("aten::relu",))
first.start()
reached.wait()
try:
    registry.rule("aten::upsample_bilinear2d")(lambda call: None)
except RuleError as error:
    print("already has a rule (overlapcalc" in str(error))
print(registry.find("aten::conv2d") is not None, registry.find("aten::upsample_nearest2d") is not None)
""",
)


@pytest.mark.parametrize(("parts", "said"), [(INTERRUPTED, "0 True True"), (RACED, "True True True")])
def test_rules_are_there_whole_or_not_at_all(parts, said):
    """In a process of its own, as they are loaded once; without torch. Interrupted on the way, and asked by two."""
    done = subprocess.run([sys.executable, "-c", LOADING.format(*parts)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == said.split()


def test_whatever_registers_takes_operators_of_torch():
    from overlapcalc.ops.cost import kernel, slab_kernel
    from overlapcalc.ops.slab import on_slab
    from overlapcalc.prove.twin.registry import twin

    free = torch.ops.aten.bincount  # of which nothing is said
    with registry.kept():
        for what, register in (("kernel", kernel), ("slab_kernel", slab_kernel), ("slab", on_slab), ("twin", twin)):
            register(free.default)(print)
            assert getattr(registry.known_of("aten::bincount"), what) is print
        for register in (kernel, slab_kernel, on_slab):
            with pytest.raises(oc.RuleError, match="'blur' names no operator"):
                register("blur")(print)


def test_facts_are_said_all_or_none():
    with registry.kept():
        describe("mylib::told", word="told")
        with pytest.raises(oc.RuleError, match="already has a word"):
            describe("mylib::told", kind="pooling", word="again")
        assert registry.known_of("mylib::told").kind is None


def test_the_second_result_of_somebodys_own_pooling_is_no_position():
    from overlapcalc.trace.unpool import _gives_positions

    with registry.kept():
        describe("mylib::pool", kind="pooling")
        assert not _gives_positions(replace(node("mylib::pool"), result=1))
    assert _gives_positions(replace(node("aten::max_pool2d_with_indices"), result=1))
