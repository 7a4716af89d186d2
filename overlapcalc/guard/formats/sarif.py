"""A Check as SARIF 2.1.0, the format of code scanning."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ...version import __version__
from .. import Check
from ..claims import KINDS
from ..problems import LOCK, NOT_ANALYSED, Problem, problems

RULES = {
    **{key: f"The claim {key} of a guarded model: {kind.allowed}." for key, kind in KINDS.items()},
    LOCK: "A guarded model needs what the lock says.",
    NOT_ANALYSED: "A guarded model, or a claim, could not be analysed.",
}


def check_sarif(check: Check) -> str:
    """One result per problem; a check in which something could not be analysed was not successful."""
    found = problems(check)
    rules = list(RULES)
    driver = {
        "name": "overlapcalc",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()],
    }
    successful = not any(problem.rule == NOT_ANALYSED for problem in found)
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": successful, "exitCode": check.code}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, rules.index(problem.rule)) for problem in found],
    }
    return json.dumps({"version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(problem: Problem, index: int) -> dict[str, Any]:
    return {
        "ruleId": problem.rule,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": problem.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(problem.file),
                    "region": {"startLine": max(1, problem.line)},
                },
                "logicalLocations": [{"name": problem.model, "kind": "module"}],
            }
        ],
    }


def _artifact(file: str) -> dict[str, Any]:
    """A file of the repository, relative to its root; any other file, by its full path."""
    if file.startswith("/") or file[1:2] == ":":
        return {"uri": f"file://{'' if file.startswith('/') else '/'}{quote(file)}"}
    return {"uri": quote(file), "uriBaseId": "%SRCROOT%"}
