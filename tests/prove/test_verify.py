"""The proofs prove what is right, and each is refuted by what is wrong: a verifier that cannot fail is a defect."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import draw_shape
from shared.blockwise import Odd, Pyramid, Residual, conv
from shared.nets import Net, healthy
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from examples.codec import Codec
from examples.superres import SuperResolver
from examples.unet import UNet
from overlapcalc.algebra.index_map import IndexMap
from overlapcalc.analysis.named import Named
from overlapcalc.planning.strips import Cutter

STRUCTURE = ("dependency", "minimality", "poisoned borders", "exact twin", "values")
SCHEDULE = ("poisoned borders", "exact twin")
"""The proofs that see a tile that is too short at any depth, whatever the weights."""


def statuses(v: oc.Verification) -> dict[str, str]:
    return {proof.name: proof.status for proof in v.proofs}


GOOD = {
    "encoder": (lambda: Codec(4, 6).g_a, None),
    "decoder": (lambda: Codec(4, 6).g_s, None),
    "u-net": (UNet, None),
    "super-resolver": (lambda: SuperResolver(channels=4, blocks=1), None),
    "residual": (Residual, None),
    "odd sizes": (Odd, (1, 3, 37, 50)),
    "same": (lambda: Same(), (1, 3, 37, 50)),
    "reflect": (lambda: nn.Sequential(conv(3, 4, 5, padding_mode="reflect"), conv(4, 2, padding_mode="replicate")), (1, 3, 33, 41)),
    "batches": (lambda: nn.Sequential(conv(3, 4), nn.AvgPool2d(3, 2, 1, count_include_pad=False, ceil_mode=True)), (3, 3, 33, 40)),
    "two inputs": (Pyramid, [(1, 3, 48, 64), (1, 2, 24, 32)]),
    "signs": (lambda: nn.Sequential(conv(3, 4), Sign(), conv(4, 3)), None),
    "masks": (lambda: Masked(), (1, 3, 24, 32)),
    "one axis": (lambda: nn.Sequential(nn.Conv1d(2, 4, 9, 3, 4), nn.ConvTranspose1d(4, 2, 5, 3, 1)), None),
}  # fmt: skip


class Sign(nn.Module):
    """NaN does not come through a comparison."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x.sign(), -0.5)


class Masked(nn.Module):
    """PixelCNN's first layer: the taps after the middle are zero for good."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, padding=2)
        mask = torch.ones(5, 5)
        mask[2, 2:] = mask[3:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.conv.weight * self.mask, self.conv.bias, padding=2)


@cache
def good(name: str) -> tuple[nn.Module, Any]:
    """A net that nobody changes, and its inputs."""
    make, inputs = GOOD[name]
    torch.manual_seed(2)
    return make(), inputs


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    "name",
    few(GOOD, set(GOOD) - {"encoder", "super-resolver", "residual", "batches", "reflect", "decoder", "one axis"}),
)
def test_what_is_right_is_proved(name):
    v = oc.verify(*good(name))
    assert v.proved, [(p.name, p.failures) for p in v.proofs]
    assert set(statuses(v)) == set(STRUCTURE)
    allowed = {"minimality"} if name == "masks" else set()
    assert all(s == "proved" for n, s in statuses(v).items() if n not in allowed), statuses(v)
    assert [f.dtype for f in v.figures] == ["float64", "float32"]
    assert all(f.error <= 1e-5 and 0 <= f.identical <= 1 for f in v.figures)
    for strip in v.plan.strips.values():  # an interior block, and one at each border
        assert any(slot.first and slot.last for slot in strip.slots)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("schedule", "name"), crossed(["trim", "stream"], GOOD))
def test_schedules_of_calls_are_proved(name, schedule):
    v = oc.verify(*good(name), schedule=schedule)
    assert all(v[p].status == "proved" for p in ("poisoned borders", "exact twin", "values")), [
        (p.name, p.reason, p.failures) for p in v.proofs
    ]


@pytest.mark.parametrize("schedule", ["trim", "stream"])
@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
def test_a_slab_one_sample_short_is_refuted(monkeypatch, schedule, before, after):
    """What is wanted of the first layer's operand, one sample less on a side where the image goes on."""
    from overlapcalc.propagate import regions, stream_front

    torch.manual_seed(2)
    model, shape = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3)), (1, 3, 24, 40)
    assert oc.verify(model, shape, block=9, schedule=schedule).proved
    right = regions.real_reads

    def short(net: Any, operand: str, step: Any, axis: str, span: Any) -> Any:
        read = right(net, operand, step, axis, span)
        if read is None or operand != "relu" or axis != "H" or read.length < 3:
            return read
        size = net.size(operand, axis)
        first, last = read.start + before * (read.start > 0), read.stop - after * (read.stop < size)
        return type(read)(first, last)

    for module in (regions, stream_front):
        monkeypatch.setattr(module, "real_reads", short)
    v = oc.verify(model, shape, block={"H": 9}, schedule=schedule)
    assert not v.proved
    assert v["poisoned borders"].status == v["values"].status == "refuted"


def test_an_analysis_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3))
    a = oc.analyze(model, (1, 3, 24, 40), axes="W")
    plain = oc.verify(model, (1, 3, 24, 40), axes="W", block=9)
    monkeypatch.setattr("overlapcalc.prove.verify.analyze", None)
    v = oc.verify(model, a, block=9)
    assert v.plan == plain.plan
    assert statuses(v) == statuses(plain)


# ---- one step less ------------------------------------------------------------------------------------------


@cache
def to_shorten(name: str, axis: str) -> tuple[nn.Module, tuple[int, ...], oc.Analysis, oc.Plan]:
    """A net, an image that is long along the axis, and its blocks of 16."""
    torch.manual_seed(2)
    model = SHORTENED[name][0]()
    size, channels = SHORTENED[name][1:]
    shape = (1, channels, *((size, size // 2) if axis == "H" else (size // 2, size)))
    a = oc.analyze(model, shape)
    return model, shape, a, oc.plan(a, block=16)


SHORTENED: dict[str, tuple[Any, int, int]] = {
    "encoder": (lambda: Codec(4, 6).g_a, 128, 3),
    "decoder": (lambda: Codec(4, 6).g_s, 8, 6),
    "u-net": (lambda: UNet(channels=4), 56, 3),
    "super-resolver": (lambda: SuperResolver(channels=4, blocks=1), 30, 3),
}
INNER = [("first", "after"), ("inside", "before"), ("inside", "after"), ("last", "before")]
"""Sides of blocks where the image goes on."""


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("where", "what"),
    crossed(INNER, [("encoder", "H"), ("decoder", "W"), ("u-net", "H"), ("u-net", "W"), ("super-resolver", "W")]),
)
def test_one_step_less_on_a_side_of_a_block_is_refuted(what, where):
    (name, axis), (place, side) = what, where
    model, shape, a, made = to_shorten(name, axis)
    cutter, strip = Cutter(a.variants.net, axis), made.strips[axis]
    i = {"first": 0, "inside": len(strip.slots) // 2, "last": len(strip.slots) - 1}[place]
    slot = strip.slots[i]
    first, last = slot.first + (side == "before"), slot.last + (side == "after")
    start, stop = cutter._steps_of(slot)
    shorter = cutter.slot(start, stop, first, last)
    slots = (*strip.slots[:i], shorter, *strip.slots[i + 1 :])
    bad = replace(made, strips={**made.strips, axis: replace(strip, slots=slots)})
    found = statuses(oc.verify(model, shape, plan=bad))
    assert [found[p] for p in SCHEDULE] == ["refuted", "refuted"]
    assert found["dependency"] == found["minimality"] == "proved"


@pytest.mark.usefixtures("traced_once")
def test_forty_layers_deep_one_sample_less_shows():
    torch.manual_seed(0)
    deep = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(40)))
    v = oc.verify(deep, (1, 4, 128, 12), axes="H", block=16, tile=39)
    assert [v[p].status for p in SCHEDULE] == ["refuted", "refuted"]
    assert v["values"].status == "proved"  # which is why values are no proof
    assert not v.proved
    assert oc.verify(deep, (1, 4, 128, 12), axes="H", block=16, tile=40).proved


@pytest.mark.thorough
@pytest.mark.usefixtures("traced_once")
def test_a_u_net_tile_four_short():
    torch.manual_seed(0)
    v = oc.verify(UNet(), (1, 3, 64, 64), block=16, tile=8)
    assert [v[p].status for p in SCHEDULE] == ["refuted", "refuted"]
    assert oc.verify(UNet(), (1, 3, 64, 64), block=16, tile=12).proved
    with pytest.raises(oc.InputError, match="multiples of 4"):
        oc.verify(UNet(), (1, 3, 64, 64), block=16, tile=10)


def test_a_tile_on_which_the_net_gives_nothing_is_refused():
    """Of layers that pad nothing, 16 rows leave none."""
    deep = nn.Sequential(*(nn.Conv2d(1, 1, 3) for _ in range(8)))
    with pytest.raises(oc.InputError, match="0 before and 0 after along H: the net gives nothing"):
        oc.verify(deep, (1, 1, 64, 64), block=16, tile=0)


class Same(nn.Module):
    """TensorFlow's "same" padding: how much of it stands before the image depends on its size modulo the stride."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, w = (max((-(-n // 2) - 1) * 2 + 5 - n, 0) for n in x.shape[2:])
        return self.conv(F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2)))


@pytest.mark.usefixtures("traced_once")
def test_a_tile_of_the_wrong_residue():
    model, shape = Same(), (1, 3, 37, 49)
    made = oc.plan(model, shape, block=8)
    strip = made.strips["W"]

    def longer(slot: Any) -> Any:
        tile = slot.tiles[0]
        if tile.stop == 49:
            return slot
        more = {name: replace(span, stop=span.stop + 1) for name, span in slot.tiles.items()}
        return replace(slot, tiles=Named(more))

    bad = replace(made, strips={**made.strips, "W": replace(strip, slots=tuple(map(longer, strip.slots)))})
    v = oc.verify(model, shape, plan=bad)
    assert v["exact twin"].status == "refuted"
    assert v["values"].status == "refuted"
    assert oc.verify(model, shape, plan=made).proved


# ---- wrong rules --------------------------------------------------------------------------------------------


@torch.library.custom_op("overlapcalc_tests::centred", mutates_args=())
def centred(x: Tensor) -> Tensor:
    return x - x.mean((2, 3), keepdim=True)


@centred.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.overlapcalc_tests.centred(self.conv(x))


@pytest.fixture
def rule():
    made = []

    def register(law: Any) -> None:
        oc.rule("overlapcalc_tests::centred")(law)
        made.append("overlapcalc_tests::centred")

    yield register
    for name in made:
        oc.unregister(name)


def test_a_rule_that_hides_a_global_dependency_is_refuted(rule):
    rule(lambda call: call.identity())
    v = oc.verify(Centred(), (1, 3, 24, 24))
    assert v["dependency"].status == "refuted"
    assert v["values"].status == "refuted"
    assert v["exact twin"].status == "not applicable"
    assert "centred" in v["exact twin"].reason
    assert not v.proved


def test_a_rule_that_says_too_much_is_no_minimum():
    @torch.library.custom_op("overlapcalc_tests::halved", mutates_args=())
    def halved(x: Tensor) -> Tensor:
        return x / 2

    halved.register_fake(torch.empty_like)
    oc.rule("overlapcalc_tests::halved")(lambda call: call.local({-1: IndexMap.window(3, padding=1)}))

    class Halved(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.overlapcalc_tests.halved(x)

    try:
        v = oc.verify(Halved(), (1, 2, 16, 32))
    finally:
        oc.unregister("overlapcalc_tests::halved")
    assert v["dependency"].status == "proved"
    assert v["minimality"].status == "refuted"
    assert not v.proved


# ---- the rest of the contract ---------------------------------------------------------------------------------


def test_without_cuda_a_cuda_device_is_an_error_never_a_pass():
    if torch.cuda.is_available():
        assert oc.verify(conv(3, 3), device="cuda").proved
        return
    with pytest.raises(oc.InputError, match="no CUDA device"):
        oc.verify(conv(3, 3), device="cuda")


@pytest.mark.parametrize("layer", [conv(4, 4, padding_mode="circular"), nn.GroupNorm(2, 4)])
def test_obstacles_are_refused(layer):
    with pytest.raises(oc.ObstacleError):
        oc.verify(nn.Sequential(conv(4, 4), layer), (1, 4, 32, 32), schedule="crop")


@pytest.mark.usefixtures("traced_once")
def test_bit_exact_is_a_gate_on_request():
    torch.manual_seed(0)
    net = nn.Sequential(conv(3, 32), nn.Conv2d(32, 32, 7, padding=3), nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2))
    v = oc.verify(net, (1, 3, 40, 56), block=24, axes="W", bit_exact=True)
    identical = v.figures[-1].identical == 1
    assert (v["values"].status == "proved") == identical
    assert oc.verify(net, (1, 3, 40, 56), block=24, axes="W").proved


def test_the_model_and_the_settings_stay_as_they_are():
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    settings = torch.backends.cudnn.enabled, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    oc.verify(model, (1, 3, 24, 24))
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert settings == (
        torch.backends.cudnn.enabled, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    )  # fmt: skip


def test_a_verification_is_plain_data():
    v = oc.verify(conv(3, 3), (1, 3, 24, 24), dtype=torch.bfloat16)
    found = v.to_dict()
    assert found["proved"] is True
    assert [p["name"] for p in found["proofs"]] == list(STRUCTURE)
    assert [f["dtype"] for f in found["figures"]] == ["float64", "bfloat16"]
    assert found["plan"]["schedule"] == "crop"
    with pytest.raises(AttributeError):
        v.device = "x"  # type: ignore[misc]


def test_a_net_that_does_not_run_is_an_input_error():
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.compiler.is_exporting():
                raise KeyError("tables")
            return x + 1

    if not hasattr(torch.compiler, "is_exporting"):
        pytest.skip("this torch does not say whether it exports")
    with pytest.raises(oc.InputError, match="does not run on 1x1x24x24 in float64"):
        oc.verify(Fails(), (1, 1, 24, 24))


@pytest.mark.parametrize("schedule", ["trim", "stream"])
def test_a_net_without_a_call(schedule):
    """An identity has nothing to be run call by call, and is proved all the same."""
    found = oc.verify(nn.Identity(), (1, 1, 8, 8), schedule=schedule, block=3)
    assert [proof.status for proof in found.proofs] == ["proved"] * 5


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("schedule", few(["stream", "trim"], 1))
@pytest.mark.parametrize("seed", few(range(3), [1]))
def test_random_nets_are_proved(seed, schedule):
    """All that applies: sizes that divide by nothing, blocks of an odd length."""
    rng = random.Random(70 + seed)
    proved = 0
    while proved < 1:
        net = Net(lambda low, high: rng.randint(low, high), depth=3)
        shape = draw_shape(net, rng)
        try:
            v = oc.verify(healthy(net.module, seed), [shape], schedule=schedule, block=rng.choice([5, 7, 9]))
        except oc.OverlapcalcError:  # an obstacle, or a size at which it does not run
            continue
        assert v.proved, (net.module, [(p.name, p.failures) for p in v.proofs])
        proved += 1


@pytest.mark.parametrize("tile", [None, (0, 0)])
def test_a_single_block_proves_nothing(tile):
    with pytest.raises(oc.InputError, match=r"one block takes the whole image \(1x3x24x24\)"):
        oc.verify(conv(3, 4), (1, 3, 24, 24), block=64, tile=tile)
