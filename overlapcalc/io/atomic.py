"""Files that appear under their name only when they are complete, and replace nothing that was not offered.

Every file that overlapcalc writes comes through here. An existing file is replaced only where the door allows it, and
then only by one of its kind: a .npy file by a .npy file, never a directory, a device or a picture. An input never is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ..errors import InputError
from .workplace import OLD, RESULT, workplace


@dataclass(frozen=True)
class Kind:
    """A kind of file. is_one: whether what lies at a path (a regular file unless `folder`) is of this kind."""

    called: str
    is_one: Callable[[Path], bool]
    folder: bool = False


@dataclass(frozen=True)
class Door:
    """How a place was asked for. called: its name in errors, the path when empty. allows: what the caller must say to
    have an existing file replaced. inputs: files and folders that are being read."""

    called: str = ""
    overwrite: bool = False
    allows: str = "overwrite=True"
    inputs: tuple[Path, ...] = ()


def begins(called: str, *beginnings: bytes) -> Kind:
    """Files that begin with one of these sequences of bytes."""
    longest = max(map(len, beginnings), default=0)

    def is_one(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(longest).startswith(beginnings)

    return Kind(called, is_one)


SOURCES = frozenset(
    {".py", ".pyi", ".pyx", ".ipynb", ".toml", ".lock", ".cfg", ".ini", ".yaml", ".yml", ".sh", ".c", ".cpp"}
)
"""Text that somebody wrote by hand, or that is read: not a report."""


def _is_report(path: Path) -> bool:
    if path.suffix.lower() in SOURCES:
        return False
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return b"\0" not in head and not head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"%PDF-"))


PLAIN = Door()
TEXT = Kind("a report", _is_report)
ANY = begins("a file", b"")
REWRITTEN = Door(overwrite=True)
"""For files that are ours by name and rewritten by design, such as the lock, whatever a merge made of it: kind ANY."""


def write_complete(path: Path, text: str, door: Door = PLAIN, kind: Kind = TEXT) -> None:
    """Write a file in UTF-8, with the line ends of `text`, or leave what was there. Raises InputError."""
    complete(path, lambda file: file.write(text.encode()), kind, door)


def complete(path: Path, write: Callable[[IO[bytes]], object], kind: Kind, door: Door = PLAIN) -> None:
    """Create a file with what `write` writes, or leave what was there. Raises InputError, and what `write` raises."""
    with unfinished(path, kind, door) as made:
        try:
            with made.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{door.called or path}: {error.strerror or error}") from error


@contextlib.contextmanager
def unfinished(path: Path, kind: Kind, door: Door = PLAIN) -> Iterator[Path]:
    """A path at which to create a file or a folder, which becomes `path` if all goes well. Raises InputError."""
    place = free_place(path, kind, door)
    door = replace(door, called=door.called or str(path))
    with contextlib.ExitStack() as stack:
        with _said(door):
            work = stack.enter_context(workplace(place))
        made = work / f"{RESULT}{path.suffix}"
        yield made
        with _said(door):
            _appear(made, place, kind, door)


@contextlib.contextmanager
def _said(door: Door) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{door.called}: {error.strerror or error}") from error


def free_place(path: Path, kind: Kind, door: Door) -> Path:
    """The place that links lead to, if something of this kind may be put there. Raises InputError.

    An empty file or folder is no loss: it counts as absent.
    """
    called = door.called or str(path)
    try:
        place = Path(os.path.realpath(path))
        if not place.parent.is_dir():
            raise InputError(f"{called}: it lies in {place.parent}, which does not exist")
        for read in door.inputs:
            if _meet(place, read):
                raise InputError(f"{called}: it is or lies in {read}, which is read; name another place")
        there = _there(place)
        if there is None:
            return place
        if kind.folder != stat.S_ISDIR(there.st_mode) or not (kind.folder or stat.S_ISREG(there.st_mode)):
            raise InputError(f"{called}: {_what(there)} is there, not {kind.called}; name another place")
        if not (os.listdir(place) if kind.folder else there.st_size):
            return place
        if not kind.is_one(place):
            raise InputError(f"{called}: what is there is not {kind.called}, so it is not replaced; name another place")
        if not door.overwrite:
            raise InputError(f"{called}: it exists; name another place, or replace it with {door.allows}")
        if not there.st_mode & 0o222:
            raise InputError(f"{called}: it is write-protected; name another place")
        return place
    except (OSError, ValueError) as error:  # a name with a zero in it is a ValueError
        raise InputError(f"{called}: {getattr(error, 'strerror', None) or error}") from error


def _there(place: Path) -> os.stat_result | None:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        return None


def _what(there: os.stat_result) -> str:
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFLNK: "a link that leads nowhere"}
    return kinds.get(stat.S_IFMT(there.st_mode), "a device, a pipe or a socket")


def _meet(place: Path, read: Path) -> bool:
    """Whether one is the other, or lies in it, by whatever name."""
    with contextlib.suppress(OSError):
        if os.path.samefile(place, read):
            return True
    there = Path(os.path.realpath(read))
    return place == there or there in place.parents or place in there.parents


def _appear(made: Path, place: Path, kind: Kind, door: Door) -> None:
    """Rename the finished file. Whatever appeared there meanwhile is checked again; the result is never discarded."""
    try:
        free_place(place, kind, door)
        there = _there(place)
        if kind.folder:
            _swap_folder(made, place)
            return
        if there is not None:
            with contextlib.suppress(OSError, AttributeError):
                os.chown(made, there.st_uid, there.st_gid)
            os.chmod(made, stat.S_IMODE(there.st_mode))
            os.replace(made, place)
            return
        _link(made, place)
    except (InputError, FileExistsError) as error:
        aside = place.with_name(f"{place.stem[:50]}{made.parent.name.replace('.', '-')}{place.suffix}")
        os.rename(made, aside)
        reason = error if isinstance(error, InputError) else f"{door.called}: something was put there meanwhile"
        raise InputError(f"{reason}. The result is {aside.name}, beside it") from error


def _link(made: Path, place: Path) -> None:
    """Rename to a free place; a plain rename would replace a file that appears at that moment."""
    try:
        os.link(made, place)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES):
            raise
        os.rename(made, place)  # a file system without links


def _swap_folder(made: Path, place: Path) -> None:
    old = made.parent / OLD
    if place.exists():
        os.rename(place, old)
    try:
        os.rename(made, place)
    except BaseException:
        if old.exists():
            os.rename(old, place)
        raise
