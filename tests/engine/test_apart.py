"""Results never lie in an input: neither `out`, under whatever name, nor the blocks that are handed out."""

from __future__ import annotations

import itertools
import mmap
import os
import sys
from multiprocessing import shared_memory
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import image
from shared.thorough import crossed
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine import apart
from overlapcalc.engine.block import within

SCHEDULES = ("crop", "trim", "stream")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is mapped where is asked of Linux")
N, SHAPE = 40, (1, 1, 40, 40)


def blur() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1, dtype=torch.float32)


BLUR = oc.tiled(blur(), block=8)


def pixels() -> np.ndarray:
    return np.random.default_rng(0).random(SHAPE, dtype=np.float32)


def refused(source: Any, out: Any, model: nn.Module | None = None) -> None:
    """And nothing of the input is another one afterwards."""
    before = np.array(source[:, :, 0:N, 0:N])
    with pytest.raises(oc.InputError, match=r"give another place"):
        (BLUR if model is None else oc.tiled(model, block=8))(source, out=out)
    assert np.array_equal(np.array(source[:, :, 0:N, 0:N]), before)


def runs(source: Any, out: Any) -> None:
    """The control: apart, and right."""
    whole = blur()(torch.tensor(np.array(source[:, :, 0:N, 0:N]))).detach().numpy()
    BLUR(source, out=out)
    assert np.abs(np.array(out[:, :, 0:N, 0:N]) - whole).max() < 1e-5


# ---- memory and mapped files ---------------------------------------------------------------------------------


@LINUX
def test_a_file_that_is_mapped_twice(tmp_path):
    pixels().tofile(tmp_path / "a")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    source = np.memmap(tmp_path / "a", np.float32, "r", shape=SHAPE)
    for name in ("a", "b", "c"):
        refused(source, np.memmap(tmp_path / name, np.float32, "r+", shape=SHAPE))
        with (tmp_path / name).open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        refused(source, np.frombuffer(mapped, np.float32).reshape(SHAPE))
        refused(source, torch.from_file(str(tmp_path / name), shared=True, size=N * N).reshape(SHAPE))
        refused(torch.from_numpy(np.memmap(tmp_path / name, np.float32, "c", shape=SHAPE)), torch.from_file(
            str(tmp_path / "a"), shared=True, size=N * N).reshape(SHAPE))  # fmt: skip


@LINUX
def test_parts_of_one_file_are_apart(tmp_path):
    """Also where changes are private."""
    np.concatenate([pixels(), pixels()]).tofile(tmp_path / "a")
    half = 4 * N * N
    source = np.memmap(tmp_path / "a", np.float32, "r", shape=SHAPE)
    runs(source, np.memmap(tmp_path / "a", np.float32, "r+", offset=half, shape=SHAPE))
    runs(source, np.memmap(tmp_path / "a", np.float32, "c", shape=SHAPE))
    refused(source, np.memmap(tmp_path / "a", np.float32, "r+", offset=half - 4 * N, shape=SHAPE))


@LINUX
def test_shared_memory_under_two_addresses():
    first = shared_memory.SharedMemory(create=True, size=4 * N * N)
    second = shared_memory.SharedMemory(name=first.name)
    try:
        source = np.ndarray(SHAPE, np.float32, first.buf)
        source[:] = pixels()
        out = np.ndarray(SHAPE, np.float32, second.buf)
        assert not np.may_share_memory(source, out)  # numpy does not see it
        refused(source, out)
        refused(torch.from_numpy(source), torch.from_numpy(out))
        del source, out
    finally:
        second.close()
        first.close()
        first.unlink()


class Around:
    """An array that stands around another one, as a reader of a library may."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, place: Any) -> Any:
        return self._array[place]


class Hidden:
    """The same, and nothing tells what it stands around: as an array behind a server."""

    __slots__ = ("dtype", "get", "set", "shape")

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self.get, self.set = array.__getitem__, array.__setitem__

    def __getitem__(self, place: Any) -> Any:
        return self.get(place)

    def __setitem__(self, place: Any, values: Any) -> None:
        self.set(place, values)


def test_what_stands_around_an_array():
    array = pixels()
    refused(Around(Around(array)), array)
    refused(Around(array), array[:, :, ::-1])
    refused(torch.from_numpy(array), array)
    runs(Around(array), pixels())


@pytest.mark.parametrize("black", [0, 20, 39])
def test_an_array_of_which_nothing_is_known(black):
    """Found when a block is written; one that changes nothing, in the black of a night, tells nothing."""
    array = pixels()
    array[:, :, :black] = 0
    model = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    refused(Hidden(array), Hidden(array), model)
    refused(Hidden(array), array, model)
    refused(array, Hidden(array), model)
    runs(Hidden(array), Hidden(pixels()))


def test_two_outputs_in_one_place():
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"a": x + 1, "b": x * 2}

    x, out = image(1, 1, 40, 40), torch.empty(2, 1, 40, 40, dtype=torch.float64)
    with pytest.raises(oc.InputError, match="another output"):
        oc.run(Two(), x, out=dict(zip(oc.plan(Two(), x.shape).outputs, (out[:1], out[:1]), strict=True)))
    oc.run(Two(), x, out=dict(zip(oc.plan(Two(), x.shape).outputs, (out[:1], out[1:]), strict=True)), block=8)
    assert torch.equal(out, torch.cat([x + 1, x * 2]))


@pytest.mark.parametrize("fold", ["torch", "numpy"])
def test_an_output_whose_samples_are_one_place(fold):
    flat = torch.zeros(2000)
    out: Any = flat.as_strided(SHAPE, (1, 1, 20, 1))  # rows of 40 every 20 samples
    with pytest.raises(oc.InputError, match="several of its samples are one place"):
        oc.run(blur(), torch.rand(SHAPE), out=out if fold == "torch" else out.numpy())
    runs(torch.rand(SHAPE), torch.zeros(1, 1, 80, 80)[:, :, ::2, ::2])


# ---- stores --------------------------------------------------------------------------------------------------


@pytest.fixture
def zarr() -> Any:
    return pytest.importorskip("zarr")


def kept(zarr: Any, store: Any, path: str = "", **options: Any) -> Any:
    array = zarr.create_array(store, name=path or None, shape=SHAPE, dtype="float32", chunks=(1, 1, 16, 40), **options)
    array[:] = pixels()
    return array


def test_an_array_of_zarr_under_two_names(zarr, tmp_path):
    kept(zarr, tmp_path / "group" / "in.zarr")
    (tmp_path / "alias").symlink_to(tmp_path / "group")
    (tmp_path / "b").mkdir()
    names = ["group/in.zarr", "alias/in.zarr", "b/../group/in.zarr"]
    for a, b in itertools.product(names, names):
        refused(zarr.open_array(str(tmp_path / a), mode="r"), zarr.open_array(str(tmp_path / b), mode="r+"))
    zarr.open_group(str(tmp_path / "group"), mode="a")
    refused(
        zarr.open_array(str(tmp_path / "alias" / "in.zarr"), mode="r"),
        zarr.open_group(str(tmp_path / "group"))["in.zarr"],
    )
    other = kept(zarr, str(tmp_path / "group"), "other")
    runs(zarr.open_array(str(tmp_path / "group" / "in.zarr"), mode="r"), other)


def test_parts_of_an_array_that_are_linked(zarr, tmp_path):
    """The description is a copy, the samples are not."""
    source = kept(zarr, tmp_path / "in.zarr")
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "zarr.json").write_bytes((tmp_path / "in.zarr" / "zarr.json").read_bytes())
    (tmp_path / "out.zarr" / "c").symlink_to(tmp_path / "in.zarr" / "c")
    refused(source, zarr.open_array(str(tmp_path / "out.zarr"), mode="r+"))


def test_two_stores_over_one_place(zarr, tmp_path):
    from zarr.storage import LocalStore, MemoryStore, WrapperStore

    shared: dict[str, Any] = {}
    source = kept(zarr, MemoryStore(shared), "a/b")
    refused(source, zarr.open_array(MemoryStore(shared), path="a/b", mode="r+"))
    refused(source, zarr.open_array(WrapperStore(MemoryStore(shared)), path="/a/b/", mode="r+"))
    runs(source, kept(zarr, MemoryStore(shared), "a/bc"))
    kept(zarr, LocalStore(tmp_path), "x/in")
    far = zarr.open_array(WrapperStore(LocalStore(tmp_path / "x")), path="in", mode="r")
    refused(far, zarr.open_array(LocalStore(tmp_path), path="x/in", mode="r+"))
    refused(Around(far), zarr.open_array(LocalStore(tmp_path / "x" / "in"), mode="r+"))
    runs(far, kept(zarr, MemoryStore()))


def test_stores_of_fsspec(zarr, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    from zarr.storage import FsspecStore

    kept(zarr, tmp_path / "in.zarr")
    local = FsspecStore.from_url(f"file://{tmp_path / 'in.zarr'}", read_only=False)
    refused(zarr.open_array(str(tmp_path / "in.zarr"), mode="r"), zarr.open_array(local, mode="r+"))
    source = kept(zarr, FsspecStore.from_url("memory://overlapcalc/in", read_only=False))
    refused(source, zarr.open_array(FsspecStore.from_url("memory://overlapcalc/in", read_only=False), mode="r+"))
    runs(source, kept(zarr, FsspecStore.from_url("memory://overlapcalc/out", read_only=False)))
    fsspec.filesystem("memory").rm("/overlapcalc", recursive=True)


def test_a_store_that_is_not_known_is_found_by_its_samples(zarr, monkeypatch):
    """With nothing told beforehand the same arrays are refused at the first block that changes."""
    from zarr.storage import MemoryStore

    shared: dict[str, Any] = {}
    source = kept(zarr, MemoryStore(shared), "a")
    monkeypatch.setattr(apart, "places", lambda image: iter(()))
    with pytest.raises(oc.InputError, match="was put back"):
        oc.run(blur(), source, out=zarr.open_array(MemoryStore(shared), path="a", mode="r+"), block=8)
    assert np.array_equal(source[:], pixels())


def test_a_store_that_fails_is_one_error():
    class Fails(Around):
        def __getitem__(self, place: Any) -> Any:
            raise KeyError("chunk 0.0")

    with pytest.raises(oc.InputError, match=r"cannot be read at \[.*chunk 0.0"):
        oc.run(blur(), Fails(pixels()), block=8)

    class Full(Hidden):
        def __setitem__(self, place: Any, values: Any) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(oc.InputError, match=r"cannot be written at .*No space left"):
        oc.run(blur(), pixels(), out=Full(pixels()), block=8)

    class Short(Around):
        def __getitem__(self, place: Any) -> Any:
            return self._array[place][:, :, :1]  # would be broadcast

    with pytest.raises(oc.InputError, match="an image gives"):
        oc.run(blur(), Short(pixels()), block=8)


# ---- blocks --------------------------------------------------------------------------------------------------


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def shuffled(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


VIEWS = {
    "identity": lambda x: x,
    "alias": lambda x: x.view_as(x),
    "permute": lambda x: x.permute(0, 1, 3, 2),
    "reshape": lambda x: x.reshape(x.shape[0], 2, 2, *x.shape[2:]).flatten(1, 2),
    "slice": lambda x: x[:, 1:3],
    "every other": lambda x: x[..., ::2],
    "shuffle": shuffled,
    "unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "twice": lambda x: (x, x.permute(0, 1, 3, 2)),
    "and more": lambda x: (x, F.avg_pool2d(x, 3, 1, 1)),
    "detach": lambda x: x.detach(),
    "crop": lambda x: x[..., 2:-2, 2:-2],
    "dropout": lambda x: F.dropout(x, 0.3, False),
}


def outputs(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


@pytest.mark.parametrize(("schedule", "name"), crossed(SCHEDULES, VIEWS))
def test_writing_to_a_block_changes_nothing_else(name, schedule):
    """Neither the image nor a later block nor the other output: every block is right when it comes, then spoilt."""
    x = image(1, 4, 24, 20)
    net = oc.tiled(Function(VIEWS[name]), schedule=schedule, block=8)
    before, plan = x.clone(), net.machine(x.shape).plan
    whole = dict(zip(plan.outputs, (y.clone() for y in outputs(net.model(x))), strict=True))
    for block in net.blocks(x):
        for output, result in block.results.items():
            part = whole[output][within(plan.labels[output], block.regions[output])]
            assert float((result - part).abs().max()) <= 1e-12
            result.fill_(float("nan"))
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("schedule", "block", "name"), crossed(SCHEDULES, [8, 64], ["identity", "permute", "twice", "expand"])
)
def test_writing_to_a_result_changes_nothing_else(name, block, schedule):
    """One block, or several."""
    model, x = Function(VIEWS[name]), image(1, 4, 24, 20)
    before = x.clone()
    found = outputs(oc.run(model, x, schedule=schedule, block=block))
    for y, whole in zip(found, outputs(model(before)), strict=True):
        assert torch.equal(y, whole)
        y.fill_(float("nan"))
        assert torch.equal(x, before)


def test_a_store_that_gives_tensors_is_not_written_to():
    """What it gives is a view of what it keeps, and this net writes to its input."""
    x = image(1, 4, 24, 20)
    before, model = x.clone(), Function(lambda x: x.mul_(2))
    for schedule in SCHEDULES:
        for given in (x, Around(x)):
            assert torch.equal(oc.run(model, given, schedule=schedule, block=8), 2 * before)
        assert torch.equal(x, before)


def test_the_copy_is_what_keeps_them_apart(monkeypatch):
    """The control: without it the caller's image changes."""
    monkeypatch.setattr("overlapcalc.engine.schedules.regions.owned", lambda results, held: results)
    x = image(1, 4, 24, 20)
    before = x.clone()
    for block in oc.blocks(Function(VIEWS["permute"]), x, schedule="trim", block=8):
        block.results["output"].zero_()
    assert not torch.equal(x, before)
