"""Whatever decides about a model is in the key of its outcome, or the outcome is not kept: a stale "unchanged" is the one
thing that must not happen.

In every case a model has a kernel of 3, something changes, and it has one of 5. What is installed lies in a directory
of its own, and is imported anew as by another process.
"""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.guarded import HEAD, Project, entry
from shared.thorough import few
from torch import nn

from overlapcalc.guard import cache, check, digests
from overlapcalc.guard.digests import Digests
from overlapcalc.guard.watch import natives, reads

NET = f"{HEAD}import helper\ndef Net():\n    return helper.net()\n"
KERNEL = "from torch import nn\ndef net():\n    return nn.Conv2d(1, 1, kernel())\n"


class Installed(Project):
    """A project with a site-packages of its own."""

    @property
    def site(self) -> Path:
        return self.root / "venv" / "site-packages"

    def install(self, name: str, text: str) -> Path:
        return self.write(f"venv/site-packages/{name}", textwrap.dedent(text))

    def helper(self, text: str) -> None:
        """An installed package that says which kernel; it may say words that a project may not."""
        self.install("helper.py", KERNEL + textwrap.dedent(text))

    def anew(self) -> None:
        """What is installed is imported anew, as in another process, which has heard of nothing."""
        reads._shared.names.clear()
        for file in [file for file in reads._ever if file.startswith(str(self.root))]:
            del reads._ever[file]
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or getattr(module, "__path__", "")).find(str(self.root)) >= 0:
                del sys.modules[name]
        sys.path_importer_cache.clear()

    def holds(self) -> bool:
        self.anew()
        return check(self.root / "pyproject.toml").holds

    def kept(self) -> bool:
        self.anew()
        return check(self.root / "pyproject.toml").models[0].kept

    def dump(self, name: str, kernel: int, save: Callable[[Path, int], object]) -> None:
        """A file that another library writes, of always the same time."""
        file = self.root / name
        save(file, kernel)
        os.utime(file, (time.time() - 60,) * 2)


@pytest.fixture
def made(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    made = Installed(project.root)
    made.site.mkdir(parents=True)
    monkeypatch.syspath_prepend(made.site)
    made.write("net.py", NET)
    made.configure(entry(more="max-receptive-field = 3"))
    yield made
    made.anew()


def link(made: Installed, target: str, name: str = "current") -> None:
    place = made.root / name
    if place.is_symlink():
        place.unlink()
    place.symlink_to(target, target_is_directory=True)


def conv(kernel: int) -> nn.Module:
    return nn.Conv2d(1, 1, kernel)


def exported(file: Path, kernel: int) -> None:
    torch.export.save(torch.export.export(conv(kernel), (torch.zeros(1, 1, 16, 16),)), file)


Setup = Callable[[Installed, int], object]
"""Makes the state of a kernel, 3 or 5."""


def reinstalled(made: Installed, k: int) -> None:
    """The same version, size and time."""
    made.install("helper-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: helper\nVersion: 1.0\n")
    file = made.install("helper.py", f"{KERNEL}def kernel():\n    return {k}\n")
    os.utime(file, (1_000_000_000, 1_000_000_000))


def deep(made: Installed, k: int) -> None:
    made.helper("from parts.deep import K\ndef kernel():\n    return K\n")
    made.install("parts/__init__.py", "")
    made.install("parts/deep.py", f"K = {k}\n")


def shadowed(made: Installed, k: int) -> None:
    """A module that appears in an installed package before another that it hides."""
    made.helper("from parts import K\ndef kernel():\n    return K\n")
    made.install("parts.py", "K = 3\n")
    if k == 5:
        made.install("parts/__init__.py", "K = 5\n")


def appears(made: Installed, k: int) -> None:
    made.helper("try:\n    from parts.fast import K\nexcept ImportError:\n    K = 3\ndef kernel():\n    return K\n")
    made.install("parts/__init__.py", "")
    if k == 5:
        made.install("parts/fast.py", "K = 5\n")


def namespace(made: Installed, k: int) -> None:
    made.helper("try:\n    from spaces.five import K\nexcept ImportError:\n    K = 3\ndef kernel():\n    return K\n")
    made.install("spaces/three/__init__.py", "")
    if k == 5:
        made.install("spaces/five/__init__.py", "K = 5\n")


def zipped(made: Installed, k: int) -> None:
    made.helper(
        f"import sys\nsys.path.append({str(made.root / 'lib.zip')!r})\nfrom inzip import K\ndef kernel():\n    return K\n"
    )
    made.dump("lib.zip", k, lambda file, k: write_zip(file, f"K = {k}\n"))


def write_zip(file: Path, text: str) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inzip.py", text)


def bytecode(made: Installed, k: int) -> None:
    """Without its source."""
    made.helper("from compiled import K\ndef kernel():\n    return K\n")
    source = made.write("source.py", f"K = {k}\n")
    py_compile.compile(str(source), cfile=str(made.site / "compiled.pyc"))


def unchecked(made: Installed, k: int) -> None:
    """Bytecode that Python never compares with its source."""
    made.helper("from hashed import K\ndef kernel():\n    return K\n")
    source = made.install("hashed.py", f"K = {k}\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source = made.install("hashed.py", "K = 3\n")


def resource(made: Installed, k: int) -> None:
    made.helper("import pkgutil\ndef kernel():\n    return int(pkgutil.get_data('store', 'k.txt'))\n")
    made.install("store/__init__.py", "")
    made.install("store/k.txt", str(k))


def metadata(made: Installed, k: int) -> None:
    made.helper(
        "import importlib.metadata as m\ndef kernel():\n    return int(m.distribution('dist').read_text('k.txt'))\n"
    )
    made.install("dist-1.dist-info/METADATA", "Name: dist\nVersion: 1\n")
    made.install("dist-1.dist-info/k.txt", str(k))


def environment(made: Installed, k: int) -> None:
    made.helper("import os\ndef kernel():\n    return int(os.environ.get('KERNEL_OF_TEST', 3))\n")
    os.environ["KERNEL_OF_TEST"] = str(k)


def environment_at_once(made: Installed, k: int) -> None:
    made.helper("import os\ndef kernel():\n    return int({**os.environ}['KERNEL_OF_TEST'])\n")
    os.environ["KERNEL_OF_TEST"] = str(k)


def existence(made: Installed, k: int) -> None:
    made.helper(f"import os\ndef kernel():\n    return 5 if os.path.exists({str(made.root / 'large')!r}) else 3\n")
    if k == 5:
        made.write("large", "")


def size(made: Installed, k: int) -> None:
    made.helper(
        f"from pathlib import Path\ndef kernel():\n    return Path({str(made.root / 'sized')!r}).stat().st_size\n"
    )
    made.write("sized", "x" * k)


def listing(made: Installed, k: int) -> None:
    made.helper(f"import os\ndef kernel():\n    return len(os.listdir({str(made.root / 'many')!r}))\n")
    for i in range(k):
        made.write(f"many/{i}.txt", "")


def scan(made: Installed, k: int) -> None:
    """By an open directory."""
    made.helper(
        f"import os\ndef kernel():\n    fd = os.open({str(made.root / 'many')!r}, os.O_RDONLY)\n"
        "    try:\n        return sum(1 for _ in os.scandir(fd))\n    finally:\n        os.close(fd)\n"
    )
    for i in range(k):
        made.write(f"many/{i}.txt", "")


def below_a_directory(made: Installed, k: int) -> None:
    made.helper(
        f"import os\ndef kernel():\n    at = os.open({str(made.root / 'some')!r}, os.O_RDONLY)\n"
        "    fd = os.open('k.txt', os.O_RDONLY, dir_fd=at)\n    return int(os.read(fd, 9))\n"
    )
    made.write("some/k.txt", str(k))


def resolved(made: Installed, k: int) -> None:
    """The project itself, by words that nothing forbids."""
    made.write(
        "net.py",
        f"{HEAD}from pathlib import Path\ndef Net():\n"
        "    return nn.Conv2d(1, 1, int((Path(__file__).parent / 'current').resolve().name[1:]))\n",
    )
    for kernel in (3, 5):
        made.write(f"k{kernel}/same.txt", "")
    link(made, f"k{k}")


def realpath(made: Installed, k: int) -> None:
    resolved(made, k)
    made.write(
        "net.py",
        f"{HEAD}import os.path\ndef Net():\n    here = os.path.dirname(__file__)\n"
        "    return nn.Conv2d(1, 1, int(os.path.realpath(here + '/current/same.txt').split('/')[-2][1:]))\n",
    )


def chain_of_links(made: Installed, k: int) -> None:
    realpath(made, k)
    link(made, f"k{k}", "far")
    link(made, "far", "current")


def linked_folder(made: Installed, k: int) -> None:
    """The same name leads to another file of the same time and size."""
    made.write(
        "net.py",
        f"{HEAD}from pathlib import Path\ndef Net():\n    return nn.Conv2d(1, 1, int((Path(__file__).parent / 'current' / 'k.txt').read_text()))\n",
    )
    for kernel in (3, 5):
        made.write(f"k{kernel}/k.txt", str(kernel))
    link(made, f"k{k}")


def linked_model(made: Installed, k: int) -> None:
    for kernel in (3, 5):
        made.write(f"k{kernel}/net.py", f"{HEAD}def Net():\n    return nn.Conv2d(1, 1, {kernel})\n")
    (made.root / "net.py").unlink()
    (made.root / "net.py").symlink_to(f"k{k}/net.py")


def exported_program(made: Installed, k: int) -> None:
    """C++ opens the file."""
    made.write(
        "net.py",
        f"{HEAD}from pathlib import Path\nFILE = Path(__file__).parent / 'inner.pt2'\n"
        "def Net():\n    p = torch.export.load(FILE)\n"
        "    return nn.Conv2d(1, 1, next(iter(p.state_dict.values())).shape[-1])\n",
    )
    made.dump("inner.pt2", k, exported)


def scripted(made: Installed, k: int) -> None:
    made.helper(
        f"import torch\ndef kernel():\n    return torch.jit.load({str(made.root / 's.pt')!r}).weight.shape[-1]\n"
    )
    made.dump("s.pt", k, lambda file, k: torch.jit.save(torch.jit.script(conv(k)), str(file)))


def mapped_weights(made: Installed, k: int) -> None:
    made.helper(f"import torch\ndef kernel():\n    return len(torch.load({str(made.root / 'w.pt')!r}, mmap=True))\n")
    made.dump("w.pt", k, lambda file, k: torch.save(torch.zeros(k), file))


def storage(made: Installed, k: int) -> None:
    made.helper(
        "import torch\ndef kernel():\n"
        f"    s = torch.UntypedStorage.from_file({str(made.root / 's.bin')!r}, False, 1)\n    return s[0]\n"
    )
    made.dump("s.bin", k, lambda file, k: file.write_bytes(bytes([k])))


def reader(made: Installed, k: int) -> None:
    """A class of C++, by a name of its own."""
    made.helper(
        "from torch._C import PyTorchFileReader as R\ndef kernel():\n"
        f"    return int(R({str(made.root / 'w.pt')!r}).get_record('data/0')[:1][0])\n"
    )
    made.dump("w.pt", k, lambda file, k: torch.save(torch.tensor([k], dtype=torch.uint8), file))


def mapped_array(made: Installed, k: int) -> None:
    """Opened for reading and writing, which is what numpy does if nothing is said."""
    made.helper(
        f"import numpy as np\ndef kernel():\n    return int(np.memmap({str(made.root / 'k.bin')!r}, np.uint8)[0])\n"
    )
    made.dump("k.bin", k, lambda file, k: np.full(1, k, np.uint8).tofile(file))


def database(made: Installed, k: int) -> None:
    made.helper(
        f"import sqlite3\ndef kernel():\n    return sqlite3.connect({str(made.root / 'k.db')!r}).execute('select * from t').fetchone()[0]\n"
    )
    made.dump("k.db", k, write_database)


def write_database(file: Path, k: int) -> None:
    import sqlite3

    with sqlite3.connect(file) as base:
        base.execute("drop table if exists t")
        base.execute("create table t (k integer)")
        base.execute("insert into t values (?)", (k,))


def c_library(made: Installed, k: int) -> None:
    """The standard library of C opens the file."""
    made.helper(
        "import ctypes\ndef kernel():\n    c = ctypes.CDLL(None)\n    c.fopen.restype = ctypes.c_void_p\n"
        f"    f = c.fopen({str(made.root / 'k.txt')!r}.encode(), b'r')\n    k = c.fgetc(ctypes.c_void_p(f)) - 48\n"
        "    c.fclose(ctypes.c_void_p(f))\n    return k\n"
    )
    made.write("k.txt", str(k))


def moved_over(made: Installed, k: int) -> None:
    """Another file of the same size and time is renamed to it."""
    made.helper(f"def kernel():\n    return int(open({str(made.root / 'k.txt')!r}).read())\n")
    file = made.write("new.txt", str(k))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    file.replace(made.root / "k.txt")


def in_place(made: Installed, k: int) -> None:
    made.helper(f"def kernel():\n    return int(open({str(made.root / 'k.txt')!r}).read())\n")
    (made.root / "k.txt").touch()
    with (made.root / "k.txt").open("r+") as file:
        file.write(str(k))
    os.utime(made.root / "k.txt", (1_000_000_000, 1_000_000_000))


def in_a_thread(made: Installed, k: int) -> None:
    made.helper(
        "import threading\ndef kernel():\n    found = []\n"
        f"    t = threading.Thread(target=lambda: found.append(int(open({str(made.root / 'k.txt')!r}).read())))\n"
        "    t.start()\n    t.join()\n    return found[0]\n"
    )
    made.write("k.txt", str(k))


def lines_of_a_file(made: Installed, k: int) -> None:
    """Torch reads lines of sources for its traces; a model may read them, too."""
    made.helper(
        f"import linecache\ndef kernel():\n    linecache.clearcache()\n    return int(linecache.getline({str(made.root / 'k.txt')!r}, 1))\n"
    )
    made.write("k.txt", f"{k}\n")


def temporary(made: Installed, k: int) -> None:
    """A file that is copied to where it is gone afterwards."""
    made.helper(
        "import shutil, tempfile\ndef kernel():\n    with tempfile.TemporaryDirectory() as d:\n"
        f"        return int(open(shutil.copy({str(made.root / 'k.txt')!r}, d)).read())\n"
    )
    made.write("k.txt", str(k))


def below_the_standard_library(made: Installed, k: int) -> None:
    made.helper(f"import posix\ndef kernel():\n    return posix.stat({str(made.root / 'sized')!r}).st_size\n")
    made.write("sized", "x" * k)


def bytes_of_the_environment(made: Installed, k: int) -> None:
    made.helper("import os\ndef kernel():\n    return int(os.environb[b'KERNEL_OF_TEST'])\n")
    os.environ["KERNEL_OF_TEST"] = str(k)


def attributes(made: Installed, k: int) -> None:
    """Of the file system."""
    made.helper(f"import os\ndef kernel():\n    return int(os.getxattr({str(made.root / 'k.txt')!r}, 'user.k'))\n")
    made.write("k.txt", "")
    try:
        os.setxattr(made.root / "k.txt", "user.k", str(k).encode())
    except (OSError, AttributeError):
        pytest.skip("this file system has no attributes")


def hub(made: Installed, k: int) -> None:
    """A repository of models on this machine."""
    made.helper(
        f"import torch\ndef kernel():\n    return torch.hub.load({str(made.root / 'repo')!r}, 'size', source='local')\n"
    )
    made.write("repo/hubconf.py", f"def size():\n    return {k}\n")


CASES: dict[str, Setup] = {
    f.__name__.replace("_", " "): f
    for f in (
        reinstalled, deep, shadowed, appears, namespace, zipped, bytecode, unchecked, resource, metadata, environment,
        environment_at_once, existence, size, listing, scan, below_a_directory, resolved, realpath, chain_of_links,
        linked_folder, linked_model, exported_program, scripted, mapped_weights, storage, reader, mapped_array, database,
        c_library, moved_over, in_place, in_a_thread, lines_of_a_file, temporary, below_the_standard_library,
        bytes_of_the_environment, attributes, hub,
    )
}  # fmt: skip
NEVER_KEPT = {"zipped", "database", "c library", "temporary", "attributes"}
"""What is not seen, so that the outcome is not kept."""
SOME = (
    "reinstalled",
    "shadowed",
    "zipped",
    "bytecode",
    "environment",
    "listing",
    "realpath",
    "mapped weights",
    "in a thread",
)
"""Of which `make test` takes a look."""


@pytest.mark.parametrize("name", few(CASES, SOME))
def test_what_decides_is_never_skipped(made: Installed, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERNEL_OF_TEST", "3")
    CASES[name](made, 3)
    assert made.holds()
    assert made.kept() is (name not in NEVER_KEPT)
    CASES[name](made, 5)
    assert not made.holds()


def test_without_a_look_at_pins_a_change_is_skipped(made: Installed, monkeypatch: pytest.MonkeyPatch):
    """The test above can fail: it does where nothing is compared."""
    reinstalled(made, 3)
    assert made.holds()
    monkeypatch.setattr(cache, "still", lambda *arguments: True)
    reinstalled(made, 5)
    assert made.holds()
    assert made.kept()


def test_a_package_that_is_replaced_under_a_running_process_is_not_kept(made: Installed):
    """What is in memory is the old one: what it says must not be kept for the new one."""
    reinstalled(made, 3)
    assert made.holds()
    reinstalled(made, 5)
    assert check(made.root / "pyproject.toml").holds  # the process has the old one
    assert not made.holds()


def test_what_one_model_makes_a_package_remember_counts_for_the_next(made: Installed):
    """The second model is told a kernel that the package read for the first."""
    made.helper(
        f"import functools\n@functools.cache\ndef kernel():\n    return int(open({str(made.root / 'k.txt')!r}).read())\n"
    )
    made.write("k.txt", "3")
    made.configure(entry("first"), entry("second", more="max-receptive-field = 3"))
    assert made.holds()
    made.write("k.txt", "5")
    assert not made.holds()


def test_what_a_check_without_a_cache_makes_a_package_remember_counts_for_the_next(made: Installed):
    made.helper(
        f"import functools\n@functools.cache\ndef kernel():\n    return int(open({str(made.root / 'k.txt')!r}).read())\n"
    )
    made.write("k.txt", "3")
    made.anew()
    assert check(made.root / "pyproject.toml", keep=False).holds
    assert check(made.root / "pyproject.toml").holds
    assert made.kept()
    made.write("k.txt", "5")
    assert not made.holds()


@pytest.mark.skipif(shutil.which("cc") is None or not natives.MAPS.exists(), reason="a C compiler is needed, and /proc")
@pytest.mark.parametrize(
    ("body", "kept"), [('FILE *f = fopen("k.txt", "r"); int k = fgetc(f); fclose(f);', False), ("int k = 51;", True)]
)
def test_native_code_that_opens_files_is_recognised(made: Installed, body: str, kept: bool):
    source = made.write(
        "native.c",
        "#include <stdio.h>\ntypedef struct _object PyObject;\nPyObject *PyLong_FromLong(long);\n"
        "PyObject *PyModule_Create2(void *, int);\nint PyModule_AddIntConstant(PyObject *, const char *, long);\n"
        "static struct { long base[5]; const char *name; const char *doc; long size; void *rest[5]; } def = "
        '{{1}, "native", 0, -1};\n'
        f"PyObject *PyInit_native(void) {{ {body} PyObject *m = PyModule_Create2(&def, 1013);\n"
        'PyModule_AddIntConstant(m, "K", k - 48); return m; }\n',
    )
    target = made.site / "native.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(target)], check=True)
    assert bool(natives.openers([str(target)], [str(target)])) is not kept


def test_a_file_that_is_no_library_may_open_anything(tmp_path: Path):
    (tmp_path / "odd.so").write_bytes(b"\x7fELF\x02\x01")
    assert natives.openers([str(tmp_path / "odd.so")], []) == [str(tmp_path / "odd.so")]


def test_libraries_of_python_and_torch_are_known():
    known = natives.loaded()
    if known is None:
        pytest.skip("the system does not say what is loaded")
    assert any("torch" in file for file in known)
    assert not natives.openers([file for file in known if natives.trusted(file)], known)


def test_a_digest_is_remembered_while_a_file_does_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(digests, "COARSE", -(10**12))  # files of this test are young
    file = tmp_path / "a"
    file.write_text("one")
    first = Digests(tmp_path / "kept")
    digest = first.of(str(file))
    first.save()
    monkeypatch.setattr(digests, "_known", {})
    with monkeypatch.context() as patch:
        patch.setattr(digests, "_hashed", lambda place: pytest.fail("it is read again"))
        assert Digests(tmp_path / "kept").of(str(file)) == digest
    time.sleep(0.05)
    file.write_text("two")
    os.utime(file, ns=(0, 0))
    assert Digests(tmp_path / "kept").of(str(file)) != digest


def test_a_young_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It may change once more at the same time."""
    monkeypatch.setattr(digests, "_known", {})
    (tmp_path / "a").write_text("one")
    found = Digests(tmp_path / "kept")
    found.of(str(tmp_path / "a"))
    assert not digests._known


def test_a_long_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(digests, "ALOUD", 2)
    (tmp_path / "a").write_text("one")
    Digests(tmp_path / "kept").announce([str(tmp_path / "a")])
    assert "reading 1 imported files" in capsys.readouterr().err


def test_what_comes_from_standard_input_is_not_kept(made: Installed):
    made.helper("def kernel():\n    open(0, closefd=False).close()\n    return 3\n")
    assert made.holds()
    assert not made.kept()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no time zones to set")
def test_another_time_zone_is_another_answer(made: Installed, monkeypatch: pytest.MonkeyPatch):
    made.helper("import time\ndef kernel():\n    return 3 if time.strftime('%Z') == 'UTC' else 5\n")
    try:
        for zone, holds in (("UTC", True), ("XYZ-9", False)):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert made.holds() is holds
            assert made.kept()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_project_that_asks_for_the_time_is_not_kept(made: Installed):
    made.helper("def kernel():\n    return 3\n")
    made.write("net.py", "import time\nNOW = time.strftime('%H')\n" + NET)
    assert made.holds()
    assert not made.kept()


def test_git_sees_what_else_lies_where_outcomes_are_kept(made: Installed):
    made.helper("def kernel():\n    return 3\n")
    place = made.root / "there"
    place.mkdir()
    for directory, ignored in ((place, False), (made.root / "new", True)):
        made.anew()
        assert check(made.root / "pyproject.toml", cache_dir=directory).holds
        assert (directory / ".gitignore").exists() is ignored
        assert len(list(directory.iterdir())) > 1
