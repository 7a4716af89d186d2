"""Native code can open files unseen by Python. Which of the loaded libraries could?

A library's symbol table says what it calls. One that calls nothing that opens, loads or runs anything, itself or
through the libraries it needs, opens no file. For torch, numpy and a few others we know the doors through which files
come in (see doors.py). If a model loads any other library, its outcome is not kept.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAPS = Path("/proc/self/maps")
TRUSTED = ("torch", "numpy", "scipy", "triton", "nvidia", "torchvision", "safetensors", "PIL")
"""Packages that open files only through Python or through doors that are watched."""
OF_TORCH = frozenset({"sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "setuptools",
                      "typing_extensions", "rich", "pygments", "tomli"})  # fmt: skip
"""What torch and we need. Whatever else they could import (for their own tests, say) is not a model's doing."""
UNTRUSTED = re.compile(r"^(_imagingft|_imagingcms|video_reader|_gdbm|_dbm)\b")
"""Parts of these packages and of Python that open files by themselves."""
OPENERS = re.compile(
    rb"^(__)?(f?open(at)?(64)?(_2)?|freopen(64)?|creat(64)?|opendir|fdopendir|scandir(64)?|ftw(64)?|nftw(64)?|glob(64)?|"
    rb"(fx|lx|x)?statx?(64)?|[fl]?stat(64)?|fstatat(64)?|access|faccessat|readlink(at)?|realpath|canonicalize_file_name|"
    rb"dlopen|dlmopen|dlsym|syscall|popen|system|exec\w+|posix_spawnp?|v?fork|clone|connect|shm_open|io_uring\w*|"
    rb"_Py_w?fopen\w*|_Py_open\w*|_Py_stat|_Py_wreadlink)$"
    rb"|basic_filebuf|basic_[io]?fstream|N?St10filesystem|__fs"
)
BASE = re.compile(
    r"^(lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s|gomp|c\+\+|c\+\+abi|atomic)|ld-[\w-]+|ld)\.so|^linux-vdso"
)
"""Libraries that every program needs; what a library calls in them is in its own table."""
UNKNOWN = (b"open",)
"""What a file that we cannot read as a library is assumed to call."""


class Library(NamedTuple):
    """The functions that a library calls, and the names of the libraries that it needs."""

    calls: tuple[bytes, ...]
    needs: tuple[str, ...]
    name: str


def loaded() -> frozenset[str] | None:
    """The files that are mapped as code; None where the system does not say. A deleted file is marked as such."""
    try:
        lines = MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    rows = (line.split(None, 5) for line in lines)
    return frozenset(row[5].strip() for row in rows if len(row) > 5 and row[5].startswith("/") and "x" in row[1])


def mapped() -> frozenset[str]:
    """All mapped files, including data; empty where the system does not say."""
    try:
        lines = MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return frozenset()
    rows = (line.split(None, 5) for line in lines)
    return frozenset(row[5].strip() for row in rows if len(row) > 5 and row[5].startswith("/") and row[3] != "00:00")


def extensions() -> frozenset[str]:
    """The extension modules that are imported, on any system."""
    files = (getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values()))
    return frozenset(f for f in files if isinstance(f, str) and f.endswith((".so", ".pyd", ".dylib")))


def openers(files: Iterable[str], everything: Iterable[str]) -> list[str]:
    """Those of `files` that may open files unseen, by themselves or through what they need. everything: all that is
    loaded."""
    known = {os.path.basename(file): file for file in everything}
    names = {**{library(file).name: file for file in known.values()}, **known}
    fine = set(_closure((file for file in known.values() if trusted(file)), names))
    return sorted(file for file in files if any(_opens(f) for f in _closure([file], names) if f not in fine))


def mentioned(files: Iterable[str], sources: Iterable[str]) -> frozenset[str]:
    """Those of `files` that belong to a package which one of the sources imports, directly or through the sources of
    such a package: a package that is already in memory is not loaded again."""
    owners: dict[str, set[str]] = {}
    packages: dict[str, set[str]] = {}
    wanted = set(files)
    for name, module in list(sys.modules.items()) if wanted else ():
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str):
            (owners if file in wanted else packages).setdefault(name.partition(".")[0], set()).add(file)
    names = {name for name in {*owners, *packages} if name not in OF_TORCH.union(TRUSTED, sys.stdlib_module_names)}
    pattern = re.compile(rb"\b(" + b"|".join(re.escape(name).encode() for name in sorted(names)) + rb")\b")
    waiting = [source for source in sources if not OF_TORCH & set(Path(source).parts)]
    met: set[str] = set()
    found: set[str] = set()
    while waiting and owners:
        file = waiting.pop()
        for name in _words(file, pattern) - met:
            met.add(name)
            found |= owners.get(name, set())
            waiting += packages.get(name, set())
    return frozenset(found)


def _words(file: str, pattern: re.Pattern[bytes]) -> set[str]:
    """The words that match a pattern in lines that import something."""
    try:
        lines = IMPORTS.findall(Path(file).read_bytes())
    except OSError:
        return set()
    return {word.decode() for line in lines for word in pattern.findall(line)}


IMPORTS = re.compile(rb"^.*\bimport\b.*$|^.*(?:import_module|__import__|find_spec|load_module).*$", re.MULTILINE)


def _closure(files: Iterable[str], names: dict[str, str]) -> Iterator[str]:
    """Files and whatever loaded libraries they need."""
    waiting, met = list(files), set()
    while waiting:
        file = waiting.pop()
        if file in met or BASE.match(os.path.basename(file)):
            continue
        met.add(file)
        yield file
        waiting += [names[need] for need in library(file).needs if need in names]


def _opens(file: str) -> bool:
    return any(OPENERS.search(call) for call in library(file).calls)


@cache
def trusted(file: str) -> bool:
    """Whether a library belongs to Python or to a package whose doors we know."""
    name = os.path.basename(file)
    if UNTRUSTED.match(name):
        return False
    place = Path(os.path.realpath(file))
    if any(place.is_relative_to(root) for root in _python()):
        return not {"site-packages", "dist-packages"} & set(place.parts) or _of_trusted(place)
    return _of_trusted(place)


def _of_trusted(place: Path) -> bool:
    parts = place.parts
    for i, part in enumerate(parts[:-1]):
        if part in ("site-packages", "dist-packages"):
            return parts[i + 1].removesuffix(".libs").replace("pillow", "PIL") in TRUSTED
    return any(place.is_relative_to(root) for root in _torch())


@cache
def _python() -> tuple[Path, ...]:
    """The interpreter, and the directories of its own libraries."""
    stdlib = sysconfig.get_paths()["platstdlib"]
    libraries = sysconfig.get_config_var("LDLIBRARY"), sysconfig.get_config_var("LIBDIR")
    shared = [Path(libraries[1], libraries[0])] if all(libraries) else []
    places = [Path(sys.executable), Path(stdlib), Path(sys.base_prefix, "lib", Path(stdlib).name), *shared]
    return tuple(Path(os.path.realpath(place)) for place in places)


@cache
def _torch() -> tuple[Path, ...]:
    """Where torch and numpy are, if not in site-packages."""
    found = [getattr(sys.modules.get(name), "__file__", None) for name in ("torch", "numpy")]
    return tuple(Path(os.path.realpath(file)).parent for file in found if file)


# ---- reading ELF ----------------------------------------------------------------------------------------------------


@cache
def library(file: str) -> Library:
    """What a library calls and needs. One that cannot be read is assumed to open files."""
    try:
        with open(file, "rb") as stream:
            return _elf(stream) or Library(UNKNOWN, (), os.path.basename(file))
    except (OSError, ValueError, struct.error, IndexError):
        return Library(UNKNOWN, (), os.path.basename(file))


def _elf(stream: BinaryIO) -> Library | None:
    """From the sections of a 64-bit little-endian library; None for any other file, or one without sections."""
    head = stream.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return None
    start, size, count = struct.unpack_from("<Q", head, 40)[0], *struct.unpack_from("<HH", head, 58)
    sections = []
    for i in range(count):
        stream.seek(start + i * size)
        sections.append(struct.unpack("<IIQQQQIIQQ", stream.read(64)))

    def content(kind: int) -> tuple[bytes, bytes] | None:
        """A section of a kind, and the strings that it refers to."""
        for section in sections:
            if section[1] == kind:
                texts = sections[section[6]]
                return _piece(stream, section[4], section[5]), _piece(stream, texts[4], texts[5])
        return None

    symbols, dynamic = content(11), content(6)
    if symbols is None or dynamic is None:
        return None
    rows, texts = symbols
    calls = tuple(
        _text(texts, name)
        for name, _, _, section, _, _ in struct.iter_unpack("<IBBHQQ", rows[: len(rows) // 24 * 24])
        if section == 0 and name
    )
    entries = list(struct.iter_unpack("<qQ", dynamic[0][: len(dynamic[0]) // 16 * 16]))
    needs = tuple(os.fsdecode(_text(dynamic[1], at)) for tag, at in entries if tag == 1)
    own = next((os.fsdecode(_text(dynamic[1], at)) for tag, at in entries if tag == 14), "")
    return Library(calls, needs, own)


def _piece(stream: BinaryIO, start: int, size: int) -> bytes:
    stream.seek(start)
    return stream.read(size)


def _text(texts: bytes, at: int) -> bytes:
    return texts[at : texts.index(b"\0", at)]
