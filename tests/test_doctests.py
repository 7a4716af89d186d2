"""Examples in docstrings run; most public docstrings have one; so does the Python of README.md and docs/."""

from __future__ import annotations

import doctest
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import nn

import overlapcalc as oc
from overlapcalc.ops import registry

NAMES = {"oc": oc, "torch": torch, "nn": nn, "__name__": "example"}
"""What an example may use besides the names of its module. Its own name, so that rules it registers are not ours."""


def modules() -> Iterator[str]:
    yield oc.__name__
    for found in pkgutil.walk_packages(oc.__path__, f"{oc.__name__}."):
        if not found.name.endswith("__main__"):
            yield found.name


def examples(module: ModuleType) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, extraglobs=NAMES) if test.examples]


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
