"""Checking many models: none hides another, none leaves anything behind, and what has not changed is skipped."""

from __future__ import annotations

import gc
import importlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from shared.guarded import CHAIN, GLOBAL, HEAD, Project, entry
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.guard import cache, check
from overlapcalc.guard.isolation import isolated

# ---- one model does not hide another -----------------------------------------------------------------------

BROKEN = {
    "no such file": "",
    "a syntax error": "def Net(:\n",
    "an import that exits": "import sys\nsys.exit(3)\n",
    "an import that fails": "import nothing_of_this_name\n",
    "no such name": "Other = 3\n",
    "building exits": "def Net():\n    raise SystemExit(0)\n",
    "building raises what is no Exception": "class Odd(BaseException): pass\ndef Net():\n    raise Odd('odd')\n",
    "building gives no module": "def Net():\n    return 3\n",
    "arguments are missing": "from torch import nn\ndef Net(n):\n    return nn.Conv2d(1, n, 3)\n",
    "forward raises": "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        raise ValueError('no')\n",
    "forward exits": "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        raise SystemExit(0)\n",
    "another input": "from torch import nn\ndef Net():\n    return nn.Conv2d(7, 1, 3)\n",
    "an unknown operator": "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return torch.cholesky_inverse(x)\n",
    "too deep": "def Net():\n    return Net()\n",
}  # fmt: skip


@pytest.mark.parametrize("name", few(BROKEN, 4))
def test_a_model_that_fails_hides_no_other(project: Project, name):
    project.write("good.py", CHAIN)
    if BROKEN[name]:
        project.write("bad.py", BROKEN[name])
    project.configure(entry("bad", "bad.py:Net"), entry("good", "good.py:Net", "max-tile = 4"))
    said = project.check("--format", "json")
    assert said.code == 2
    bad, good = json.loads(said.out)["models"]
    assert bad["error"]
    assert not bad["holds"]
    assert good["holds"]
    assert good["claims"][0]["holds"]


def test_an_interruption_ends_the_check(project: Project):
    project.write("net.py", "raise KeyboardInterrupt\n")
    project.configure(entry())
    said = project.check()
    assert (said.code, said.err) == (130, "overlapcalc: interrupted\n")


def test_2_wins_over_1_and_1_over_0(project: Project):
    project.write("net.py", CHAIN)
    good, false, bad = entry("good"), entry("false", more="step = 1"), entry("bad", "bad.py:Net")
    for entries, code in (((good,), 0), ((good, false), 1), ((false, bad, good), 2)):
        project.configure(*entries)
        assert project.check().code == code
    assert project.check("--model", "good").code == 0
    assert project.check("--model", "good", "--model", "false").code == 1


# ---- isolation ----------------------------------------------------------------------------------------------


def test_neighbours_of_one_name_are_not_mixed_up(project: Project):
    for place, kernel in (("one", 3), ("two", 9)):
        project.write(f"{place}/parts.py", f"K = {kernel}\n")
        project.write(f"{place}/net.py", HEAD + "import parts\ndef Net():\n    return nn.Conv2d(1, 1, parts.K)\n")
    entries = [entry("one", "one/net.py:Net"), entry("two", "two/net.py:Net")]
    for order in (entries, entries[::-1]):
        found = check(project.configure(*order), keep=False)
        fields = {
            m.name: m.needs.places["output", "input", "W"]["receptive-field.max"] for m in found.models if m.needs
        }
        assert fields == {"one": 3, "two": 9}


def test_a_rule_of_one_model_is_none_of_another(project: Project):
    op = "import overlapcalc\n@overlapcalc.rule('aten::cholesky_inverse')\ndef law(call):\n    return call.local({})\n"
    net = HEAD + "class Net(nn.Module):\n    def forward(self, x):\n        return torch.cholesky_inverse(x)\n"
    project.write("with.py", net + op)
    project.write("without.py", net)
    entries = [entry("with", "with.py:Net"), entry("with2", "with.py:Net"), entry("without", "without.py:Net")]
    for order in (entries, entries[::-1]):
        found = check(project.configure(*order), keep=False)
        assert {m.name: bool(m.error) for m in found.models} == {"with": False, "with2": False, "without": True}


def test_models_that_make_operators_may_share_a_file(project: Project, monkeypatch):
    """torch lets nobody make a library twice, and pytest may have imported the project before."""
    project.write(
        "oplib.py",
        "import torch\nfrom torch import nn\nLIBRARY = torch.library.Library('guardlib', 'DEF')\n"
        "LIBRARY.define('same(Tensor x) -> Tensor')\n"
        "LIBRARY.impl('same', lambda x: x * 2, 'CompositeImplicitAutograd')\n"
        "class Net(nn.Module):\n    def forward(self, x):\n        return torch.ops.guardlib.same(x)\n",
    )
    file = project.configure(entry("a", "oplib.py:Net"), entry("b", "oplib.py:Net", "max-context = 0"))
    assert check(file, keep=False).holds
    monkeypatch.syspath_prepend(project.root)
    mine = importlib.import_module("oplib")
    gc.collect()  # libraries that are gone take nothing with them
    assert check(file, keep=False).holds
    assert sys.modules["oplib"] is mine
    monkeypatch.delitem(sys.modules, "oplib")
    mine.LIBRARY._destroy()


def test_what_a_model_changes_is_put_back(project: Project):
    project.write(
        "net.py",
        HEAD + "import os, sys\nos.environ['GUARDED'] = '1'\nos.chdir('/')\nsys.path.append('/nowhere')\n"
        "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ntorch.set_default_device('meta')\nprint('noise')\n"
        "def Net():\n    torch.manual_seed(3)\n    return nn.Conv2d(1, 1, 3)\n",
    )
    project.configure(entry())
    seed = torch.random.get_rng_state()
    before = (dict(os.environ), os.getcwd(), list(sys.path), set(sys.modules), sys.dont_write_bytecode)
    said = project.check("--format", "json")
    assert json.loads(said.out)["holds"]  # what a model prints does not land in the report
    assert "noise" in said.err
    assert (dict(os.environ), os.getcwd(), list(sys.path), sys.dont_write_bytecode) == (*before[:3], before[4])
    assert "net" not in set(sys.modules) - before[3]
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), seed)


PATCHES = {
    "a layer": "nn.ReLU.forward = lambda self, x: x.roll(1, -1)\n",
    "a function": "F.relu = lambda x, inplace=False: x.roll(1, -1)\n",
    "a function that says it is torch's": "import functools\nF.relu = functools.wraps(F.relu)(lambda x, inplace=False: x.roll(1, -1))\n",
    "a method that tensors inherit": "torch.Tensor.relu = lambda x: x.roll(1, -1)\n",
    "a hook of all modules": "nn.modules.module.register_module_forward_hook(lambda m, given, y: y.roll(1, -1))\n",
    "how deep Python goes": "import sys\nsys.setrecursionlimit(150)\n",
}


@pytest.mark.parametrize("name", few(PATCHES, 3))
def test_what_a_model_patches_is_no_other_models(project: Project, name):
    project.write("patching.py", f"{HEAD}{PATCHES[name]}def Net():\n    return nn.Conv2d(1, 1, 3)\n")
    relus = "return torch.Tensor.relu(self.r(F.relu(x)))"
    body = f"    def __init__(self):\n        super().__init__()\n        self.r = nn.ReLU()\n    def forward(self, x):\n        {relus}\n"
    project.write("net.py", f"{HEAD}class Net(nn.Module):\n{body}")
    project.configure(entry("patching", "patching.py:Net"), entry(more="blocking-free = true"))
    forward, relu, hooks = nn.ReLU.forward, nn.functional.relu, vars(nn.modules.module)["_global_forward_hooks"]
    found = check(project.root / "pyproject.toml", keep=False)
    assert found["net"].code == 0, found["net"]
    assert (nn.ReLU.forward, nn.functional.relu) == (forward, relu)
    assert "relu" not in vars(torch.Tensor)
    assert not hooks


def test_what_the_caller_patched_stays(project: Project, monkeypatch):
    project.write("net.py", CHAIN)
    own = lambda self, x: x.clamp(0)  # noqa: E731
    monkeypatch.setattr(nn.ReLU, "forward", own)
    assert check(project.configure(entry()), keep=False).holds
    assert nn.ReLU.forward is own


def test_what_is_printed_past_python_does_not_land_in_the_report(project: Project):
    noise = "import os, sys\nos.write(1, b'noise\\n')\nprint('more', file=sys.__stdout__)\n"
    project.write("net.py", f"{noise}{CHAIN}")
    project.configure(entry())
    command = [sys.executable, "-m", "overlapcalc", "check", "--no-cache", "--format", "json"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)["holds"]
    assert {"noise", "more"} <= set(done.stderr.split())


def test_modules_of_the_caller_stay_the_callers(tmp_path: Path, monkeypatch):
    """pytest has imported the project that it tests: it gets its own modules back, the model fresh ones."""
    (tmp_path / "mine.py").write_text("STATE = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("mine")
    with isolated():
        assert importlib.import_module("mine") is not mine
        assert sys.modules["overlapcalc"] is oc
        assert sys.modules["torch"] is torch
    assert sys.modules["mine"] is mine
    monkeypatch.delitem(sys.modules, "mine")


def test_an_edit_of_the_same_second_and_size_is_seen(project: Project):
    """Python takes the bytecode of the same second and size for that of the edited file."""
    project.configure(entry())
    for kernel in (3, 5, 7):
        project.write("net.py", HEAD + "from parts import K\ndef Net():\n    return nn.Conv2d(1, 1, K)\n", age=0)
        project.write("parts.py", f"K = {kernel}\n", age=0)
        needs = check(project.root / "pyproject.toml")["net"].needs
        assert needs is not None
        assert needs.places["output", "input", "W"]["receptive-field.max"] == kernel


# ---- the cache ----------------------------------------------------------------------------------------------


@pytest.fixture
def cached(project: Project) -> Project:
    """A project of a model, its neighbour and its data, checked once."""
    project.write("parts.py", "def kernel():\n    return 5\n")
    project.write("pack/__init__.py", "")
    project.write("pack/deep.py", "STRIDE = 2\n")
    project.write("data.json", '{"channels": 1}')
    project.write(
        "net.py",
        HEAD + "import json, pathlib\nimport parts\nfrom pack.deep import STRIDE\n"
        "def Net(d=1):\n"
        "    c = json.loads((pathlib.Path(__file__).parent / 'data.json').read_text())['channels']\n"
        "    return nn.Conv2d(c, 1, parts.kernel(), STRIDE, dilation=d)\n",
    )
    project.configure(entry(more="max-receptive-field = 5"))
    assert not kept(project)
    assert kept(project)
    return project


def kept(project: Project) -> bool:
    """Whether the first model was skipped."""
    found = check(project.root / "pyproject.toml")
    return found.models[0].kept


def test_an_outcome_that_was_kept_says_the_same(cached: Project):
    fresh, again = cached.check("--format", "json"), cached.check("--format", "json", cache=True)
    assert '"kept": true' in again.out
    assert again.out.replace('"kept": true', '"kept": false') == fresh.out
    assert "(unchanged)" in cached.check(cache=True).out
    cached.configure(entry(more="max-receptive-field = 4"))
    assert [cached.check(cache=True).code for _ in range(2)] == [1, 1]
    assert [cached.check("--format", f, cache=True).out for f in ("github", "sarif", "junit")] == [
        cached.check("--format", f).out for f in ("github", "sarif", "junit")
    ]


EDITS = {
    "the model": lambda p: p.write("net.py", (p.root / "net.py").read_text() + "\n"),
    "a neighbour": lambda p: p.write("parts.py", "def kernel():\n    return 3\n"),
    "a module of a package": lambda p: p.write("pack/deep.py", "STRIDE = 3\n"),
    "data that building reads": lambda p: p.write("data.json", '{"channels":  1}'),
    "a claim": lambda p: p.configure(entry(more="max-receptive-field = 4")),
    "the arguments": lambda p: p.configure(entry(more="max-receptive-field = 5\nkwargs = {d = 2}")),
    "the input": lambda p: p.configure(entry(more="max-receptive-field = 5").replace("32x32", "33x32")),
    "a package that hides a neighbour": lambda p: p.write("parts/__init__.py", "def kernel():\n    return 7\n"),
    "a module that hides an installed one": lambda p: p.write("numpy/__init__.py", ""),
    "a file that is gone": lambda p: (p.root / "data.json").unlink(),
}


@pytest.mark.parametrize(
    "name",
    few(EDITS, ("the model", "a neighbour", "data that building reads", "a claim")),
)
def test_an_edit_is_never_skipped(cached: Project, name):
    EDITS[name](cached)
    assert not kept(cached)
    fresh, again = cached.check("--format", "json"), cached.check("--format", "json", cache=True)
    assert again.out.replace('"kept": true', '"kept": false') == fresh.out


def test_what_says_nothing_of_the_model_is_skipped_over(cached: Project):
    """Comments in the configuration, other models, and the same bytes written again."""
    cached.configure("# a comment\n", entry(more="max-receptive-field = 5"), entry("other"))
    assert kept(cached)
    cached.write("net.py", (cached.root / "net.py").read_text())
    assert kept(cached)


def test_what_we_import_while_we_look_at_a_model_is_not_what_it_reads(project: Project, monkeypatch):
    """networkx reads the whole environment when it is imported, which the first model of a process would pay for."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "networkx"]:
        monkeypatch.delitem(sys.modules, name)
    project.write("net.py", CHAIN)
    project.configure(entry())
    assert not kept(project)
    assert "networkx" in sys.modules
    monkeypatch.setenv("ANOTHER", "variable")
    assert kept(project)


def test_other_surroundings_are_never_skipped(cached: Project, monkeypatch):
    now = cache.surroundings()
    for key in now:
        monkeypatch.setattr(cache, "surroundings", lambda key=key: {**now, key: "other"})
        assert not kept(cached)
    assert set(now) == {"overlapcalc", "python", "machine", "installed"}


def test_damaged_entries_are_ignored(cached: Project):
    for damage in (b"", b"{", b"null", b"[]", b'{"content": 3, "digest": 4}', b"\xff\xfe"):
        for file in (cached.root / cache.NAME).glob("*.json"):
            file.write_bytes(damage)
        assert not kept(cached), damage
        assert kept(cached), damage


def test_an_entry_with_another_figure_is_damaged(cached: Project):
    for file in (cached.root / cache.NAME).glob("*.json"):
        text = file.read_text()
        assert '"step": 2' in text
        file.write_text(text.replace('"step": 2', '"step": 1'))
    assert not kept(cached)


def test_the_directory_may_go_at_any_time(cached: Project, monkeypatch):
    shutil.rmtree(cached.root / cache.NAME)
    assert not kept(cached)
    assert kept(cached)
    real = cache.os.replace

    def gone_under_our_hands(a, b):
        shutil.rmtree(cached.root / cache.NAME, ignore_errors=True)
        return real(a, b)

    shutil.rmtree(cached.root / cache.NAME)
    monkeypatch.setattr(cache.os, "replace", gone_under_our_hands)
    assert not kept(cached)
    monkeypatch.undo()
    shutil.rmtree(cached.root / cache.NAME, ignore_errors=True)
    (cached.root / cache.NAME).write_text("a file where the directory should be")
    assert not kept(cached)
    assert cached.check(cache=True).code == 0


def test_another_directory_and_none(cached: Project):
    other = cached.root / "elsewhere"
    assert "(unchanged)" not in cached.check("--cache-dir", str(other), cache=True).out
    assert "(unchanged)" in cached.check("--cache-dir", str(other), cache=True).out
    assert "(unchanged)" not in cached.check().out
    assert (other / ".gitignore").read_text() == "*\n"


def test_a_file_that_was_looked_for_in_vain_is_missed_no_more(project: Project):
    project.write(
        "net.py",
        f"{HEAD}import pathlib\ntry:\n    K = int((pathlib.Path(__file__).parent / 'k.txt').read_text())\n"
        "except OSError:\n    K = 3\ndef Net():\n    return nn.Conv2d(1, 1, K)\n",
    )
    project.configure(entry())
    assert [kept(project) for _ in range(2)] == [False, True]
    project.write("k.txt", "5")
    assert not kept(project)


def test_another_working_directory_is_never_skipped(project: Project, monkeypatch):
    project.write("net.py", f"{HEAD}K = int(open('k.txt').read())\ndef Net():\n    return nn.Conv2d(1, 1, K)\n")
    project.configure(entry(more="max-receptive-field = 3"))
    for place, kernel in (("three", 3), ("five", 5)):
        project.write(f"{place}/k.txt", str(kernel))
    for place, holds in (("three", True), ("three", True), ("five", False)):
        monkeypatch.chdir(project.root / place)
        assert check(project.root / "pyproject.toml").holds is holds


def test_another_place_of_modules_is_never_skipped(project: Project, monkeypatch):
    project.write("net.py", f"{HEAD}from overlapcalc_k import K\ndef Net():\n    return nn.Conv2d(1, 1, K)\n")
    project.configure(entry(more="max-receptive-field = 3"))
    for place, kernel in (("three", 3), ("five", 5)):
        project.write(f"{place}/overlapcalc_k.py", f"K = {kernel}\n")
    for place, holds in (("three", True), ("three", True), ("five", False)):
        monkeypatch.setattr(sys, "path", [str(project.root / place), *sys.path])
        assert check(project.root / "pyproject.toml").holds is holds


def test_a_module_that_appears_where_python_looks_is_seen(project: Project, monkeypatch):
    (project.root / "empty").mkdir()
    monkeypatch.setattr(sys, "path", [str(project.root / "empty"), *sys.path])
    project.write(
        "net.py",
        f"{HEAD}try:\n    from overlapcalc_k import K\nexcept ImportError:\n    K = 3\n"
        "def Net():\n    return nn.Conv2d(1, 1, K)\n",
    )
    project.configure(entry())
    assert [kept(project) for _ in range(2)] == [False, True]
    project.write("empty/overlapcalc_k.py", "K = 5\n")
    assert not kept(project)


def test_bytecode_is_its_source(project: Project, monkeypatch):
    """A module that is loaded by hand stands in no list; of its source Python reads no byte."""
    project.write(
        "net.py",
        f"{HEAD}from importlib.machinery import SourceFileLoader\nfrom types import ModuleType\nimport pathlib\n"
        "m = ModuleType('k')\n"
        "SourceFileLoader('k', str(pathlib.Path(__file__).parent / 'k.py')).exec_module(m)\n"
        "def Net():\n    return nn.Conv2d(1, 1, m.K)\n",
    )
    py_compile.compile(str(project.write("k.py", "K = 3\n")))
    project.configure(entry())
    assert [kept(project) for _ in range(2)] == [False, True]
    project.write("k.py", "K = 5\n", age=4.0)
    assert not kept(project)


@pytest.mark.parametrize(
    "source",
    few(
        [
            "import os\nK = int(os.environ.get('KERNEL', 3))\ndef Net():\n    return nn.Conv2d(1, 1, K)\n",
            "import pathlib\ndef Net():\n    return nn.Conv2d(1, 1, 3 + 2 * pathlib.Path('large').exists())\n",
            "import os\ndef Net():\n    return nn.Conv2d(1, 1, 3 + 2 * os.path.isfile('large'))\n",
            "import os\ndef Net():\n    return nn.Conv2d(1, 1, int(os.popen('echo 3').read()))\n",
            "import os\ndef Net():\n    os.system('true')\n    return nn.Conv2d(1, 1, 3)\n",
            "import torch\ntry:\n    torch.jit.load('k.pt')\nexcept Exception:\n    pass\ndef Net():\n    return nn.Conv2d(1, 1, 3)\n",
            "exec('K = 3')\ndef Net():\n    return nn.Conv2d(1, 1, K)\n",
            "def Net():\n    raise ValueError\n",
            "raise SystemExit(0)\n",
        ],
        4,
    ),
    ids=[
        "asks for the environment",
        "asks for a file's name",
        "asks whether there is a file",
        "reads what a process says",
        "starts a process",
        "has torch open a file",
        "runs what it reads",
        "fails to build",
        "fails to load",
    ],
)
def test_what_cannot_be_pinned_is_not_kept(project: Project, source):
    project.write("net.py", HEAD + source)
    project.configure(entry())
    assert [kept(project) for _ in range(3)] == [False] * 3


def test_what_was_written_while_it_was_read_is_not_kept(project: Project):
    project.write("net.py", CHAIN, age=-1)
    project.configure(entry())
    assert [kept(project) for _ in range(2)] == [False] * 2


def test_a_claim_that_cannot_be_judged_is_not_kept(project: Project):
    project.write("net.py", CHAIN)
    project.configure(entry(more="step = {D = 1}"))
    assert [kept(project) for _ in range(2)] == [False] * 2


def test_an_unchanged_model_is_neither_loaded_nor_traced(cached: Project, monkeypatch):
    def never(*arguments, **named):
        raise AssertionError("it is loaded")

    monkeypatch.setattr("overlapcalc.guard.judging.load", never)
    assert kept(cached)


# ---- the library ---------------------------------------------------------------------------------------------


def test_the_public_functions(project: Project, monkeypatch):
    project.write("net.py", CHAIN)
    file = project.configure(entry(more="max-tile = 4"), entry("other", more="step = 1"))
    found = oc.check(file, keep=False)
    assert isinstance(found, oc.Check)
    assert not found.holds
    assert isinstance(found["net"], oc.Checked)
    assert (found["net"].code, found["other"].code) == (0, 1)
    monkeypatch.chdir(project.root)
    assert oc.lock().written
    assert oc.check(models=["net"], keep=False).holds
    with pytest.raises(oc.InputError):
        oc.check(project.root / "none.toml")
    with pytest.raises(AttributeError):
        found.locked = True  # type: ignore[misc]


def test_a_saved_program(project: Project):
    program = torch.export.export(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 16, 16),))
    torch.export.save(program, project.root / "net.pt2")
    then = time.time() - 60
    os.utime(project.root / "net.pt2", (then, then))
    project.configure(entry(spec="net.pt2", more="max-context = 2").replace('input = "1x1x32x32"\n', ""))
    first = check(project.root / "pyproject.toml")
    assert first.holds
    assert "size not verified" in first.models[0].notes[0]
    assert kept(project)
    torch.export.save(torch.export.export(nn.Conv2d(1, 1, 5), (torch.zeros(1, 1, 16, 16),)), project.root / "net.pt2")
    assert not kept(project)
    assert project.check().code == 1


def test_a_module_spec_is_looked_for_beside_the_configuration(project: Project, monkeypatch):
    project.write("beside/inner.py", CHAIN)
    file = project.configure(entry(spec="beside.inner:Net.b", more="max-receptive-field = 5").replace("1x1x", "1x2x"))
    monkeypatch.chdir("/")
    found = check(file, keep=False)
    assert found.holds
    assert (found.models[0].file, found.models[0].line) == (str(project.root / "beside/inner.py"), 4)


def test_global_nets_are_no_error(project: Project):
    project.write("net.py", GLOBAL)
    project.configure(entry(more="blocking-free = true"))
    assert project.check().code == 1  # a claim that does not hold; `analyze` gives 3 for the same net
