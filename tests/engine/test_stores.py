"""Images that are no tensors: read and written by slices, from disk to disk."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from shared.blockwise import Pyramid, apart, conv, image
from torch import nn

import overlapcalc as oc
from overlapcalc.io.files import written

SCHEDULES = ("crop", "trim", "stream")


class Sliced:
    """An array that can only be sliced, and remembers how much of it was read at once."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, place: tuple[slice, ...]) -> np.ndarray:
        part = self._array[place]
        self.most = max(self.most, part.size)
        return part


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 2, 2)).double().eval()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_from_file_to_file(tmp_path, schedule):
    model, x = net(), image(1, 3, 90, 64)
    with torch.no_grad():
        whole = model(x)
    x.numpy().tofile(tmp_path / "in.bin")
    source = np.memmap(tmp_path / "in.bin", np.float64, "r", shape=(1, 3, 90, 64))
    out = np.memmap(tmp_path / "out.bin", np.float64, "w+", shape=(1, 2, 90, 64))
    assert oc.run(model, source, out=out, schedule=schedule, block=16) is out
    out.flush()
    again = np.fromfile(tmp_path / "out.bin").reshape(1, 2, 90, 64)
    assert apart(whole, torch.from_numpy(again)) <= 1e-12
    assert np.array_equal(np.fromfile(tmp_path / "in.bin"), x.numpy().ravel())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_only_what_a_block_needs_is_read(schedule):
    x = image(1, 3, 200, 40)
    source = Sliced(x.numpy())
    y = oc.run(net(), source, schedule=schedule, block={"H": 16})
    assert isinstance(y, torch.Tensor)
    assert source.most <= 3 * 40 * 20  # a block of 16 rows, and one on each side, in whole steps of two
    with torch.no_grad():
        assert apart(net()(x), y) <= 1e-12


def test_several_outputs_by_name():
    model, x, y = Pyramid().double(), image(1, 3, 48, 64), image(1, 2, 24, 32)
    made = oc.plan(model, [tuple(x.shape), tuple(y.shape)])
    out = {name: np.empty(shape) for name, shape in made.outputs.items()}
    assert oc.run(model, x.numpy(), y, out=out, schedule="stream", block=8) is out
    with torch.no_grad():
        whole = model(x, y)
    assert apart(whole["fine"], torch.from_numpy(out["output0"])) <= 1e-12
    with pytest.raises(oc.InputError, match="give a mapping"):
        oc.run(model, x, y, out=np.empty((1, 4, 48, 64)))


def test_what_cannot_be_read_or_written_is_refused():
    x = image(1, 3, 32, 32)
    with pytest.raises(oc.InputError, match="the net gives"):
        oc.run(net(), x, out=np.empty((1, 2, 32, 31)))
    with pytest.raises(oc.InputError, match="takes slices"):
        oc.run(net(), x, out="out.npy")
    with pytest.raises(oc.InputError, match="shape, dtype and slicing"):
        oc.run(net(), "in.npy")
    with pytest.raises(oc.InputError, match="no such type"):
        oc.run(net(), np.zeros((1, 3, 32, 32), dtype="datetime64[s]"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 2, 7, 9), (5,), (3, 1, 4), (2, 3, 4, 5, 6)])
def test_a_npy_file_by_slices(tmp_path, shape, dtype):
    """Random parts in random order, against an array."""
    random, wanted = np.random.default_rng(0), np.random.default_rng(1).random(shape)
    wanted = wanted.astype(str(dtype).removeprefix("torch."))
    with written(tmp_path / "a.npy", shape, dtype) as store:
        places: list[list[slice]] = [[]]
        for n in shape:
            edges = sorted({0, n, *(int(i) for i in random.integers(0, n + 1, 2))})
            places = [[*p, slice(a, b)] for p in places for a, b in itertools.pairwise(edges)]
        for i in random.permutation(len(places)):
            store[tuple(places[i])] = wanted[tuple(places[i])]
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)
    with pytest.raises(ValueError, match="values of shape"), written(tmp_path / "b.npy", shape, dtype) as store:
        store[tuple(slice(None) for _ in shape)] = wanted[..., :0]
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize("kind", [np.float16, torch.float16])
def test_numbers_beyond_the_range_of_a_type_are_refused(kind):
    out = np.zeros((1, 1, 8, 8), kind) if kind is np.float16 else torch.zeros(1, 1, 8, 8, dtype=kind)
    x = torch.full((1, 1, 8, 8), 2.0)
    assert oc.run(Times(3e4), x, block=4, out=out) is out
    with pytest.raises(oc.InputError, match=r"70000\.0, which there is inf: a wider type holds it"):
        oc.run(Times(3.5e4), x, block=4, out=out)


def test_whole_numbers_that_a_type_does_not_have_are_refused():
    x = torch.full((1, 1, 8, 8), 2**24)
    out = np.zeros((1, 1, 8, 8), np.float32)
    oc.run(Times(1), x, block=4, out=out)
    with pytest.raises(oc.InputError, match="16777217, which there is 16777216"):
        oc.run(Times(1, 1), x, block=4, out=out)


class Times(nn.Module):
    def __init__(self, by: float, plus: int = 0) -> None:
        super().__init__()
        self.by, self.plus = by, plus

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by + self.plus


def test_nested_tensors_are_refused():
    nested = torch.nested.nested_tensor([torch.zeros(1, 8, 8)])
    with pytest.raises(oc.InputError, match="that is nested"):
        oc.run(net(), nested, block=4)
