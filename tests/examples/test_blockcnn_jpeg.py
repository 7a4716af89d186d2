"""What examples/blockcnn reads in the header of a JPEG file, its colours, and rows that come from the top."""

from __future__ import annotations

import doctest
import io
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")

from PIL import Image

from examples.blockcnn import colour, jpeg, remover
from examples.blockcnn.colour import colours, picture, planes
from examples.blockcnn.deblock import nearest
from examples.blockcnn.jpeg import LUMA, QUALITIES, Quality, header_of, opened, quality_of, table_of
from examples.blockcnn.rows import Planes, Strip
from examples.lic.pictures import dead_leaves
from overlapcalc import InputError, Span

PICTURE = dead_leaves(21, 30, seed=2)


def written(path: Path, picture: np.ndarray = PICTURE, **options: object) -> Path:
    Image.fromarray(picture).save(path, "JPEG", **options)
    return path


def header(path: Path):
    with opened(path) as file:
        return header_of(file, path)


# ---- quality --------------------------------------------------------------------------------------------------------


def test_the_quality_of_every_file_that_libjpeg_writes(tmp_path):
    for quality in QUALITIES:
        path = written(tmp_path / "a.jpg", PICTURE[:8, :8], quality=quality)
        assert header(path).quality == Quality(quality, True)


def test_the_standard_table_is_that_of_quality_50():
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", quality=50)
    assert tuple(Image.open(file).quantization[0]) == LUMA


def test_tables_of_their_own_are_taken_for_the_nearest():
    """The table of quality 30 with every step one more or less; and one of Photoshop's kind, finer at high frequencies."""
    near = [step + (1 if i % 2 else -1) for i, step in enumerate(table_of(30))]
    assert quality_of(near) == Quality(30, False)
    assert str(quality_of(near)) == "quality 30 or so (it has its own tables)"
    assert quality_of([1] * 64) == Quality(100, True)
    assert quality_of([2] * 64).value in range(95, 100)
    assert quality_of([255] * 63 + [254]) == Quality(1, False)


def test_a_file_with_tables_of_its_own(tmp_path):
    own = [[step + (-1) ** i for i, step in enumerate(table_of(20))], [60] * 64]
    path = written(tmp_path / "a.jpg", qtables=own)
    assert header(path).quality == Quality(20, False)


def test_the_table_is_that_of_luma(tmp_path):
    """Wherever it stands in the file."""
    path = written(tmp_path / "a.jpg", qtables=[list(table_of(15)), list(table_of(90))])
    assert header(path).quality == Quality(15, True)


@pytest.mark.parametrize(
    ("value", "net"), [(1, 10), (10, 10), (14, 10), (15, 20), (16, 20), (29, 20), (40, 40), (41, None), (95, None)]
)
def test_the_nearest_net(value, net):
    """Of two the one that changes less; none above the highest."""
    assert nearest(Quality(value, True), (10, 20, 40)) == net


# ---- headers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    ("subsampling", "said", "halved"), [(0, "4:4:4", False), (1, "4:2:2", False), (2, "4:2:0", True)]
)
def test_samplings(tmp_path, subsampling, said, halved, progressive):
    path = written(tmp_path / "a.jpg", subsampling=subsampling, progressive=progressive, quality=12)
    found = header(path)
    assert (found.sampling, found.halved, found.grey, found.size) == (said, halved, False, (21, 30))


def test_grey(tmp_path):
    found = header(written(tmp_path / "a.jpg", PICTURE[..., 0], quality=12))
    assert (found.sampling, found.halved, found.grey) == ("grey", False, True)


def test_the_orientation_is_kept_and_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = header(written(tmp_path / "a.jpg", exif=exif, icc_profile=b"a profile"))
    assert found.size == (21, 30)
    assert found.profile == b"a profile"
    kept = Image.Exif()
    kept.load(found.exif)
    assert kept[0x0112] == 6


def test_what_is_no_picture_of_ours_is_refused(tmp_path):
    path = tmp_path / "a"
    Image.fromarray(PICTURE).save(path, "PNG")
    with pytest.raises(InputError, match="a: it cannot be read as a JPEG file"):
        opened(path)
    Image.fromarray(PICTURE).convert("CMYK").save(path, "JPEG")
    with pytest.raises(InputError, match="a JPEG file of mode CMYK; expected grey or three colours"):
        opened(path)
    with pytest.raises(InputError, match=r"no: it cannot be read as a JPEG file \(No such file"):
        opened(tmp_path / "no")


# ---- colours --------------------------------------------------------------------------------------------------------


def test_colours_by_the_matrix_of_the_standard():
    """ITU-T T.871, to the digits that it prints."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    inverse = np.array([[1, 0, 1.402], [1, -0.34414, -0.71414], [1, 1.772, 0]])
    found = planes(PICTURE, torch.float64)
    right = PICTURE @ matrix.T - [128, 0, 0]
    assert np.abs(found[0].permute(1, 2, 0).numpy() - right).max() < 0.05
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64) * 40
    right = (x[0].permute(1, 2, 0).numpy() + np.array([128, 0, 0])) @ inverse.T
    assert np.abs(colours(x)[0].permute(1, 2, 0).numpy() - right).max() < 0.01


def test_bytes_to_planes_and_back():
    assert np.array_equal(picture(planes(PICTURE)), PICTURE)
    assert np.array_equal(picture(planes(PICTURE[..., 1]), grey=True), PICTURE[..., 1])


def test_levels_are_rounded_and_clipped():
    x = torch.tensor([-300.0, -128.0, -0.4, 0.6, 127.0, 300.0])
    levels = torch.stack([x, torch.zeros(6), torch.zeros(6)])[None, :, None]
    assert picture(levels, grey=True).tolist() == [[0, 0, 128, 129, 255, 255]]
    assert picture(levels)[..., 2].tolist() == [[0, 0, 128, 129, 255, 255]]


def test_a_part_of_a_picture_has_the_planes_of_the_whole():
    assert torch.equal(planes(PICTURE[3:9, 5:18]), planes(PICTURE)[:, :, 3:9, 5:18])


# ---- rows -----------------------------------------------------------------------------------------------------------


class Recorded:
    """A canvas that knows what was read and put, and blanks what was read, as one that is written in place may."""

    def __init__(self) -> None:
        self.source, self.read_rows, self.put_rows = PICTURE.copy(), [], []

    def read(self, start, stop):
        found = self.source[start:stop].copy()
        self.source[start:stop] = 99
        self.read_rows += range(start, stop)
        return found

    def put(self, start, rows):
        self.put_rows += range(start, start + len(rows))


def test_rows_are_read_once_and_kept_while_they_may_be_asked_for():
    canvas = Recorded()
    reads = Planes(canvas, (21, 30), torch.float64)
    whole = planes(PICTURE, torch.float64)
    for start, stop, left, right in [(0, 8, 0, 20), (0, 8, 10, 30), (4, 12, 0, 20), (4, 12, 10, 30), (11, 21, 0, 30)]:
        place = (slice(0, 1), slice(0, 3), slice(start, stop), slice(left, right))
        assert torch.equal(reads[place], whole[:, :, start:stop, left:right])
    assert canvas.read_rows == list(range(21))
    assert reads.most == 10
    with pytest.raises(InputError, match="rows from 4 are asked for; those above 11 are not kept any more"):
        reads[(*place[:2], slice(4, 12), slice(0, 30))]


def test_rows_that_nobody_asked_for_are_passed_over():
    reads = Planes(Recorded(), (21, 30), torch.float64)
    place = (slice(None), slice(None))
    assert reads[(*place, slice(2, 4), slice(0, 30))].shape == (1, 3, 2, 30)
    assert torch.equal(reads[(*place, slice(9, 12), slice(0, 30))], planes(PICTURE, torch.float64)[:, :, 9:12])


def test_strips_are_put_when_they_are_whole(tmp_path):
    canvas = Recorded()
    strip = Strip(canvas, header(written(tmp_path / "a.jpg")))
    strip.put(Span(0, 8), Span(0, 16), torch.zeros(1, 3, 8, 16))
    assert canvas.put_rows == []
    strip.put(Span(0, 8), Span(16, 30), torch.zeros(1, 3, 8, 14))
    assert canvas.put_rows == list(range(8))
    strip.put(Span(8, 12), Span(0, 16), torch.zeros(1, 3, 4, 16))
    with pytest.raises(ValueError, match="a block of 5 rows beside blocks of 4"):
        strip.put(Span(8, 13), Span(16, 30), torch.zeros(1, 3, 5, 14))


@pytest.mark.parametrize("module", [colour, jpeg, remover], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
