"""CSV, Markdown and folded tables: every figure is there, none is made up, and what is folded can be unfolded."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from functools import cache

import pytest
import torch.nn.functional as F
from markdown_it import MarkdownIt
from rich.console import Console
from shared.commands import run
from torch import nn

import overlapcalc as oc
from overlapcalc.report import render, to_csv, to_markdown
from overlapcalc.report.fold import LONG, lines
from overlapcalc.report.line_breaks import broken, fitted


def chain(*layers: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(*(nn.Conv2d(1, 1, k, s, p) for k, s, p in layers))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def by_hand(layers: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Scale, field, context before and after of a chain of convolutions.

    A block on the grid of the whole net: one step is the product of all strides, J; the first output reads from
    -P = -(sum of p * jump) on, the last of a step ends there plus J - jump plus the field.
    """
    jump, field, before = 1, 1, 0
    out = []
    for k, s, p in layers:
        before += p * jump
        field += (k - 1) * jump
        jump *= s
        out.append((jump, field, before, field - jump - before))
    return out


LAYERS = [(5, 2, 2), (3, 1, 1), (4, 2, 0), (7, 1, 3)]


def test_every_figure_has_a_column():
    """A chain whose figures a formula gives: reads of a block are those of its first and last output."""
    rows = rows_of(to_csv(oc.analyze(chain(*LAYERS), (1, 1, 64, 64))))
    assert len(rows) == len(LAYERS) * 2
    assert [(r["layer"], r["axis"]) for r in rows[:4]] == [("0", "H"), ("0", "W"), ("1", "H"), ("1", "W")]
    previous = (1, 1, 0, 0)
    for i, (jump, field, before, after) in enumerate(by_hand(LAYERS)):
        for r in rows[2 * i : 2 * i + 2]:
            assert r["operator"] == "aten::conv2d"
            assert r["input"] == "input"
            assert (r["scale"], r["field_min"], r["field_max"]) == (str(jump), str(field), str(field))
            assert (int(r["context_before"]), int(r["context_after"])) == (before, after)
            assert (int(r["added_before"]), int(r["added_after"])) == (before - previous[2], after - previous[3])
            assert (int(r["reach_before"]), int(r["reach_after"])) == (before, after)
            assert (r["obstacles"], r["cause"], r["message"]) == ("", "", "")
        previous = (jump, field, before, after)
    assert rows[-1]["from"] == "2"
    assert rows[0]["does"] == "conv k5 s2 p2"
    assert rows[0]["size"] == "32"


class Blocked(nn.Module):
    """Fine up to a mean over columns; fine along rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        return y * y.mean(3, keepdim=True)


def test_what_is_not_known_is_empty_and_never_zero():
    rows = rows_of(to_csv(oc.analyze(Blocked(), (1, 3, 16, 20))))
    mean = {r["axis"]: r for r in rows if r["layer"] == "mean"}
    unknown = ["size", "scale", "field_min", "field_max", "reach_before", "added_before", "context_before"]
    assert [mean["W"][name] for name in unknown] == [""] * len(unknown)
    assert (mean["W"]["obstacles"], mean["W"]["cause"]) == ("mean", "global")
    assert "mean over the whole axis" in mean["W"]["message"]
    assert "test_formats.py:" in mean["W"]["source"]
    assert (mean["H"]["obstacles"], mean["H"]["cause"]) == ("", "")
    assert (mean["H"]["context_before"], mean["H"]["context_after"]) == ("1", "1")
    last = next(r for r in rows if r["layer"] == "mul" and r["axis"] == "W")
    assert (last["obstacles"], last["cause"]) == ("mean", "")  # behind it, not in the way itself


ODD = 'a,b "c" | `d` *e* <f>'


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({ODD: nn.Conv2d(1, 1, 3, padding=1), "g": nn.Conv2d(1, 1, 3, padding=1)})

    def forward(self, x):
        for part in self.parts.values():
            x = part(x)
        return x


def test_csv_quotes_what_must_be_quoted():
    text = to_csv(oc.analyze(Odd(), (1, 1, 16, 16)))
    assert [r["layer"] for r in rows_of(text)] == [f"parts.{ODD}"] * 2 + ["parts.g"] * 2
    assert rows_of(text)[2]["from"] == f"parts.{ODD}"
    assert all(len(row) == len(next(csv.reader(io.StringIO(text)))) for row in csv.reader(io.StringIO(text)))


def test_several_inputs_have_rows_of_their_own():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=2)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    a = oc.analyze(Two(), [(1, 1, 16, 16)] * 2)
    found = {(r["layer"], r["input"]): r["field_min"] for r in rows_of(to_csv(a)) if r["axis"] == "W"}
    assert found == {("a", "x"): "3", ("b", "y"): "5", ("add", "x"): "3", ("add", "y"): "5"}
    text = to_markdown(a)
    assert "### H and W, against `x`" in text
    assert [len(table) for table in tables(text)] == [2, 2]


# ---- Markdown -----------------------------------------------------------------------------------------------------


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a page as a parser of GitHub's tables sees them: rows below the head, cells as text."""
    found: list[list[list[str]]] = []
    inside, body = False, False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("tbody_open", "tbody_close"):
            body = token.type == "tbody_open"
            found += [[]] if body else []
        elif token.type == "tr_open" and body:
            found[-1].append([])
        elif token.type in ("td_open", "td_close"):
            inside = token.type == "td_open"
        elif token.type == "inline" and inside:
            found[-1][-1].append("".join(c.content for c in token.children or []))
    return found


def test_markdown_tables_have_the_figures():
    a = oc.analyze(chain(*LAYERS), (1, 1, 64, 64))
    (table,) = tables(to_markdown(a))
    for row, (jump, field, before, after), layer in zip(table, by_hand(LAYERS), a.layers, strict=True):
        assert len(row) == 9
        assert row[0] == layer.name
        assert (row[4], row[5], row[8]) == (str(jump), str(field), f"{before}, {after}")
    assert "**Blocking-free: yes, along H and W.**" in to_markdown(a)
    assert "To produce output columns" in to_markdown(a)


def test_markdown_escapes_what_it_would_read_as_its_own():
    text = to_markdown(oc.analyze(Odd(), (1, 1, 16, 16)))
    (table,) = tables(text)
    assert [len(row) for row in table] == [9, 9]
    assert [row[0] for row in table] == [f"parts.{ODD}", "parts.g"]
    assert table[1][2] == f"parts.{ODD}"
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<em>e</em>" not in html
    assert "<f>" not in html


def test_markdown_shows_obstacles_and_no_made_up_figures():
    text = to_markdown(oc.analyze(Blocked(), (1, 3, 16, 20)))
    assert "**Blocking-free: no, but 2 passes run it exactly along W.**" in text
    assert "- `mean`: `mean` on W: " in text
    assert "test_formats.py:" in text
    assert "To change that" in text
    along_w = next(t for t in tables(text) if any("all *" in row[-1] for row in t))
    assert next(row for row in along_w if row[0] == "mean")[4:8] == ["", "", "", ""]


# ---- folding ------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, k: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, k, padding=k // 2), nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return x + self.second(F.relu(self.first(x)))


class Long(nn.Module):
    def __init__(self, *kernels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 1, 3, 2, 1)
        self.body = nn.Sequential(*(Residual(k) for k in kernels))
        self.tail = nn.ConvTranspose2d(1, 1, 4, 2, 1)

    def forward(self, x):
        y = self.head(x)
        return self.tail(self.body(y) + y)


def analysed(net: nn.Module, size: int = 32) -> oc.Analysis:
    return oc.analyze(net, (1, 1, size, size), axes="W")


@cache
def long(*kernels: int, size: int = 32) -> oc.Analysis:
    return analysed(Long(*kernels), size)


def figures(row) -> tuple[int, ...]:
    w = row.against["x"]["W"]
    return (*w.receptive_field, w.before, w.after, *w.reach)


def unfolded(shown) -> list[tuple[int, ...]]:
    """Every row's figures, from the lines alone: each repeat adds the same to the block before it."""
    out: list[tuple[int, ...]] = []
    for line in shown:
        if not line.each:
            out.append(figures(line))
            continue
        times = line.rows // line.each
        block = out[-line.each :]
        total = [end - start for end, start in zip(figures(line), block[-1], strict=True)]
        assert all(n % times == 0 for n in total)
        for t in range(1, times + 1):
            out += [tuple(n + t * (m // times) for n, m in zip(row, total, strict=True)) for row in block]
    return out


@pytest.mark.parametrize("kernels", [[3] * 20, [3] * 7 + [5] + [3] * 12, [5] * 5 + [3] * 6 + [5] * 4, [3, 5] * 8])
def test_repeats_fold_and_no_figure_is_lost(kernels):
    rows = long(*kernels).layers
    assert len(rows) > LONG
    shown = lines(rows, None)
    assert len(shown) < len(rows) / 2
    assert sum(line.rows for line in shown) == len(rows)
    assert unfolded(shown) == [figures(row) for row in rows]
    for line in shown:  # the amount added is in the line, too
        if line.each:
            w = line.against["x"]["W"]
            assert w.added.before == kernels_added(kernels, line)


def kernels_added(kernels: list[int], line) -> int:
    """Two input samples per sample of the body, one sample per side for 3 taps and two for 5."""
    first, last = (int(n) for n in re.findall(r"body\.(\d+)", line.name))
    return 2 * sum(k // 2 + 1 for k in kernels[first : last + 1])


def test_a_block_that_differs_is_shown():
    shown = lines(long(*[3] * 7, 5, *[3] * 12).layers, None)
    names = [line.name for line in shown]
    assert "body.7.first" in names
    assert "body.1 to body.6" in names
    assert [line.does for line in shown if line.each] == ["3 rows above x 6", "3 rows above x 11"]


def test_short_tables_and_depth_0_are_whole():
    short = analysed(Long(3, 3, 3, 3, 3)).layers
    assert [line.name for line in lines(short, None)] == [row.name for row in short]
    rows = long(*[3] * 20).layers
    assert [(line.name, line.inputs) for line in lines(rows, 0)] == [(row.name, row.inputs) for row in rows]


def test_obstacles_are_not_folded_away():
    class Gated(Residual):
        def forward(self, x):
            y = super().forward(x)
            return y * y.mean(3, keepdim=True)

    net = Long(*[3] * 12)
    net.body = nn.Sequential(*(Gated() for _ in range(12)))
    rows = analysed(net).layers
    assert [line.name for line in lines(rows, None)] == [row.name for row in rows]


def test_depth_gives_a_line_per_module():
    net = Long(3, 5, 3)
    rows = {row.name: row for row in analysed(net).layers}
    shown = {line.name: line for line in lines(tuple(rows.values()), 2)}
    assert list(shown) == ["head", "body.0", "body.1", "body.2", "add", "tail"]
    assert shown["body.1"].does == "3 rows"
    assert figures(shown["body.1"]) == figures(rows["body.1.add"])
    assert shown["body.1"].inputs == ("body.0",)
    assert [tuple(shown[f"body.{i}"].against["x"]["W"].added) for i in range(3)] == [(4, 4), (6, 6), (4, 4)]
    assert shown["add"].inputs == ("body.2", "head")
    top = lines(tuple(rows.values()), 1)
    assert [line.name for line in top] == ["head", "body", "add", "tail"]
    assert tuple(top[1].against["x"]["W"].added) == (14, 14)
    deep = lines(tuple(rows.values()), 3)
    assert [line.name for line in deep] == list(rows)


def test_a_module_that_stands_in_two_places_has_two_lines():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.between = chain((3, 1, 1), (3, 1, 1)), nn.Conv2d(1, 1, 5, padding=2)

        def forward(self, x):
            return self.body(self.between(self.body(x)))

    shown = lines(analysed(Twice()).layers, 1)
    assert [(line.name, line.inputs) for line in shown] == [
        ("body", ("x",)), ("between", ("body",)), ("body#2", ("between",))
    ]  # fmt: skip
    assert [tuple(line.against["x"]["W"].added) for line in shown] == [(2, 2), (2, 2), (2, 2)]


def test_an_inner_row_that_something_else_reads_keeps_its_name():
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.tail = chain((3, 1, 1), (3, 1, 1), (3, 1, 1)), nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            first = self.body[0](x)
            return self.tail(self.body[2](self.body[1](first))) + first

    shown = lines(analysed(Skips()).layers, 1)
    assert [line.name for line in shown] == ["body", "tail", "add"]
    assert set(shown[2].inputs) == {"tail", "body.0"}


def printed(a: oc.Analysis, width: int, depth: int | None = None) -> str:
    out = io.StringIO()
    render(a, Console(file=out, width=width, no_color=True, highlight=False), depth=depth)
    return out.getvalue()


def test_the_table_says_what_it_folded_and_how_to_see_it():
    a = long(*[3] * 20)
    words = " ".join(printed(a, 80).split())
    assert "folded: 57 rows" in words
    assert "depth=0 shows every row" in words
    assert "folded" not in printed(a, 80, 0)
    assert "body.13.second" in printed(a, 80, 0)
    by_module = " ".join(printed(a, 80, 1).split())
    assert "60 rows in lines of modules" in by_module
    assert "folded: 57 rows" in to_markdown(a)
    assert "folded" not in to_markdown(a, depth=0)


def test_a_table_that_stays_long_says_how_to_fold_it():
    primes = [k for k in range(3, 80) if all(k % p for p in range(2, k))]  # no run of blocks is like another
    a = analysed(Long(*primes), 256)
    assert len(lines(a.layers, None)) == len(a.layers) > 60
    assert "depth=2 shows one line per module, depth=1 fewer" in printed(a, 80)
    assert "depth=" not in printed(analysed(Long(3, 3)), 80)


@pytest.mark.parametrize("width", [80, 200])
def test_long_nets_fit_their_width(width):
    text = printed(long(*[3] * 66), width)
    assert max(map(len, text.splitlines())) <= width
    assert len(text.splitlines()) < 40


def test_names_are_broken_at_dots():
    name = "backbone.encoder.layer10.attention.output.projection"
    assert broken(name, 20, dots=True) == ["backbone.encoder.", "layer10.attention.", "output.projection"]
    assert broken(name, 60, dots=True) == [name]
    assert broken("head, body.0.add", 9, dots=True) == ["head,", "body.0.", "add"]
    assert broken("a_rather_long_name.x", 9, dots=True) == ["a_rather_", "long_", "name.x"]
    assert broken("abcdefgh", 3, dots=True) == ["abc", "def", "gh"]
    assert broken("linear x2.5 p1", 11, dots=False) == ["linear x2.5", "p1"]


def test_columns_share_their_room_so_that_the_table_is_short():
    """One long name among many is broken, and not all the short ones beside it."""
    names = ["a." + "b" * 6 + "." + "c" * 6] + ["conv"] * 20
    words = ["add"] + ["pixel-shuffle"] * 20
    assert fitted([(names, True), (words, False)], 100) == (15, 13)
    assert fitted([(names, True), (words, False)], 24) == (11, 13)
    assert fitted([(["abc.def"], True), (["abc.def"], True)], 6) == (3, 3)


def test_names_in_a_narrow_table_are_broken_at_dots():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Module()
            self.backbone.encoder = nn.Module()
            self.backbone.encoder.projection = nn.Sequential(*(nn.Conv2d(1, 1, (3, 5), (1, 2)) for _ in range(3)))

        def forward(self, x):
            return self.backbone.encoder.projection(x)

    text = printed(analysed(Deep(), 64), 70)
    assert max(map(len, text.splitlines())) <= 70
    first = [line.split("  ")[0].strip() for line in text.split("---\n")[1].splitlines()]
    whole = {"backbone.", "encoder.", "projection.", "0", "1", "2"}
    for piece in first[: first.index("^ the row above")]:
        assert set(re.findall(r"[^.]+\.?", piece)) <= whole, piece


# ---- the command --------------------------------------------------------------------------------------------------

LONG_NET = """from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()
    def forward(self, x):
        return x + self.act(self.conv(x))
def make():
    return nn.Sequential(*(Block() for _ in range(40)))
"""


def command(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "m.py").write_text(LONG_NET)
    return run("analyze", "m.py:make", "--input", "1x1x16x16", *arguments, cwd=folder, COLUMNS="80")


def test_the_command_writes_all_formats(tmp_path):
    table = command(tmp_path)
    assert table.returncode == 0
    assert "2 rows above" in table.stdout
    assert len(command(tmp_path, "--depth", "0").stdout.splitlines()) > 80
    by_module = command(tmp_path, "--format", "markdown", "--depth", "1", "--output", "net.md")
    assert (by_module.returncode, by_module.stdout) == (0, "")
    (found,) = tables((tmp_path / "net.md").read_text())
    assert found[0][:2] == ["0", "2 rows"]
    assert found[-1][8] == "40, 40"
    assert len(found) < 10  # 40 modules that repeat are folded as well
    text = command(tmp_path, "--format", "csv", "--depth", "1").stdout
    assert len(rows_of(text)) == 160
    assert rows_of(text)[-1]["context_before"] == "40"
    assert (tmp_path / "net.md").read_text().endswith("\n")


def test_a_guess_is_not_in_the_csv(tmp_path):
    (tmp_path / "m.py").write_text(LONG_NET)
    done = run("analyze", "m.py:make", "--format", "csv", cwd=tmp_path)
    assert "is a guess" in done.stderr
    assert done.stdout.startswith("layer,operator,")
    assert "is a guess" in run("analyze", "m.py:make", "--format", "markdown", cwd=tmp_path).stdout


def test_an_obstacle_is_exit_code_3_in_every_format():
    for form in ("csv", "markdown"):
        done = run("analyze", "examples/obstacle.py:Denoiser", "--input", "1x3x32x32", "--format", form)
        assert done.returncode == 3
        assert "attention.squeeze" in done.stdout
        assert "obstacle.py:" in done.stdout
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("depth", ["-1", "x", "1.5"])
def test_wrong_depths(depth):
    done = run("analyze", "examples/unet.py:UNet", f"--depth={depth}")
    assert done.returncode == 2
    assert "path components" in done.stderr
