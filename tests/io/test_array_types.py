"""Arrays of any type and order: right, or refused in one sentence of ours."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.thorough import crossed
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.io.files import load_weights, read_image

SCHEDULES = ("crop", "trim", "stream")
SHAPE = (1, 3, 20, 20)
PIXELS = np.random.default_rng(0).random(SHAPE).astype("float32")


class Triple(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 3


class Counts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 300).to(torch.int64)


NETS = {schedule: oc.tiled(Triple(), schedule=schedule, block=8) for schedule in SCHEDULES}
CONVOLUTION, COUNTS = oc.tiled(nn.Conv2d(3, 3, 3, padding=1), block=8), oc.tiled(Counts(), block=8)


@pytest.mark.parametrize(
    ("schedule", "dtype"), crossed(SCHEDULES, [">f2", ">f4", ">f8", ">i4", ">i8", ">u2", ">c8", "u1", "f2"])
)
def test_either_order_of_bytes(dtype, schedule):
    """As the same numbers in the order of this machine."""
    x = (PIXELS * 50).astype(dtype)
    native = torch.tensor(x.astype(np.dtype(dtype).newbyteorder("=")))
    try:
        whole = native * 3
    except RuntimeError:
        pytest.skip("torch has no product of this type")
    for given in (x, x[:, :, ::-1, ::-1][:, :, ::-1, ::-1], np.asfortranarray(x)):
        y = NETS[schedule](given)
        assert y.dtype == whole.dtype
        assert torch.equal(y, whole)
    out = np.empty(SHAPE, np.dtype(dtype).newbyteorder(">"))
    assert NETS[schedule](x, out=out) is out
    assert np.array_equal(out, whole.numpy())


def frozen(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "given",
    [
        PIXELS[:, :, ::-1, ::-1],
        PIXELS[:, ::-1].astype(">f4"),
        np.asfortranarray(PIXELS),
        frozen(PIXELS),
        np.broadcast_to(PIXELS[:, :1], SHAPE),
        PIXELS.transpose(0, 1, 3, 2),
    ],
    ids=["backward", "backward and big", "Fortran", "read-only", "broadcast", "transposed"],
)
def test_any_order_in_memory(given):
    assert torch.equal(NETS["crop"](given), 3 * torch.tensor(given.astype("f4", order="C")))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros(SHAPE, "O"), "type object"),
        (np.zeros(SHAPE, "M8[s]"), "datetime64"),
        (np.zeros(SHAPE, [("red", "f4")]), "torch has no such type"),
        (np.zeros(SHAPE, "S4"), "torch has no such type"),
        (np.zeros(SHAPE, "V4"), "torch has no such type"),
        (np.ma.masked_array(PIXELS, PIXELS > 0.5), "masked"),
        (PIXELS[:, :, :0], "holds nothing"),
        (PIXELS[:0], "holds nothing"),
        (torch.zeros(1, 3, 0, 9), "holds nothing"),
        (np.float32(3), "expected a tensor, or an array"),
        (torch.from_numpy(PIXELS).to_sparse(), "to_dense"),
        (torch.zeros(SHAPE, device="meta"), "meta"),
        (PIXELS.astype(">c8"), "complex"),
        (PIXELS > 0.5, "bool"),
        (PIXELS.astype(">u2"), "unsigned int"),
    ],
)
def test_what_is_no_image_for_a_net_is_refused(given, words):
    with pytest.raises(oc.OverlapcalcError, match=words):
        CONVOLUTION(given)


def test_a_type_without_a_kernel_is_refused():
    """Traces on shapes do not show it."""
    with pytest.raises(oc.InputError, match=r"does not run on torch\.uint16"):
        oc.run(nn.MaxPool2d(3, 1, 1), PIXELS.astype("u2"), block=8)


class Sliced:
    def __init__(self, dtype: Any, as_given: Any = lambda part: part) -> None:
        self.shape, self.dtype, self._as_given = SHAPE, dtype, as_given

    def __getitem__(self, place: Any) -> Any:
        return self._as_given(PIXELS[place])


@pytest.mark.parametrize("dtype", [np.float32, "float32", "<f4", ">f4", torch.float32, np.dtype(">f4")])
def test_what_a_reader_says_of_its_type(dtype):
    for as_given in (lambda part: part, lambda part: part.astype(">f8"), lambda part: part.tolist(), torch.tensor):
        y = NETS["stream"](Sliced(dtype, as_given))
        assert y.dtype is torch.float32
        assert torch.equal(y, 3 * torch.from_numpy(PIXELS))


# ---- outputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8", "g", ">c16"])
def test_outputs_that_hold_real_numbers(dtype):
    out = np.empty(SHAPE, dtype)
    NETS["crop"](PIXELS, out=out)
    assert np.abs(out - 3 * PIXELS).max() <= (2e-3 if dtype == "f2" else 0)


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (np.empty(SHAPE, "u1"), "whole numbers"),
        (np.empty(SHAPE, "?"), "truth values"),
        (np.empty(SHAPE, "O"), "no numbers"),
        (np.empty(SHAPE, "M8[s]"), "no numbers"),
        (np.empty(SHAPE, [("red", "f4")]), "no numbers"),
        (frozen(PIXELS), "read-only"),
        (torch.empty(SHAPE, dtype=torch.int16), "whole numbers"),
        (torch.empty(SHAPE, device="meta"), "keeps no samples"),
        (torch.zeros(SHAPE).to_sparse(), "to_dense"),
    ],
)
def test_outputs_that_do_not_are_refused(out, words):
    with pytest.raises(oc.InputError, match=words):
        NETS["crop"](PIXELS, out=out)


def test_a_complex_result_is_not_cut_to_its_real_part():
    with pytest.raises(oc.InputError, match="real numbers"):
        NETS["crop"](PIXELS.astype("c8"), out=np.empty(SHAPE, "f4"))
    conjugated = torch.from_numpy(PIXELS + 1j * PIXELS[:, ::-1]).conj()
    out = np.empty(SHAPE, "c8")
    NETS["crop"](conjugated, out=out)
    assert np.array_equal(out, (conjugated * 3).resolve_conj().numpy())


def test_whole_numbers_do_not_wrap():
    """0 to 299 in 8 bits would be 0 to 255 and 0 to 43."""
    whole = (torch.from_numpy(PIXELS) * 300).long().numpy()
    for dtype in ("u1", "i1"):
        with pytest.raises(oc.InputError, match="a wider type"):
            COUNTS(PIXELS, out=np.empty(SHAPE, dtype))
    for dtype in ("u2", ">i2", "i8", "f4"):
        out = np.empty(SHAPE, dtype)
        COUNTS(PIXELS, out=out)
        assert np.array_equal(out, whole)
    small = np.empty(SHAPE, "u1")
    COUNTS(PIXELS / 2, out=small)
    assert np.array_equal(small, (torch.from_numpy(PIXELS) / 2 * 300).long().numpy())


def test_numbers_that_numpy_does_not_have():
    x, out = torch.from_numpy(PIXELS).bfloat16(), np.empty(SHAPE, "f4")
    NETS["crop"](x, out=out)
    assert np.array_equal(out, (x * 3).float().numpy())


# ---- files ---------------------------------------------------------------------------------------------------


def saved(path: Path, values: np.ndarray, **options: Any) -> Path:
    if path.suffix == ".npy":
        np.save(path, values, allow_pickle=True)
    else:
        zarr = pytest.importorskip("zarr")
        zarr.open(str(path), mode="w", shape=values.shape, dtype=values.dtype, **options)[:] = values
    return path


@pytest.mark.parametrize("kind", [".npy", ".zarr"])
@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", "f4"])
def test_files_in_either_order_of_bytes(tmp_path, kind, dtype):
    """3 channels without a batch; a model of its own type."""
    values = PIXELS[0].astype(dtype)
    for own in (torch.float32, torch.bfloat16):
        found = read_image(saved(tmp_path / f"in{kind}", values), own, 4)
        y = NETS["stream"](found)
        assert y.dtype is own
        assert torch.equal(y, 3 * torch.tensor(values.astype("f4"))[None].to(own))


def test_a_file_in_fortrans_order(tmp_path):
    found = read_image(saved(tmp_path / "in.npy", np.asfortranarray(PIXELS)), torch.float32, 4)
    assert torch.equal(NETS["crop"](found), 3 * torch.from_numpy(PIXELS))


@pytest.mark.parametrize("kind", [".npy", ".zarr"])
@pytest.mark.parametrize("dtype", [">u2", "?", ">c8", "M8[s]", "red"])
def test_files_of_other_numbers_are_refused(tmp_path, kind, dtype):
    values = np.zeros((3, 9, 9), [("red", "f4")] if dtype == "red" else dtype)
    path = saved(tmp_path / f"in{kind}", values)
    with pytest.raises(oc.InputError, match="expected an array of floating numbers, it holds"):
        read_image(path, torch.float32, 4)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-99])


def as_zip(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=PIXELS)
    shutil.move(path.with_suffix(".npz"), path)


def as_folder(path: Path) -> None:
    os.unlink(path)
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "cannot be read"),
        (as_zip, "expected one array"),
        (as_folder, "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff"), "cannot be read"),
        (lambda path: saved(path, PIXELS[0, :, :0]), "holds nothing"),
        (lambda path: saved(path, np.array([{}])), "cannot be read"),
        (lambda path: saved(path, np.float32(1)), "0 dimensions"),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage, words):
    damage(saved(tmp_path / "in.npy", PIXELS))
    with pytest.raises(oc.InputError, match=words):
        read_image(tmp_path / "in.npy", torch.float32, 4)


def test_pictures_of_more_or_less_than_one_image(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    one = image.fromarray((PIXELS[0, 0] * 255).astype("u1"))
    one.save(tmp_path / "many.tif", save_all=True, append_images=[one, one])
    with pytest.raises(oc.InputError, match="3 pictures in one file"):
        read_image(tmp_path / "many.tif", torch.float32)
    one.save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png", torch.float32).shape == (1, 1, 20, 20)
    (tmp_path / "cut.png").write_bytes((tmp_path / "one.png").read_bytes()[:200])
    with pytest.raises(oc.InputError, match="truncated"):
        read_image(tmp_path / "cut.png", torch.float32)
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(oc.InputError, match="exceeds limit"):
        read_image(tmp_path / "one.png", torch.float32)


@pytest.mark.parametrize("kind", [".pt", ".safetensors"])
def test_weights_that_torch_would_cut(tmp_path, kind):
    """Quantised ones become zeros, complex ones lose their phase, and torch says nothing."""
    model, path = nn.Conv2d(1, 1, 3), tmp_path / f"weights{kind}"

    def store(dtype: torch.dtype) -> None:
        state = {key: value.to(dtype) for key, value in nn.Conv2d(1, 1, 3).state_dict().items()}
        if kind == ".pt":
            torch.save(state, path)
        else:
            pytest.importorskip("safetensors.torch").save_file(state, str(path))

    for dtype in (torch.int8, torch.bool, torch.complex64):
        store(dtype)
        before = model.weight.clone()
        with pytest.raises(oc.InputError, match="convert it"):
            load_weights(model, path)
        assert torch.equal(model.weight, before)
    for dtype in (torch.float64, torch.bfloat16):
        store(dtype)
        load_weights(model, path)


def test_weights_that_are_no_state(tmp_path):
    torch.save({1: torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(oc.InputError, match="the key 1"):
        load_weights(nn.Conv2d(1, 1, 3), tmp_path / "w.pt")
