"""The papers' tables: costs by formula, pages with tables in them, and docs/papers.md against brute force."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from shared.codecs import PUBLISHED, TRUTHS, of_cps
from shared.nets import healthy
from shared.thorough import few

import overlapcalc as oc
from examples import papers
from examples.jpegai import nets as jpegai
from examples.kim2026 import nets, tables
from examples.kim2026.tables import Cost, Way
from examples.lic.overlaps import overlap_row
from examples.lic.sheet import Sheet, markdown, put_into, show

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
SHEET = Sheet("one", "A table", ("codec", "side", "ours"), (("a", "b", "1"), ("c", "d", "22")))


def test_costs_of_the_hyperprior_encoder_by_hand(monkeypatch):
    """Four convolutions 5x5 of stride 2 with GDN, a 1x1 convolution, behind the first three."""
    N, M, height, width = 6, 8, 1024, 1088
    monkeypatch.setattr(tables, "HEIGHT", 1000)
    monkeypatch.setattr(tables, "WIDTH", 1030)
    parts = nets.MeanScaleHyperprior(N, M).parts
    crop, trim, stream = tables._of(parts, "g_a", (Way("crop", 256), Way("trim", 256), Way("stream", 32)))

    def macs(sizes: list[tuple[int, int]]) -> int:
        """Outputs of the four convolutions."""
        per_sample = [(3 * 25 + N) * N, (N * 25 + N) * N, (N * 25 + N) * N, N * 25 * M]
        return sum(h * w * per for (h, w), per in zip(sizes, per_sample, strict=True))

    whole = macs([(height >> i, width >> i) for i in (1, 2, 3, 4)])
    tile = 256 + 32 + 16
    assert crop.full_macs == trim.full_macs == stream.full_macs == whole
    assert crop.macs == macs([(tile >> i, tile >> i) for i in (1, 2, 3, 4)])
    needed = [16]
    for _ in range(3):
        needed.append(2 * needed[-1] + 3)
    assert trim.macs == macs([(n, n) for n in reversed(needed)])
    assert stream.all_macs == whole
    assert max(way.memory for way in (crop, trim, stream)) < crop.full_memory / 2


def test_transforms_one_after_the_other():
    """Work adds up; of memory the larger is what counts, since the other is not held."""
    assert Cost(1, 2, 10, 5, 50).then(Cost(3, 4, 20, 7, 40)) == Cost(4, 6, 30, 7, 50)


def test_sheets_of_costs():
    found = {
        ("MeanScaleHyperprior", "encoder"): [Cost(1, 110, 100, 3, 30), Cost(4, 120, 100, 6, 30)],
        ("Elic2022Official", "encoder"): [Cost(3, 130, 100, 6, 30), Cost(8, 140, 100, 9, 30)],
        ("MeanScaleHyperprior", "decoder"): [Cost(2, 110, 100, 3, 30), Cost(6, 120, 100, 3, 30)],
    }
    ways = (Way("crop", 256), Way("crop", 512))
    sheet = tables._sheet("x", "t", ways, found, Cost.computation)
    assert sheet.heads == ("side", "codec", "crop 256", "crop 512")
    assert sheet.rows == (
        ("encoder", "hyperprior", "1.00", "4.00"),
        ("encoder", "ELIC", "3.00", "8.00"),
        ("encoder", "mean", "2.00", "6.00"),
        ("decoder", "hyperprior", "2.00", "6.00"),
        ("decoder", "mean", "2.00", "6.00"),
    )
    assert tables._sheet("x", "t", ways, found, Cost.work).rows[0][2:] == ("1.10", "1.20")
    means = tables._means(ways, found)
    assert means.heads == ("what", "side", "crop", "published")
    assert means.rows == (
        ("computation", "encoder", "4.00", "2.60"),
        ("computation", "decoder", "4.00", "1.24"),
        ("memory", "encoder", "20.00", "13.94"),
        ("memory", "decoder", "10.00", "13.33"),
    )
    apart = tables._means((Way("crop", 256), Way("trim", 256)), found)
    assert apart.heads == ("what", "side", "crop", "trim", "published")
    assert apart.rows[0] == ("computation", "encoder", "2.00", "6.00", "2.60")


def test_an_obstacle_has_no_row():
    with pytest.raises(oc.ObstacleError, match="pools 32 samples to 3"):
        overlap_row(torch.nn.AdaptiveAvgPool2d(3), (1, 3, 32, 32), None)
    with pytest.raises(ValueError, match="another one along H"):
        overlap_row(torch.nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), (1, 1, 32, 32), None)


# ---- pages ----------------------------------------------------------------------------------------------------------


def test_sheets_are_put_between_their_marks():
    page = "before\n<!-- one -->\nold\nlines\n<!-- end of one -->\nafter\n"
    expected = "| codec | side | ours |\n| --- | --- | ---: |\n| a | b | 1 |\n| c | d | 22 |"
    assert markdown(SHEET) == expected
    once = put_into(page, SHEET)
    assert once == f"before\n<!-- one -->\n{expected}\n<!-- end of one -->\nafter\n"
    assert put_into(once, SHEET) == once
    assert put_into("<!-- one -->\n<!-- end of one -->", SHEET) == f"<!-- one -->\n{expected}\n<!-- end of one -->"
    with pytest.raises(ValueError, match="no place for one"):
        put_into("before\n<!-- one -->\nno end", SHEET)


def test_a_sheet_is_shown():
    out = io.StringIO()
    show(SHEET, Console(file=out, width=60))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["A", "table"] in lines
    assert ["c", "d", "22"] in lines


def test_the_command_writes_the_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(papers, "sheets", lambda: iter([SHEET]))
    monkeypatch.setattr(papers.ablation, "write_pictures", lambda folder: (tmp_path / "folder").write_text(str(folder)))
    page = tmp_path / "page.md"
    page.write_text("<!-- one -->\n<!-- end of one -->\n")
    assert papers.main(["--write", str(page)]) == 0
    assert "| c | d | 22 |" in page.read_text()
    assert (tmp_path / "folder").read_text() == str(tmp_path / "results" / "papers")
    assert "A table" in capsys.readouterr().out


def rows_of(name: str) -> list[list[str]]:
    """Of a table in the page."""
    _, _, rest = PAGE.read_text().partition(f"<!-- {name} -->\n")
    table, ended, _ = rest.partition(f"\n<!-- end of {name} -->")
    assert ended, f"no table {name}; run make papers"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_has_the_contexts_that_running_shows():
    heads, _, *rows = rows_of("kim-overlaps")
    found = {(row[0], row[1]): dict(zip(heads, row, strict=True)) for row in rows}
    short = {"Minnen": "hyperprior", "Cheng": "Cheng 2020", "ELIC": "ELIC"}
    for who, transform, _, _, _, context, field, scale in TRUTHS:
        if who in short:
            row = found[short[who], transform]
            assert row["ours"] == f"{context[0]}, {context[1]}"
            assert row["scale"] == str(scale)
            assert row["field"] in (str(field[0]), f"{field[0]}-{field[1]}")
    for (name, transform), overlap in PUBLISHED.items():
        assert found[tables.SHORT[name], transform]["recurrences"] == f"{overlap[0]}, {overlap[1]}"


def test_the_page_has_every_table():
    for name in ("kim-means", "kim-computation", "kim-memory", "kim-work", "cps-overlaps", "cps-stitching", "jpegai-overlaps",
                 "jpegai-seams"):  # fmt: skip
        assert len(rows_of(name)) > 3
    means = {(row[0], row[1]): row[-1] for row in rows_of("kim-means")}
    assert means["computation", "encoder"] == "2.60"
    assert means["memory", "decoder"] == "13.33"


# ---- running --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "shape", "schedule", "block"),
    few(
        [
            (lambda: of_cps("g_a"), (1, 3, 144, 48), "trim", 40),
            (lambda: of_cps("g_s"), (1, 4, 10, 3), "stream", 16),
            (lambda: jpegai.synthesis(8), (1, 8, 11, 2), "trim", 40),
        ],
        1,
    ),
    ids=["CPS g_a", "CPS g_s", "JPEG AI g_s"],
)
def test_by_blocks_as_whole(build, shape, schedule, block):
    net = healthy(build(), 3)
    x = torch.rand(shape, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
    found = oc.run(net, x, block={"H": block}, schedule=schedule)
    assert (found - whole).abs().max() <= 1e-12 * whole.abs().max()
