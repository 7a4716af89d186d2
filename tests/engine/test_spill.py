"""Rows that are kept and rows that are spilled, against a plain tensor."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from overlapcalc.algebra.spans import Span
from overlapcalc.engine.spill import spilled
from overlapcalc.engine.spill.file import SpillFile
from overlapcalc.engine.spill.form import RowsForm
from overlapcalc.engine.spill.kept import KeptRows
from overlapcalc.engine.spill.ledger import Ledger
from overlapcalc.engine.spill.rows import Rows
from overlapcalc.engine.spill.spilled import SpilledRows

OFFSET = 4096
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int16, torch.int64, torch.complex64, torch.complex128)  # fmt: skip
NAN = float("nan")

Make = Callable[..., Rows]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpillFile]:
    with SpillFile(tmp_path_factory.mktemp("spill"), 1 << 20) as made:
        yield made


@pytest.fixture(params=["kept", "spilled"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Rows of either kind: make(shape, at, dtype, fill=None)."""
    with SpillFile(tmp_path, 1 << 20) as file:

        def rows(
            shape: tuple[int, ...], at: int, dtype: torch.dtype = torch.float32, *, fill: float | None = None
        ) -> Rows:
            form = RowsForm("x", shape, at, dtype)
            return KeptRows(form, fill=fill) if request.param == "kept" else SpilledRows(form, file, OFFSET, fill=fill)

        yield rows


def random(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Any bits that the type has, NaN of all kinds too."""
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    bits = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator)
    return bits.view(dtype).reshape(shape)


def same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bits(a) == bits(b)


def bits(x: Tensor) -> bytes:
    plain = torch.empty(x.shape, dtype=x.dtype).copy_(x)  # row by row, whatever the strides of x
    return bytes(plain.reshape(-1).view(torch.uint8).tolist())


def image(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


# ---- round trips -------------------------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, list[tuple[int, int]], list[tuple[int, int]]]:
    """A tensor of any layout, a dimension, bands of it in any order, and spans to read."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))
    if draw(st.booleans()) and len(shape) > 1:
        shape = (*shape[:-1], draw(st.integers(0, 6)))
    at = draw(st.sampled_from([d for d, n in enumerate(shape) if n]))
    lying = draw(st.permutations(range(len(shape))))
    x = random(tuple(shape[d] for d in lying), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)))
    x = x.permute([lying.index(d) for d in range(len(shape))])
    if draw(st.booleans()):
        x = x.flip(draw(st.integers(0, len(shape) - 1))) if x.is_floating_point() else x.conj()
    cuts = sorted({0, shape[at], *draw(st.lists(st.integers(0, shape[at]), max_size=4))})
    bands = draw(st.permutations(list(zip(cuts, cuts[1:], strict=False))))  # noqa: RUF007
    reads = [
        (min(a, b), max(a, b) + 1)
        for a, b in draw(st.lists(st.tuples(*[st.integers(0, shape[at] - 1)] * 2), max_size=4))
    ]
    return x, at, bands, reads


@given(cases(), st.integers(1, 64))
def test_what_is_written_is_read(file, case, piece):
    x, at, bands, reads = case
    form = RowsForm("x", tuple(x.shape), at, x.dtype)
    assert form.nbytes == x.numel() * x.element_size()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled, "PIECE", piece)
        for rows in (KeptRows(form), SpilledRows(form, file, OFFSET)):
            try:
                for begins, ends in bands:
                    rows.write(begins, x.narrow(at, begins, ends - begins))
                    assert same(rows.read(Span(begins, ends)), x.narrow(at, begins, ends - begins))
                for begins, ends in [*reads, (0, x.shape[at])]:
                    assert same(rows.read(Span(begins, ends)), x.narrow(at, begins, ends - begins))
            finally:
                rows.drop()


def test_a_changed_bit_is_seen(tmp_path):
    """The control of the round trips."""
    x = image(1, 2, 4, 3)
    with SpillFile(tmp_path, 1 << 16) as file:
        rows = SpilledRows(RowsForm("x", (1, 2, 4, 3), 2, torch.float32), file, OFFSET)
        rows.write(0, x)
        assert same(rows.read(Span(0, 4)), x)
        flipped = memoryview(bytearray(1))
        file.read(flipped, OFFSET + 2 * 24 + 5)  # row 2 of 4, of 24 bytes each
        flipped[0] ^= 1
        file.write(flipped, OFFSET + 2 * 24 + 5)
        assert same(rows.read(Span(0, 2)), x[:, :, :2])
        assert not same(rows.read(Span(2, 3)), x[:, :, 2:3])
        assert same(rows.read(Span(3, 4)), x[:, :, 3:])


def test_a_lazy_conjugate_is_written_as_its_values(make):
    """Of bands that lie well, so that no copy makes it plain."""
    x = torch.view_as_complex(torch.rand(2, 5, 2))
    assert x.conj().is_conj()
    rows = make((2, 5), 0, torch.complex64)
    rows.write(0, x.conj())
    assert torch.equal(rows.read(Span(0, 2)).imag, -x.imag)
    rows.drop()
    negative = torch._neg_view(torch.ones(2, 5))
    assert negative.is_neg()
    rows = make((2, 5), 0)
    rows.write(0, negative)
    assert torch.equal(rows.read(Span(0, 2)), -torch.ones(2, 5))


def test_a_band_is_copied(make):
    """What happens to the band later does not reach the rows, and nothing is differentiated."""
    x = torch.ones(1, 2, 3, 4, requires_grad=True)
    rows = make((1, 2, 3, 4), 2)
    rows.write(0, x)
    with torch.no_grad():
        x.mul_(2)
    assert torch.equal(rows.read(Span(0, 3)), torch.ones(1, 2, 3, 4))
    assert not rows.read(Span(0, 3)).requires_grad


# ---- how they lie ------------------------------------------------------------------------------------------------

ORDERS = [
    ((1, 3, 8, 9), 2, (2, 0, 3, 1)),
    ((1, 3, 8, 9), 3, (3, 0, 2, 1)),
    ((4, 3, 8, 9), 0, (0, 2, 3, 1)),
    ((4, 3, 8, 9), 1, (1, 0, 2, 3)),
    ((1, 3, 7, 8, 9), 2, (2, 0, 3, 4, 1)),
    ((2, 3, 8), 2, (2, 0, 1)),
    ((2, 3, 8), 1, (1, 0, 2)),
    ((5, 8), 1, (1, 0)),
    ((5, 8), 0, (0, 1)),
    ((8,), 0, (0,)),
]


@pytest.mark.parametrize(("shape", "at", "order"), ORDERS)
def test_the_order_in_the_file(tmp_path, shape, at, order):
    x = random(shape, torch.int16)
    with SpillFile(tmp_path, 1 << 16) as file:
        rows = SpilledRows(RowsForm("x", shape, at, torch.int16), file, OFFSET)
        rows.write(0, x.narrow(at, 0, 1))
        if shape[at] > 1:
            rows.write(1, x.narrow(at, 1, shape[at] - 1))
        there = bytearray(rows.nbytes)
        file.read(memoryview(there), OFFSET)
    assert bytes(there) == x.permute(order).contiguous().numpy().tobytes()


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_band_of_rows_is_channels_last(make, n):
    rows = make((1, 16, 8, 9), 2)
    rows.write(0, torch.rand(1, 16, 8, 9))
    band = rows.read(Span(8 - n, 8))
    assert band.shape == (1, 16, n, 9)
    assert band.is_contiguous(memory_format=torch.channels_last)
    assert not band.is_contiguous()


def test_a_band_of_columns_is_not(make):
    """The control: rows of pixels are apart there."""
    rows = make((1, 16, 8, 9), 3)
    rows.write(0, torch.rand(1, 16, 8, 9))
    assert not rows.read(Span(0, 3)).is_contiguous(memory_format=torch.channels_last)


def addresses(patch: pytest.MonkeyPatch, called: str, which: Callable[..., memoryview]) -> list[tuple[int, int]]:
    """Where the bytes of each system call lie in memory, and how many there are."""
    found, plain = [], getattr(os, called)

    def spied(handle: int, data: object, begins: int) -> int:
        view = which(data)
        found.append((ctypes.addressof(ctypes.c_char.from_buffer(view)), len(view)))
        return int(plain(handle, data, begins))

    patch.setattr(os, called, spied)
    return found


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="reads into memory")
def test_a_band_that_lies_well_is_one_stretch_without_a_copy(tmp_path, monkeypatch):
    wrote, read = (
        addresses(monkeypatch, "pwrite", lambda data: data),
        addresses(monkeypatch, "preadv", lambda data: data[0]),
    )
    with SpillFile(tmp_path, 1 << 16) as file:
        rows = SpilledRows(RowsForm("x", (1, 4, 8, 9), 2, torch.float32), file, 0)
        band = torch.rand(1, 4, 3, 9).contiguous(memory_format=torch.channels_last)
        rows.write(2, band)
        assert wrote == [(band.data_ptr(), 3 * 9 * 4 * 4)]
        again = rows.read(Span(2, 5))
        assert read == [(again.data_ptr(), 3 * 9 * 4 * 4)]
        rows.write(5, torch.rand(1, 4, 3, 9))  # the control: this one is copied
        assert wrote[1][1] == 3 * 9 * 4 * 4


def test_a_band_that_lies_otherwise_is_copied_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(spilled, "PIECE", 300)  # two rows of 144 bytes
    wrote = addresses(monkeypatch, "pwrite", lambda data: data)
    x = torch.rand(1, 4, 7, 9)
    with SpillFile(tmp_path, 1 << 16) as file:
        rows = SpilledRows(RowsForm("x", (1, 4, 7, 9), 2, torch.float32), file, 0)
        rows.write(0, x)
        assert [n for _, n in wrote] == [288, 288, 288, 144]
        assert file.written == rows.nbytes
        assert torch.equal(rows.read(Span(0, 7)), x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda(make, tmp_path):
    x = torch.rand(1, 4, 8, 9, device="cuda")
    form = RowsForm("x", (1, 4, 8, 9), 2, torch.float32, x.device)
    with SpillFile(tmp_path, 1 << 16) as file:
        for rows in (KeptRows(form), SpilledRows(form, file, 0)):
            rows.write(0, x[:, :, :5])
            rows.write(5, x[:, :, 5:])
            assert rows.read(Span(1, 7)).device == x.device
            assert torch.equal(rows.read(Span(1, 7)), x[:, :, 1:7])


# ---- what is refused ---------------------------------------------------------------------------------------------


def test_what_was_not_written_is_not_read(make):
    x = image(1, 2, 8, 3)
    rows = make((1, 2, 8, 3), 2)
    with pytest.raises(AssertionError, match=r"x: rows \[0, 1\) are read, but written are none of 8"):
        rows.read(Span(0, 1))
    rows.write(0, x[:, :, :3])
    rows.write(5, x[:, :, 5:7])
    for span in (Span(0, 4), Span(2, 6), Span(3, 5), Span(6, 8), Span(7, 9), Span(-1, 2)):
        with pytest.raises(AssertionError, match=r"written are \[0, 3\), \[5, 7\) of 8") as said:
            rows.read(span)
        assert f"rows {span} are read" in str(said.value)
    rows.write(3, x[:, :, 3:5])
    assert torch.equal(rows.read(Span(2, 6)), x[:, :, 2:6])


@pytest.mark.parametrize(("begins", "n"), [(0, 1), (2, 2), (3, 1), (0, 8), (-1, 1), (7, 2), (8, 1)])
def test_a_row_is_written_once_and_within(make, begins, n):
    rows = make((1, 2, 8, 3), 2)
    rows.write(0, torch.zeros(1, 2, 3, 3))
    rows.write(5, torch.zeros(1, 2, 1, 3))
    if (begins, n) == (3, 1):  # the control: there is room
        rows.write(begins, torch.ones(1, 2, n, 3))
        assert rows.read(Span(3, 4)).sum() == 6
        return
    with pytest.raises(AssertionError, match=r"are written, but written are \[0, 3\), \[5, 6\) of 8"):
        rows.write(begins, torch.ones(1, 2, n, 3))
    assert not rows.read(Span(0, 3)).any()  # and nothing was changed


@pytest.mark.parametrize("band", [torch.zeros(1, 2, 1, 4), torch.zeros(2, 2, 1, 3), torch.zeros(2, 1, 3), torch.zeros(1, 2, 1, 3).double()])  # fmt: skip
def test_a_band_has_the_form(make, band):
    rows = make((1, 2, 8, 3), 2)
    with pytest.raises(AssertionError, match="x: a band of shape"):
        rows.write(0, band)
    rows.write(0, torch.zeros(1, 2, 1, 3))


def test_an_empty_band_is_nothing(make):
    rows = make((1, 2, 8, 3), 2)
    rows.write(3, torch.zeros(1, 2, 0, 3))
    with pytest.raises(AssertionError):
        rows.read(Span(3, 4))


@pytest.mark.parametrize(("shape", "at"), [((), 0), ((2, 3), 2), ((2, 3), -1)])
def test_a_form_has_a_dimension_to_cut(shape, at):
    with pytest.raises(ValueError, match="x: no bands of shape"):
        RowsForm("x", shape, at, torch.float32)


def test_dropped_rows_are_gone(make):
    rows = make((1, 2, 8, 3), 2)
    rows.drop()  # nothing there yet
    for value in (1.0, 2.0):
        rows.write(0, torch.full((1, 2, 8, 3), value))
        assert rows.read(Span(0, 8)).unique() == value
        rows.drop()
        with pytest.raises(AssertionError, match="written are none"):
            rows.read(Span(0, 1))


def test_dropping_frees_the_memory():
    rows = KeptRows(RowsForm("x", (1, 2, 8, 3), 2, torch.float32))
    rows.write(0, torch.zeros(1, 2, 8, 3))
    band = rows.read(Span(0, 1))
    whole = weakref.ref(band._base)
    rows.drop()
    assert whole() is not None  # the band is a view
    del band
    assert whole() is None


# ---- poison ------------------------------------------------------------------------------------------------------

POISON = {torch.float32: NAN, torch.bfloat16: NAN, torch.complex64: NAN, torch.int64: 2**63 - 1, torch.uint8: 255, torch.bool: 1}  # fmt: skip


@pytest.mark.parametrize("dtype", POISON, ids=str)
def test_what_is_not_written_is_poison(make, dtype, monkeypatch):
    """Should the ledger let a read through, what comes is no plausible number."""
    monkeypatch.setattr(Ledger, "check_read", lambda self, span: None)
    monkeypatch.setattr(spilled, "PIECE", 40)
    for _ in range(2):  # after a drop again
        rows = make((1, 2, 8, 3), 2, dtype, fill=NAN)
        rows.write(2, torch.zeros(1, 2, 3, 3, dtype=dtype))
        found = rows.read(Span(0, 8))
        assert not found[:, :, 2:5].any()
        rest = torch.cat([found[:, :, :2], found[:, :, 5:]], 2)
        assert rest.isnan().all() if POISON[dtype] != POISON[dtype] else (rest == POISON[dtype]).all()
        rows.drop()
    rows = make((1, 2, 8, 3), 2, dtype, fill=1.0)
    rows.write(2, torch.zeros(1, 2, 3, 3, dtype=dtype))
    assert rows.read(Span(0, 8)).real.sum() == 30
    rows.drop()


# ---- slots of one file -------------------------------------------------------------------------------------------


def test_a_slot_is_used_again_only_when_it_was_dropped(tmp_path):
    shape = (1, 2, 4, 8)  # 256 bytes
    with SpillFile(tmp_path, 1024) as file:
        a, b, c = (
            SpilledRows(RowsForm(name, shape, 2, torch.float32), file, at)
            for name, at in (("a", 0), ("b", 128), ("c", 256))
        )
        a.write(0, torch.ones(shape)[:, :, :1])
        with pytest.raises(AssertionError, match=r"b: bytes \[128, 384\) while a lies at \[0, 256\)"):
            b.write(0, torch.ones(shape))
        c.write(0, torch.ones(shape))  # beside it
        b.drop()  # had nothing
        with pytest.raises(AssertionError, match="while a lies"):
            b.write(0, torch.ones(shape))
        a.drop()
        c.drop()
        b.write(0, torch.full(shape, 3.0))
        with pytest.raises(AssertionError, match="written are none"):
            a.read(Span(0, 1))
        with pytest.raises(AssertionError, match="a: bytes"):
            a.write(0, torch.ones(shape))
        assert b.read(Span(0, 4)).unique() == 3


def test_a_tensor_without_samples_needs_no_slot(tmp_path):
    with SpillFile(tmp_path, 256) as file:
        full = SpilledRows(RowsForm("full", (1, 2, 4, 8), 2, torch.float32), file, 0)
        full.write(0, torch.ones(1, 2, 4, 8))
        empty = SpilledRows(RowsForm("empty", (1, 0, 4, 8), 2, torch.float32), file, 128)
        empty.write(0, torch.ones(1, 0, 4, 8))
        assert empty.read(Span(1, 3)).shape == (1, 0, 2, 8)
        assert full.read(Span(0, 4)).sum() == 64


@pytest.mark.parametrize("offset", [-1, 1, 4096])
def test_a_slot_lies_in_the_file(tmp_path, offset):
    with SpillFile(tmp_path, 256) as file:
        rows = SpilledRows(RowsForm("x", (1, 2, 4, 8), 2, torch.float32), file, offset)
        with pytest.raises(AssertionError, match=r"x: bytes .* of a spill file of 256"):
            rows.write(0, torch.ones(1, 2, 4, 8))
        for call in (file.write, file.read):
            with pytest.raises(AssertionError, match="of a spill file of 256"):
                call(memoryview(bytearray(8)), 250)
