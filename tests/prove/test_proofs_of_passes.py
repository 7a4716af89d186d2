"""The proofs of passes hold, and a wrong run is refuted by them: each way of combining wrongly by the twin *and* by values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.algebra.spans import Span
from overlapcalc.engine.schedules.passes import PassRun
from overlapcalc.engine.spill.form import RowsForm
from overlapcalc.engine.spill.kept import KeptRows
from overlapcalc.ops import registry
from overlapcalc.ops.accumulate import Moments
from overlapcalc.ops.parts import reduction_of
from overlapcalc.planning.passes.cut import Pass
from overlapcalc.prove.passes.cover import covers
from overlapcalc.prove.result import PROVED, REFUTED
from overlapcalc.testing.barriers import Barrier

pytestmark = pytest.mark.usefixtures("traced_once")

BANDS = {"schedule": "passes", "block": 5, "stream_axis": "H"}


def net(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *layers, nn.Conv2d(4, 2, 3, padding=1)).eval()


def image() -> Tensor:
    """A ramp, so that the means of bands are far apart."""
    torch.manual_seed(4)
    return torch.randn(1, 2, 17, 6) + torch.arange(17.0).reshape(-1, 1)


LAYERS = {
    "norm": lambda: nn.GroupNorm(2, 4),
    "squeeze": lambda: Barrier(4, "squeeze by mean"),
    "contraction": lambda: Barrier(4, "attention over channels"),
    "softmax": lambda: Barrier(4, "softmax over pixels"),
    "maximum": lambda: Barrier(4, "range"),
}


def status(found: oc.Verification) -> dict[str, str]:
    return {proof.name: proof.status for proof in found.proofs}


@pytest.mark.parametrize("layer", few(LAYERS, 3))
def test_every_proof_holds(layer):
    found = oc.verify(net(LAYERS[layer]()), image(), **BANDS)
    assert set(status(found).values()) == {PROVED}, status(found)
    assert {"cover", "dependency", "poisoned borders", "exact twin", "values"} == set(status(found))


# ---- a wrong combine --------------------------------------------------------------------------------------


def changed(op: str, **how) -> None:
    """Another way to run an operator in parts, until the registry is restored."""
    registry._OPERATORS[op] = replace(registry.known_of(op), parts=replace(reduction_of(op), **how))


def dropped(a, b):
    return a


def twice(op: str):
    right = reduction_of(op).combine
    return lambda a, b: right(right(a, b), b)


def without_between(a, b) -> Moments:
    """Chan's formula without the term for the difference of the means."""
    (m, mean, squares), (n, other, more) = a, b
    return Moments(m + n, mean + (other - mean) * n / (m + n), squares + more)


WRONG = {
    "norm, a band dropped": ("norm", "aten::group_norm", lambda op: dropped),
    "norm, a band counted twice": ("norm", "aten::group_norm", twice),
    "norm, without the term between bands": ("norm", "aten::group_norm", lambda op: without_between),
    "mean, a band dropped": ("squeeze", "aten::mean", lambda op: dropped),
    "mean, a band counted twice": ("squeeze", "aten::mean", twice),
    "contraction, a band dropped": ("contraction", "aten::matmul", lambda op: dropped),
    "contraction, a band counted twice": ("contraction", "aten::matmul", twice),
    "softmax, a band dropped": ("softmax", "aten::softmax", lambda op: dropped),
    "softmax, a band counted twice": ("softmax", "aten::softmax", twice),
}


@pytest.mark.parametrize(
    "case",
    few(
        WRONG,
        (
            "norm, a band dropped",
            "norm, without the term between bands",
            "mean, a band counted twice",
            "contraction, a band dropped",
            "softmax, a band counted twice",
        ),
    ),
)
def test_a_wrong_combine_is_refuted_by_the_twin_and_by_values(case):
    layer, op, wrong = WRONG[case]
    with registry.kept():
        changed(op, combine=wrong(op))
        found = status(oc.verify(net(LAYERS[layer]()), image(), **BANDS))
    assert found["exact twin"] == REFUTED, found
    assert found["values"] == REFUTED, found
    assert found["cover"] == PROVED  # every band came: it was combined wrongly


def test_a_dropped_maximum_is_refuted_and_one_that_counts_twice_is_none():
    for wrong, expected in ((dropped, REFUTED), (twice("aten::amax"), PROVED)):
        with registry.kept():
            changed("aten::amax", combine=wrong)
            found = status(oc.verify(net(LAYERS["maximum"]()), image(), **BANDS))
        assert found["values"] == expected, found
        assert found["exact twin"] == expected, found


# ---- bands that are dropped, repeated, read before they are there -------------------------------------------


class Broken:
    """A run whose bands come otherwise than planned."""

    def __init__(self, patch: pytest.MonkeyPatch, how) -> None:
        right = Pass.bands

        def bands(one: Pass, axis: str, rows: int) -> Iterator:
            yield from how(list(right(one, axis, rows)))

        patch.setattr(Pass, "bands", bands)


def unwatched(patch: pytest.MonkeyPatch) -> None:
    """A run that does not look whether its reductions had every band, as it does otherwise."""
    patch.setattr(PassRun, "_check_taken", lambda self, name: None)


def without_second(bands: list) -> list:
    return [*bands[:1], *bands[2:]] if len(bands) > 2 else bands


def test_a_band_that_never_comes_is_seen_by_the_cover(monkeypatch):
    model, x = nn.Sequential(Barrier(2, "squeeze by mean")).eval(), image()
    assert status(oc.verify(model, x, **BANDS))["cover"] == PROVED
    unwatched(monkeypatch)
    Broken(monkeypatch, without_second)
    found = oc.verify(model, x, **BANDS)
    assert status(found)["cover"] == REFUTED
    (cover,) = (proof for proof in found.proofs if proof.name == "cover")
    assert "bands [0, 5), " in cover.failures[0]
    assert "of 17 samples" in cover.failures[0]
    assert not found.proved


def test_a_stored_band_that_is_missing_is_an_error(monkeypatch):
    """The norm's operand is stored, without its second band, and read by the next pass."""
    model = net(nn.GroupNorm(2, 4))
    Broken(monkeypatch, without_second)
    with pytest.raises(AssertionError, match=r"of 17 samples of .* came \[0, 5\), \[9"):
        oc.run(model, image(), **BANDS)
    unwatched(monkeypatch)
    with pytest.raises(AssertionError, match=r"are read, but written are"):
        oc.run(model, image(), **BANDS)
    assert status(oc.verify(model, image(), **BANDS))["values"] == REFUTED


@pytest.mark.parametrize("kept", [True, False])
def test_a_stored_band_is_written_once_and_read_after_that(tmp_path, kept):
    from overlapcalc.engine.spill.file import SpillFile
    from overlapcalc.engine.spill.spilled import SpilledRows

    form = RowsForm("x", (1, 2, 12, 3), 2, torch.float32, torch.device("cpu"))
    with SpillFile(tmp_path, form.nbytes) as file:
        rows = KeptRows(form) if kept else SpilledRows(form, file, 0)
        band = torch.rand(1, 2, 4, 3)
        with pytest.raises(AssertionError, match="are read, but written are none"):
            rows.read(Span(0, 4))
        rows.write(0, band)
        assert torch.equal(rows.read(Span(1, 3)), band[:, :, 1:3])
        with pytest.raises(AssertionError, match=r"rows \[3, 7\) are written, but written are \[0, 4\)"):
            rows.write(3, band)
        with pytest.raises(AssertionError, match=r"rows \[3, 5\) are read"):
            rows.read(Span(3, 5))
        rows.drop()
        with pytest.raises(AssertionError, match="are read"):
            rows.read(Span(0, 4))
        rows.write(0, band)


def test_what_is_not_written_is_nan_in_a_proof(monkeypatch):
    """The ledger aside, a row that nobody wrote shows in the proof of poisoned borders."""
    monkeypatch.setattr("overlapcalc.engine.spill.ledger.Ledger.check_read", lambda self, span: None)
    unwatched(monkeypatch)
    Broken(monkeypatch, without_second)
    found = status(oc.verify(net(nn.GroupNorm(2, 4)), image(), **BANDS))
    assert found["poisoned borders"] == REFUTED, found


def test_covers():
    a, b, c = Span(0, 5), Span(5, 9), Span(9, 17)
    assert covers(17, [a, b, c])
    for wrong in ([a, c], [a, b], [b, c], [a, b, b, c], [a, c, b], []):
        assert not covers(17, wrong)


@pytest.mark.parametrize("times", [0, 2])
def test_a_reduction_that_takes_a_band_not_once_is_not_covered(monkeypatch, times):
    """Each takes its second band never, or twice."""
    right = PassRun._take

    def take(self, name, found, partial):
        came = self.__dict__.setdefault("came", [])
        came.append(name)
        for _ in range(times if came.count(name) == 2 else 1):
            right(self, name, found, partial)

    unwatched(monkeypatch)
    monkeypatch.setattr(PassRun, "_take", take)
    model = nn.Sequential(Barrier(2, "squeeze by mean")).eval()
    found = status(oc.verify(model, image(), **BANDS))
    assert found["cover"] == REFUTED
    assert found["values"] == REFUTED
    assert found["exact twin"] == REFUTED


# ---- types --------------------------------------------------------------------------------------------------


class Labelled(nn.Module):
    """Its first input holds whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv, self.norm = nn.Embedding(5, 2), nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(1, 4)

    def forward(self, labels, x):
        y = self.conv(torch.cat([self.table(labels).permute(0, 3, 1, 2), x], 1))
        return self.conv(self.norm(y))


def test_a_net_whose_first_input_holds_whole_numbers():
    labels, x = torch.randint(0, 5, (1, 17, 6)), torch.rand(1, 2, 17, 6)
    found = oc.verify(Labelled().eval(), (labels, x), schedule="passes", layout=["NHW", "NCHW"])
    assert set(status(found).values()) == {PROVED}, status(found)


class Cast(nn.Module):
    """It computes a mean in a type of its own."""

    def __init__(self, inner: torch.dtype) -> None:
        super().__init__()
        self.inner, self.first, self.last = inner, nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        y = self.first(x).to(self.inner) * 2
        return self.last((y - y.mean((2, 3), keepdim=True)).to(x.dtype))


@pytest.mark.parametrize(
    ("own", "inner"),
    few([(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16), (torch.float32, torch.float64)], 1),
)
def test_what_is_stored_in_another_type_than_the_inputs(own, inner):
    found = oc.verify(Cast(inner).eval().to(own), torch.rand(1, 2, 17, 6).to(own), schedule="passes")
    assert set(status(found).values()) == {PROVED}, status(found)
