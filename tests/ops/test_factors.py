"""Resampling by any factor: torch's own positions, in the types that it computes them in, or a refusal by name."""

from __future__ import annotations

import copy
import itertools
import math
import re
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import event, given, settings
from hypothesis import strategies as st
from shared.nets import Do
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine import Machine
from overlapcalc.engine.slab.call import SlabCall
from overlapcalc.ops.call import Call
from overlapcalc.ops.graph import Data, Node
from overlapcalc.ops.law import DimRead
from overlapcalc.ops.positions import TYPES, SamplingStep, centre, double, nearest_sample, single
from overlapcalc.ops.rules import resize
from overlapcalc.prove.against_whole import by_blocks

DTYPES = {"float32": torch.float32, "float64": torch.float64}
MODES = {"nearest": "nearest", "nearest_exact": "nearest-exact", "linear": "linear"}


def resize_by(factor, mode="nearest", **kwargs) -> nn.Module:
    if mode in ("linear", "bilinear", "trilinear", "bicubic", "lanczos"):
        kwargs = {"align_corners": False, **kwargs}
    return Do(f"{factor} {mode} {kwargs}", lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **kwargs))


def image(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)


def samples(mode: str, factor: float, size: int, dtype: torch.dtype, axes: int = 1) -> list[int]:
    """Which sample each output of nearest resampling copies, as torch says."""
    ramp = torch.arange(size, dtype=dtype).reshape(1, 1, *[1] * (axes - 1), size)
    return F.interpolate(ramp, scale_factor=(*[1.0] * (axes - 1), factor), mode=mode).flatten().int().tolist()


def weights(factor: float, size: int, dtype: torch.dtype) -> Tensor:
    """[outputs, size], of linear resampling, as torch says."""
    return F.interpolate(torch.eye(size, dtype=dtype)[None], scale_factor=factor, mode="linear")[0].T.double()


# ---- positions -------------------------------------------------------------------------------------------------

FRACTIONS = st.builds(lambda p, q: p / q, st.integers(1, 13), st.integers(1, 13))
NEIGHBOURS = st.builds(math.nextafter, FRACTIONS, st.sampled_from([0.0, 100.0]))
SHORT = FRACTIONS.map(lambda v: round(v, 3))
IN_FLOAT32 = FRACTIONS.map(single)
FACTORS = st.one_of(FRACTIONS, NEIGHBOURS, SHORT, IN_FLOAT32, st.floats(0.1, 12)).filter(lambda v: v > 0.095)
SIZES = st.integers(11, 90)


@settings(max_examples=100, deadline=None)
@given(FACTORS, SIZES, st.sampled_from(["nearest", "nearest_exact"]))
def test_nearest_positions_are_torchs(factor, size, kind):
    for name, dtype in DTYPES.items():
        taken = samples(MODES[kind], factor, size, dtype)
        step = SamplingStep(factor, size, len(taken))
        assert step.size_out == math.floor(size * factor)
        mine = [nearest_sample(kind, step.rounded(TYPES[name]), o, size, TYPES[name]) for o in range(len(taken))]
        assert mine == taken
    half = samples(MODES[kind], factor, size, torch.float16)
    assert half == [nearest_sample(kind, step.rounded(single), o, size, single) for o in range(len(half))]


@settings(max_examples=40, deadline=None)
@given(FACTORS, SIZES)
def test_linear_positions_are_torchs(factor, size):
    """To three units in the last place: a machine may multiply and add in two instructions."""
    for name, dtype in DTYPES.items():
        found = weights(factor, size, dtype)
        step = SamplingStep(factor, size, len(found))
        if step.size_out == size:
            continue  # a copy
        to = TYPES[name]
        for o, row in enumerate(found):
            at = min(max(centre(step.rounded(to), o, to), 0.0), size - 1.0)
            at = max(at, math.floor(single(at)))  # float64 kernels cut off a position that they round to float32
            truth = float((row * torch.arange(size, dtype=torch.float64)).sum())
            assert abs(truth - at) <= 3 * torch.finfo(dtype).eps * max(at, 1)


def test_half_and_bfloat16_stand_where_float32_does():
    x = image(1, 2, 60)
    for dtype, mode, factor in itertools.product((torch.float16, torch.bfloat16), ("linear", "nearest"), (1.5, 1.7)):
        y, z = (F.interpolate(x.to(dtype).to(t), scale_factor=factor, mode=mode) for t in (dtype, torch.float32))
        assert float((y.float() - z).abs().max()) <= 4 * torch.finfo(dtype).eps * float(z.abs().max())


def test_a_factor_is_a_fraction_but_for_rounding():
    for p, q in itertools.product(range(1, 60), range(1, 60)):
        assert SamplingStep(p / q, 30, 40).fraction == Fraction(q, p)
        for to in (0.0, 100.0):
            once = math.nextafter(p / q, to)
            assert SamplingStep(once + 8 * (once - p / q), 30, 40).fraction is None
    for factor in (1.3333334, 0.6666667, 2.000001, 2**0.5, math.pi, single(1.1), single(1 / 3)):
        assert SamplingStep(factor, 30, 40).fraction is None


# ---- laws ------------------------------------------------------------------------------------------------------


OPERATORS = {"nearest": "upsample_nearest", "nearest_exact": "_upsample_nearest_exact", "linear": "upsample_linear"}


def along(kind: str, factor: float, size: int) -> DimRead:
    """What the rule says of the one axis."""
    args = {"input": Data("x"), "output_size": None, "scale_factors": (factor,)}
    node = Node("y", f"aten::{OPERATORS[kind]}1d", args, (1, 1, math.floor(size * factor)))
    return resize.upsample(Call(node, ((1, 1, size),))).links[0].dims[2]


@settings(max_examples=120, deadline=None)
@given(FACTORS, SIZES, st.sampled_from(list(MODES)))
def test_an_answer_is_what_torch_does_in_both_types(factor, size, kind):
    """Of every output all that it reads; of nearest what it reads, on one axis and on two, whatever the type."""
    said = along(kind, factor, size)
    event("refused" if said.obstruction else "answered")
    if said.obstruction is not None:
        return
    for dtype, axes in itertools.product(DTYPES.values(), (1, 2)):
        if kind != "linear":
            for o, sample in enumerate(samples(MODES[kind], factor, size, dtype, axes)):
                assert list(said.border.fold(said.reads[o], size)[0].indices()) == [sample]
            continue
        noise = 2 * size * torch.finfo(dtype).eps
        for o, row in enumerate(weights(factor, size, dtype)):
            reads = said.border.fold(said.reads[o], size)[0]
            assert all(j in reads for j in (row.abs() > noise).nonzero().flatten().tolist())
            if dtype == torch.float64:  # a weight beside which 1 stays 1 is no reading: output 2 of 5 times, say
                assert all(abs(row[j]) < 2**-53 for j in row.nonzero().flatten().tolist() if j not in reads)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), SIZES, st.sampled_from(["linear", "nearest"]))
def test_a_small_fraction_is_never_refused_but_where_torch_rounds_or_copies(p, q, size, kind):
    said = along(kind, p / q, size)
    if said.obstruction is None:
        return
    outputs = math.floor(size * (p / q))
    copies = p != q and (outputs == size or (kind == "nearest" and outputs == 2 * size and p != 2 * q))
    exact = [min(size - 1, o * q // p) for o in range(outputs)]
    rounds = kind == "nearest" and any(samples("nearest", p / q, size, t) != exact for t in DTYPES.values())
    assert copies or rounds


def test_the_image_that_is_too_long_for_float32():
    """From there on kernels for float64 may take a position between two samples for one of them."""
    assert along("linear", 1.5, 600_000).obstruction is None
    assert along("linear", 1.333, 6_000).obstruction is None
    far = along("linear", 1.333, 1_000_000).obstruction
    assert far.cause.value == "uneven-factor"
    place = re.search(r"in (float\d+) output (\d+) takes sample (\d+), not (\d+)", far.message)
    o, taken, meant = map(int, place.groups()[1:])
    ramp = torch.arange(1_000_000, dtype=DTYPES[place[1]])[None, None]
    found = float(F.interpolate(ramp, scale_factor=1.333, mode="linear")[0, 0, o])
    assert taken != meant == math.floor((o + Fraction(1, 2)) * Fraction(1000, 1333) - Fraction(1, 2))
    assert math.floor(found) == taken


def two(x: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(F.interpolate(x, scale_factor=1.5, mode="bilinear"), 3, 1, 1), scale_factor=4 / 3)


def pyramid(x: Tensor) -> Tensor:
    y = F.interpolate(x, scale_factor=0.5, mode="bilinear", recompute_scale_factor=True)
    return F.interpolate(y, size=x.shape[2:], mode="bicubic") - x


CONV = nn.Conv2d(1, 1, 3, padding=1)

ANSWERED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    **{f"nearest {f}": (resize_by(f), (24, 30)) for f in (2, 4 / 3, 3, 1 / 3, 0.75)},
    **{f"bilinear {f}": (resize_by(f, "bilinear"), (24, 30)) for f in (0.5, 4 / 3, 3, 1.1, 3.7)},
    "nearest-exact 4/3": (resize_by(4 / 3, "nearest-exact"), (24, 30)),
    "nearest-exact 1.1": (resize_by(1.1, "nearest-exact"), (24, 30)),
    "nearest 1.1": (resize_by(1.1), (24, 30)),
    "bicubic 2/3": (resize_by(2 / 3, "bicubic"), (24, 30)),
    "bicubic 7/5": (resize_by(7 / 5, "bicubic"), (24, 30)),
    "linear 1.7": (resize_by(1.7, "linear"), (60,)),
    "trilinear 1.5": (resize_by(1.5, "trilinear"), (8, 10, 12)),
    "antialiased 0.6": (resize_by(0.6, "bilinear", antialias=True), (25, 30)),
    "antialiased 9/7": (resize_by(9 / 7, "bicubic", antialias=True), (21, 28)),
    "Lanczos 0.5": (resize_by(0.5, "lanczos", antialias=True), (24, 30)),
    "recomputed 1.5": (resize_by(1.5, "bilinear", recompute_scale_factor=True), (24, 30)),
    "to twice the size": (Do("size", lambda x: F.interpolate(x, size=[2 * n for n in x.shape[2:]])), (24, 30)),
    "two factors": (resize_by((1.5, 0.5), "bilinear"), (24, 30)),
    "a chain": (Do("chain", two), (24, 30)),
    "down and back": (Do("pyramid", pyramid), (24, 32)),
    "between convolutions": (nn.Sequential(CONV, resize_by(4 / 3, "bilinear"), CONV), (24, 30)),
}

REFUSED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "nearest 1.3333334": (nn.Upsample(scale_factor=1.3333334), (30, 30)),
    "bilinear 2.000001": (nn.Upsample(scale_factor=2.000001, mode="bilinear"), (40, 40)),
    "nearest 0.6666667": (resize_by(0.6666667), (30, 30)),
    "nearest-exact 1.3333334": (resize_by(1.3333334, "nearest-exact"), (30, 30)),
    "bicubic 0.6666667": (resize_by(0.6666667, "bicubic"), (30, 30)),
    "linear 1.3333334": (resize_by(1.3333334, "linear"), (60,)),
    "trilinear 2.000001": (resize_by(2.000001, "trilinear"), (8, 10, 12)),
    "antialiased 0.6666667": (resize_by(0.6666667, "bilinear", antialias=True), (30, 30)),
    "bilinear, the square root of 2": (resize_by(2**0.5, "bilinear"), (30, 30)),
    "nearest, pi": (resize_by(math.pi), (20, 20)),
    "bilinear, 1.1 in float32": (resize_by(single(1.1), "bilinear"), (30, 30)),
    "a step beside 3/2": (resize_by(1.5 + 1e-14, "bilinear"), (30, 30)),
    "a chain": (nn.Sequential(resize_by(1.5), resize_by(0.6666667, "bilinear")), (30, 30)),
    "nearest 3.7, types disagree": (resize_by(3.7), (64, 40)),
}


if not hasattr(torch.ops.aten, "_upsample_lanczos2d_aa"):  # of torch before 2.13
    del ANSWERED["Lanczos 0.5"]


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("name", "schedule"), crossed(ANSWERED, ("crop", "trim", "stream")))
def test_answered_and_right_by_every_schedule(name, schedule):
    net, sizes = ANSWERED[name]
    a = oc.analyze(net, (1, 1, *sizes))
    assert a.blocking_free
    others = [] if schedule == "crop" else a.axes  # each shape of tile costs a trace
    plan = oc.plan(a, block=dict.fromkeys(others, 11) | {a.axes[-1]: 5}, schedule=schedule)
    for dtype in (torch.float64, torch.float32):
        model, x = copy.deepcopy(net).to(dtype), image(1, 1, *sizes, dtype=dtype)
        with torch.no_grad():
            whole = model(x)
        [found] = by_blocks(Machine(model, a.variants, plan), dict.fromkeys(plan.inputs, x)).values()
        assert float((found - whole).abs().max()) <= 8 * max(sizes) * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    net, sizes = REFUSED[name]
    a = oc.analyze(net, (1, 1, *sizes))
    assert {o.axis for o in a.obstacles} == set(a.axes)
    assert {o.cause for o in a.obstacles} == {"uneven-factor"}
    with pytest.raises(oc.ObstacleError, match=r"scale_factor|rounded unevenly"):
        oc.plan(a, schedule="crop")


def test_a_refusal_says_where_torch_stands_elsewhere_and_what_would_help():
    [nearest] = oc.analyze(resize_by(1.3333334), (1, 1, 30)).obstacles
    assert nearest.message == (
        "scale_factor=1.3333334 is no fraction of whole numbers: torch steps 0.7499999625000019 samples per output, "
        "not 3/4 as 4/3 would; in float32 output 4 takes sample 2, not 3"
    )
    assert samples("nearest", 1.3333334, 30, torch.float32)[4] == 2
    assert samples("nearest", 4 / 3, 30, torch.float32)[4] == 3
    assert "4 / 3, not 1.3333334" in nearest.help
    [linear] = oc.analyze(resize_by(2.000001, "linear"), (1, 1, 40)).obstacles
    assert "output 79 stands 2.0e-05 samples from there" in linear.message
    apart = (weights(2.000001, 40, torch.float64) - weights(2, 40, torch.float64)) @ torch.arange(40.0).double()
    assert abs(float(apart[78])) == pytest.approx(2e-5, rel=0.02)  # output 79 is clamped to the last sample
    [types] = oc.analyze(resize_by(3.7), (1, 1, 64)).obstacles
    assert types.message == "resampling by 37/10 is rounded unevenly: in float32 output 111 takes sample 29, not 30"
    assert samples("nearest", 3.7, 64, torch.float32)[111] == 29
    assert samples("nearest", 3.7, 64, torch.float64)[111] == 30


def test_rounding_that_drifts_past_a_sample_is_a_bound():
    """11/3: torch's step is too long by more than rounding takes back, so that a far output reads one sample more."""
    net = resize_by(11 / 3, "linear")
    row = weights(11 / 3, 90, torch.float64)[11 * 20 + 5]
    assert row.nonzero().flatten().tolist() == [61, 62]
    assert 0 < float(row[62]) < 1e-13
    w = oc.analyze(net, (1, 1, 90))["L"]
    assert w.reads(225, 226) == oc.Span(61, 63)
    assert not w.exact
    assert oc.analyze(resize_by(3, "linear"), (1, 1, 90))["L"].exact


# ---- running ---------------------------------------------------------------------------------------------------


def test_slabs_take_the_positions_of_the_type_of_the_run(monkeypatch):
    """float32 places output 5000 of a resize by 1.7 a thousandth of a sample off; so does every slab, or it shows."""
    net, x = resize_by(1.7, "linear"), image(1, 1, 3000, dtype=torch.float32)
    whole = net(x)

    def error() -> float:
        return float((oc.run(net, x, schedule="trim", block=700) - whole).abs().max())

    assert error() < 2e-6
    monkeypatch.setattr(SlabCall, "rounding", lambda self, x: double)
    assert error() > 2e-5


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("dtype", few([torch.float16, torch.bfloat16], 1))
def test_slabs_of_half_types(dtype):
    for net in (resize_by(1.5, "bilinear"), resize_by(4 / 3), resize_by(2, "bicubic")):
        x = image(1, 1, 24, 30, dtype=dtype)
        whole = net(x)
        for schedule in ("crop", "trim", "stream"):
            apart = (oc.run(net, x, schedule=schedule, block=5) - whole).abs().max()
            assert float(apart) <= 8 * torch.finfo(dtype).eps * float(whole.abs().max())


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialiasing_of_one_column_is_torchs_own_mistake(mode):
    """It repeats the first row there, so no tile may be as narrow."""
    net, x = resize_by((2.0, 1.0), mode, antialias=True), image(1, 1, 12, 9)
    narrow = net(x[..., :1])
    assert torch.equal(narrow, narrow[:, :, :1].expand_as(narrow))
    for schedule in ("crop", "trim", "stream"):
        assert float((oc.run(net, x, schedule=schedule, block={"W": 1}) - net(x)).abs().max()) < 1e-12
    assert not oc.analyze(net, (1, 1, 12, 1)).blocking_free


@pytest.mark.usefixtures("traced_once")
def test_whole_numbers_are_weighed_in_a_way_of_their_own():
    net = Do("bytes", lambda x: F.interpolate((x * 40 + 128).to(torch.uint8), scale_factor=2, mode="bilinear").float())
    x = image(1, 1, 20, 24, dtype=torch.float32)
    for schedule in ("trim", "stream"):
        with pytest.raises(oc.NoSlabError, match="weighs whole numbers"):
            oc.run(net, x, schedule=schedule, block=5)
    assert torch.equal(oc.run(net, x, schedule="crop", block=5), net(x))


# ---- proving ---------------------------------------------------------------------------------------------------


def snapped(step: SamplingStep) -> Fraction:
    """The rule as it was: any factor is the nearest fraction."""
    if not step.given:
        return Fraction(step.size_in, step.size_out)
    return 1 / Fraction(step.given).limit_denominator(4096)


@pytest.mark.parametrize(
    ("name", "schedule"),
    few(
        [
            ("nearest 1.3333334", "crop"),
            ("nearest 1.3333334", "trim"),
            ("nearest 1.3333334", "stream"),
            ("nearest 0.6666667", "crop"),
            ("bilinear 2.000001", "crop"),
            ("bicubic 0.6666667", "crop"),
            ("linear 1.3333334", "crop"),
        ],
        3,
    ),
)
def test_the_rule_that_took_any_factor_for_a_fraction_is_refuted(monkeypatch, name, schedule):
    monkeypatch.setattr(SamplingStep, "fraction", property(snapped))
    monkeypatch.setattr(resize, "parted", lambda kind, step, factor: None)
    net, sizes = REFUSED[name]
    found = oc.verify(net, (1, 1, *sizes), schedule=schedule, block=5 if schedule != "crop" else None)
    assert found["values"].status == "refuted"
    assert found["exact twin"].status == "refuted"


def test_where_types_disagree_the_twin_refutes_what_float64_bears_out(monkeypatch):
    """Blocks equal the whole in float64; in float32 they do not."""
    monkeypatch.setattr(resize, "parted", lambda kind, step, factor: None)
    found = oc.verify(resize_by(3.7, "linear"), (1, 1, 64), schedule="trim", block=50)
    assert found.proved
    found = oc.verify(resize_by(3.7), (1, 1, 64), schedule="trim", block=50)
    assert found["values"].status == "proved"
    assert found["exact twin"].status == "refuted"


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("name", "schedule"),
    crossed(
        ["nearest 1.3333333333333333", "bilinear 1.1", "antialiased 0.6", "a chain", "down and back"], ["crop", "trim"]
    ),
)
def test_what_is_right_is_proved(name, schedule):
    net, sizes = ANSWERED[name]
    assert oc.verify(net, (1, 1, *sizes), schedule=schedule, block=11 if schedule == "trim" else None).proved
