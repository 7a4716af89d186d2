"""Predictive coding of examples/blockcnn: residuals as JPEG, the loop and its fixed point, bitstreams, the commands."""

from __future__ import annotations

import collections
import functools
import importlib.util
import io
import random
import struct
import zlib
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("PIL")
pytest.importorskip("safetensors")

from PIL import Image
from shared.damage import damaged
from shared.thorough import few

import overlapcalc as oc
from examples.blockcnn import residual as residual_module
from examples.blockcnn.__main__ import main
from examples.blockcnn.checkpoint import PREDICTOR, load, load_predictor, path_of, save, save_predictor
from examples.blockcnn.combinations import OPTIONS, combinations
from examples.blockcnn.fitting import Fitting, fit, neighbours
from examples.blockcnn.jpeg import Quality
from examples.blockcnn.predictive import (
    ORDERS,
    ClosedLoop,
    Predictive,
    channels,
    closed,
    decode,
    encode,
    picture_of,
    predictive,
    residual_file,
)
from examples.blockcnn.predictor import PLACES, READ, SAMPLES, TAPS, Predictor, exact_form, filters_of, places
from examples.blockcnn.remover import Remover, Shape
from examples.blockcnn.residual import coded_apart, read, to_channels, to_planes, written
from examples.blockcnn.tables import cleaned
from examples.lic.bitstream import BitstreamError, packed, unpacked
from examples.lic.curves import Point, at_size, curve
from examples.lic.exact import OnlyExact
from examples.lic.photographs import VALIDATION
from examples.lic.photographs import read as read_photograph
from examples.lic.pictures import Picture, dead_leaves, psnr, read_picture, waves, write_picture
from overlapcalc import InputError

pytestmark = pytest.mark.usefixtures("traced_once")

SIZE = (27, 38)
"""Divided by nothing; 4 x 5 blocks."""
QUALITIES = (10, 30, 90)


@functools.cache
def seeded() -> Predictor:
    """Random filters of all neighbours, which amplify no error much."""
    torch.manual_seed(5)
    net = Predictor()
    with torch.no_grad():
        for layer in (net.luma, net.chroma):
            layer.weight *= 0.5
            layer.bias *= 30
    return net


@functools.cache
def own() -> Predictive:
    return predictive(seeded())


@functools.cache
def coded(quality: int) -> tuple[Picture, bytes, Picture]:
    """A picture, its bytes, and what they are decoded to."""
    picture = dead_leaves(*SIZE, seed=9)
    data = encode(own(), picture, quality)
    return picture, data, decode(own(), data).picture


# ---- residuals ------------------------------------------------------------------------------------------------------


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    """Of the whole range, with the extremes: what JPEG makes of it leaves the range and is clamped."""
    random_ = np.random.default_rng(seed)
    x = torch.from_numpy(random_.integers(-128, 128, (1, 3, 8 * rows, 8 * columns))).double()
    x[:, :, :8] = torch.where(x[:, :, :8] > 0, 127.0, -128.0)
    return x


@pytest.mark.parametrize("quality", [1, 10, 50, 90, 100])
def test_blocks_come_back_apart_as_they_do_together(quality):
    x = noise(5, 7)
    together = to_channels(read(written(x, quality), (40, 56)))
    blocks = to_channels(x).flatten(2)[0].T
    apart = coded_apart(blocks, quality)
    assert torch.equal(apart.T.reshape(together.shape), together)
    shuffled = torch.randperm(35, generator=torch.manual_seed(1))
    assert torch.equal(coded_apart(blocks[shuffled], quality), apart[shuffled])
    assert torch.equal(coded_apart(blocks[8:9], quality), apart[8:9])
    assert (apart == -128).any()
    assert (apart == 127).any()
    assert quality == 100 or not torch.equal(apart, blocks)


def test_blocks_with_other_tables_come_back_otherwise():
    """The control."""
    x = noise(2, 3)
    blocks = to_channels(x).flatten(2)[0].T
    together = to_channels(read(written(x, 31), (16, 24)))
    assert not torch.equal(coded_apart(blocks, 30).T.reshape(together.shape), together)


def test_more_blocks_than_a_file_takes(monkeypatch):
    monkeypatch.setattr(residual_module, "LONGEST", 24)
    blocks = to_channels(noise(2, 4)).flatten(2)[0].T
    found = coded_apart(blocks, 20)
    monkeypatch.undo()
    assert torch.equal(found, coded_apart(blocks, 20))


def test_huffman_tables_change_no_sample():
    x = noise(12, 12)
    by_default, optimised = (written(x, 95, optimize=own) for own in (False, True))
    assert len(optimised) < len(by_default)
    assert torch.equal(read(by_default, (96, 96)), read(optimised, (96, 96)))


def test_samples_are_the_planes_of_the_file():
    """Not RGB: at quality 100 a flat block of each plane comes back as it is."""
    x = torch.tensor([-100.0, 50.0, 20.0])[None, :, None, None].expand(1, 3, 8, 8)
    assert torch.equal(read(written(x, 100), (8, 8)), x)
    assert torch.equal(to_planes(to_channels(noise(3, 2))), noise(3, 2))
    assert torch.equal(to_channels(noise(3, 2))[0, 64:128, 1, 0], noise(3, 2)[0, 1, 8:16, :8].flatten())


def test_a_libjpeg_that_decodes_otherwise_is_told(monkeypatch):
    """In the encoder, by the whole file; in the decoder, by the digest."""
    _, data, _ = coded(30)
    monkeypatch.setattr("examples.blockcnn.predictive.coded_apart", lambda blocks, quality: blocks)
    with pytest.raises(InputError, match="decodes blocks of a file otherwise than apart"):
        encode(own(), dead_leaves(*SIZE, seed=9), 30)
    monkeypatch.setattr("examples.blockcnn.predictive.read", lambda *given: read(*given) + 1)
    with pytest.raises(BitstreamError, match="decoded otherwise here than where it was coded"):
        decode(own(), data)


# ---- the loop -------------------------------------------------------------------------------------------------------


def one_by_one(x: Tensor, quality: int, taps: tuple[tuple[int, int], ...] = TAPS) -> Tensor:
    """The plainest way: block by block, each by its own filter in numbers, each in a JPEG file of its own."""
    rows, columns = x.shape[2:]
    found = torch.zeros_like(x)
    for row in range(rows):
        for column in range(columns):
            place = ("first row" if row == 0 else "first column" if column == 0
                     else "last column" if column == columns - 1 else "inside")  # fmt: skip
            predicted = []
            for plane in range(3):
                weight, constant = filters_of(seeded(), luma=plane == 0)[place]
                steps = torch.round(weight.double() * 2**24), torch.round(constant.double() * 2**24)
                around = torch.zeros(4, SAMPLES, dtype=torch.float64)
                for i, (down, right) in enumerate(TAPS):
                    if row + down >= 0 and 0 <= column + right < columns and (down, right) in taps:
                        around[i] = found[0, plane * SAMPLES : (plane + 1) * SAMPLES, row + down, column + right]
                predicted.append((around.flatten() @ steps[0] + steps[1]) / 2**24)
            guess = torch.cat(predicted).round().clamp(-128, 127)
            sent = x[0, :, row, column] - guess
            if sent.min() < -128 or sent.max() > 127:
                guess, sent = torch.zeros_like(guess), x[0, :, row, column]
            back = to_channels(read(written(to_planes(sent[None, :, None, None]), quality), (8, 8)))[0, :, 0, 0]
            found[0, :, row, column] = (guess + back).clamp(-128, 127)
    return found


@pytest.mark.parametrize("quality", few(QUALITIES, 1))
def test_every_order_gives_what_one_block_after_the_other_gives(quality):
    x = channels(coded(quality)[0])
    expected = one_by_one(x, quality)
    for order in ORDERS:
        assert torch.equal(closed(own(), x, quality, order).decoded, expected)
    assert not torch.equal(one_by_one(x, quality, TAPS[1:]), expected)
    loop = own().loop(4, 5).loop
    assert loop.steps("raster") == 20
    assert loop.steps("wavefront") == 2 * (4 - 1) + 5


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_fixed_point(quality):
    """The predictor on the finished picture gives every prediction again, and with the residual the picture. Of another
    picture it gives others."""
    x = channels(coded(quality)[0])
    made = closed(own(), x, quality)
    with OnlyExact("the predictor"):
        predicted = own().predictions(made.decoded)
    base = torch.where(made.plain, 0.0, predicted)
    assert torch.equal(x - base, made.residual)
    assert torch.equal((base + made.back).clamp(-128, 127), made.decoded)
    assert made.plain.double().mean() < 0.5
    assert not torch.equal(own().predictions(made.decoded.flip(1)), predicted)
    assert len(predicted.unique()) > 50


def test_the_loop_is_proved():
    found = oc.verify(own().loop(2, 3).loop)
    assert [(proof.name, proof.status) for proof in found.proofs] == [
        ("order", "proved"),
        ("fixed point", "proved"),
        ("values", "proved"),
    ]
    assert found.steps == 2 * (2 - 1) + 3


def test_one_tap_more_is_refused():
    """The control: the block to the right."""
    net = Predictor()
    with torch.no_grad():
        net.luma.mask[..., 1, 2] = 1
        net.luma.weight[..., 1, 2] = 0.5
    with pytest.raises(InputError, match=r"cells wait for each other, .* reads decoded at \(0, 1\)"):
        ClosedLoop(exact_form(net), (2, 3)).loop.steps()


# ---- bitstreams -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", few(QUALITIES, 1))
def test_the_decoder_gives_the_picture_of_the_encoder(quality):
    """By either order, from the same bytes."""
    picture, data, decoded = coded(quality)
    made = closed(own(), channels(picture), quality)
    assert np.array_equal(picture_of(made.decoded)[:27, :38], decoded)
    assert encode(own(), picture, quality, "raster") == data
    again = decode(own(), data, "raster")
    assert np.array_equal(again.picture, decoded)
    assert again.quality == Quality(quality, True)
    assert psnr(picture, decoded) > 18
    assert not np.array_equal(picture, decoded)


def test_the_residual_is_a_file_of_its_own():
    """A baseline JPEG file of 4:4:4, of whole blocks, whose planes are the residual."""
    picture, data, _ = coded(30)
    file = Image.open(io.BytesIO(residual_file(data)))
    assert (file.format, file.mode, file.size) == ("JPEG", "RGB", (40, 32))
    assert {layer[1:3] for layer in file.layer} == {(1, 1)}
    assert b"\xff\xc0" in residual_file(data)
    assert "progressive" not in file.info
    file.draft("YCbCr", None)
    planes = torch.from_numpy(np.array(file)).permute(2, 0, 1)[None].double() - 128
    assert torch.equal(to_channels(planes), closed(own(), channels(picture), 30).back)


@pytest.mark.parametrize("size", few([(1, 1), (17, 3), (8, 24)], [(17, 3)], single=True))
def test_any_size(size):
    picture = waves(*size, seed=2)
    found = decode(own(), encode(own(), picture, 50)).picture
    assert found.shape == picture.shape
    assert psnr(found, picture) > 20


def test_threads_change_no_byte():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(encode(own(), coded(30)[0], 30))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == coded(30)[1]


def test_damaged_bytes_are_refused_with_one_error():
    _, data, _ = coded(30)
    random_ = random.Random(6)
    for _ in range(500):
        with pytest.raises(BitstreamError):
            decode(own(), damaged(data, random_))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_forged_files_never_crash_nor_pass():
    """With a right checksum it is Pillow or the digest of the samples that tells."""
    _, data, decoded = coded(30)
    mine, random_, said = unpacked(data), random.Random(7), collections.Counter[str]()
    for i in range(50):
        payload = random_.randbytes(60) if i % 20 == 0 else damaged(mine.payload, random_)
        try:
            assert np.array_equal(decode(own(), packed(mine._replace(payload=payload))).picture, decoded)
        except BitstreamError as error:
            said[str(error)[:25]] += 1
    assert len(said) >= 3
    assert sum(said.values()) > 25


def other_file(**options: object) -> bytes:
    file = io.BytesIO()
    mode = str(options.pop("mode", "RGB"))
    Image.new(mode, options.pop("size", (40, 32))).save(file, options.pop("format", "JPEG"), **options)
    return file.getvalue()


NO_MAP = bytes(4)


def with_map(own_: bytes, payload: bytes) -> bytes:
    """Another map of blocks before the same file."""
    return struct.pack("<I", len(own_)) + own_ + payload[payload.index(b"\xff\xd8\xff") :]


def of_size(file: bytes, height: int, width: int) -> bytes:
    """The same file, which says that it is of another size."""
    place = file.index(b"\xff\xc0") + 5
    return file[:place] + struct.pack(">HH", height, width) + file[place + 4 :]


def test_what_belongs_to_something_else_is_refused():
    mine = unpacked(coded(30)[1])
    for change, said in [
        ({"codec": "kamisli"}, "coded by 'kamisli'"),
        ({"fingerprint": b"12345678"}, "another predictor"),
        ({"symbols": b"12345678"}, "decoded otherwise here"),
        ({"height": 70000, "width": 8}, "at most 65496 each way"),
        ({"height": 64}, "of 40x32, RGB 4:4:4; expected 40x64"),
        ({"payload": b""}, "lacks its map of blocks"),
        ({"payload": NO_MAP}, "holds no JPEG file"),
        ({"payload": struct.pack("<I", 10**6) + mine.payload[4:]}, "lacks its map of blocks"),
        ({"payload": with_map(b"no map", mine.payload)}, "its map of blocks is damaged"),
        ({"payload": with_map(zlib.compress(bytes(3))[:-3], mine.payload)}, "not one of 5x4 blocks"),
        ({"payload": with_map(zlib.compress(bytes(2)), mine.payload)}, "not one of 5x4 blocks"),
        ({"payload": with_map(zlib.compress(bytes(10**6)), mine.payload)}, "not one of 5x4 blocks"),
        ({"payload": with_map(zlib.compress(bytes(3)) + b"more", mine.payload)}, "not one of 5x4 blocks"),
        ({"payload": with_map(zlib.compress(b"\xff" * 3), mine.payload)}, "decoded otherwise here"),
        ({"payload": NO_MAP + other_file(format="PNG")}, "holds no JPEG file"),
        ({"payload": NO_MAP + other_file(subsampling=2)}, "expected 40x32, three planes of 4:4:4"),
        ({"payload": NO_MAP + other_file(mode="L")}, "of 40x32, L"),
        ({"payload": NO_MAP + other_file(mode="CMYK")}, "of 40x32, CMYK"),
        ({"payload": NO_MAP + other_file(subsampling=0)}, "decoded otherwise here"),
        ({"payload": mine.payload[:-40]}, "damaged or cut"),
        ({"payload": of_size(mine.payload, 32768, 32760), "height": 32768, "width": 32760}, "bytes are too few"),
    ]:
        with pytest.raises(BitstreamError, match=said):
            decode(own(), packed(mine._replace(**change)))


def test_pictures_that_it_cannot_take_are_refused():
    for wrong in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(InputError, match=r"expected \(H, W, 3\) bytes"):
            encode(own(), wrong, 30)
    with pytest.raises(InputError, match="at most 65496 each way"):
        encode(own(), np.zeros((1, 65497, 3), np.uint8), 30)
    for quality in (0, 101):
        with pytest.raises(InputError, match="expected 1 to 100"):
            encode(own(), coded(30)[0], quality)


def test_blocks_whose_residual_does_not_fit_are_sent_as_they_are():
    """White beside black, by a predictor that repeats the left neighbour: the residual would be 255, so white is sent.
    Grey after it fits."""
    net = Predictor()
    with torch.no_grad():
        for layer in (net.luma, net.chroma):
            layer.weight.zero_()
            layer.bias.zero_()
            for k in range(len(PLACES)):
                layer.weight[k * SAMPLES : (k + 1) * SAMPLES, :, 1, 0] = torch.eye(SAMPLES)
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16], picture[:, 16:] = 255, 130
    repeats = predictive(net)
    made = closed(repeats, channels(picture), 100)
    assert made.residual[0, 0, 0].tolist() == [-128, 127, 2 - 127]
    assert made.plain.tolist() == [[False, True, False]]
    data = encode(repeats, picture, 100)
    assert np.array_equal(decode(repeats, data).picture, picture)
    payload = unpacked(data).payload
    (length,) = struct.unpack_from("<I", payload)
    assert zlib.decompress(payload[4 : 4 + length]) == bytes([0b01000000])
    picture[:, 8:16] = 100
    assert unpacked(encode(repeats, picture, 100)).payload[:7] == NO_MAP + b"\xff\xd8\xff"


# ---- the predictor --------------------------------------------------------------------------------------------------


def test_places():
    kinds = places(3, 4)[0].argmax(0).tolist()
    assert kinds == [[1, 1, 1, 1], [2, 0, 0, 3], [2, 0, 0, 3]]
    assert torch.equal(places(3, 4).sum(1), torch.ones(1, 3, 4).double())
    assert places(2, 1)[0].argmax(0).tolist() == [[1], [2]]


def test_neighbours_that_a_kind_of_blocks_has():
    """READ against the border of a picture whose samples are all 1."""
    around = neighbours(torch.ones(1, SAMPLES, 3, 4)).reshape(3, 4, 4, SAMPLES)
    for place, (row, column) in {"inside": (1, 1), "first row": (0, 2), "first column": (2, 0),
                                 "last column": (1, 3)}.items():  # fmt: skip
        assert [i for i in range(4) if around[row, column, i].all()] == list(READ[place])
        assert around[row, column].sum() == len(READ[place]) * SAMPLES


def test_fitting_finds_a_rule():
    """Pictures in which every block repeats the one above, and the first row the one to the left, are predicted."""
    tile = np.random.default_rng(1).integers(60, 190, (6, 8, 8, 3)).astype(np.uint8)
    pictures = [np.tile(own_, (6, 6, 1)) for own_ in tile]
    sizes: list[float] = []
    net = Predictor()
    fit(net, pictures, Fitting((90,), ridge=0.01), say=lambda _, size: sizes.append(size))
    x = channels(np.tile(tile[0], (5, 7, 1)))
    predicted = predictive(net).predictions(x)
    assert float((predicted - x)[..., 1:, :].abs().mean()) < 2
    assert float((predicted - x)[..., 0, 1:].abs().mean()) < 2
    assert float(x.abs().mean()) > 15
    plain = len(written(to_planes(channels(pictures[0])), 90))
    assert sizes[-1] < 0.6 * plain


def test_checkpoints(tmp_path):
    """Weights of neighbours that a kind of blocks does not have are left out; they are never read."""
    path = tmp_path / "own.safetensors"
    save_predictor(path, seeded(), "a test")
    found = load_predictor(path)
    for luma in (True, False):
        for place, (weight, constant) in filters_of(found, luma=luma).items():
            right = filters_of(seeded(), luma=luma)[place]
            has = torch.zeros(4, SAMPLES, SAMPLES, dtype=torch.bool)
            has[list(READ[place])] = True
            rounded = torch.where(has.reshape(-1, SAMPLES), right[0].half().float(), 0)
            assert torch.equal(weight, rounded)
            assert torch.equal(constant, right[1].half().float())
    assert predictive(found).fingerprint != own().fingerprint
    with pytest.raises(InputError, match=r"absent.safetensors: there is no such checkpoint; .* train-predictor"):
        load_predictor(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match="a checkpoint of 'blockcnn-remover'; expected 'blockcnn-predictor'"):
        load_predictor(path_of(10, halved=False))
    with torch.no_grad():
        broken = load_predictor(path)
        broken.luma.bias[0] = torch.nan
    save_predictor(path, broken, "a test")
    with pytest.raises(InputError, match="no finite numbers"):
        load_predictor(path)


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_checkpoints_that_hold_no_predictor_are_refused(tmp_path, change):
    files = pytest.importorskip("safetensors.torch")
    path = tmp_path / "own.safetensors"
    save_predictor(path, seeded(), "a test")
    state = files.load_file(path)
    key = "chroma.first row.constant"
    value = state.pop(key)
    state |= {"missing": {}, "unknown": {key: value, "more": value.clone()}, "shape": {key: value[:5].clone()}}[change]
    path.write_bytes(files.save(state, metadata={"net": "blockcnn-predictor"}))
    with pytest.raises(InputError, match="it holds no blockcnn-predictor"):
        load_predictor(path)


# ---- the checkpoint here, and the table -----------------------------------------------------------------------------


def test_the_checkpoint_that_comes_with_the_example():
    """It leaves less than half of the energy of a picture unlike those it was trained on."""
    assert PREDICTOR.stat().st_size < 200 * 1024
    x = channels(dead_leaves(120, 136, seed=78))
    left = x - predictive(load_predictor()).predictions(x)
    ac = x - x.mean((2, 3), keepdim=True)
    assert float(left.square().mean()) < 0.5 * float(ac.square().mean())


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_beside_jpeg(name):
    """The figure that was asked for: within 0.2 dB of JPEG in as many bytes, or above."""
    photograph = next(own for own in VALIDATION if own.name == name)
    if not importlib.util.find_spec(photograph.package):
        pytest.skip("the package with photographs is not installed")
    mine, picture = predictive(load_predictor()), read_photograph(photograph)
    for quality in (10, 20, 40):
        data = encode(mine, picture, quality)
        above = next(other for other in range(5, 96) if len(as_jpeg(picture, other)) >= len(data))
        files = [as_jpeg(picture, other) for other in (above - 1, above)]
        points = [Point(len(file), psnr(picture, np.array(Image.open(io.BytesIO(file))))) for file in files]
        assert psnr(picture, decode(mine, data).picture) > at_size(points, len(data)) - 0.2


def as_jpeg(picture: Picture, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, quality=quality, **OPTIONS)
    return file.getvalue()


def test_the_table_of_combinations(tmp_path):
    """Means are those of the rows above them; what JPEG is, is Pillow's; over JPEG is at its size; of a remover that
    changes nothing there is no gain."""
    for halved in (False, True):
        net = Remover(Shape(halved, k=1, layers=2))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
        save(path_of(30, halved=halved, folder=tmp_path), net, 30, "a test")
    predictor = tmp_path / "own.safetensors"
    save_predictor(predictor, seeded(), "a test")
    pictures = {f"leaves {seed}": dead_leaves(*SIZE, seed=seed) for seed in (9, 10)}
    rows = combinations(tmp_path, predictor, {"leaves": pictures}).rows
    assert [row[:3] for row in rows] == [
        ("30", name, coding) for name in (*pictures, "**mean, leaves**") for coding in ("JPEG", "predictive")
    ]
    picture, points = pictures["leaves 10"], curve(pictures["leaves 10"], OPTIONS)
    file = as_jpeg(picture, 30)
    plain = psnr(picture, np.array(Image.open(io.BytesIO(file))))
    assert rows[2][3:6] == (f"{8 * len(file) / (27 * 38):.3f}", f"{plain:.2f}", f"{plain:.2f}")
    assert (rows[2][8], rows[2][9]) == ("", "+0.00")
    mine = predictive(load_predictor(predictor))
    data = encode(mine, picture, 30)
    found = psnr(picture, decode(mine, data).picture)
    assert rows[3][3:5] == (f"{8 * len(data) / (27 * 38):.3f}", f"{found:.2f}")
    assert rows[3][8] == rows[3][9] == f"{found - at_size(points, len(data)):+.2f}"
    for column in range(3, 8):
        mean = fmean(float(row[column]) for row in (rows[1], rows[3]))
        assert float(rows[5][column]) == pytest.approx(mean, abs=0.011)


# ---- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_picture(tmp_path / "in.png", coded(30)[0])
    save_predictor(tmp_path / "own.safetensors", seeded(), "a test")
    return tmp_path


def test_there_and_back(files, capsys):
    source, data, back = (files / name for name in ("in.png", "out.bin", "back.png"))
    assert main(["encode", str(source), str(data), "--quality", "20"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"38x27, {data.stat().st_size} bytes, ")
    assert main(["decode", str(data), str(back), "--reference", str(source), "--order", "raster"]) == 0
    assert capsys.readouterr().out == said.strip() + "; quality 20\n"
    decoded = read_picture(back)
    assert f"PSNR {psnr(read_picture(source), decoded):.2f} dB" in said
    assert main(["residual", str(data), str(files / "rest.jpg")]) == 0
    assert Image.open(files / "rest.jpg").size == (40, 32)


@pytest.mark.parametrize(("quality", "said"), few([(20, "cleaned by the net of quality 20"), (90, "above 40")], 1))
def test_removal_after_prediction(files, capsys, quality, said):
    """By the net of the quality, as of any JPEG; above the highest, the picture as it is."""
    mine = predictive(load_predictor(files / "own.safetensors"))
    (files / "out.bin").write_bytes(encode(mine, coded(30)[0], quality))
    options = ["--deblock", "--checkpoint", str(files / "own.safetensors")]
    assert main(["decode", str(files / "out.bin"), str(files / "back.png"), *options]) == 0
    assert said in capsys.readouterr().out
    plain = decode(mine, (files / "out.bin").read_bytes()).picture
    expected = cleaned(load(path_of(20, halved=False)), plain) if quality == 20 else plain
    assert np.array_equal(read_picture(files / "back.png"), expected)
    assert np.array_equal(expected, plain) == (quality == 90)


def test_what_is_refused_leaves_nothing(files, capsys):
    good, bad, target = files / "good.bin", files / "bad.bin", files / "target.png"
    good.write_bytes(encode(predictive(load_predictor(files / "own.safetensors")), coded(30)[0], 30))
    mine = ["--checkpoint", str(files / "own.safetensors")]
    cases = [
        (["decode", good], "bad.bin: it was coded with another predictor"),
        (["decode", bad, *mine], "bad.bin: the checksum does not fit"),
        (["decode", files / "in.png"], "in.png: the file begins with"),
        (["decode", files / "absent.bin"], "absent.bin: No such file"),
        (["residual", bad], "bad.bin: the checksum does not fit"),
        (["encode", files / "in.png", "--quality", "0"], "--quality: 0; expected 1 to 100"),
        (["encode", bad, "--quality", "5"], "cannot be read as a picture"),
        (["encode", files / "in.png", "--quality", "5", "--checkpoint", bad], "bad.bin: it is no safetensors file"),
    ]
    bad.write_bytes(good.read_bytes()[:-20])
    for (command, source, *more), said in cases:
        assert main([command, str(source), str(target), *map(str, more)]) == 2
        error = capsys.readouterr().err
        assert said.replace("bad.bin: it was", "good.bin: it was") in error
        assert error.count("\n") == 1
        assert not target.exists()
    before = (files / "in.png").read_bytes()
    assert main(["decode", str(good), str(files / "in.png"), *mine]) == 2
    assert main(["residual", str(good), str(files / "in.png"), "--overwrite"]) == 2
    assert (files / "in.png").read_bytes() == before
