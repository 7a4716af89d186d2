"""The examples in docstrings run, and so does the Python of README.md and docs/; most public docstrings have one.

docs/testing.md has its own test (testing/test_kit.py), and so has what the pages show of the commands.
"""

from __future__ import annotations

import doctest
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from shared.guarded import CHAIN, Project, entry
from torch import nn

import overlapcalc as oc
import overlapcalc.testing as kit
from overlapcalc.ops import registry

ROOT = Path(__file__).parent.parent
NAMES = {"oc": oc, "torch": torch, "nn": nn, "__name__": "example"}
"""What an example may use besides the names of its module. Its own name, so that rules it registers are not ours."""


def modules() -> Iterator[str]:
    yield oc.__name__
    for found in pkgutil.walk_packages(oc.__path__, f"{oc.__name__}."):
        if not found.name.endswith("__main__"):
            yield found.name


def cached(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The cached properties of a module's own classes, which doctest overlooks: name -> the function behind."""
    for cls in vars(module).values():
        if inspect.isclass(cls) and cls.__module__ == module.__name__:
            for name, value in vars(cls).items():
                if isinstance(value, cached_property):
                    yield f"{module.__name__}.{cls.__name__}.{name}", value.func


def examples(module: ModuleType) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = {test.name: test for test in finder.find(module, extraglobs=NAMES)}
    for name, function in cached(module):
        tests |= {test.name: test for test in finder.find(function, name, module, extraglobs=NAMES)}
    return [test for test in tests.values() if test.examples]


def failures(test: doctest.DocTest) -> str:
    """What doctest says of the examples that fail; empty where none does."""
    said: list[str] = []
    with registry.kept():  # an example may register a rule
        doctest.DocTestRunner().run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_docstrings_run(name: str):
    said = [text for test in examples(import_module(name)) if (text := failures(test))]
    assert not said, "\n".join(said)


# ---- the runner --------------------------------------------------------------------------------------------------


def example_of(module: str, name: str) -> doctest.DocTest:
    return next(test for test in examples(import_module(module)) if test.name.endswith(name))


def test_a_wrong_example_fails():
    assert not failures(example_of("overlapcalc.algebra.spans", "Span.length"))
    wrong = example_of("overlapcalc.algebra.spans", "Span.length")
    wrong.examples[0].want = "5\n"
    assert "Expected:\n    5\nGot:\n    4\n" in failures(wrong)


def test_examples_of_cached_properties_run_too():
    assert not failures(example_of("overlapcalc.analysis.analysis", "Analysis.blocking_free"))
    wrong = example_of("overlapcalc.analysis.analysis", "Analysis.blocking_free")
    wrong.examples[0].want = "True\n"
    assert "Expected:\n    True\nGot:\n    False\n" in failures(wrong)


def test_a_rule_of_an_example_is_forgotten():
    for _ in range(2):  # a second registration would be refused
        assert not failures(example_of("overlapcalc.ops.registry", "registry.rule"))
    assert registry.find("mylib::blur5") is None


# ---- which docstrings have an example ----------------------------------------------------------------------------

PLAIN = {
    oc: {
        "__version__",
        *("NoSlabError", "UnforeseenError", "WrongTileError"),  # what raises them takes a net made for it
        *("Check", "Checked", "check", "lock"),  # of a configuration: docs/guard.md
    },
    kit: {"FAMILIES", "HAZARDS", "block_grids", "cnns", "sizes"},  # of hypothesis: docs/testing.md
}
"""Public names without an example."""


@pytest.mark.parametrize("package", [oc, kit])
def test_most_public_docstrings_have_an_example(package: ModuleType):
    lacking = {name for name in package.__all__ if ">>>" not in (getattr(package, name).__doc__ or "")}
    assert lacking == PLAIN[package]
    assert 2 * len(lacking) < len(package.__all__)


# ---- the pages ---------------------------------------------------------------------------------------------------


class Either(nn.Module):
    """A convolution that takes channels first or last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if x.shape[-1] == 3 else self.conv(x)


def code(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


SMALLER = {
    "1, 1, 64, 96)": "1, 1, 8, 12)",
    "(1, 3, 2160, 3840)": "(1, 3, 216, 384)",
    "(1, 3, 512, 768), block=128": "(1, 3, 48, 64), block=16",
    "20000, 20000": "200, 100",
}
"""What the pages say -> what is run instead, to be done in a moment."""


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    numpy = pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)  # with some weights the image that is drawn is all zeros
    model, x = Either(), torch.rand(1, 3, 216, 384)
    torch.export.save(torch.export.export(model.eval(), (torch.rand(1, 3, 256, 256),)), "net.pt2")
    numpy.zeros((3, 200, 100), numpy.float32).tofile("image.bin")
    space = {"torch": torch, "np": numpy, "oc": oc, "nn": nn, "model": model, "x": x}
    blocks = [block for block in code("README.md") if "overlapcalc.testing" not in block]
    assert len(blocks) == 6
    text = "".join(blocks)
    for said, instead in SMALLER.items():
        assert said in text
        text = text.replace(said, instead)
    exec(compile(text, "README.md", "exec"), space)
    assert torch.allclose(space["y"], model(x), atol=1e-6)
    assert space["a"].blocking_free
    assert space["v"].proved
    assert space["loop"].steps() == 2 * (8 - 1) + 12
    assert space["image"].std() > 0
    assert set(space["drawn"].unique().tolist()) == {0.0, 1.0}
    assert oc.verify(space["loop"]).proved


@torch.library.custom_op("mylib::energy", mutates_args=())
def energy(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sum(-1)


@energy.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape[:-1])


class Energy(nn.Module):
    def forward(self, x):
        return x / energy(x)[..., None]


def test_the_rule_of_the_docs_runs():
    law, reduction, its_law, _ = code("docs/add-an-operator.md")  # the last one: tests/ops/test_operators.py
    with registry.kept():
        exec(compile(law, "docs/add-an-operator.md", "exec"), {"__name__": "example"})
        exec(compile(reduction, "docs/add-an-operator.md", "exec"), {"__name__": "example"})
        assert registry.find("mylib::blur5") is not None
        assert registry.known_of("mylib::energy").parts is not None
        exec(compile(its_law, "docs/add-an-operator.md", "exec"), {"__name__": "example"})
        net, x = Energy(), torch.rand(1, 2, 5, 30)
        assert oc.analyze(net, x.shape).runs["W"].passes == 2
        assert torch.allclose(oc.run(net, x, schedule="passes", stream_axis="W", block=7), net(x))


def test_the_python_of_the_guard_runs(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.write("net.py", CHAIN)
    project.configure(entry(more="max-tile = 4"))
    monkeypatch.chdir(project.root)
    (text,) = code("docs/guard.md")
    space: dict[str, Any] = {}
    exec(compile(text, "docs/guard.md", "exec"), space)
    assert space["found"].holds
    assert space["judgement"].claim == "max-tile"
