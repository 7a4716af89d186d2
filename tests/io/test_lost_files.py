"""Nothing of the user's is lost: what `run` and the reports write takes the place of nothing that was not offered."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.commands import run
from shared.folders import KWARGS, MODEL, ZARR, array, state
from torch import nn

import overlapcalc as oc
from overlapcalc.io.atomic import (
    ANY,
    PLAIN,
    REWRITTEN,
    TEXT,
    Door,
    begins,
    complete,
    free_place,
    unfinished,
    write_complete,
)
from overlapcalc.io.files import KINDS, written

NPY = KINDS[".npy"]


def command(folder: Path, source: str, target: str, *more: str) -> tuple[int, str]:
    done = run("run", MODEL, "--kwargs", KWARGS, "--in", str(folder / source), "--out", str(folder / target), *more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    np.save(tmp_path / "in.npy", np.random.default_rng(0).random((3, 12, 14), dtype=np.float32))
    return tmp_path


def a_directory(folder: Path) -> None:
    (folder / "res.npy" / "holidays").mkdir(parents=True)
    (folder / "res.npy" / "holidays" / "1.jpg").write_bytes(b"a photograph")


def a_result(folder: Path) -> None:
    np.save(folder / "res.npy", np.arange(3))


def another_kind(folder: Path) -> None:
    (folder / "res.npy").write_bytes(b"\x89PNG\r\n\x1a\n a photograph")


def the_input_by_a_link(folder: Path) -> None:
    (folder / "res.npy").symlink_to("in.npy")


def the_input_by_a_hard_link(folder: Path) -> None:
    os.link(folder / "in.npy", folder / "res.npy")


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "res.npy")


def a_device(folder: Path) -> None:
    (folder / "res.npy").symlink_to("/dev/null")


def protected(folder: Path) -> None:
    a_result(folder)
    (folder / "res.npy").chmod(0o444)


@pytest.mark.parametrize(
    ("there", "words", "even_so"),
    [
        (a_directory, "a directory is there, not a .npy file", False),
        (a_result, "replace it with --overwrite", True),
        (another_kind, "not a .npy file", False),
        (the_input_by_a_link, "this run reads", False),
        (the_input_by_a_hard_link, "this run reads", False),
        (a_pipe, "a device, a pipe", False),
        (a_device, "a device, a pipe", False),
        (protected, "--overwrite", False),
    ],
)
def test_what_is_there_is_kept(photograph, there, words, even_so):
    """And with --overwrite only a .npy file takes the place of a .npy file."""
    there(photograph)
    before, null = state(photograph) if there is not a_pipe else {}, os.stat("/dev/null")
    code, said = command(photograph, "in.npy", "res.npy")
    assert code == 2
    assert words in said
    assert not before or state(photograph) == before
    code, said = command(photograph, "in.npy", "res.npy", "--overwrite")
    assert code == (0 if even_so else 2), said
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.stat("/dev/null").st_ino == null.st_ino
    if even_so:
        assert np.load(photograph / "res.npy").shape == (1, 3, 12, 14)
        assert state(photograph)["in.npy"] == before["in.npy"]
    elif before:
        assert state(photograph) == before


def test_an_output_that_is_an_input(photograph):
    (photograph / "sub").mkdir()
    before = state(photograph)
    for target in ("in.npy", "sub/../in.npy"):
        for more in ((), ("--overwrite",)):
            code, said = command(photograph, "in.npy", target, *more)
            assert code == 2
            assert "this run reads" in said
    assert state(photograph) == before


def test_an_output_that_is_the_weights(photograph):
    torch.save(nn.Conv2d(3, 3, 3, padding=1).state_dict(), photograph / "weights.npy")
    before = state(photograph)
    code, said = command(
        photograph, "in.npy", "weights.npy", "--weights", str(photograph / "weights.npy"), "--overwrite"
    )
    assert code == 2
    assert "this run reads" in said
    assert state(photograph) == before


def test_a_link_is_followed_and_stays(photograph):
    """To nothing yet, and to a result of before."""
    (photograph / "disk").mkdir()
    (photograph / "res.npy").symlink_to(photograph / "disk" / "far.npy")
    assert command(photograph, "in.npy", "res.npy")[0] == 0
    assert (photograph / "res.npy").is_symlink()
    first = (photograph / "disk" / "far.npy").read_bytes()
    assert command(photograph, "in.npy", "res.npy")[0] == 2
    assert (photograph / "disk" / "far.npy").read_bytes() == first
    assert command(photograph, "in.npy", "res.npy", "--overwrite")[0] == 0
    assert (photograph / "res.npy").is_symlink()
    assert np.load(photograph / "res.npy").shape == (1, 3, 12, 14)


def test_an_empty_file_holds_nothing_that_could_be_lost(photograph):
    """As `mktemp` makes one."""
    (photograph / "res.npy").touch(mode=0o600)
    assert command(photograph, "in.npy", "res.npy")[0] == 0
    assert stat.S_IMODE((photograph / "res.npy").stat().st_mode) == 0o600  # nobody else may read it now either


# ---- zarr ----------------------------------------------------------------------------------------------------


def test_an_array_replaces_an_array(photograph):
    zarr = pytest.importorskip("zarr")
    array(photograph / "res.zarr", (5,))
    before = state(photograph)
    code, said = command(photograph, "in.npy", "res.zarr")
    assert code == 2
    assert "--overwrite" in said
    assert state(photograph) == before
    assert command(photograph, "in.npy", "res.zarr", "--overwrite")[0] == 0
    assert zarr.open(str(photograph / "res.zarr"), mode="r").shape == (1, 3, 12, 14)
    assert sorted(p.name for p in photograph.iterdir()) == ["in.npy", "res.zarr"]


def a_group(folder: Path) -> None:
    pytest.importorskip("zarr").open_group(str(folder / "res.zarr"), mode="w")
    array(folder / "res.zarr" / "holidays")


def an_array_with_a_note(folder: Path) -> None:
    array(folder / "res.zarr")
    (folder / "res.zarr" / "c" / "note.txt").write_text("where these were taken")


def an_array_around_the_input(folder: Path) -> None:
    array(folder / "res.zarr")
    os.rename(folder / "in.npy", folder / "res.zarr" / "in.npy")


@pytest.mark.parametrize("there", [a_group, an_array_with_a_note, an_array_around_the_input, a_directory])
def test_more_than_an_array_is_kept(photograph, there):
    there(photograph)
    if there is a_directory:
        os.rename(photograph / "res.npy", photograph / "res.zarr")
    before = state(photograph)
    source = "in.npy" if (photograph / "in.npy").exists() else "res.zarr/in.npy"
    for more in ((), ("--overwrite",)):
        assert command(photograph, source, "res.zarr", *more)[0] == 2
        assert state(photograph) == before


def test_an_output_within_an_input(photograph):
    array(photograph / "in.zarr")
    before = state(photograph)
    for target in ("in.zarr", "in.zarr/res.npy", "in.zarr/c/res.zarr"):
        code, said = command(photograph, "in.zarr", target, "--overwrite")
        assert code == 2
        assert "this run reads" in said
    assert state(photograph) == before


# ---- while a run goes on -------------------------------------------------------------------------------------


def test_what_comes_meanwhile_is_kept_and_so_is_the_result(tmp_path):
    """Hours later a file may lie there: neither is thrown away."""

    def crossed():
        with written(tmp_path / "res.npy", (1, 1, 4, 4), torch.float32) as store:
            store[:, :, 0:4, :] = np.ones((1, 1, 4, 4), np.float32)
            np.save(tmp_path / "res.npy", np.arange(3))

    with pytest.raises(oc.InputError, match="The result is res-overlapcalc-") as failed:
        crossed()
    assert np.array_equal(np.load(tmp_path / "res.npy"), np.arange(3))
    (aside,) = set(tmp_path.iterdir()) - {tmp_path / "res.npy"}
    assert aside.name in str(failed.value)
    assert np.load(aside).sum() == 16


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_folder_is_swapped_whole_or_not_at_all(tmp_path, monkeypatch, moment):
    """Whatever renaming fails, one of both is there: moments are of `os.rename`."""
    array(tmp_path / "res.zarr", (5,))
    before, rename, calls = state(tmp_path), os.rename, iter(range(9))

    def failing(*arguments):
        if next(calls) == moment:
            raise OSError(5, "Input/output error")
        rename(*arguments)

    monkeypatch.setattr(os, "rename", failing)

    def swapped():
        with unfinished(tmp_path / "res.zarr", ZARR, Door(overwrite=True)) as made:
            array(made, (7,))

    if moment < 2:
        with pytest.raises(oc.InputError, match="Input/output error"):
            swapped()
        assert state(tmp_path) == before
    else:
        swapped()
        assert state(tmp_path) != before
    assert [path.name for path in tmp_path.iterdir()] == ["res.zarr"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_what_was_there(photograph, stop):
    a_result(photograph)
    before = state(photograph)
    with pytest.raises(stop), written(photograph / "res.npy", (1, 1, 4, 4), torch.float32, Door(overwrite=True)):
        raise stop
    assert state(photograph) == before


# ---- reports, and the mechanism ------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [("analyze",), ("plan",), ("explain",)])
def test_reports_replace_nothing_unasked(tmp_path, report):
    spec = (*report, MODEL, "--kwargs", KWARGS, "--input", "1x3x16x16", "--output", str(tmp_path / "out.txt"))
    (tmp_path / "out.txt").write_text("a diary")
    assert run(*spec).returncode == 2
    assert (tmp_path / "out.txt").read_text() == "a diary"
    assert run(*spec, "--overwrite").returncode == 0
    assert "a diary" not in (tmp_path / "out.txt").read_text()
    (tmp_path / "out.txt").write_bytes(b"\x93NUMPY\x01\x00")
    assert run(*spec, "--overwrite").returncode == 2
    assert (tmp_path / "out.txt").read_bytes() == b"\x93NUMPY\x01\x00"


def test_a_report_never_replaces_the_model_nor_a_device(tmp_path):
    source = "import torch\nmade = torch.nn.Conv2d(3, 3, 3)\n"
    (tmp_path / "m.py").write_text(source)
    for target in (tmp_path / "m.py", Path("/dev/null")):
        done = run("analyze", f"{tmp_path / 'm.py'}:made", "--output", str(target), "--overwrite")
        assert done.returncode == 2
    assert (tmp_path / "m.py").read_text() == source
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_report_of_a_check_never_replaces_its_configuration(project):
    project.write(
        "pyproject.toml",
        "[tool.overlapcalc.models.net]\nspec = 'm.py:made'\ninput = '1x3x16x16'\nblocking-free = true\n",
    )
    project.write("m.py", "import torch\nmade = torch.nn.Conv2d(3, 3, 3)\n")
    before = state(project.root)
    done = project.check(
        "--no-cache", "--format", "json", "--output", str(project.root / "pyproject.toml"), "--overwrite"
    )
    assert done.code == 2
    assert state(project.root)["pyproject.toml"] == before["pyproject.toml"]


def test_a_lock_is_rewritten_by_design_yet_no_directory_is(tmp_path):
    write_complete(tmp_path / "overlapcalc.lock", "first\n", REWRITTEN, ANY)
    write_complete(tmp_path / "overlapcalc.lock", "second\n", REWRITTEN, ANY)
    assert (tmp_path / "overlapcalc.lock").read_text() == "second\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photograph").touch()
    with pytest.raises(oc.InputError, match="a directory is there"):
        write_complete(tmp_path / "folder", "text", REWRITTEN, ANY)


def test_nothing_is_offered_unless_said(tmp_path):
    (tmp_path / "a").write_text("kept")
    with pytest.raises(oc.InputError, match="overwrite=True"):
        write_complete(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "kept"
    with pytest.raises(oc.InputError, match="null byte"):
        free_place(tmp_path / "a\0b", TEXT, PLAIN)
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(oc.InputError):
        free_place(tmp_path / "round", TEXT, Door(overwrite=True))


def test_what_a_writer_raises_leaves_the_old_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([1]))

    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(oc.InputError, match="No space left"):
        complete(tmp_path / "a.json", fails, begins("a list", b"["), Door(overwrite=True))
    assert state(tmp_path) == {"a.json": b"[1]"}


def test_an_output_in_the_package_of_the_model(tmp_path):
    """The package is a directory; its files are read, it is not."""
    (tmp_path / "ourpackage").mkdir()
    (tmp_path / "ourpackage" / "__init__.py").write_text("")
    (tmp_path / "ourpackage" / "small.py").write_text("import torch\nmade = torch.nn.Conv2d(3, 3, 3)\n")
    given = ("analyze", "ourpackage.small:made", "--input", "1x3x16x16", "--overwrite", "--output")
    assert run(*given, "ourpackage/report.txt", cwd=tmp_path).returncode == 0
    assert "context" in (tmp_path / "ourpackage" / "report.txt").read_text()
    done = run(*given, "ourpackage/small.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a report" in done.stderr
    assert "torch.nn" in (tmp_path / "ourpackage" / "small.py").read_text()


@pytest.mark.parametrize(
    ("head", "picture"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", False),
        (b"RIFF\x24\0\0\0WEBPVP8 ", True),
        (b"BM: a letter to my brother", False),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", True),
        (b"\x93NUMPY\x01\x00", False),
    ],
)
def test_what_counts_as_a_picture(tmp_path, head, picture):
    (tmp_path / "a.png").write_bytes(head)
    if picture:
        assert free_place(tmp_path / "a.png", KINDS[".png"], Door(overwrite=True)) == (tmp_path / "a.png").resolve()
    else:
        with pytest.raises(oc.InputError, match="not a picture"):
            free_place(tmp_path / "a.png", KINDS[".png"], Door(overwrite=True))


def test_a_report_replaces_no_source(tmp_path):
    (tmp_path / "m.py").write_text("from torch import nn\nnet = nn.Conv2d(3, 3, 3)\n")
    (tmp_path / "parts.py").write_text("K = 3\n")
    (tmp_path / "any.lock").write_text("{}\n")
    for name in ("parts.py", "any.lock"):
        before = (tmp_path / name).read_text()
        done = run("analyze", f"{tmp_path / 'm.py'}:net", "--output", str(tmp_path / name), "--overwrite")
        assert done.returncode == 2
        assert "is not a report" in done.stderr
        assert (tmp_path / name).read_text() == before
