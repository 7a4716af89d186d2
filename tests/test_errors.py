"""One tree of errors; messages that name arguments as their readers do; no option of the command line in the library."""

from __future__ import annotations

import ast
import gc
import pickle
import re
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared.commands import run
from shared.guarded import HEAD, Project, entry
from torch import nn

import overlapcalc as oc
from overlapcalc import errors
from overlapcalc.cli.wording import shell
from overlapcalc.errors import Argument, InputError, OverlapcalcError, python
from overlapcalc.guard.toml import toml

PACKAGE = Path(__file__).parent.parent / "overlapcalc"

# ---- the tree -----------------------------------------------------------------------------------------------------

LOCAL = {
    "engine/fingerprint.py": {"TooMuchError": "caught beside where it is raised: such a net is not remembered"},
    "prove/spread.py": {"OtherCallsError": "caught by prove/nets, which leaves that distribution out"},
    "guard/claims/claim.py": {"WrongValue": "caught by those who read claims, who say where it stands and what may"},
    "guard/watch/reads.py": {"UnseenError": "caught beside where it is raised: such an outcome is not kept"},
    "guard/digests.py": {"ChangedError": "an OSError, caught where files are digested: such an outcome is not kept"},
    "guard/pytest_plugin.py": {"DoesNotHold": "a test that fails, which pytest shows"},
    "propagate/at_size.py": {"UnlikeError": "caught where laws of whole nets are sought: such a net has none"},
    "propagate/growth.py": {"OtherwiseError": "caught by propagate/loop_law: such a loop has no law"},
    "propagate/lines.py": {"NoPatternError": "caught by propagate/unrolled: such graphs show no loop"},
    "propagate/step_law.py": {"TooShortError": "caught where laws of whole nets are sought at longer sizes"},
}
"""Exceptions that steer one part and reach no caller of the library, and where they end."""


def drawn() -> dict[str, str]:
    """Class -> base, as the picture at the top of the file has them."""
    assert errors.__doc__ is not None
    above: list[tuple[int, str]] = []
    found = {}
    for line in errors.__doc__.splitlines():
        match = re.fullmatch(r"( {4,})([A-Z][A-Za-z]+)  +\S.*", line)
        if match is None:
            continue
        depth = len(match[1])
        above = [(d, name) for d, name in above if d < depth]
        found[match[2]] = above[-1][1] if above else "Exception"
        above.append((depth, match[2]))
    return found


def test_the_picture_is_the_tree():
    classes = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn() == classes


def exceptions(tree: ast.AST) -> set[str]:
    """Classes whose base is an exception by its name."""
    bases = re.compile(r"(\w*(Error|Exception|Pair|Twin))$")
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(bases.search(ast.unparse(base)) for base in node.bases)
    }


def test_no_error_lives_elsewhere():
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        names = exceptions(ast.parse(file.read_text()))
        if names and file != PACKAGE / "errors.py":
            found[file.relative_to(PACKAGE).as_posix()] = names
    assert found == {file: set(names) for file, names in LOCAL.items()}
    assert exceptions(ast.parse("class A(errors.InputError): pass\nclass B(int): pass")) == {"A"}


def test_public_errors_are_those_of_the_tree():
    for name in oc.__all__:
        value = getattr(oc, name)
        if isinstance(value, type) and issubclass(value, Exception):
            assert value is getattr(errors, name)


# ---- no option of the command line in the library -------------------------------------------------------------------

COMMANDS = {
    "guard/formats/text.py": "`overlapcalc check --update`: the command that writes the lock anew",
    "guard/problems.py": "the same",
    "guard/judging.py": "`overlapcalc check --debug`: the command that shows a traceback",
    "guard/pytest_plugin.py": "options of pytest, which it reads itself",
}
"""Where whole commands of ours are named, or options of another program, and which."""
OPTION = re.compile(r"(?<![\w-])--[a-z]")


def options(tree: ast.AST) -> Iterator[str]:
    """Texts of a module that hold an option; docstrings are for those who read the code."""
    prose = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            prose |= {id(s.value) for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if OPTION.search(node.value):
                yield node.value


def test_the_library_names_no_option():
    found = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith("cli/") and list(options(ast.parse(file.read_text()))):
            found.add(name)
    assert found == set(COMMANDS)


@pytest.mark.parametrize("text", ['raise E("give it with --input")', 'f"{x}: (--layout {y})"', "A = ('--kwargs',)"])
def test_an_option_in_the_library_is_found(text):
    assert list(options(ast.parse(text)))


def test_docstrings_and_dashes_are_no_options():
    assert not list(options(ast.parse('"""`--help`."""\ndef f():\n    """--in FILE"""\n    return "a--b ---- -- b"')))


# ---- how arguments are spelled --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "in_python", "in_shell", "in_toml"),
    [
        (Argument("inputs"), "inputs", "--input", "input"),
        (Argument("inputs", (1, 3, 8, 9)), "inputs=(1, 3, 8, 9)", "--input 1x3x8x9", 'input = "1x3x8x9"'),
        (
            Argument("inputs", [(1, 2), (3, 4)]),
            "inputs=[(1, 2), (3, 4)]",
            "--input 1x2 --input 3x4",
            'input = ["1x2", "3x4"]',
        ),
        (Argument("kwargs"), "kwargs", "--kwargs", "kwargs"),
        (
            Argument("kwargs", {"N": ..., "k": [True, "a"]}),
            "kwargs={'N': ..., 'k': [True, 'a']}",
            """--kwargs '{"N": ..., "k": [true, "a"]}'""",
            'kwargs = {N = ..., k = [true, "a"]}',
        ),
        (Argument("layout", "NHWC"), "layout='NHWC'", "--layout NHWC", 'layout = "NHWC"'),
        (Argument("layout", ["CHW", "HW"]), "layout=['CHW', 'HW']", "--layout CHW --layout HW", 'layout = ["CHW", "HW"]'),
        (Argument("axes"), "axes", "--axis", "axes"),
        (Argument("axes", ["H", "W"]), "axes=['H', 'W']", "--axis H --axis W", 'axes = ["H", "W"]'),
        (Argument("stream_axis", "D"), "stream_axis='D'", "--stream-axis D", 'stream_axis = "D"'),
        (Argument("block", {"H": 8, "W": 4}), "block={'H': 8, 'W': 4}", "--block H=8,W=4", "block = {H = 8, W = 4}"),
        (Argument("block", 64), "block=64", "--block 64", "block = 64"),
        (Argument("tile", (8, 4)), "tile=(8, 4)", "--tile 8,4", "tile = [8, 4]"),
        (Argument("depth", 0), "depth=0", "--depth 0", "depth = 0"),
        (Argument("in", Path("my file.npy")), "my file.npy", "--in 'my file.npy'", None),
    ],
    ids=str,
)  # fmt: skip
def test_spellings(argument, in_python, in_shell, in_toml):
    assert python(argument) == in_python
    assert shell(argument) == in_shell
    if in_toml is not None:
        assert toml(argument) == in_toml
    error = InputError("give ", argument, " or leave it")
    assert str(error) == f"give {in_python} or leave it"
    assert error.worded(shell) == f"give {in_shell} or leave it"
    again = pickle.loads(pickle.dumps(error))  # as between processes
    assert (type(again), again.args) == (InputError, error.args)


def test_an_error_without_arguments_is_its_words():
    assert str(OverlapcalcError("nothing", " else")) == OverlapcalcError("nothing else").worded(shell)
    assert str(OverlapcalcError()) == ""


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


SOURCE = (
    "class Two(nn.Module):\n    def forward(self, x, y):\n        return x + y\n"
    "class Plain(nn.Module):\n    def forward(self, x):\n        return x\n"
    "def needs(N):\n    return nn.Conv2d(N, N, 3)\n"
    "def broken():\n    raise ValueError('no weights here')\n"
    "made = nn.Conv2d(1, 1, 3)\n"
)


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "m.py").write_text(HEAD + SOURCE)
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("analyze m.py:Two", "give the shape of each, such as --input 1x3x256x256 --input 1x3x256x256"),
        ("analyze m.py:Plain", "give it with --input 1x3x256x256"),
        ("analyze m.py:needs", """give them with --kwargs '{"N": ...}'"""),
        ("analyze m.py:made --kwargs {\"N\":1}", "--kwargs are for a class or a function"),
        ("analyze m.py:Plain --input 1x2x3x4x5x6", "as in --layout NTCHW"),
        ("analyze m.py:made --input 1x16x16", "as in --layout CHW"),
        ("analyze m.py:broken", "building it failed: ValueError: no weights here (--debug shows where)"),
        ("plan m.py:made --stream-axis Z", "m.py:made: --stream-axis Z: no such axis is cut here, only H, W"),
        ("plan m.py:made --block Z=4", "--block Z=4: no axis 'Z' is cut here"),
        ("plan m.py:made --block 4 --memory 1GiB", "--block and --memory exclude each other"),
        ("plan m.py:made --memory lots", "--memory lots: expected an amount such as 2GiB"),
        ("plan m.py:made --image 3", "--image 3: this net takes WIDTHxHEIGHT"),
        ("plan m.py:made --fixed-tile 8 --schedule trim", "--fixed-tile 8 is for the schedule crop, not trim"),
        ("verify m.py:made --tile 4,8 --schedule trim", "--tile 4,8 is for the schedule crop"),
        ("verify m.py:made --device tpu9", "--device tpu9: torch knows no such device"),
        ("check", "name another file: --config models.toml"),
    ],
)  # fmt: skip
def test_the_command_line_names_options(nets, arguments, said):
    done = run(*arguments.split(), cwd=nets)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("overlapcalc: ")
    assert done.stderr.count("\n") == 1


def test_python_names_arguments():
    with pytest.raises(oc.InputError, match=r"such as inputs=\[\(1, 3, 256, 256\), \(1, 3, 256, 256\)\]"):
        oc.verify(Two())
    with pytest.raises(oc.InputError, match=r"^stream_axis='Z': no such axis is cut here"):
        oc.plan(nn.Conv2d(1, 1, 3), (1, 1, 16, 16), stream_axis="Z")
    with pytest.raises(oc.InputError, match=r"^block and memory exclude each other"):
        oc.plan(nn.Conv2d(1, 1, 3), (1, 1, 16, 16), block=4, memory="1GiB")


@pytest.mark.parametrize(
    ("spec", "more", "said"),
    [
        ("m.py:broken", "", "no weights here (`overlapcalc check --debug` shows where)"),
        ("m.py:made", "kwargs = {N = 1}", "kwargs are for a class or a function"),
        ("m.py:made", 'layout = "HW"', 'layout = "HW" has 2 letters'),
    ],
)
def test_the_guard_names_keys(tmp_path, spec, more, said):
    project = Project(tmp_path)
    project.write("m.py", HEAD + SOURCE)
    project.configure(entry(spec=spec, more=more))
    error = oc.check(tmp_path / "pyproject.toml", keep=False)["net"].error
    assert said in error
    assert "models.net.spec" in error or "layout" in more


def test_the_guard_says_in_keys_that_it_guessed(tmp_path):
    project = Project(tmp_path)
    project.write("m.py", HEAD + SOURCE)
    project.configure(entry(spec="m.py:made").replace('input = "1x1x32x32"\n', ""))
    notes = oc.check(tmp_path / "pyproject.toml", keep=False)["net"].notes
    assert any(note.endswith("; input sets it") for note in notes)
    assert "; --input sets it" in run("analyze", "m.py:made", cwd=tmp_path).stdout


# ---- wrong usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "the following arguments are required: COMMAND; see `overlapcalc --help`"),
        ("analyze", "the following arguments are required: SPEC; see `overlapcalc analyze --help`"),
        ("analyze m.py:made --nonsense", "unrecognized arguments: --nonsense; see `overlapcalc --help`"),
        ("analyze m.py:made --depth x", "--depth: expected a number of path components"),
        ("plan m.py:made --block 0", "--block: expected a number of samples, at least 1, not '0'"),
        ("analyze m.py:made --format yaml", "--format: invalid choice: 'yaml'"),
        ("run m.py:made --in x.npy --out y.npy --input 9x9", "--input '9x9': expected NAME=VALUE, such as scale=2"),
        ("run m.py:made --in x.npy --out y.npy --output r", "unrecognized arguments: --output r"),
    ],
)
def test_wrong_usage_is_one_line(arguments, said):
    done = run(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"overlapcalc: {said}")
    assert done.stderr.count("\n") == 1


def test_a_wrong_command_is_answered_with_the_nearest():
    assert "did you mean analyze?; see `overlapcalc --help`" in run("analyse", "x").stderr
    assert "did you mean" not in run("xyz", "x").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan m.py:made --image 10x", "--image 10x: expected WIDTHxHEIGHT"),
        ("plan m.py:made --memory nonsense", "--memory nonsense: expected an amount"),
        ("verify m.py:made --tile 1,2,3", "--tile '1,2,3': expected samples before and after"),
        ("analyze m.py:made --input 3x", "--input '3x': expected sizes"),
        ("run m.py:made --in none.npy --out y.npy", "--in none.npy: there is no such file"),
    ],
)
def test_options_are_checked_before_the_model_is_loaded(tmp_path, arguments, said):
    """Its file ends the test if it is run."""
    (tmp_path / "m.py").write_text("raise AssertionError('loaded')\n")
    done = run(*arguments.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"overlapcalc: {said}")
    assert "loaded" in run("analyze", "m.py:made", cwd=tmp_path).stderr  # the control


@pytest.mark.parametrize("place", ["", "class Net(nn.Module):\n    def forward(self, x):\n        "])
def test_an_interrupted_command_says_so_in_one_line(tmp_path, place):
    """While the model is imported, and while it is traced."""
    (tmp_path / "m.py").write_text(f"{HEAD}{place}raise KeyboardInterrupt\n")
    done = run("analyze", "m.py:Net", "--input", "1x1x8x8", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "overlapcalc: interrupted; missing: every answer\n"


def test_an_error_keeps_plain_values_alone():
    """Whatever is given to it: it can be printed, sent to another process, and keeps nothing alive."""
    for given, text in ((3, "3"), (Path("x"), "x"), (Argument("inputs", lambda: 3), "inputs=<function")):
        error = InputError(given, " is wrong")
        assert str(error).startswith(text)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    kept = nn.Linear(1, 1)
    seen = weakref.ref(kept)
    error = InputError(Argument("inputs", [kept]), " is wrong")
    del kept
    gc.collect()
    assert seen() is None
    assert "Linear" in str(error)
