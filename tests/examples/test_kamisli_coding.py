"""The bitstream of examples/kamisli: decoder = encoder, damage, checkpoints, and the command."""

from __future__ import annotations

import collections
import dataclasses
import functools
import random
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

pytest.importorskip("constriction")
pytest.importorskip("PIL")
pytest.importorskip("safetensors")

from shared.damage import damaged
from shared.thorough import few

from examples.kamisli import draw, train
from examples.kamisli import tables as kamisli_tables
from examples.kamisli.__main__ import main
from examples.kamisli.checkpoint import RATES, SHIPPED, USUAL, Trained, load, load_coding, place_of, save, trained
from examples.kamisli.closed_loop import ClosedLoop, open_loop
from examples.kamisli.coding import Coding, channels, coding, decode, encode, picture_of, tables_of_scales
from examples.kamisli.nets import KERNELS, SMALL, Nets, Shape, nets
from examples.kamisli.tables import OTHERS
from examples.kamisli.training import Cost, Costs, Iteration, Schedule
from examples.lic.bitstream import BitstreamError, packed, unpacked
from examples.lic.curves import Point, at_size, curve
from examples.lic.photographs import Photograph
from examples.lic.pictures import Picture, dead_leaves, psnr, read_picture, waves, write_picture
from overlapcalc import InputError

pytestmark = pytest.mark.usefixtures("traced_once")

FLAT = Cost(1.1, 0.5, 1e-3)
SHAPES = {"3111": Shape(4, 8, 6, "3111"), "3311": Shape(4, 8, 6, "3311")}


@functools.cache
def made(kernels: str) -> Nets:
    """Random weights, and scales that spread over many tables."""
    torch.manual_seed(4)
    own = nets(SHAPES[kernels])
    with torch.no_grad():
        own.analysis.rest[-1].weight *= 20
        own.synthesis.own.weight *= 0.2
        own.entropy[-1].weight *= 30
        own.entropy[-1].bias[: SHAPES[kernels].m] += torch.linspace(0, 5, SHAPES[kernels].m)
    return own


@functools.cache
def small(kernels: str) -> Coding:
    return coding(SHAPES[kernels], made(kernels), tables_of_scales())


@functools.cache
def coded(kernels: str) -> tuple[Picture, bytes, Picture]:
    """A picture whose sizes divide by nothing, its bytes, and what they are decoded to."""
    picture = dead_leaves(27, 38, seed=9)
    data = encode(small(kernels), picture)
    return picture, data, decode(small(kernels), data)


@pytest.mark.parametrize("kernels", few(SHAPES, 1))
def test_the_decoder_ends_with_the_reconstruction_of_the_encoder(kernels, monkeypatch):
    """By both orders, which give the same picture and other bytes."""
    kept, run = [], ClosedLoop.__call__
    monkeypatch.setattr(ClosedLoop, "__call__", lambda *given: kept.append(run(*given)) or kept[-1])
    picture, data, decoded = coded(kernels)
    other = encode(small(kernels), picture, "raster")
    assert encode(small(kernels), picture) == data != other
    assert abs(len(data) - len(other)) <= 8
    assert np.array_equal(decode(small(kernels), data), decoded)
    assert np.array_equal(decode(small(kernels), other), decoded)
    whole = kept[-1]
    assert len(kept) >= 4
    assert all(torch.equal(x, whole) for x in kept)
    assert torch.equal(open_loop(small(kernels).nets, channels(picture, 4), whole).reconstruction, whole)
    assert np.array_equal(picture_of(whole, 4)[:27, :38], decoded)


@pytest.mark.parametrize("size", few([(1, 1), (3, 17)], [(3, 17)], single=True))
def test_any_size(size):
    picture = waves(*size, seed=2)
    assert decode(small("3111"), encode(small("3111"), picture)).shape == picture.shape


def test_threads_change_no_byte():
    picture, before, found = waves(12, 16, seed=1), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(encode(small("3311"), picture))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_damaged_bytes_are_refused_with_one_error():
    _, data, _ = coded("3111")
    random_ = random.Random(6)
    for _ in range(300):
        with pytest.raises(BitstreamError):
            decode(small("3111"), damaged(data, random_))


def test_forged_symbols_never_crash_nor_pass():
    """With a right checksum it is the digest of the symbols that tells."""
    _, data, decoded = coded("3111")
    own, random_, said = unpacked(data), random.Random(7), collections.Counter()
    for i in range(24):
        symbols = random_.randbytes(4 * random_.randrange(60)) if i % 2 else damaged(own.payload[5:], random_)
        forged = packed(own._replace(payload=struct.pack("<BI", 1, len(symbols)) + symbols))
        try:
            assert np.array_equal(decode(small("3111"), forged), decoded)  # the last bits mean nothing
        except BitstreamError as error:
            said[str(error)[:15]] += 1
    assert len(said) >= 2
    assert sum(said.values()) > 15


def test_what_belongs_to_something_else_is_refused():
    own = unpacked(coded("3111")[1])
    for change, said in [
        ({"codec": "elic"}, "coded by 'elic'"),
        ({"fingerprint": b"12345678"}, "other weights"),
        ({"symbols": b"12345678"}, "other probabilities"),
        ({"height": 2**20, "width": 2**10}, "too few for a picture of 1024x1048576"),
        ({"payload": b"\2" + own.payload[1:]}, "order 2 of blocks; this program knows raster, wavefront"),
        ({"payload": own.payload + b"1234"}, "the header says"),
        ({"payload": b"\0\0"}, "a payload of 2 bytes"),
    ]:
        with pytest.raises(BitstreamError, match=said):
            decode(small("3111"), packed(own._replace(**change)))
    with pytest.raises(BitstreamError, match="other weights"):
        decode(small("3311"), coded("3111")[1])


def test_other_weights_have_another_fingerprint_and_closed_taps_do_not_count():
    again = nets(SHAPES["3111"])
    for net, right in zip(again, made("3111"), strict=True):
        net.load_state_dict(right.state_dict())
    tables, first = tables_of_scales(), small("3111").fingerprint
    with torch.no_grad():
        again.entropy[0].weight[0, 0, 2, 2] += 1
        assert coding(SHAPES["3111"], again, tables).fingerprint == first
        again.entropy[0].weight[0, 0, 0, 0] += 1e-3
        assert coding(SHAPES["3111"], again, tables).fingerprint != first


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(InputError, match="a picture of shape"):
        encode(small("3111"), picture)


# ---- checkpoints and the command ----------------------------------------------------------------------------------


MEASURED = Trained(
    99.5,
    12.3,
    [
        Iteration(0, {"validation": Costs(FLAT, FLAT), "held out": Costs(Cost(1.0, 0.5, 1e-3), Cost(1.25, 0.6, 2e-3))}),
        Iteration(1, {"validation": Costs(FLAT, FLAT), "held out": Costs(FLAT, FLAT)}),
    ],
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    save(tmp_path / "small.safetensors", SHAPES["3111"], made("3111"), tables_of_scales(), "a test")
    write_picture(tmp_path / "in.png", dead_leaves(17, 22, seed=3))
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_what_was_saved_is_loaded(files):
    shape, own, tables = load(files / "small.safetensors")
    assert shape == SHAPES["3111"]
    assert tables.offsets == tables_of_scales().offsets
    x = torch.rand(1, shape.samples, 3, 4)
    halved = nets(shape)
    for net, right in zip(halved, made("3111"), strict=True):
        net.load_state_dict({k: v if "reparam" in k else v.half().float() for k, v in right.state_dict().items()})
    assert torch.equal(own.entropy(x), halved.entropy(x))
    assert torch.equal(own.analysis(x, x), halved.analysis(x, x))
    assert torch.equal(own.synthesis(x[:, :6], x), halved.synthesis(x[:, :6], x))


def test_checkpoints_that_are_none_are_refused(files, tmp_path):
    from safetensors.torch import load_file, save_file

    state, path = load_file(files / "small.safetensors"), files / "bad.safetensors"
    shape = '{"block": 4, "n": 8, "m": 6, "kernels": "3111"}'
    for change, about, said in [
        ({"stray": torch.zeros(1)}, {"codec": "kamisli", "shape": shape}, "missing or unknown: stray"),
        ({}, {"codec": "kamisli", "shape": shape.replace("6", "7")}, "has shape"),
        ({}, {"codec": "kamisli", "shape": shape.replace("3111", "1")}, "expected kernels"),
        ({"tables.counts": state["tables.counts"] + 1}, {"codec": "kamisli", "shape": shape}, "table 0"),
        ({}, {"codec": "elic"}, "a checkpoint of 'elic'"),
    ]:
        save_file({**state, **change}, path, metadata=about)
        with pytest.raises(InputError, match=said):
            load(path)


def test_what_training_measured_is_kept(files, capsys):
    with_it = files / "more.safetensors"
    save(with_it, SHAPES["3111"], made("3111"), tables_of_scales(), "a test", MEASURED)
    assert trained(with_it) == MEASURED
    assert run("tables", "acl", "--checkpoint", with_it) == 0
    said = capsys.readouterr().out
    assert "| 99.5 | held out | 0 | 1.0000 | 1.2500 | +0.2500 | 0.600 | 26.99 |" in said
    assert "| 99.5 | validation | 1 | 1.1000 | 1.1000 | +0.0000 | 0.500 | 30.00 |" in said
    assert run("tables", "training", "--checkpoint", with_it) == 0
    number = sum(p.numel() for p in made("3111").analysis.parameters())
    number += sum(p.numel() for p in made("3111").synthesis.parameters()) + sum(
        p.numel() for p in made("3111").entropy.parameters()
    )
    closed_taps = 5 * 48 * (8 + 8 + 12)  # of three masked convolutions
    size = f"{with_it.stat().st_size / 1024:.0f}"
    assert f"| 99.5 | 3111 | {number - closed_taps:,} | {size} | 2 | 12 |" in capsys.readouterr().out


@pytest.mark.parametrize("table", ["acl", "training"])
def test_a_checkpoint_that_does_not_say_how_it_was_trained(files, capsys, table):
    assert run("tables", table, "--checkpoint", files / "small.safetensors") == 2
    assert "it does not say how it was trained" in capsys.readouterr().err


def test_a_table_in_its_page(files, capsys):
    save(files / "more.safetensors", SHAPES["3111"], made("3111"), tables_of_scales(), "a test", MEASURED)
    page = files / "page.md"
    for text, said in [(b"no marks", "the page has no place for acl"), (b"\xff", "page.md: 'utf-8' codec")]:
        page.write_bytes(text)
        assert run("tables", "acl", "--checkpoint", files / "more.safetensors", "--write", page) == 2
        assert said in capsys.readouterr().err
        assert page.read_bytes() == text
    page.write_text("a\n<!-- acl -->\nold\n<!-- end of acl -->\nb\n")
    assert run("tables", "acl", "--checkpoint", files / "more.safetensors", "--write", page) == 0
    shown = capsys.readouterr().out
    assert page.read_text() == f"a\n<!-- acl -->\n{shown}<!-- end of acl -->\nb\n"


def test_a_drawing_of_what_was_measured(files, capsys):
    """An SVG whose points lie where the costs do: the gap of iteration 0 is the only one."""
    save(files / "more.safetensors", SHAPES["3111"], made("3111"), tables_of_scales(), "a test", MEASURED)
    own = ("--checkpoint", files / "more.safetensors")
    for pictures, gaps in [("held out", (True, False)), ("validation", (False, False))]:
        out = files / f"{pictures}.svg"
        assert run("draw", out, *own, "--pictures", pictures) == 0
        tree = ElementTree.parse(out)
        opened, closed_ = (line.get("points").split() for line in tree.iter("{http://www.w3.org/2000/svg}polyline"))
        assert tuple(a != b for a, b in zip(opened, closed_, strict=True)) == gaps
        if gaps[0]:
            assert float(opened[0].split(",")[1]) > float(closed_[0].split(",")[1])  # downwards in an SVG
    capsys.readouterr()
    assert run("draw", files / "held out.svg", *own) == 2
    assert "it exists" in capsys.readouterr().err
    assert run("draw", files / "in.png", *own, "--overwrite") == 2
    assert "not an SVG file" in capsys.readouterr().err


@pytest.mark.parametrize(("low", "high"), [(0.97, 1.05), (1.0, 1.0), (0.4, 7.0), (99.0, 101.0)])
def test_round_numbers_hold_what_they_are_for(low, high):
    found = draw.round_numbers(low, high)
    assert found[0] <= low
    assert high <= found[-1]
    assert 2 <= len(found) <= draw.TICKS + 2


def test_the_table_of_the_wavefront(capsys, monkeypatch):
    """Two steps for every row after the first, and one for every column, by hand."""
    monkeypatch.setattr(kamisli_tables, "PICTURES", ((768, 512), (61, 43)))
    assert run("tables", "wavefront") == 0
    said = capsys.readouterr().out
    few, fewer = 2 * (512 // 8 - 1) + 768 // 8, 2 * (6 - 1) + 8
    assert f"| 3111 | 4 | 4 | 2 | {few} of 6144 | {fewer} of 48 |" in said
    assert f"| 3311 | 4 | 11 | 2 | {few} of 6144 | {fewer} of 48 |" in said


def test_what_others_reach_in_as_many_bytes():
    points = [Point(400, 34.0), Point(100, 30.0), Point(200, 32.0)]
    assert at_size(points, 100) == 30.0
    assert at_size(points, 282) == pytest.approx(33.0, abs=0.01)
    for size in (99, 401):
        with pytest.raises(InputError, match="reaches 100 to 400"):
            at_size(points, size)


@pytest.mark.thorough
def test_the_table_beside_others(files, capsys, monkeypatch):
    """Gains are over the better JPEG of each picture, whatever WebP reaches, and means are of a set."""
    save(files / "more.safetensors", SHAPES["3111"], made("3111"), tables_of_scales(), "a test", MEASURED)
    sets = {"validation": [Photograph("p", "one.png", ""), Photograph("p", "two.png", "")],
            "held out": [Photograph("p", "three.png", "")]}  # fmt: skip
    pictures = {"one": dead_leaves(8, 12, seed=1), "two": waves(8, 8, seed=1), "three": waves(8, 4, seed=2)}
    reached = {2: (20.0, 10.0, 50.0), 0: (19.0, 12.0, 50.0), None: (60.0, 60.0, 60.0)}  # by how Pillow subsamples

    def flat(picture: Picture, options: dict) -> list[Point]:
        decibels = reached[options.get("subsampling")][(96, 64, 32).index(picture.shape[0] * picture.shape[1])]
        return [Point(1, decibels), Point(10**6, decibels)]

    monkeypatch.setattr(kamisli_tables, "SETS", sets)
    monkeypatch.setattr(kamisli_tables, "read", lambda photograph: pictures[photograph.name])
    monkeypatch.setattr(kamisli_tables, "curve", flat)
    own = load_coding(files / "more.safetensors")
    monkeypatch.setattr(kamisli_tables, "load_coding", lambda path: own)
    assert run("tables", "rd", "--checkpoint", files / "more.safetensors") == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["one", "two", "**mean, validation**", "three", "**mean, held out**"]
    coded_ = {name: encode(own, picture) for name, picture in pictures.items()}
    right = {name: psnr(picture, decode(own, coded_[name])) for name, picture in pictures.items()}
    for row in rows[0], rows[1], rows[3]:
        size = len(coded_[row[1]]) * 8
        assert row[2:4] == [
            {"one": "12x8", "two": "8x8", "three": "4x8"}[row[1]],
            f"{size / pictures[row[1]][..., 0].size:.3f}",
        ]
        assert row[4] == f"{right[row[1]]:.2f}"
    gains = right["one"] - 20, right["two"] - 12, right["three"] - 50
    assert [row[-1] for row in rows] == [
        f"{gain:+.2f}" for gain in (*gains[:2], sum(gains[:2]) / 2, gains[2], gains[2])
    ]
    assert rows[2][5:8] == ["15.00", "15.50", "60.00"]


def test_curves_of_pillow_rise():
    own = curve(dead_leaves(32, 40, seed=1), OTHERS["JPEG 4:4:4"])
    assert own[0].size < own[-1].size
    assert own[0].decibels < own[-1].decibels


def test_the_checkpoint_that_comes_with_the_example():
    """It codes a picture far below 24 bits per pixel, and its fixed point holds."""
    own = load_coding()
    picture = dead_leaves(64, 80, seed=123)
    data = encode(own, picture)
    assert own.shape == SMALL
    assert 8 * len(data) / (64 * 80) < 1.5
    decoded = decode(own, data)
    assert psnr(picture, decoded) > 24


@dataclasses.dataclass(frozen=True)
class Short(Schedule):
    steps: tuple[int, ...] = (3,)
    chained: tuple[int, ...] = (2,)
    crops: int = 2
    crop: int = 40
    batch: int = 32


@pytest.mark.parametrize("kernels", few(KERNELS, 1))
def test_the_command_that_trains(files, capsys, monkeypatch, kernels):
    """A short run, on pictures from a seed: its checkpoint codes a picture."""
    monkeypatch.setattr(train, "Schedule", Short)
    monkeypatch.setattr(train, "training_pictures", lambda: [dead_leaves(40, 48, seed=1)])
    monkeypatch.setattr(train, "read", lambda photograph: dead_leaves(16, 24, seed=2))
    out = files / "trained.safetensors"
    assert run("train", "--rate", 200, "--kernels", kernels, "--out", out) == 0
    said = capsys.readouterr().out
    assert said.count("iteration") == 2
    about, own = trained(out), load_coding(out)
    assert (own.shape.kernels, about.rate) == (kernels, 200)
    assert [set(done.sets) for done in about.iterations] == [{"validation", "held out"}] * 2
    assert f"closed {about.iterations[1].sets['validation'].closed.cost:.4f}" in said
    assert decode(own, encode(own, waves(9, 17, seed=1))).shape == (9, 17, 3)


def test_training_refuses_a_bad_place_before_it_begins(files, capsys, monkeypatch):
    monkeypatch.setattr(train, "training_pictures", lambda: pytest.fail("it began"))
    for out, said in [(files / "in.png", "not a safetensors file"), (files / "no" / "a", "does not exist")]:
        assert run("train", "--out", out) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("train", "--rate", "-3")
    assert "expected a number from 1 to 100,000" in capsys.readouterr().err


def test_each_rate_has_a_place_of_its_own():
    places = [place_of(rate, kernels) for rate in (*RATES, 227.5875) for kernels in KERNELS]
    assert len(set(places)) == len(places)
    assert USUAL in SHIPPED


def test_checkpoints_that_come_with_the_example():
    """Larger rates give better pictures for more bits, in at most five minutes each."""
    about = [trained(path) for path in SHIPPED]
    assert [own.rate for own in about] == sorted(RATES)
    assert all(own.seconds <= 300 for own in about)
    assert all(path.stat().st_size < 1024**2 for path in SHIPPED)
    assert all(load(path)[0] == SMALL for path in SHIPPED)
    for called in ("validation", "held out"):
        last = [own.iterations[-1].sets[called].closed for own in about]
        assert sorted(last, key=lambda cost: cost.bits) == last
        assert sorted(last, key=lambda cost: -cost.error) == last


@pytest.mark.parametrize("called", ["validation", "held out"])
def test_what_training_of_the_usual_checkpoint_measured(called):
    """Open-loop training alone leaves a gap; iterations close it."""
    gaps = [done.sets[called].closed.cost - done.sets[called].open.cost for done in trained(USUAL).iterations]
    assert len(gaps) >= 4
    assert gaps[0] >= 0.05
    assert all(gap <= 0.02 for gap in gaps[2:])


def test_encode_and_decode(files, capsys):
    own = ("--checkpoint", files / "small.safetensors")
    assert run("encode", files / "in.png", files / "a.bin", *own, "--order", "raster") == 0
    size, said = len((files / "a.bin").read_bytes()), capsys.readouterr().out
    assert f"22x17, {size} bytes, {8 * size / 374:.3f} bits per pixel, PSNR" in said
    assert run("decode", files / "a.bin", files / "out.png", *own, "--reference", files / "in.png") == 0
    found = psnr(read_picture(files / "in.png"), read_picture(files / "out.png"))
    assert f"PSNR {found:.2f} dB" in capsys.readouterr().out
    assert f"PSNR {found:.2f} dB" in said


def test_bad_input_is_one_line_and_leaves_no_file(files, capsys):
    own = ("--checkpoint", files / "small.safetensors")
    run("encode", files / "in.png", files / "a.bin", *own, "--no-check")
    (files / "cut.bin").write_bytes((files / "a.bin").read_bytes()[:-3])
    (files / "empty").touch()
    image = pytest.importorskip("PIL.Image")
    frames = [image.fromarray(dead_leaves(8, 8, seed=seed)) for seed in (1, 2)]
    frames[0].save(files / "two.gif", save_all=True, append_images=frames[1:])
    capsys.readouterr()
    for arguments, said in [
        (("decode", files / "cut.bin", files / "out", *own), "cut.bin: the checksum"),
        (("decode", files / "no.bin", files / "out", *own), "no.bin: No such file"),
        (("decode", files / "in.png", files / "out", *own), "begins with"),
        (("decode", files / "a.bin", files / "out", "--checkpoint", files / "no"), "no such checkpoint"),
        (
            ("decode", files / "a.bin", files / "out.jpg", *own),
            "out.jpg: what is written is a PNG file; name it out.png",
        ),
        (("decode", files / "empty", files / "out", *own), "empty: the file is empty"),
        (("encode", files / "empty", files / "out", *own), "empty: the file is empty"),
        (("encode", files / "two.gif", files / "out", *own), "two.gif: 2 pictures in one file"),
        (("encode", files / "no.png", files / "out", *own), "No such file"),
        (("encode", files / "in.png", files / "in.png", *own), "in.png"),
    ]:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not (files / "out").exists()
