"""A disk that is full, a limit on files, a run that is killed: one clear error, and nothing that keeps the room."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.commands import run
from shared.folders import KWARGS, MODEL, ZARR, array, state
from shared.forked import forked
from shared.thorough import few

import overlapcalc as oc
from overlapcalc.engine.store import check_out
from overlapcalc.io.atomic import TEXT, Door, free_place, unfinished, write_complete
from overlapcalc.io.files import written
from overlapcalc.io.workplace import OLD, OWNER, PREFIX, clear_leftovers

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and mounts as Linux has them")
RUN = ("run", MODEL, "--kwargs", KWARGS)


def limited(limit: int, *arguments: str) -> tuple[int, str]:
    """The command, where files may have so many bytes."""

    def do():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        done = run(*arguments)
        return (sys.stdout.write(done.stderr) if len(done.stderr) < limit else None) and done.returncode

    return forked(do)


@LINUX
@pytest.mark.parametrize("target", few(["out.npy", "out.zarr", "out.bmp"], 1))
def test_a_limit_on_files_is_one_clear_error(tmp_path, target):
    """480 kB, or 120 kB in 8 bits, where 100 kB are allowed."""
    if target != "out.npy":
        pytest.importorskip("zarr" if target == "out.zarr" else "PIL")
    np.save(tmp_path / "in.npy", 20 * np.random.default_rng(0).random((3, 200, 200), dtype=np.float32))
    code, said = limited(100_000, *RUN, "--in", str(tmp_path / "in.npy"), "--out", str(tmp_path / target))
    assert code == 2, said
    said = "".join(line for line in said.splitlines() if "no --weights" not in line and "takes a batch" not in line)
    assert said.count("overlapcalc: ") == 1
    assert ("it needs 480 kB, and files may have at most 100 kB" if target == "out.npy" else "too large") in said
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


@LINUX
def test_a_report_under_a_limit_leaves_the_old_one(tmp_path):
    (tmp_path / "report.txt").write_text("the old one")
    given = ("analyze", MODEL, "--kwargs", KWARGS, "--output", str(tmp_path / "report.txt"), "--overwrite")
    code, said = limited(300, *given)
    assert code == 2
    assert "too large" in said
    assert state(tmp_path) == {"report.txt": b"the old one"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=8000k", "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root may mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@LINUX
@pytest.mark.parametrize("target", ["out.npy", "out.zarr"])
def test_a_small_disk_is_said_before_the_first_block(small, tmp_path, target):
    if target == "out.zarr":
        pytest.importorskip("zarr")
    np.lib.format.open_memmap(tmp_path / "in.npy", mode="w+", dtype=np.float32, shape=(3, 3000, 4000))
    done = run(*RUN, "--in", str(tmp_path / "in.npy"), "--out", str(small / target))
    assert done.returncode == 2
    assert re.search(r"it (needs|may need) 144 MB, 8\.\d+ MB are free", done.stderr)
    assert not list(small.iterdir())

    def begun():
        with written(small / target, (1, 3, 3000, 4000), torch.float32):
            raise AssertionError("a block was run")

    with pytest.raises(oc.InputError, match="144 MB"):
        begun()


@LINUX
def test_a_mapped_file_with_holes_on_a_small_disk(small):
    """Writing to a hole for which there is no room ends a process by SIGBUS."""

    def mapped() -> np.memmap:
        return np.memmap(small / "out", np.float32, "w+", shape=(1, 1, 3000, 4000))

    def refused():
        with pytest.raises(oc.InputError, match="it needs 48 MB"):
            oc.run(torch.nn.ReLU(), torch.ones(1, 1, 3000, 4000), out=mapped(), block=1000)

    assert forked(lambda: mapped().fill(1))[0] == -signal.SIGBUS  # what is guarded against happens here
    assert forked(refused) == (0, "")


@LINUX
def test_room_that_is_reserved_holds_what_is_there(tmp_path):
    """Filling holes changes no sample."""
    out = np.memmap(tmp_path / "o", np.float32, "w+", shape=(1, 1, 640, 640))
    out[0, 0, 3, :] = 7
    assert (tmp_path / "o").stat().st_blocks * 512 < out.nbytes
    check_out(out, "output", out.shape)
    assert (tmp_path / "o").stat().st_blocks * 512 >= out.nbytes
    assert out.sum() == 7 * 640


# ---- what a killed run leaves --------------------------------------------------------------------------------


def killed(path: Path, shape: tuple[int, ...] = (1, 1, 64, 64)) -> None:
    """A run that is killed in the middle."""

    def do():
        with written(path, shape, torch.float32):
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(do) == (-signal.SIGKILL, "")


@LINUX
@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
def test_the_next_one_that_writes_there_cleans_up(tmp_path, name):
    if name == "a.zarr":
        pytest.importorskip("zarr")
    killed(tmp_path / name)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(PREFIX)
    write_complete(tmp_path / "report.txt", "text")
    assert state(tmp_path) == {"report.txt": b"text"}


@LINUX
def test_room_that_a_killed_run_kept_is_there_again(small):
    shape = (1, 1, 1000, 1500)  # 6 of 8 MB
    killed(small / "a.npy", shape)
    assert shutil.disk_usage(small).free < 3_000_000
    with written(small / "a.npy", shape, torch.float32):
        pass
    assert [p.name for p in small.iterdir()] == ["a.npy"]


@LINUX
def test_what_still_runs_is_left_alone(tmp_path):
    """Its lock holds in its children too; the owner here is this process, who looks is another."""
    with written(tmp_path / "a.npy", (1, 1, 8, 8), torch.float32) as store:
        store[:, :, :, :] = np.ones((1, 1, 8, 8), np.float32)
        (work,) = tmp_path.iterdir()
        assert forked(lambda: clear_leftovers(tmp_path)) == (0, "")
        clear_leftovers(tmp_path)
        assert work.exists()
    assert np.load(tmp_path / "a.npy").sum() == 64
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def forged(folder: Path, **changes: str) -> Path:
    """A working folder as a killed run leaves it, its note changed."""
    with unfinished(folder / "a.txt", TEXT) as made:
        note = json.loads((made.parent / OWNER).read_text())
        made.touch()
    (folder / "a.txt").unlink()
    work = folder / f"{PREFIX}forged"
    work.mkdir()
    (work / OWNER).write_text(json.dumps({**note, **changes}))
    (work / "result.txt").write_text("half")
    return work


@LINUX
@pytest.mark.parametrize(
    "changes", [{"made by": "somebody"}, {"host": "elsewhere", "boot": "another"}, {"for": "../a"}, {"for": ""}]
)
def test_what_is_not_known_for_ours_is_left_alone(tmp_path, changes):
    work = forged(tmp_path, **changes)
    clear_leftovers(tmp_path)
    assert (work / "result.txt").exists()


@LINUX
def test_leftovers_are_ours_to_the_last_entry(tmp_path):
    work = forged(tmp_path)
    (work / "holidays.jpg").write_text("a photograph")
    clear_leftovers(tmp_path)
    assert (work / "holidays.jpg").exists()
    (work / "holidays.jpg").unlink()
    elsewhere = tmp_path / "elsewhere"
    os.rename(work, elsewhere)
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    for name in ("empty", "damaged", "noise"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
    (tmp_path / f"{PREFIX}damaged" / OWNER).write_text("{")
    (tmp_path / f"{PREFIX}noise" / OWNER).write_bytes(b"\xff\x00")
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    before = state(tmp_path)
    clear_leftovers(tmp_path)
    assert state(tmp_path) == before
    os.rename(elsewhere, work)
    (tmp_path / f"{PREFIX}link").unlink()
    clear_leftovers(tmp_path)
    assert not work.exists()  # the control: nothing but the changes kept it


@LINUX
@pytest.mark.parametrize("done", [False, True])
def test_killed_between_two_renamings(tmp_path, done):
    """The old array is back where the new one did not come to stand."""
    work = forged(tmp_path, **{"for": "res.zarr"})
    (work / "result.txt").unlink()
    array(work / OLD, (5,))
    array((tmp_path if done else work) / ("res.zarr" if done else "result.zarr"), (7,))
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["res.zarr"]
    zarr = pytest.importorskip("zarr")
    assert zarr.open(str(tmp_path / "res.zarr"), mode="r").shape == ((7,) if done else (5,))
    with pytest.raises(oc.InputError):
        free_place(tmp_path / "res.zarr", ZARR, Door())
