"""The bitstream of examples/: tables, symbols, four codecs by blocks, and bytes that are no picture."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import random
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("constriction")
pytest.importorskip("PIL")
pytest.importorskip("safetensors")

from shared.damage import damaged
from shared.thorough import few

from examples.cps.nets import CPS
from examples.kim2026 import ablation
from examples.kim2026.__main__ import main
from examples.kim2026.checkpoint import load, load_coding, save
from examples.kim2026.coding import CODECS, coding, tables_of
from examples.lic.bitstream import BitstreamError, Coded, digest, packed, unpacked
from examples.lic.codec import Codec
from examples.lic.coding import Coding, decode, encode
from examples.lic.densities import factorized_tables, gaussian_tables, scale_table
from examples.lic.pictures import Picture, dead_leaves, psnr, read_picture, waves, write_picture
from examples.lic.running import Running
from examples.lic.short import Short
from examples.lic.symbols import MOST, SymbolReader, SymbolWriter
from examples.lic.tables import TOTAL, Tables, integers, tables
from examples.lic.training import Schedule, _crops
from overlapcalc import InputError

pytestmark = pytest.mark.usefixtures("traced_once")

SMALL = {
    "mean-scale": {"N": 4, "M": 6},
    "checkerboard": {"N": 4, "M": 6},
    "cheng2020": {"N": 4},
    "elic": {"N": 4, "M": 6, "groups": [2, 4], "widths": [4, 4]},
}


@functools.cache
def made(name: str, loud: float = 1.0) -> tuple[Codec, dict[str, Tables]]:
    """A codec with random weights whose latents spread over many symbols. loud: factor of its scales and means."""
    torch.manual_seed(5)
    codec = CODECS[name](**SMALL[name]).eval()
    with torch.no_grad():
        for key, p in codec.named_parameters():
            if p.ndim == 4:
                p *= 3.0 if "g_a" in key or "h_a" in key else 1.5
        codec.parts.h_s[-1].weight *= loud
    for group in codec.parts.groups:
        group.gaussian_conditional.scale_table = scale_table()
    own = {"latents": gaussian_tables(scale_table()), "hyper": factorized_tables(codec.parts.entropy_bottleneck)}
    return codec, own


@functools.cache
def small(name: str) -> Coding:
    return coding(name, *made(name))


@functools.cache
def coded(name: str) -> tuple[Picture, bytes, Picture]:
    """A picture whose sizes divide by nothing, its bytes, and what they are decoded to; everything whole."""
    picture = dead_leaves(75 if name in ("mean-scale", "checkerboard") else 40, 131, seed=9)
    data = encode(small(name), picture)
    return picture, data, decode(small(name), data)


# ---- tables and symbols -------------------------------------------------------------------------------------------


def test_tables_are_integers_that_sum_to_2_to_the_16():
    for own in (gaussian_tables(scale_table()), factorized_tables(made("mean-scale")[0].parts.entropy_bottleneck)):
        assert all(counts.sum() == TOTAL and counts.min() >= 1 for counts in own.counts)
        again = Tables.of_flat(*own.flat())
        assert again.offsets == own.offsets
        assert all(np.array_equal(a, b) for a, b in zip(again.counts, own.counts, strict=True))


@pytest.mark.parametrize("counts", [[TOTAL], [TOTAL, 0], [TOTAL - 1, 2], [-1, TOTAL + 1]])
def test_other_counts_are_refused(counts):
    with pytest.raises(ValueError, match="65536"):
        Tables((np.array(counts),), (0,))
    with pytest.raises(ValueError, match="offsets of up to 1048577"):
        Tables((np.array([1, TOTAL - 1]),), (-MOST - 1,))


def test_a_gaussian_table_is_the_gaussian():
    own = gaussian_tables(torch.tensor([2.0]))
    for symbol in range(-7, 8):
        edges = [math.erf((symbol + side) / 2 / math.sqrt(2)) / 2 for side in (-0.5, 0.5)]
        assert abs(own.counts[0][symbol - own.offsets[0]] / TOTAL - (edges[1] - edges[0])) < 20 / TOTAL


def test_largest_remainders():
    assert integers(np.array([1.0, 1.0, 2.0])).tolist() == [16384, 16384, 32768]
    assert integers(np.array([1.0, 0.0])).tolist() == [65535, 1]
    thirds = integers(np.ones(3))
    assert sorted(thirds.tolist()) == [21845, 21845, 21846]


def test_symbols_come_back_whatever_they_are():
    own, random_ = gaussian_tables(scale_table()), np.random.default_rng(0)
    indexes = random_.integers(0, 64, 4000)
    symbols = np.rint(random_.normal(0, scale_table().numpy()[indexes])).astype(np.int64)
    symbols[::50] = random_.integers(-MOST, MOST + 1, 80)
    symbols[:2] = -MOST, MOST
    writer = SymbolWriter()
    for part in (slice(0, 1000), slice(1000, 1000), slice(1000, None)):
        writer.write(symbols[part], indexes[part], own)
    reader = SymbolReader(writer.bytes())
    for part in (slice(0, 1000), slice(1000, 1000), slice(1000, None)):
        assert np.array_equal(reader.read(indexes[part], own), symbols[part])
    reader.finish()
    with pytest.raises(BitstreamError, match="longer"):
        SymbolReader(writer.bytes()).finish()


def test_escapes_around_powers_of_two_come_back():
    own = gaussian_tables(torch.tensor([0.11]))
    powers = 2 ** np.arange(21)
    symbols = np.unique(np.clip([s * p + d for s in (-1, 1) for p in powers for d in range(-4, 5)], -MOST, MOST))
    writer, indexes = SymbolWriter(), np.zeros(len(symbols), np.int64)
    writer.write(symbols, indexes, own)
    assert np.array_equal(SymbolReader(writer.bytes()).read(indexes, own), symbols)


def test_symbols_that_cost_more_than_there_are_bytes_are_refused():
    own = gaussian_tables(torch.tensor([30.0]))
    writer = SymbolWriter()
    writer.write(np.zeros(100, np.int64), np.zeros(100, np.int64), own)
    SymbolReader(writer.bytes()).read(np.zeros(100, np.int64), own)
    with pytest.raises(BitstreamError, match=r"shorter|cannot be decoded"):
        SymbolReader(writer.bytes()).read(np.zeros(200, np.int64), own)
    with pytest.raises(BitstreamError, match="shorter"):
        SymbolReader(b"").read(np.zeros(100, np.int64), own)


def test_bits_are_those_of_the_tables():
    own, random_ = tables([(-1, np.array([0.2, 0.5, 0.25]))]), np.random.default_rng(1)
    share = own.counts[0] / TOTAL
    symbols = random_.choice([-1, 0, 1], 20000, p=share[:3] / share[:3].sum())
    writer = SymbolWriter()
    writer.write(symbols, np.zeros(20000, np.int64), own)
    ideal = -np.log2(share[symbols + 1]).sum() / 8
    assert ideal <= len(writer.bytes()) < 1.001 * ideal + 8


# ---- one bitstream ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "block", "schedule"), few([
    ("mean-scale", 80, "trim"), ("checkerboard", 33, "stream"), ("cheng2020", 96, "crop"), ("elic", 64, "trim"),
], [("checkerboard", 33, "stream")]))  # fmt: skip
def test_blocks_change_no_byte_and_no_pixel(name, block, schedule):
    picture, data, decoded = coded(name)
    running = Running(block, schedule)
    assert encode(small(name), picture, running) == data
    assert np.array_equal(decode(small(name), data, running), decoded)


@pytest.mark.parametrize("name", SMALL)
def test_symbols_are_worth_coding(name):
    """The pictures differ, the payload is not trivial, and one other symbol is another picture."""
    picture, data, decoded = coded(name)
    assert len(unpacked(data).payload) > 200
    assert decoded.std() > 2
    other = decode(small(name), encode(small(name), 255 - picture))
    assert not np.array_equal(other, decoded)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 1), (3, 130)])
def test_any_size(size):
    picture = dead_leaves(*size, seed=2)
    assert decode(small("mean-scale"), encode(small("mean-scale"), picture)).shape == (*size, 3)


def test_threads_change_no_byte():
    picture, data, decoded = coded("checkerboard")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert encode(small("checkerboard"), picture) == data
        assert np.array_equal(decode(small("checkerboard"), data), decoded)
    finally:
        torch.set_num_threads(before)


def test_a_codec_in_floats_by_blocks_goes_wrong():
    """The control: in float32 trim adds up in another order, so means differ, and what is decoded or coded does."""
    codec, own = made("mean-scale", 3000.0)
    floats, exact = (coding("mean-scale", codec, own, floating=flag) for flag in (True, False))
    picture, running = dead_leaves(128, 192, seed=0), Running(64, "trim")
    whole = encode(floats, picture)
    right = decode(floats, whole)
    with contextlib.suppress(BitstreamError):
        assert not np.array_equal(decode(floats, whole, running), right)
    data = encode(exact, picture)
    assert np.array_equal(decode(exact, data, running), decode(exact, data))


def test_cps_is_coded_by_the_same_code():
    torch.manual_seed(8)
    codec = CPS(4).eval()
    with torch.no_grad():
        for p in codec.parts.g_a.parameters():
            if p.ndim == 4:
                p *= 3.0
    own = coding("cps", codec, tables_of(codec))
    data = encode(own, dead_leaves(70, 100, seed=1))
    assert len(unpacked(data).payload) > 100
    assert np.array_equal(decode(own, data, Running(80, "trim")), decode(own, data))


# ---- bytes that are no picture ------------------------------------------------------------------------------------


def test_damaged_bytes_are_refused_with_one_error():
    _, data, decoded = coded("mean-scale")
    random_, said = random.Random(6), collections.Counter()
    for _ in range(4000):
        with pytest.raises(BitstreamError) as caught:
            decode(small("mean-scale"), damaged(data, random_))
        said[str(caught.value).split()[0]] += 1
    assert sum(said.values()) == 4000
    assert len(said) > 1
    assert np.array_equal(decode(small("mean-scale"), data), decoded)


def test_forged_payloads_never_crash_nor_pass():
    """With a right checksum it is the digest of the symbols that tells; the last bits of a payload mean nothing."""
    _, data, decoded = coded("mean-scale")
    own, random_ = unpacked(data), random.Random(7)
    said = collections.Counter()
    for i in range(150):
        payload = random_.randbytes(4 * random_.randrange(40)) if i % 2 else damaged(own.payload, random_)
        try:
            assert np.array_equal(decode(small("mean-scale"), packed(own._replace(payload=payload))), decoded)
        except BitstreamError as error:
            said[str(error)[:25]] += 1
    assert len(said) >= 3
    assert sum(said.values()) > 140


@pytest.mark.parametrize(("change", "said"), [
    ({"codec": "elic"}, "coded by 'elic'"), ({"codec": "n" * 255}, "coded by 'n"), ({"fingerprint": b"12345678"}, "other weights"),
    ({"height": 0}, "a picture of 131x0"), ({"width": 2**31}, "a picture of 2147483648x75"),
    ({"height": 300}, "payload|probabilities"), ({"width": 5}, "payload|probabilities"), ({"symbols": b"12345678"}, "probabilities"),
])  # fmt: skip
def test_what_belongs_to_something_else_is_refused(change, said):
    own = unpacked(coded("mean-scale")[1])
    with pytest.raises(BitstreamError, match=said):
        decode(small("mean-scale"), packed(own._replace(**change)))


@pytest.mark.parametrize("size", [(2**30, 1), (1, 2**24), (2**15, 2**15), (20000, 20000)])
def test_forged_sizes_are_refused_before_memory_is_taken(size):
    """The largest would take 100 GiB; a check that comes late would not come at all."""
    own = unpacked(coded("mean-scale")[1])
    for payload in (own.payload, b"", bytes(4000)):
        with pytest.raises(BitstreamError, match=r"too short|at most 2\^30"):
            decode(small("mean-scale"), packed(own._replace(height=size[0], width=size[1], payload=payload)))


def test_a_name_longer_than_the_file():
    body = bytearray(packed(Coded("", b"12345678", 5, 5, b"12345678", b""))[:-8])
    body[5] = 255
    with pytest.raises(BitstreamError, match="longer than the file"):
        unpacked(bytes(body) + digest(bytes(body)))


def test_other_weights_and_other_tables_have_another_fingerprint():
    codec, own = made("mean-scale")
    before = coding("mean-scale", codec, own).fingerprint
    narrower = {**own, "latents": gaussian_tables(0.9 * scale_table())}
    assert coding("mean-scale", codec, narrower).fingerprint != before
    with torch.no_grad():
        weight = codec.parts.h_s[0].weight
        weight[0, 0, 0, 0] += 2.0**-20
        try:
            assert coding("mean-scale", codec, own).fingerprint != before
        finally:
            weight[0, 0, 0, 0] -= 2.0**-20
    assert coding("mean-scale", codec, own).fingerprint == before


@pytest.mark.parametrize("which", ["latents", "hyper"])
def test_as_many_tables_as_there_are_scales_and_channels(which):
    codec, own = made("mean-scale")
    few = Tables(own[which].counts[:-1], own[which].offsets[:-1])
    with pytest.raises(InputError, match=f"tables of {which}; expected {len(own[which].counts)}"):
        coding("mean-scale", codec, {**own, which: few})


def test_a_codec_without_scales_is_given_some_and_one_with_wrong_scales_is_refused():
    codec = CODECS["elic"](**SMALL["elic"]).eval()
    own = tables_of(codec)
    assert len(coding("elic", codec, own).scales) == len(own["latents"].counts) == 64
    for wrong in (scale_table().flip(0), -scale_table(), torch.full((64,), math.nan)):
        codec.parts.groups[0].gaussian_conditional.scale_table = wrong
        with pytest.raises(InputError, match="scales above 0 and ascending"):
            coding("elic", codec, own)


def test_latents_that_are_no_numbers_are_not_coded():
    codec, own = CODECS["cheng2020"](N=4), made("cheng2020")[1]
    codec.load_state_dict(made("cheng2020")[0].state_dict())
    with torch.no_grad():
        codec.parts.h_a[0].bias.fill_(math.nan)
    with pytest.raises(InputError, match="cheng2020: its nets give latents that are no numbers"):
        encode(coding("cheng2020", codec, own, floating=True), dead_leaves(8, 8, seed=1))


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(InputError, match="a picture of shape"):
        encode(small("mean-scale"), picture)


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    codec, own = made("mean-scale")
    save(tmp_path / "small.safetensors", "mean-scale", SMALL["mean-scale"], codec, own, "a test")
    write_picture(tmp_path / "in.png", dead_leaves(70, 90, seed=1))
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_pictures_that_would_lose_something_are_refused_and_turned_ones_are_turned(tmp_path):
    image, picture = pytest.importorskip("PIL.Image"), dead_leaves(6, 9, seed=1)
    own = image.fromarray(picture)
    own.convert("RGBA").save(tmp_path / "a.png")
    own.convert("LA").save(tmp_path / "b.png")
    own.quantize(4).save(tmp_path / "c.png", transparency=1)
    own.save(tmp_path / "d.png", transparency=(0, 0, 0))
    image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(tmp_path / "e.png")
    for name in "abcde":
        with pytest.raises(InputError, match=r"\.png: a picture (of mode|with a transparent colour)"):
            read_picture(tmp_path / f"{name}.png")
    exif = image.Exif()
    exif[0x112] = 6  # a quarter to the right
    own.save(tmp_path / "f.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "f.png"), np.rot90(picture, -1))
    own.convert("L").save(tmp_path / "g.png")
    assert np.ptp(read_picture(tmp_path / "g.png"), -1).max() == 0


def test_encode_and_decode(files, capsys):
    own = ("--checkpoint", files / "small.safetensors")
    assert run("encode", files / "in.png", files / "a.bin", *own) == 0
    size, bits = len((files / "a.bin").read_bytes()), capsys.readouterr().out
    assert f"90x70, {size} bytes, {8 * size / 6300:.3f} bits per pixel, PSNR" in bits
    assert (
        run("encode", files / "in.png", files / "b.bin", *own, "--block", 64, "--schedule", "stream", "--no-check") == 0
    )
    assert (files / "a.bin").read_bytes() == (files / "b.bin").read_bytes()
    assert "PSNR" not in capsys.readouterr().out
    assert run("decode", files / "b.bin", files / "out.png", *own, "--reference", files / "in.png") == 0
    found = psnr(read_picture(files / "in.png"), read_picture(files / "out.png"))
    assert f"PSNR {found:.2f} dB" in capsys.readouterr().out
    assert f"PSNR {found:.2f} dB" in bits
    assert not [path for path in files.iterdir() if path.name.startswith(".")]


def test_bad_input_is_one_line_and_leaves_no_file(files, capsys):
    own = ("--checkpoint", files / "small.safetensors")
    run("encode", files / "in.png", files / "a.bin", *own, "--no-check")
    data = (files / "a.bin").read_bytes()
    (files / "cut.bin").write_bytes(data[:-3])
    (files / "text.png").write_text("no picture")
    write_picture(files / "other.png", dead_leaves(5, 5, seed=1))
    capsys.readouterr()
    for arguments, said in [
        (("decode", files / "cut.bin", files / "out", *own), "cut.bin: the checksum"),
        (("decode", files / "no.bin", files / "out", *own), "no.bin: No such file"),
        (("decode", files / "in.png", files / "out", *own), "begins with"),
        (("decode", files / "a.bin", files / "out", "--checkpoint", files / "in.png"), "no safetensors"),
        (("decode", files / "a.bin", files / "out", "--checkpoint", files / "no"), "no such checkpoint"),
        (("decode", files / "a.bin", files / "none" / "out", *own), "which does not exist"),
        (("decode", files / "a.bin", files / "out", *own, "--reference", files / "other.png"), "5x5 and 90x70"),
        (("encode", files / "text.png", files / "out", *own), "cannot be read as a picture"),
        (("encode", files / "no.png", files / "out", *own), "No such file"),
    ]:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not (files / "out").exists()


def test_a_package_that_is_missing_is_named(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert run("encode", files / "in.png", files / "out") == 2
    assert "this needs PIL: pip install overlapcalc[papers]" in capsys.readouterr().err


def test_a_picture_too_large_is_refused():
    with pytest.raises(InputError, match=r"32769x32768; expected at most 2\^30"):
        encode(small("mean-scale"), np.broadcast_to(np.zeros(1, np.uint8), (32768, 32769, 3)))


def test_usage(files, capsys):
    for wrong in (["--block", "0"], ["--schedule", "none"], ["--codec", "jpeg"]):
        with pytest.raises(SystemExit) as caught:
            run("encode", files / "in.png", files / "out", *wrong)
        assert caught.value.code == 2


# ---- checkpoints --------------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(files):
    name, codec, own = load(files / "small.safetensors")
    assert name == "mean-scale"
    right, tables_ = made("mean-scale")
    for key, value in codec.state_dict().items():
        before = right.state_dict()[key]
        assert torch.equal(value, before)
    save(files / "half.safetensors", name, SMALL[name], right, tables_, "a test", halved=True)
    for key, value in load(files / "half.safetensors")[1].state_dict().items():
        before = right.state_dict()[key]
        assert torch.equal(value, before.half().float() if before.ndim == 4 else before)
    assert own["hyper"].offsets == tables_["hyper"].offsets
    assert load_coding(files / "small.safetensors").fingerprint == load_coding(files / "small.safetensors").fingerprint


@pytest.mark.parametrize(("arguments", "said"), [({"N": 5, "M": 6}, "size mismatch"), ({"K": 5}, "K")])
def test_a_checkpoint_of_another_shape_is_refused(files, arguments, said):
    save(files / "bad.safetensors", "mean-scale", arguments, *made("mean-scale"), "a test")
    with pytest.raises(InputError, match=rf"holds no mean-scale codec.*{said}"):
        load(files / "bad.safetensors")


def test_a_checkpoint_with_other_tables_is_refused(files, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(files / "small.safetensors")
    about = {"codec": "mean-scale", "arguments": '{"N": 4, "M": 6}'}
    for key, value in (("tables.latents.counts", state["tables.latents.counts"] + 1), ("stray", torch.zeros(1))):
        save_file({**state, key: value}, files / "bad.safetensors", metadata=about)
        with pytest.raises(InputError, match="holds no mean-scale codec"):
            load(files / "bad.safetensors")
    save_file(state, files / "bad.safetensors", metadata={"codec": "jpeg"})
    with pytest.raises(InputError, match="a checkpoint of 'jpeg'"):
        load(files / "bad.safetensors")


@pytest.mark.parametrize("name", SMALL)
def test_the_checkpoints_that_come_with_the_examples(name):
    """They code a picture of the kind that they were trained on at a fair quality, far below 24 bits per pixel."""
    from examples.kim2026.checkpoint import path_of

    own = load_coding(path_of(name))
    picture = dead_leaves(128, 128, seed=123)
    data = encode(own, picture)
    assert own.name == name
    assert 8 * len(data) / 128**2 < 1.5
    assert psnr(picture, decode(own, data)) > 20
    assert Path(path_of(name)).stat().st_size < 600 * 1024


def reached(pictures: np.ndarray) -> set[tuple[int, ...]]:
    """Corners of the cube of colours that some sample of the pictures is near to."""
    colours = pictures.reshape(-1, 3).astype(float) / 255
    return {corner for corner in product((0, 1), repeat=3) if (abs(colours - corner).max(1) < 0.1).any()}


def test_training_shows_every_colour_and_dead_leaves_do_not():
    """A codec that was trained on dull pictures alone decoded red at 9 dB."""
    leaves = np.stack([dead_leaves(256, 256, seed=1000 + i, leaves=200) for i in range(6)])
    assert len(reached(leaves)) < 8
    random_, pictures = np.random.default_rng(1), torch.from_numpy(leaves).permute(0, 3, 1, 2)
    crops = torch.cat([_crops(pictures, Schedule(), random_) for _ in range(60)])[..., ::2, ::2]
    assert crops.min() >= 0
    assert crops.max() <= 1
    assert len(reached((255 * crops).permute(0, 2, 3, 1).numpy())) == 8
    assert len(reached(np.stack([waves(256, 256, seed=i) for i in range(16)]))) == 8


# ---- the ablation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", few(["h_a", "h_s"], 1))
def test_blocks_with_their_context_are_right_and_with_one_sample_less_are_not(transform):
    net = getattr(small("mean-scale"), transform)
    channels, side = {"h_a": (6, 24), "h_s": (4, 6)}[transform]
    block = 8
    torch.manual_seed(1)
    x = torch.rand(1, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
    assert torch.equal(Short(net, block)(net, x), whole)
    for lack in ((1, 0), (0, 1)):
        assert not torch.equal(Short(net, block, *lack)(net, x), whole)
    assert torch.equal(Short(torch.nn.Identity(), block, 1, 1)(net, x), whole)


@pytest.mark.thorough
def test_the_table_of_the_ablation(monkeypatch):
    monkeypatch.setattr(ablation, "load_coding", lambda name: small(name))
    monkeypatch.setattr(ablation, "path_of", lambda name: name)
    monkeypatch.setattr(ablation, "picture", lambda: dead_leaves(192, 256, seed=3))
    rows = {(transform, where): cells for _, transform, where, *cells in ablation._rows("mean-scale")}
    assert len(rows) == 5
    assert all(cells[0] == "identical" for cells in rows.values())
    assert "cannot be decoded" in rows["h_s", "decoder"]
    assert all(cells[-1] != "identical" for cells in rows.values())


@pytest.mark.thorough
def test_pictures_of_seams(monkeypatch, tmp_path):
    monkeypatch.setattr(ablation, "load_coding", lambda name: small("mean-scale"))
    monkeypatch.setattr(ablation, "CODECS", {"mean-scale": None})
    ablation.write_pictures(tmp_path / "new")
    made_ = read_picture(tmp_path / "new" / "mean-scale-seams.png")
    right, wrong, difference = np.split(made_, 3, 1)
    assert made_.shape == (160, 480, 3)
    assert np.array_equal(right[:32, :32], wrong[:32, :32])
    assert (difference[:32, :32] == 128).all()
    assert not np.array_equal(right[48:80], wrong[48:80])  # around 128, where a block begins
