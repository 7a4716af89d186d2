"""A Check as JUnit XML: a suite per model, a case per claim and one for the lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from .. import Check
from ..judgement import merged
from ..problems import LOCK, against_lock, failed, left_over
from ..result import Checked

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot represent."""


@dataclass(frozen=True)
class Case:
    """failures, errors: their messages; the case passes where there are none."""

    name: str
    failures: tuple[str, ...] = ()
    error: str = ""


def check_junit(check: Check) -> str:
    root = ElementTree.Element("testsuites", name="overlapcalc check")
    for model in check.models:
        _suite(root, model.name, list(_cases(check, model)))
    for name in check.gone:
        _suite(root, name, [Case(LOCK, (left_over(check, name),))])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(check: Check, model: Checked) -> Iterator[Case]:
    yield Case("analysis", error=model.error)
    for j in model.judgements:
        yield Case(f"{j.claim} = {j.limit}", tuple(failed(model, j, f) for f in merged(j.failures)), j.error)
    if model.changed:
        yield Case(LOCK, (against_lock(check, model),))
    elif model.comparison is not None:
        yield Case(LOCK)


def _suite(root: ElementTree.Element, name: str, cases: list[Case]) -> None:
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_clean(name),
        tests=str(len(cases)),
        failures=str(sum(bool(case.failures) for case in cases)),
        errors=str(sum(bool(case.error) for case in cases)),
        skipped="0",
    )
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=_clean(name), name=_clean(case.name))
        for tag, messages in (("error", (case.error,) if case.error else ()), ("failure", case.failures)):
            if messages:
                found = ElementTree.SubElement(element, tag, message=_clean(messages[0]))
                found.text = _clean("\n".join(messages))


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
