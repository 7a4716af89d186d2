"""The command of examples/blockcnn: a JPEG file to a PNG file, by blocks, and what it refuses."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.thorough import few

pytest.importorskip("PIL")
pytest.importorskip("safetensors")

from PIL import Image

from examples.blockcnn import deblock as deblocking
from examples.blockcnn.__main__ import main
from examples.blockcnn.checkpoint import load, path_of, save, trained
from examples.blockcnn.colour import picture, planes
from examples.blockcnn.deblock import How, deblock
from examples.blockcnn.remover import Remover, Shape
from examples.blockcnn.rows import Planes, has_pyvips
from examples.lic.exact import exact
from examples.lic.pictures import dead_leaves
from overlapcalc import InputError
from overlapcalc.io.atomic import Door

pytestmark = pytest.mark.usefixtures("traced_once")

PICTURE = dead_leaves(61, 43, seed=8)
"""Of primes, so no block divides it."""


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    """A folder of checkpoints for qualities 10 and 20, with random weights that change much."""
    folder = tmp_path_factory.mktemp("nets")
    for quality in (10, 20):
        for halved in (False, True):
            torch.manual_seed(quality + halved)
            net = Remover(Shape(halved, k=2, layers=2))
            with torch.no_grad():
                net.body[-1].weight *= 3
            save(path_of(quality, halved=halved, folder=folder), net, quality, "a test")
    return folder


def jpeg_file(folder: Path, own: np.ndarray = PICTURE, *, quality: int = 10, **options: object) -> Path:
    Image.fromarray(own).save(folder / "in.jpg", "JPEG", quality=quality, **options)
    return folder / "in.jpg"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def cleaned(source: Path, folder: Path, nets: Path, *options: object) -> np.ndarray:
    target = folder / "out.png"
    assert run("deblock", source, target, "--checkpoints", nets, "--overwrite", *options) == 0
    with Image.open(target) as file:
        assert file.format == "PNG"
        return np.array(file)


def whole(source: Path, net: Remover, *, exactly: bool = False) -> np.ndarray:
    """The net on the whole picture, in exact sums or as it is."""
    with Image.open(source) as file:
        grey, decoded = file.mode == "L", np.array(file)
    own = exact(net) if exactly else net
    with torch.no_grad():
        return picture(own(planes(decoded, torch.float64 if exactly else torch.float32)), grey=grey)


KINDS = {
    "4:4:4": ({"subsampling": 0}, False),
    "4:2:0": ({"subsampling": 2}, True),
    "4:2:2": ({"subsampling": 1}, False),
    "progressive": ({"subsampling": 2, "progressive": True}, True),
}


@pytest.mark.parametrize("kind", few(KINDS, ("4:4:4", "4:2:0")))
def test_it_is_what_the_net_makes_of_the_whole_picture(kind, tmp_path, nets):
    """In float32, so to a level."""
    options, halved = KINDS[kind]
    source = jpeg_file(tmp_path, **options)
    right = whole(source, load(path_of(10, halved=halved, folder=nets)))
    found = cleaned(source, tmp_path, nets, "--decoder", "pillow", "--block", 24)
    assert np.abs(found.astype(int) - right).max() <= 1
    assert (found != right).mean() < 1e-3
    with Image.open(source) as file:
        assert np.abs(found.astype(int) - np.array(file)).mean() > 2
    other = whole(source, load(path_of(10, halved=not halved, folder=nets)))
    assert np.abs(found.astype(int) - other).mean() > 2


@pytest.mark.parametrize("size", few([(1, 1), (1, 40), (17, 1), (7, 9)], ((1, 1), (17, 1)), single=True))
def test_any_size(size, tmp_path, nets):
    source = jpeg_file(tmp_path, dead_leaves(*size, seed=1), subsampling=2)
    found = cleaned(source, tmp_path, nets, "--decoder", "pillow", "--block", 16)
    right = whole(source, load(path_of(10, halved=True, folder=nets)))
    assert found.shape == (*size, 3)
    assert np.abs(found.astype(int) - right).max() <= 1


def test_grey(tmp_path, nets):
    source = jpeg_file(tmp_path, PICTURE[..., 1])
    found = cleaned(source, tmp_path, nets, "--decoder", "pillow")
    assert found.shape == (61, 43)
    right = whole(source, load(path_of(10, halved=False, folder=nets)))
    assert np.abs(found.astype(int) - right).max() <= 1


@pytest.mark.parametrize("options", few([{"subsampling": 2}, {"subsampling": 0}], 1), ids=["4:2:0", "4:4:4"])
def test_exact_blocks_of_every_schedule_give_the_same_bytes(options, tmp_path, nets):
    source = jpeg_file(tmp_path, **options)
    right = whole(source, load(path_of(10, halved=options["subsampling"] == 2, folder=nets)), exactly=True)
    for schedule, block in (("stream", 16), ("trim", 24)):
        found = cleaned(
            source, tmp_path, nets, "--decoder", "pillow", "--exact", "--schedule", schedule, "--block", block
        )
        assert np.array_equal(found, right), schedule


def test_exact_blocks_by_crop(tmp_path, nets):
    source = jpeg_file(tmp_path, PICTURE[:37, :21], subsampling=0)
    right = whole(source, load(path_of(10, halved=False, folder=nets)), exactly=True)
    found = cleaned(source, tmp_path, nets, "--decoder", "pillow", "--exact", "--schedule", "crop", "--block", 24)
    assert np.array_equal(found, right)


def test_the_grid_of_jpeg_matters(tmp_path, nets):
    """The same decoded samples, one column further: another result, since filters go by the position in a block."""
    source = jpeg_file(tmp_path, subsampling=0)
    net = load(path_of(10, halved=False, folder=nets))
    with Image.open(source) as file:
        decoded = np.array(file)
    with torch.no_grad():
        there, shifted = net(planes(decoded)), net(planes(decoded[:, 1:]))
    inside = (slice(None), slice(None), slice(16, 40), slice(16, 24))
    assert float((there[..., 1:][inside] - shifted[inside]).abs().max()) > 1
    again = net(planes(decoded[8:, 8:]))
    assert torch.allclose(there[:, :, 8:, 8:][inside], again[inside], atol=1e-3)


# ---- orientation and other bytes ------------------------------------------------------------------------------------


def with_exif(**more: object) -> dict[str, object]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a cat"
    return {"exif": exif, **more}


@pytest.mark.parametrize("decoder", ["pillow", "pyvips"])
@pytest.mark.parametrize("quality", [10, 80])
def test_the_orientation_is_kept_and_the_stored_picture_cleaned(decoder, quality, tmp_path, nets):
    if decoder == "pyvips" and not has_pyvips():
        pytest.skip("pyvips is not installed")
    profile = Image.open(io.BytesIO(_with_profile())).info["icc_profile"]
    source = jpeg_file(tmp_path, quality=quality, **with_exif(icc_profile=profile))
    found = cleaned(source, tmp_path, nets, "--decoder", decoder)
    assert found.shape == PICTURE.shape
    with Image.open(tmp_path / "out.png") as file:
        exif = file.getexif()
        assert (exif[0x0112], exif[0x010E]) == (6, "a cat")
        assert file.info["icc_profile"] == profile


def _with_profile() -> bytes:
    cms = pytest.importorskip("PIL.ImageCms")
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG", icc_profile=cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes())
    return file.getvalue()


# ---- by rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("grey", [False, True])
def test_rows_by_pyvips_are_those_of_pillow(options, grey, tmp_path, nets):
    if not has_pyvips():
        pytest.skip("pyvips is not installed")
    source = jpeg_file(tmp_path, PICTURE[..., 0] if grey else PICTURE, **options)
    found = [cleaned(source, tmp_path, nets, "--decoder", decoder, "--block", 16) for decoder in ("pyvips", "pillow")]
    assert np.array_equal(*found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jpg", "out.png"]


def test_few_rows_are_held(tmp_path, nets, monkeypatch):
    """Of a stream: a band, and what is read of the next one."""
    made: list[Planes] = []
    monkeypatch.setattr(deblocking, "Planes", lambda *given: made.append(Planes(*given)) or made[-1])
    source = jpeg_file(tmp_path, dead_leaves(203, 24, seed=1), subsampling=0)
    cleaned(source, tmp_path, nets, "--decoder", "pillow", "--block", 16)
    assert made[0].most <= 16 + 2 * 16
    assert made[0].shape == (1, 3, 203, 24)


# ---- nothing to remove ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", ["pillow", "pyvips"])
def test_above_the_highest_quality_the_picture_is_unchanged(decoder, tmp_path, nets, capsys):
    if decoder == "pyvips" and not has_pyvips():
        pytest.skip("pyvips is not installed")
    source = jpeg_file(tmp_path, dead_leaves(131, 20, seed=1), quality=21)
    found = cleaned(source, tmp_path, nets, "--decoder", decoder)
    with Image.open(source) as file:
        assert np.array_equal(found, np.array(file))
    said = capsys.readouterr().out
    assert (
        "20x131, 4:2:0, quality 21: above 20, the highest that a net was trained for; the picture is unchanged" in said
    )


def test_the_net_is_said(tmp_path, nets, capsys):
    cleaned(jpeg_file(tmp_path, quality=16), tmp_path, nets, "--decoder", "pillow")
    assert "43x61, 4:2:0, quality 16: cleaned by the net of quality 20\n" in capsys.readouterr().out
    cleaned(jpeg_file(tmp_path, quality=60), tmp_path, nets, "--decoder", "pillow", "--quality", 10)
    assert "quality 60: cleaned by the net of quality 10\n" in capsys.readouterr().out


# ---- refusals -------------------------------------------------------------------------------------------------------


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Each with what is said of it."""
    whole_file = jpeg_file(folder).read_bytes()
    files: dict[str, tuple[bytes, str]] = {
        "cut": (whole_file[:-40], "it is damaged or cut"),
        "cut in the header": (whole_file[:100], "it cannot be read as a JPEG file"),
        "no tables": (whole_file.replace(b"\xff\xdb", b"\xff\xe9"), "it is damaged"),
        "text": (b"no picture at all", "it cannot be read as a JPEG file"),
        "empty": (b"", "it cannot be read as a JPEG file"),
    }
    made = {}
    for name, (data, said) in files.items():
        path = folder / f"{name}.jpg"
        path.write_bytes(data)
        made[name] = (path, said)
    png, cmyk = folder / "png.jpg", folder / "cmyk.jpg"
    Image.fromarray(PICTURE).save(png, "PNG")
    Image.fromarray(PICTURE).convert("CMYK").save(cmyk, "JPEG")
    made["png"] = (png, "it cannot be read as a JPEG file")
    made["CMYK"] = (cmyk, "a JPEG file of mode CMYK")
    (folder / "inner").mkdir()
    made["folder"] = (folder / "inner", "it cannot be read as a JPEG file (Is a directory)")
    made["absent"] = (folder / "no.jpg", "it cannot be read as a JPEG file (No such file")
    return made


@pytest.mark.parametrize("decoder", ["pillow", "pyvips"])
def test_bad_files_are_one_line_and_leave_nothing(decoder, tmp_path, nets, capfd):
    if decoder == "pyvips" and not has_pyvips():
        pytest.skip("pyvips is not installed")
    files = bad_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    for name, (path, said) in files.items():
        target = tmp_path / "out.png"
        assert run("deblock", path, target, "--checkpoints", nets, "--decoder", decoder) == 2, name
        error = capfd.readouterr().err
        assert said in error, name
        assert str(path) in error, name
        assert error.count("\n") == 1, name
        assert sorted(tmp_path.iterdir()) == before, name


def test_damage_within_the_picture_is_found_by_pyvips(tmp_path, nets, capfd):
    """Where libjpeg warns of it. Pillow keeps such warnings to itself; and most changes of one bit are another valid
    picture, for JPEG has no checksums."""
    if not has_pyvips():
        pytest.skip("pyvips is not installed")
    data = jpeg_file(tmp_path).read_bytes()
    (tmp_path / "bad.jpg").write_bytes(data[:-40] + data[-2:])  # the end of the picture lacks, but not that of the file
    arguments = ("deblock", tmp_path / "bad.jpg", tmp_path / "out.png", "--checkpoints", nets)
    assert run(*arguments, "--decoder", "pyvips") == 2
    assert "it is damaged or cut" in capfd.readouterr().err
    assert not (tmp_path / "out.png").exists()
    assert run(*arguments, "--decoder", "pillow") == 0


def test_nothing_is_replaced_unasked(tmp_path, nets, capsys):
    source = jpeg_file(tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    assert run("deblock", source, tmp_path / "out.png", "--checkpoints", nets) == 0
    first = (tmp_path / "out.png").read_bytes()
    for target, options, said in [
        (tmp_path / "out.png", (), "it exists"),
        (tmp_path / "note.txt", ("--overwrite",), "name it note.png"),
        (source, ("--overwrite",), "name it in.png"),
        (tmp_path / "no" / "out.png", (), "which does not exist"),
    ]:
        assert run("deblock", source, target, "--checkpoints", nets, *options) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "out.png").read_bytes() == first
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_a_run_that_ends_early_leaves_nothing(tmp_path, nets, monkeypatch):
    source = jpeg_file(tmp_path)

    def stop(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deblocking, "clean", stop)
    for by_rows in (False, True) if has_pyvips() else (False,):
        with pytest.raises(KeyboardInterrupt):
            deblock(source, tmp_path / "out.png", Door(), How(by_rows=by_rows, checkpoints=nets))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jpg"]


def test_wrong_usage(tmp_path, nets, capsys, monkeypatch):
    source, target = jpeg_file(tmp_path), tmp_path / "out.png"
    for options, said in [
        (("--block", 0), "--block: 0; expected at least 1"),
        (("--quality", 15), "there is no such checkpoint"),
        (("--checkpoints", tmp_path), "there are no checkpoints"),
    ]:
        assert run("deblock", source, target, "--checkpoints", nets, *options) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr("examples.blockcnn.__main__.has_pyvips", lambda: False)
    assert run("deblock", source, target, "--checkpoints", nets, "--decoder", "pyvips") == 2
    assert "this needs pyvips" in capsys.readouterr().err
    assert not target.exists()


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_checkpoints_come_back(nets):
    torch.manual_seed(10)
    own = Remover(Shape(k=2, layers=2))
    found = load(path_of(10, halved=False, folder=nets))
    assert found.shape == own.shape
    assert torch.equal(found.luma.positions.weight, own.luma.positions.weight.half().float())
    assert trained(nets) == (10, 20)


def test_a_quality_counts_where_both_samplings_are_there(nets, tmp_path):
    for quality, halved in ((10, False), (10, True), (30, False)):
        path_of(quality, halved=halved, folder=tmp_path).write_bytes(
            path_of(10, halved=halved, folder=nets).read_bytes()
        )
    assert trained(tmp_path) == (10,)


def test_checkpoints_that_are_none(nets, tmp_path):
    from safetensors.torch import load_file, save_file

    path, state = tmp_path / "bad", load_file(path_of(10, halved=False, folder=nets))
    shape = '{"halved": false, "k": 2, "layers": 2}'
    good = {"net": "blockcnn-remover", "shape": shape}
    less = {key: value for key, value in state.items() if "luma" not in key}
    nan = {**state, "body.0.bias": torch.full((2,), torch.nan)}
    for own, about, said in [
        (less, good, "it holds no blockcnn-remover"),
        (state, {**good, "shape": '{"halved": true}'}, "it holds no blockcnn-remover"),
        (state, {**good, "shape": "{"}, "it holds no blockcnn-remover"),
        (state, {**good, "net": "kamisli"}, "a checkpoint of 'kamisli'"),
        (nan, good, "weights that are no finite numbers"),
    ]:
        save_file(own, path, metadata=about)
        with pytest.raises(InputError, match=said):
            load(path)
    path.write_bytes(b"no such file")
    with pytest.raises(InputError, match="it is no safetensors file"):
        load(path)


def test_any_damage_ends_in_a_picture_or_in_one_line(tmp_path, nets, capsys):
    """Of the bytes of files of several kinds, changed, cut, left out or put in. Never a traceback, never half a file."""
    random_ = random.Random(3)
    kinds: list[dict[str, object]] = [{"progressive": True}, with_exif(subsampling=0), {"restart_marker_blocks": 2}]
    whole_files = [jpeg_file(tmp_path, quality=80, **kind).read_bytes() for kind in kinds]
    codes = set()
    for _ in range(60):
        data = random_.choice(whole_files)
        place, length = random_.randrange(1, len(data)), random_.randrange(1, 9)
        changed = bytes(b ^ random_.randrange(256) for b in data[place : place + length])
        made = random_.choice([b"", data[place:], changed + data[place + length :], data[place + length :]])
        (tmp_path / "in.jpg").write_bytes(data[:place] + made if made else data[:place])
        code = run("deblock", tmp_path / "in.jpg", tmp_path / "out.png", "--checkpoints", nets, "--decoder", "pillow")
        said = capsys.readouterr()
        codes.add(code)
        if code:
            assert said.err.startswith("blockcnn: ")
            assert said.err.count("\n") == 1
            assert not (tmp_path / "out.png").exists()
        else:
            with Image.open(tmp_path / "out.png") as file:
                file.load()
            (tmp_path / "out.png").unlink()
        assert [path.name for path in tmp_path.iterdir()] == ["in.jpg"]
    assert codes == {0, 2}
