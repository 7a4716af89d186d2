"""The spill file: where it is, that nothing lists it and nothing is left of it, and disks that are full."""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from shared.forked import forked

from overlapcalc.cli.wording import shell
from overlapcalc.engine.spill import file as spill_file
from overlapcalc.engine.spill import nameless, place
from overlapcalc.engine.spill.file import SpillFile
from overlapcalc.engine.spill.nameless import PREFIX, clear_leftovers
from overlapcalc.engine.spill.place import memory_devices, spill_folder
from overlapcalc.errors import InputError

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits, mounts and locks as Linux has them")
SIZE = 1 << 16
NAME = f"{PREFIX}a1b2c3d_"


@pytest.fixture(params=[True, False], ids=["O_TMPFILE", "mkstemp"])
def never_named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system can create files without a name."""
    if not request.param:
        without_tmpfile(monkeypatch)
    return bool(request.param)


def without_tmpfile(patch: pytest.MonkeyPatch, code: int = errno.EOPNOTSUPP) -> None:
    plain = os.open

    def opened(path: object, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return plain(path, flags, *more, **named)

    patch.setattr(os, "open", opened)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def data(n: int = SIZE, seed: int = 0) -> memoryview:
    return memoryview(bytearray(random.Random(seed).randbytes(n)))


def read(file: SpillFile, begins: int, n: int) -> memoryview:
    found = memoryview(bytearray(n))
    file.read(found, begins)
    return found


# ---- bytes -------------------------------------------------------------------------------------------------------


@LINUX
def test_bytes_come_back_and_nothing_is_listed(tmp_path, never_named):
    with SpillFile(tmp_path, SIZE) as file:
        assert names(tmp_path) == []
        assert os.fstat(file._file.fileno()).st_nlink == 0
        file.write(data(), 0)
        file.write(data(100, 1), 50)
        assert names(tmp_path) == []
        assert read(file, 0, SIZE) == bytes(data()[:50]) + bytes(data(100, 1)) + bytes(data()[150:])
        assert read(file, 60, 7) == data(100, 1)[10:17]
        assert file.written == SIZE + 100
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="closed file"):
        file.write(data(1), 0)
    file.close()


@LINUX
@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL])
def test_every_file_system_has_a_way(tmp_path, monkeypatch, code):
    without_tmpfile(monkeypatch, code)
    with SpillFile(tmp_path, SIZE) as file:
        file.write(data(), 0)
        assert read(file, 0, SIZE) == data()
        assert names(tmp_path) == []


@LINUX
def test_a_file_that_never_had_a_name_is_made_where_that_is_possible(tmp_path, monkeypatch):
    if nameless._never_named(tmp_path) is None:
        pytest.skip("not on this file system")
    monkeypatch.setattr(tempfile, "mkstemp", lambda **_: pytest.fail("it had a name"))
    SpillFile(tmp_path, SIZE).close()


def test_calls_that_do_a_part_are_continued(tmp_path, monkeypatch):
    write, into = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: write(handle, data[:777], at))
    monkeypatch.setattr(os, "preadv", lambda handle, parts, at: into(handle, [parts[0][:555]], at))
    with SpillFile(tmp_path, SIZE) as file:
        file.write(data(SIZE - 3), 3)
        assert read(file, 3, SIZE - 3) == data(SIZE - 3)


def test_a_system_without_calls_at_a_place(tmp_path, monkeypatch):
    """Windows."""
    for name in ("pwrite", "preadv"):
        monkeypatch.delattr(os, name)
    with SpillFile(tmp_path, 3 << 20) as file:
        file.write(data(2 << 20), 1 << 20)
        file.write(data(10, 1), 0)
        assert read(file, 1 << 20, 2 << 20) == data(2 << 20)
        assert read(file, 0, 10) == data(10, 1)


def test_a_file_that_is_too_short_is_an_error(tmp_path):
    with SpillFile(tmp_path, SIZE) as file:
        file.write(data(), 0)
        os.truncate(file._file.fileno(), 1000)
        assert read(file, 0, 1000) == data()[:1000]
        with pytest.raises(InputError, match="it ends at byte 1000, 1 bytes too early; run again"):
            read(file, 0, 1001)


@LINUX
def test_the_room_is_reserved_and_given_back(tmp_path):
    with SpillFile(tmp_path, SIZE) as file:
        found = os.fstat(file._file.fileno())
        assert found.st_size == SIZE
        assert found.st_blocks * 512 >= SIZE
    SpillFile(tmp_path, 0).close()


# ---- killed ------------------------------------------------------------------------------------------------------


def killed_child(work: Callable[[], None], after: float) -> None:
    """A child that works until it is killed, so long after it has begun."""
    begun, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(say, b"1")
            while True:
                work()
        finally:
            os._exit(1)
    assert os.read(begun, 1) == b"1"
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(begun)
    os.close(say)


@LINUX
def test_killed_at_random_moments_nothing_is_left(tmp_path, never_named):
    def work() -> None:
        with SpillFile(tmp_path, 8 * SIZE) as file:
            for i in range(8):
                file.write(bytes_written, i * SIZE)

    bytes_written, rng = data(), random.Random(17)
    for _ in range(20):
        killed_child(work, rng.uniform(0, 0.02))
        left = names(tmp_path)
        assert left == [] if never_named else all(nameless.LEFTOVER.fullmatch(name) for name in left)
        assert all((tmp_path / name).stat().st_size == 0 for name in left)
    with SpillFile(tmp_path, SIZE):
        assert names(tmp_path) == []


def killed_with_a_name(folder: Path) -> None:
    """Ends between the creation of the file and the removal of its name."""

    def do() -> None:
        with pytest.MonkeyPatch.context() as patch:
            without_tmpfile(patch)
            patch.setattr(os, "unlink", lambda path: os.kill(os.getpid(), signal.SIGKILL))
            SpillFile(folder, SIZE)

    assert forked(do) == (-signal.SIGKILL, "")


@LINUX
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, never_named):
    killed_with_a_name(tmp_path)
    (left,) = names(tmp_path)
    assert nameless.LEFTOVER.fullmatch(left)
    assert (tmp_path / left).stat().st_size == 0
    with SpillFile(tmp_path, SIZE):
        assert names(tmp_path) == []


@LINUX
def test_another_process_may_remove_the_name_first(tmp_path, monkeypatch):
    """It takes a file of a living process for a leftover: the file is none the worse for it."""
    without_tmpfile(monkeypatch)
    made = tempfile.mkstemp
    seen = []

    def and_cleared(**named: object) -> tuple[int, str]:
        found = made(**named)
        seen.append(names(tmp_path))
        clear_leftovers(tmp_path)
        return found

    monkeypatch.setattr(tempfile, "mkstemp", and_cleared)
    with SpillFile(tmp_path, SIZE) as file:
        file.write(data(), 0)
        assert read(file, 0, SIZE) == data()
    assert len(seen[0]) == 1
    assert names(tmp_path) == []


@LINUX
def test_a_name_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    without_tmpfile(monkeypatch)

    def refused(path: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(InputError, match=r"cannot be created \(Operation not permitted\)"):
        SpillFile(tmp_path, SIZE)


@LINUX
def test_what_is_not_known_for_ours_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / f"{PREFIX}full1234").write_text("a diary")
    (tmp_path / f"{PREFIX}folder12").mkdir()
    (tmp_path / f"{PREFIX}link1234").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").touch()
    (tmp_path / f"{PREFIX}notes").touch()
    (tmp_path / f"{NAME}.txt").touch()
    (tmp_path / f"x{NAME}").touch()
    (tmp_path / f"{PREFIX}UPPERCAS").touch()
    before = names(tmp_path)
    (tmp_path / NAME).touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # of another user
        clear_leftovers(tmp_path)
        assert names(tmp_path) == sorted([*before, NAME])
    clear_leftovers(tmp_path)
    assert names(tmp_path) == before  # the control: the last one alone was ours


# ---- a full disk -------------------------------------------------------------------------------------------------


@LINUX
def test_a_small_disk_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "statvfs", lambda _: SimpleNamespace(f_bfree=2000, f_bavail=2000, f_frsize=4096, f_blocks=9)
    )
    SpillFile(tmp_path, 8_000_000).close()
    monkeypatch.setattr(spill_file, "_write", lambda *_: pytest.fail("it began"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InputError) as said:
        SpillFile(tmp_path, 48_000_000)
    assert str(said.value) == (
        f"the spill file (spill): it needs 48 MB, 8.19 MB are free in {tmp_path}; make room, or name another place"
    )
    assert said.value.worded(shell).startswith("the spill file (--spill): it needs 48 MB")
    assert names(tmp_path) == []
    del said
    assert len(os.listdir("/proc/self/fd")) == before


@LINUX
def test_a_limit_on_files_is_said_before_the_work(tmp_path):
    def do() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        SpillFile(tmp_path, 100_000).close()
        with pytest.raises(InputError) as said:
            SpillFile(tmp_path, 100_001)
        print(said.value)

    code, said = forked(do)
    assert code == 0, said
    assert (
        said
        == "the spill file (spill): it needs 100 kB, and files may have at most 100 kB here (ulimit -f); raise the limit\n"
    )
    assert names(tmp_path) == []


@LINUX
def test_a_limit_where_no_room_can_be_reserved(tmp_path, monkeypatch):
    monkeypatch.setattr(spill_file, "reserve", lambda *_: None)

    def do() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with SpillFile(tmp_path, 200_000) as file:
            file.write(data(60_000), 0)
            with pytest.raises(InputError) as said:
                file.write(data(60_000), 60_000)
            assert read(file, 0, 60_000) == data(60_000)
        print(said.value)

    code, said = forked(do)
    assert code == 0, said
    assert (
        said
        == f"the spill file (spill) in {tmp_path}: writing 20 kB at byte 100000 failed (File too large); name another place\n"
    )


@LINUX
@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.ENOSPC, "make room, or name another place"),
        (errno.EDQUOT, "make room, or name another place"),
        (errno.EIO, "name another place"),
    ],
)
def test_a_disk_that_fails_on_the_way(tmp_path, monkeypatch, code, way_out):
    def failing(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with SpillFile(tmp_path, SIZE) as file:
        monkeypatch.setattr(os, "pwrite", failing)
        with pytest.raises(InputError) as said:
            file.write(data(4096), 8192)
        reason = f"failed ({os.strerror(code)}); {way_out}"
        assert str(said.value) == f"the spill file (spill) in {tmp_path}: writing 4.1 kB at byte 8192 {reason}"
        monkeypatch.setattr(os, "preadv", failing)
        with pytest.raises(InputError, match="reading 10 bytes at byte 0 failed"):
            read(file, 0, 10)
    monkeypatch.setattr(os, "posix_fallocate", failing)
    with pytest.raises(
        InputError, match=r"the spill file \(spill\).*(it needs 65.5 kB|65.5 kB cannot be reserved)"
    ) as said:
        SpillFile(tmp_path, SIZE)
    assert str(said.value).endswith(way_out)


def test_a_folder_in_which_nothing_can_be_created(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(InputError) as said:
        SpillFile(tmp_path, SIZE)
    assert (
        str(said.value)
        == f"the spill file (spill) in {tmp_path}: it cannot be created (Permission denied); name another place"
    )


# ---- the place ---------------------------------------------------------------------------------------------------


def test_the_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    assert spill_folder(Path("a")) == tmp_path / "a"
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    for name, reason in (
        ("b", ": there is no such folder; create it, or name another place"),
        ("file", ": it is not a folder; name one"),
        ("dangling", ": it is not a folder; name one"),
    ):
        with pytest.raises(InputError) as said:
            SpillFile(Path(name), SIZE)
        assert str(said.value) == name + reason
        assert said.value.worded(shell) == f"--spill {name}{reason}"
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    with pytest.raises(InputError, match="a: nothing can be written there; name another place"):
        spill_folder(Path("a"))


PLACES = ("asked", "var", "tmp", "here")
TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
25 24 0:23 / /run/my\\040mount rw,nosuid shared:2 master:1 - tmpfs tmpfs rw,size=1k
26 24 0:26 / /ram rw - ramfs none rw
27 24 0:27 / /tmpfs rw - ext4 tmpfs rw
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Four folders, each on a disk of its own; the test moves them to other devices."""
    devices = dict.fromkeys(PLACES, os.makedev(254, 0))
    for name in PLACES:
        (tmp_path / name).mkdir()
    (tmp_path / "mounts").write_text(TABLE)
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(place, "VAR_TMP", str(tmp_path / "var"))
    monkeypatch.setattr(place, "_device", lambda folder: devices[Path(folder).name])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "asked"))
    return devices


@LINUX
@pytest.mark.parametrize("minor", [23, 26], ids=["tmpfs", "ramfs"])
def test_what_is_in_memory_is_not_chosen(tmp_path, places, minor):
    for name in PLACES:
        assert spill_folder(None) == tmp_path / name
        places[name] = os.makedev(0, minor)
    with pytest.raises(InputError) as said:
        spill_folder(None)
    assert str(said.value).endswith(f"{tmp_path / 'here'} can be written and is on a disk; name a folder with spill")
    assert spill_folder(tmp_path / "tmp") == tmp_path / "tmp"  # it was asked for
    places["tmp"] = os.makedev(0, 27)  # a disk by the name of tmpfs
    assert spill_folder(None) == tmp_path / "tmp"


@LINUX
def test_what_is_not_there_is_not_chosen(tmp_path, places, monkeypatch):
    (tmp_path / "asked").rmdir()
    assert spill_folder(None) == tmp_path / "var"
    (tmp_path / "var").rmdir()
    (tmp_path / "var").touch()
    assert spill_folder(None) == tmp_path / "tmp"
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("tmp"))
    assert spill_folder(None) == tmp_path / "here"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="name a folder with spill"):
        spill_folder(None)


@LINUX
def test_no_tmpdir_is_none(tmp_path, places, monkeypatch):
    for value in ("", None):
        monkeypatch.setenv("TMPDIR", value) if value is not None else monkeypatch.delenv("TMPDIR")
        assert spill_folder(None) == tmp_path / "var"


def test_a_system_that_tells_nothing_of_mounts(tmp_path, places, monkeypatch):
    """macOS, Windows: its temporary folder."""
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "nowhere")
    assert spill_folder(None) == tmp_path / "tmp"


@LINUX
def test_a_real_tmpfs(tmp_path, monkeypatch):
    shm = Path("/dev/shm")
    if not any(" /dev/shm " in line and " - tmpfs " in line for line in place.MOUNTS.read_text().splitlines()):
        pytest.skip("/dev/shm is none")
    memory = memory_devices()
    assert memory is not None
    assert shm.stat().st_dev in memory
    monkeypatch.setenv("TMPDIR", str(shm))
    monkeypatch.setattr(place, "VAR_TMP", str(shm))
    monkeypatch.setattr(tempfile, "tempdir", str(shm))
    if tmp_path.stat().st_dev in memory:
        pytest.skip("all is in memory")
    monkeypatch.chdir(tmp_path)
    assert spill_folder(None) == tmp_path
