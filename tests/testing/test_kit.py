"""overlapcalc.testing: brute force against formulas, drawn nets, and assertions that hold and that fail."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from shared.oracle import Dependency as Recorded
from shared.thorough import few
from torch import nn

import overlapcalc as oc
import overlapcalc.testing as kit
from examples.unet import UNet

ROOT = Path(__file__).parents[2]
QUICK = {
    "deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
}  # fmt: skip
ANY = ["L", "HW", "DHW"]


# ---- brute force ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "s", "d", "p"), [(1, 1, 1, 0), (3, 1, 1, 1), (4, 2, 1, 1), (3, 3, 2, 2), (5, 2, 3, 4)])
def test_brute_force_of_a_convolution(k, s, d, p):
    n = 17
    truth = kit.BruteForce(kit.positive(nn.Conv1d(2, 3, k, s, p, d)), torch.rand(1, 2, n), "L")
    for o in range(truth.out_size):
        taps = tuple(i for i in (s * o - p + d * t for t in range(k)) if 0 <= i < n)
        assert truth.of(o, o + 1) == kit.Dependency(taps, taps)
    assert truth.out_size == (n + 2 * p - d * (k - 1) - 1) // s + 1


@pytest.mark.parametrize(("k", "s", "p"), [(1, 2, 0), (2, 2, 0), (4, 2, 1), (5, 3, 2)])
def test_brute_force_of_a_transposed_convolution(k, s, p):
    n = 9
    truth = kit.BruteForce(kit.positive(nn.ConvTranspose1d(1, 1, k, s, p)), torch.rand(1, 1, n), "L")
    for o in range(truth.out_size):
        found = truth.of(o, o + 1)
        assert found.certain == tuple(j for j in range(n) if 0 <= o + p - s * j < k)
        assert (found.span is None) == (not found.certain)


class Each(nn.Module):
    """A function of x."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def refuses_nan(x):
    if x.isnan().any():
        raise ValueError("no NaN, please")
    return nn.functional.avg_pool1d(x, 3, 1, 1)


@pytest.mark.parametrize(
    ("function", "certain", "possible"),
    [
        (lambda x: x.sign().cumsum(2)[..., -1:] * 0 + x.sign(), (4,), None),  # the zero stays zero without NaN
        (lambda x: (x > 0.5).to(x), (4,), (4,)),
        (lambda x: torch.where(x > 0, x, -x), (4,), (4,)),
        (lambda x: torch.nan_to_num(x), (4,), (4,)),
        (lambda x: x.round().long().to(x), (4,), None),
        (lambda x: nn.functional.max_pool1d(x, 3, 1, 1), (3, 4, 5), (3, 4, 5)),
        (lambda x: torch.fmax(x, x.roll(2, 2)), (2, 4), (2, 4)),
        (lambda x: x + 0 * x.roll(1, 2), (4,), (3, 4)),
        (refuses_nan, (3, 4, 5), tuple(range(9))),
    ],
    ids=["cumsum of signs", "comparison", "where", "nan_to_num", "rounding", "max", "fmax", "zero tap", "refuses"],
)
def test_what_stops_nan_and_what_spreads_it(function, certain, possible):
    x = torch.linspace(-1, 1, 9)[None, None] + 0.01
    found = kit.dependency(Each(function), x, (4, 5), "L")
    assert found.certain == certain
    if possible is not None:
        assert found.possible == possible
    assert set(found.certain) <= set(found.possible)


def test_brute_force_agrees_with_the_recorded_one():
    """On drawn nets, with the oracle that the recorded fuzz runs used."""
    seen = []

    @settings(max_examples=25, **QUICK)
    @given(net=kit.cnns(axes=["L", "HW"], families=["conv", "transposed", "pool", "resample", "pad"]))
    def compare(net):
        x = net.image(tuple(n + 6 for n in net.least))
        for dim in range(2, x.dim()):
            old = Recorded(net.build(), x, dim, zero_taps=True)
            new = kit.BruteForce(net.build(), x, dim)
            assert new.out_size == old.out_size
            for span in [(0, 1), (new.out_size // 2, new.out_size // 2 + 1), (new.out_size - 1, new.out_size)]:
                assert new.of(*span).span == old.hull(*span)
                seen.append(old.hull(*span))

    compare()
    assert len(set(seen)) > 20


def test_other_layouts_and_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, a, b):
            return {"left": a[..., :-1] + b[..., 1:], "right": b.transpose(1, 2)}

    a, b = torch.rand(1, 1, 8), torch.rand(1, 1, 8)
    assert kit.dependency(Two(), [a, b], (2, 3), "L", input=1).certain == (3,)
    assert kit.dependency(Two(), [a, b], (2, 3), 2, input=0).certain == (2,)
    assert kit.dependency(Two(), [a, b], (2, 3), "L", input=0, output=1, out_dim=1).span is None
    assert kit.dependency(Two(), [a, b], (2, 3), "L", input=1, output=1, out_dim=1).span == (2, 3)


X = torch.rand(1, 1, 8)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: kit.dependency(nn.Identity(), X, (0, 1), "W"), "axis='W': x of shape (1, 1, 8) has L"),
        (lambda: kit.dependency(nn.Identity(), X, (0, 1), 3), "axis=3: x has dimensions 0 to 2"),
        (lambda: kit.dependency(nn.Identity(), X, (3, 3), "L"), "outputs [3, 3): expected a span within [0, 8)"),
        (lambda: kit.dependency(nn.Identity(), X, (7, 9), "L"), "outputs [7, 9): expected a span within [0, 8)"),
        (lambda: kit.dependency(nn.Identity(), X, 3, "L"), "output_span=3: expected (start, stop)"),
        (lambda: kit.dependency(nn.Identity(), X.repeat(2, 1, 1), (0, 1), "L"), "x holds 2 images"),
        (lambda: kit.dependency(nn.Identity(), X.long(), (0, 1), "L"), "x is torch.int64"),
        (lambda: kit.dependency(nn.Identity(), X, (0, 1), "L", input=1), "input=1: 1 given"),
        (lambda: kit.dependency(nn.Identity(), X, (0, 1), "L", output=1), "output=1: the net gives 1 values"),
        (lambda: kit.dependency(Each(torch.rand_like), X, (0, 1), "L"), "something else every time"),
        (lambda: kit.dependency(Each(lambda x: x / 0), X, (0, 1), "L"), "not all finite in torch.float64"),
        (lambda: kit.dependency(Each(lambda x: x.sum()), X, (0, 1), "L"), "shape (), without a dimension 2"),
    ],
)
def test_brute_force_refuses(call, said):
    with pytest.raises(oc.InputError, match=re.escape(said)):
        call()


# ---- drawn nets -------------------------------------------------------------------------------------------


@settings(max_examples=40, **QUICK)
@given(net=kit.cnns(axes=ANY, depth=5), data=st.data())
def test_a_drawn_net_runs_and_prints_itself(net, data):
    x = net.image(data.draw(kit.sizes(net)))
    y = net.build()(x)
    assert y.numel() > 0
    assert y.isfinite().all()
    assert y.dtype == torch.float64
    script: dict[str, object] = {}
    exec(str(net), script)
    assert torch.equal(script["net"](x), y)
    assert torch.equal(eval(repr(net), {**vars(kit), "nn": nn})(x), y)


def test_how_a_net_is_printed():
    conv = kit.Call.of(nn.Conv2d, 1, 2, (3, 1), padding=(1, 0), padding_mode="reflect")
    up = kit.Call.of(nn.Sequential, kit.Call.of(nn.MaxPool2d, 2), kit.Call.of(nn.Upsample, scale_factor=2))
    net = kit.Net(kit.Call.of(nn.Sequential, conv, kit.Call.of(kit.Cat, up, kit.Call.of(nn.Identity))), 1, "HW", 7)
    assert str(net) == (
        "from torch import nn\n"
        "from overlapcalc.testing import Cat, positive\n"
        "\n"
        "net = positive(\n"
        "    nn.Sequential(\n"
        "        nn.Conv2d(1, 2, (3, 1), padding=(1, 0), padding_mode='reflect'),\n"
        "        Cat(nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)), nn.Identity()),\n"
        "    ),\n"
        "    seed=7,\n"
        ")"
    )
    assert repr(net) == str(net).partition("net = ")[2]
    assert net == kit.Net(net.call, 1, "HW", 7)


def test_least_is_the_least():
    """Three convolutions of kernel 3 without padding need 7 samples to give one, and 8 to give two."""
    conv = kit.Call.of(nn.Conv2d, 1, 1, (3, 1))
    net = kit.Net(kit.Call.of(nn.Sequential, conv, conv, conv), 1, "HW")
    assert net.least == (8, 2)


def _all(net):
    return set(net.operators) - {"nn.Identity", "nn.Sequential"}


WIDE = {"nn.Conv2d"}  # a 1x1 convolution makes channels fit
JOINS = {"Add", "Cat", "Multiply"}
PARTS = {"Channels"}
NORMS = {"nn.BatchNorm2d", "nn.Softmax", "nn.ChannelShuffle", "GDN", "ChannelNorm"}
PADS = {"nn.ZeroPad2d", "nn.ReflectionPad2d", "nn.ReplicationPad2d", "Slice"}


@pytest.mark.parametrize(
    ("options", "most", "among"),
    [
        ({"families": ["conv"], "skips": False}, {"nn.Conv2d"}, {"nn.Conv2d"}),
        ({"families": ["transposed"], "axes": "DHW", "skips": False}, {"nn.ConvTranspose3d"}, {"nn.ConvTranspose3d"}),
        ({"families": ["pool"], "axes": "L", "skips": False}, {"nn.MaxPool1d", "nn.AvgPool1d"}, {"nn.AvgPool1d"}),
        (
            {"families": ["shuffle"], "skips": False},
            {"nn.PixelShuffle", "nn.PixelUnshuffle", "Whole"} | WIDE,
            {"Whole"},
        ),
        ({"families": ["resample"], "skips": False}, {"nn.Upsample"}, {"nn.Upsample"}),
        ({"families": ["norm"], "skips": False}, NORMS, NORMS),
        ({"families": ["pad"], "skips": False}, PADS, PADS),
        ({"families": ["conv", "transposed"]}, {"nn.Conv2d", "nn.ConvTranspose2d"} | JOINS | PARTS, {"Cat"}),
    ],
)
def test_families_and_skips(options, most, among):
    seen = set()

    @settings(max_examples=60, **QUICK)
    @given(net=kit.cnns(**options))
    def look(net):
        assert _all(net) <= most
        seen.update(_all(net))

    look()
    assert among <= seen


@settings(max_examples=40, **QUICK)
@given(net=kit.cnns(families=["conv", "pool"], strides=(2,), skips=False, depth=2))
def test_strides_and_depth(net):
    layers = [c for c in net.call.calls() if c.name in ("nn.Conv2d", "nn.MaxPool2d", "nn.AvgPool2d")]
    assert len(layers) <= 2
    for call in layers:
        assert call.build().stride in (2, (2, 2))


@settings(max_examples=10, **QUICK)
@given(net=kit.cnns(axes=["L", "HW"], depth=2, obstacles=True))
def test_nets_with_an_obstacle_are_refused(net):
    with pytest.raises(AssertionError, match="blocking-free does not hold: "):
        kit.assert_blocking_free(net.build(), net.shape(tuple(n + 8 for n in net.least)))


@settings(max_examples=30, **QUICK)
@given(size=kit.sizes(axes="HW", least=(8, 5), most=(40, 31), multiple=4), block=kit.block_grids("HW", least=2, most=9))
def test_sizes_and_blocks(size, block):
    assert all(n % 4 == 0 for n in size)
    assert size >= (8, 8)
    assert size <= (40, 28)
    numbers = [block] if isinstance(block, int) else block.values()
    assert numbers
    assert all(2 <= n <= 9 for n in numbers)


class Hungry(nn.Conv2d):
    """Reads more than there is in the least image."""

    def __init__(self, channels):
        super().__init__(channels, channels, 17)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (kit.cnns(extra=[Hungry], families=["conv"]), "no net with Hungry(1) on 1x1x16x16: it does not run there"),
        (kit.cnns(families=["convolution"]), "families=['convolution']: expected some of conv, transposed"),
        (kit.cnns(families="conv"), "families='conv'"),
        (kit.cnns(axes="WH"), "axes='WH': expected 'L', 'HW' or 'DHW'"),
        (kit.cnns(axes="L", families=["shuffle"]), "pixel shuffles have the axes H and W only"),
        (kit.cnns(depth=0), "depth=0"),
        (kit.cnns(strides=()), "strides is empty"),
        (kit.cnns(strides=(1, 0)), "strides=0"),
        (kit.cnns(extra=[3]), "extra holds 3; expected modules' classes"),
        (kit.block_grids("HW", least=9, most=3), "block_grids: most=3 is less than least=9"),
        (kit.block_grids(""), "block_grids: axes='' names none"),
        (kit.block_grids(least=0), "block_grids: least=0"),
        (kit.sizes(), "give a net that was drawn, or axes and the least size"),
        (kit.sizes(axes="HW", least=8, most=7), "there is no multiple of 1"),
        (kit.sizes(axes="HW", least=(8, 8, 8)), "one for each of 2 axes"),
    ],
)
def test_strategies_refuse(strategy, said):
    @settings(max_examples=1, **QUICK)
    @given(strategy)
    def draw(value):
        raise AssertionError("drawn")

    with pytest.raises(oc.InputError, match=re.escape(said)):
        draw()


# ---- what overlapcalc says of them ------------------------------------------------------------------------


@pytest.mark.usefixtures("traced_once")
def test_random_nets_against_brute_force_and_by_blocks():
    counts = []

    @settings(max_examples=8, **QUICK)
    @given(net=kit.cnns(axes=["L", "HW"]), schedule=st.sampled_from(["crop", "trim", "stream"]), data=st.data())
    def compare(net, schedule, data):
        model, x = net.build(), net.image(data.draw(kit.sizes(net, least=7)))
        kit.assert_reads(model, x)
        plan = kit.assert_same_by_blocks(model, x, schedule=schedule, least_blocks=1)
        counts.append(plan.count)

    compare()
    assert sum(count > 1 for count in counts) > 3


# ---- shrinking --------------------------------------------------------------------------------------------


def strided(net):
    return any(c.maker is nn.Conv2d and dict(c.kwargs).get("stride") == 2 for c in net.call.calls())


def test_shrinks_to_one_layer():
    net = find(kit.cnns(depth=6), strided, settings=settings(max_examples=300, **QUICK))
    assert str(net) == (
        "from torch import nn\n"
        "from overlapcalc.testing import positive\n"
        "\n"
        "net = positive(nn.Conv2d(1, 1, 1, stride=2), seed=0)"
    )


@torch.library.custom_op("overlapcalc_kit::five", mutates_args=())
def five(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool1d(x, 5, 1, 2)


@five.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Five(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return five(x)


@pytest.fixture
def rule_of_five():
    """Registers a rule for the operator that reads five samples, and forgets it afterwards."""

    def register(taps, padding, at_channels=(1, 2, 3)):
        @oc.rule("overlapcalc_kit::five")
        def five_rule(call):
            right = call.shape[1] not in at_channels
            return call.local(
                {-1: oc.IndexMap.window(5, padding=2) if right else oc.IndexMap.window(taps, padding=padding)}
            )

    yield register
    oc.unregister("overlapcalc_kit::five")


NETS = kit.cnns(axes="L", families=["conv", "pool", "pointwise"], skips=False, depth=3, extra=[Five])


@pytest.mark.parametrize(("taps", "padding"), [(3, 1), (4, 2), (4, 1), (5, 1), (6, 2), (7, 3)])
def test_a_wrong_rule_is_found(rule_of_five, taps, padding):
    """Too little on both sides, on one, shifted, too much on one, on both."""
    rule_of_five(taps, padding)
    net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), Five(2))
    with pytest.raises(
        AssertionError, match=r"are said to read .*\n(.*\n)*Rules of yours on the way: overlapcalc_kit::five"
    ):
        kit.assert_reads(net, torch.rand(1, 1, 20))


@pytest.mark.thorough
def test_a_wrong_rule_shrinks(rule_of_five):
    """Wrong for two channels only, which no smallest net has."""
    rule_of_five(3, 1, at_channels=(2,))
    looked, known = [], {}

    def wrong(net):
        looked.append(net)
        if repr(net) not in known:  # shrinking comes back to the same nets
            known[repr(net)] = differs(net)
        return known[repr(net)]

    def differs(net):
        try:
            kit.assert_reads(net.build(), net.image(tuple(n + 8 for n in net.least)))
        except AssertionError:
            return True
        return False

    net = find(NETS, wrong, settings=settings(max_examples=25, **QUICK))
    assert repr(net) == "positive(Five(2), seed=0)"
    assert not wrong(kit.Net(kit.Call.of(Five, 1), 1, "L"))
    assert max(len(list(net.call.calls())) for net in looked) > 3


@pytest.mark.usefixtures("traced_once")
def test_the_right_rule_is_not(rule_of_five):
    rule_of_five(5, 2)

    @settings(max_examples=8, **QUICK)
    @given(net=NETS)
    def right(net):
        model, x = net.build(), net.image(tuple(n + 8 for n in net.least))
        kit.assert_reads(model, x)
        kit.assert_same_by_blocks(model, x, least_blocks=1)

    right()


def test_blocks_on_a_wrong_rule_differ(rule_of_five):
    rule_of_five(3, 1)
    net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), Five(2))
    with pytest.raises(AssertionError) as failed:
        kit.assert_same_by_blocks(net, torch.rand(1, 1, 30), block=10)
    said = str(failed.value)
    assert said.startswith(
        "Sequential at 1x1x30 by 3 blocks (10 along L, schedule crop) is not what it is on the whole image:"
    )
    assert "samples of output differ by more than 1e-12 of the largest value, by " in said
    assert "the first at L 9\n    there is the block L [0, 10), on the tile L [0, 12) of input" in said
    assert "Rules of yours on the way: overlapcalc_kit::five in 1 (test_kit.five_rule). Check these first." in said
    rounded = nn.Sequential(Five(1), Each(lambda y: (1000 * y).round().long()))
    with pytest.raises(AssertionError, match="samples of output differ by more than 1e-12"):
        kit.assert_same_by_blocks(rounded, torch.rand(1, 1, 30), block=10)


# ---- assertions -------------------------------------------------------------------------------------------

SHAPE = (1, 3, 64, 64)
TRUE = {"max_context": 11, "max_tile": 12, "max_receptive_field": 26, "step": 4, "scale": 1}
"""Of the U-Net, by brute force (see test_truths.py)."""


def test_true_claims_hold():
    analysis = kit.assert_blocking_free(UNet(), SHAPE, **TRUE)
    assert analysis["W"].context == oc.Sides(11, 11)
    kit.assert_blocking_free(UNet(), SHAPE, max_context={"W": (11, 11), "H": {"after": 11}}, max_tile={"before": 12})
    masked = nn.Sequential(nn.ZeroPad2d((1, 1, 2, 0)), nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2))
    for scale in ("1/2", Fraction(1, 2), {"H": "1/2", "W": Fraction(1, 2)}):
        kit.assert_blocking_free(masked, (1, 1, 16, 16), scale=scale, max_receptive_field={"H": 3}, causal=["H"])


@pytest.mark.parametrize(
    ("claim", "said"),
    few(
        [
            (
                {"max_context": 10},
                "\nH, before and W, before: max_context=10 does not hold: 11\n    11 before: input sample -11 is the first",
            ),
            (
                {"max_context": {"W": {"after": 10}}},
                "\nW, after: max_context={'W': {'after': 10}} does not hold: 11\n    11 after: input sample 14 is the last",
            ),
            ({"max_context": {"H": (10, 11)}}, "\nH, before: max_context={'H': (10, 11)} does not hold: 11\n"),
            (
                {"max_tile": (12, 11)},
                "\nH, after and W, after: max_tile=(12, 11) does not hold: 12\n    11 after: input",
            ),
            (
                {"max_receptive_field": {"W": 25}},
                "\nW: max_receptive_field={'W': 25} does not hold: 26\n    path: dec1 (+2), ",
            ),
            (
                {"step": 8},
                "\nH and W: step=8 does not hold: 4\n    path: max_pool2d#2\n    `max_pool2d#2`: asks for 1 of its",
            ),
            ({"scale": {"H": "1/2"}}, "\nH: scale={'H': '1/2'} does not hold: 1\n"),
            ({"scale": Fraction(1, 2)}, "\nH and W: scale=Fraction(1, 2) does not hold: 1\n"),
            (
                {"causal": ["W"]},
                "\nW: causal=['W'] does not hold: inside an image, output 0 stands over sample 0 of the input, and reads on up to ",
            ),
            ({"max_macs_ratio": 1.05, "block": 32}, "\nmax_macs_ratio=1.05 does not hold: 1."),
            (
                {"max_memory": "1KiB", "block": 32, "schedule": "stream"},
                "in 2 blocks of 32 along H x 64 along W, schedule stream\n    path: ",
            ),
        ],
        6,
    ),
)
def test_false_claims_do_not(claim, said):
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(UNet(), SHAPE, **{**TRUE, **claim})
    assert str(failed.value).startswith("UNet at 1x3x64x64: what was claimed does not hold.\n")
    assert said in str(failed.value)
    assert str(failed.value).count("does not hold: ") == (2 if claim == {"max_context": 10} else 1)


def test_who_is_to_blame():
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(UNet(), SHAPE, max_context=10, axes="W")
    line = (
        Path(ROOT / "examples/unet.py").read_text().splitlines().index("        c = self.bottom(F.max_pool2d(b, 2))")
        + 1
    )
    assert (
        f"\n    `bottom.0`: adds 4 of the context of 11\n    at {ROOT}/examples/unet.py:{line}\n"
        "    What would help: a change of `bottom.0`, or of the claim\n"
    ) in str(failed.value)


def test_what_several_claims_have_in_common_is_said_once():
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Softmax(2)), (1, 1, 32), max_context=1, step=1)
    first, *others = str(failed.value).partition("\n\n")[2].split("\n\n")
    assert first.startswith(
        "L: blocking-free does not hold: an obstacle stands in the way\n    path: input, 0, 1\n    `1`: softmax: "
    )
    assert others == [
        f"L: {claim} does not hold: an obstacle stands in the way\n    As above."
        for claim in ("max_context=1", "step=1")
    ]
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), max_context=(0, 1), max_tile=(0, 1))
    context, tile = str(failed.value).partition("\n\n")[2].split("\n\n")
    assert "\n    ------" in context
    assert tile.startswith("L, before: max_tile=(0, 1) does not hold: 1\n    As above.\n    `")
    assert "`: adds 1 of the context of 1; `" in tile


def test_pairs_are_named_where_there_are_several():
    class Two(nn.Module):
        def forward(self, a, b):
            return nn.functional.avg_pool1d(a, 3, 1, 1) + b

    kit.assert_blocking_free(Two(), [(1, 1, 32), (1, 1, 32)], max_context=1)
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(Two(), [(1, 1, 32), (1, 1, 32)], max_context=(1, 0))
    assert "\n\noutput against a, L, after: max_context=(1, 0) does not hold: 1\n    1 after: " in str(failed.value)
    assert "against b" not in str(failed.value)


def test_cost_of_blocks_of_the_shape():
    """Conv 3 with padding 1 on 32 columns in blocks of 8: tiles of 9, 10, 10 and 9 samples on either axis."""
    net, ratio = nn.Conv2d(1, 1, 3, padding=1), (9 + 10 + 10 + 9) ** 2 / 32**2
    total = oc.plan(net, (1, 1, 32, 32), block=8).memory.total
    kit.assert_blocking_free(net, (1, 1, 32, 32), max_macs_ratio=ratio, max_memory=total, block=8)
    kit.assert_blocking_free(net, (1, 1, 32, 32), max_macs_ratio=1, block=8, schedule="stream")
    for claim in ({"max_macs_ratio": ratio - 1e-6}, {"max_memory": total - 1}):
        with pytest.raises(AssertionError, match="in 16 blocks of 8 along H x 8 along W, schedule crop\n"):
            kit.assert_blocking_free(net, (1, 1, 32, 32), block=8, **claim)


class Causal(nn.Module):
    """Reads back only: zeros before, or an image mirrored before; or, wrongly, mirrored after, and cropped."""

    def __init__(self, before, after, mode):
        super().__init__()
        self.pads, self.mode, self.conv = (before, after), mode, nn.Conv1d(1, 1, 5)

    def forward(self, x):
        return self.conv(nn.functional.pad(x, self.pads, self.mode))


@pytest.mark.parametrize(
    ("net", "first"),
    [
        (Causal(4, 0, "constant"), None),
        (Causal(4, 0, "reflect"), "at 32 samples, output 0 stands over sample 0 of the input, and reads on up to 4"),
        (Causal(4, 0, "replicate"), None),
        (Causal(3, 1, "constant"), "inside an image, output 0 stands over sample 0 of the input, and reads on up to 1"),
        (nn.Conv1d(1, 1, 2, 2), None),  # output 0 stands at samples 0 and 1
        (
            nn.Conv1d(1, 1, 3, 2),
            "inside an image, output 0 stands over samples [0, 2) of the input, and reads on up to 2",
        ),
        (nn.Upsample(scale_factor=2), None),
        (
            nn.ConvTranspose1d(1, 1, 4, 2, 1),
            "inside an image, output 1 stands over sample 0 of the input, and reads on up to 1",
        ),
    ],
)
def test_causal(net, first):
    shape = (1, 1, 32)
    truth = kit.BruteForce(kit.positive(net), torch.rand(shape), "L")
    reads = [(o, truth.of(o, o + 1).span) for o in range(truth.out_size)]
    scale = (
        Fraction(32, truth.out_size) if truth.out_size in (16, 32, 64) else 2
    )  # the conv of kernel 3 lacks one output
    assert any(read and read[1] > -(-(o + 1) * scale // 1) for o, read in reads) == (first is not None)
    if first is None:
        kit.assert_blocking_free(net, shape, causal=True)
        return
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(net, shape, causal=True)
    assert f"L: causal=True does not hold: {first}" in str(failed.value)


def test_obstacles_are_named_with_the_way():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2))
    for call in (
        lambda: kit.assert_blocking_free(net, (1, 1, 16, 16)),
        lambda: kit.assert_same_by_blocks(net, torch.rand(1, 1, 16, 16)),
    ):
        with pytest.raises(AssertionError) as failed:
            call()
        said = str(failed.value)
        assert (
            "\nH and W: blocking-free does not hold: an obstacle stands in the way\n"
            "    path: input, 0, 1\n    `1`: group_norm: " in said
        )
        assert "\n    What would help: " in said
    with pytest.raises(oc.ObstacleError):
        kit.assert_reads(net, torch.rand(1, 1, 16, 16))
    with pytest.raises(oc.InputError, match="input holds several images"):
        kit.assert_reads(net[0], torch.rand(2, 1, 16, 16))


class OnlyAt(nn.Module):
    """Runs on 16 samples and on nothing else."""

    def forward(self, x):
        return x * torch.ones(16).to(x)


def test_a_net_of_one_size_is_not_taken_on_trust():
    with pytest.raises(
        AssertionError,
        match=r"\nsize_verified=True does not hold: the net runs at no other size .*\n    What would help: ",
    ):
        kit.assert_blocking_free(OnlyAt(), (1, 1, 16))
    kit.assert_blocking_free(OnlyAt(), (1, 1, 16), size_verified=False)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"max_context": {"L": 3}}, "max_context={'L': 3} names the axis L; this model is analysed along H, W"),
        ({"causal": ["D"]}, "causal=['D'] names the axis D; this model is analysed along H, W"),
        ({"max_context": 2.5}, "max_context=2.5 is not allowed; expected a whole number, (before, after), "),
        ({"max_context": (1, 2, 3)}, "max_context=(1, 2, 3) is not allowed; "),
        ({"max_context": {"W": (1, True)}}, "max_context={'W': (1, True)} is not allowed; "),
        ({"max_context": {"before": (1, 2)}}, "max_context={'before': (1, 2)} is not allowed; "),
        ({"max_context": {}}, "max_context={} is not allowed; "),
        ({"max_context": {3: 1, "W": 2}}, "max_context={3: 1, 'W': 2} is not allowed; "),
        (
            {"max_tile": {"W": {"left": 3}}},
            "max_tile={'W': {'left': 3}} is not allowed; expected a whole number, (before",
        ),
        ({"max_tile": {"W": 3, "after": 3}}, "max_tile={'W': 3, 'after': 3} is not allowed; "),
        ({"scale": 0.5}, 'scale=0.5 is not allowed; expected a whole number, a Fraction or a text such as "1/16"'),
        ({"scale": "half"}, "scale='half' is not allowed; "),
        ({"scale": Fraction(-1, 2)}, "scale=Fraction(-1, 2) is not allowed; "),
        ({"step": True}, "step=True is not allowed; expected a whole number of at least 1, or one per axis"),
        ({"step": 0}, "step=0 is not allowed; "),
        (
            {"max_receptive_field": (3, 3)},
            "max_receptive_field=(3, 3) is not allowed; expected a whole number of at least 0",
        ),
        ({"causal": "W"}, "causal='W' is not allowed; expected True, False, a list of axes"),
        ({"causal": []}, "causal=[] is not allowed; "),
        ({"max_cone": -1}, "max_cone=-1 is not allowed; "),
        ({"max_skew": 1.5}, "max_skew=1.5 is not allowed; "),
        ({"max_macs_ratio": 0.9}, "max_macs_ratio=0.9 is not allowed; expected a number of at least 1"),
        ({"max_memory": "much"}, "max_memory='much' is not allowed; expected an amount such as"),
        ({"block": 8}, "block=8 is for max_macs_ratio and max_memory, of which none is claimed"),
        ({"schedule": "crop"}, "schedule='crop' is for max_macs_ratio and max_memory, of which none is claimed"),
        ({"schedule": "fast", "max_memory": 1}, "schedule='fast': there are crop, trim, stream"),
    ],
)
def test_claims_without_a_meaning(claim, said):
    with pytest.raises(oc.InputError, match=re.escape(said)):
        kit.assert_blocking_free(nn.Conv2d(1, 1, 3), (1, 1, 16, 16), **claim)


def test_by_blocks():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.MaxPool2d(2)), torch.rand(1, 1, 30, 33)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    for schedule in ("crop", "trim", "stream"):
        assert kit.assert_same_by_blocks(net, x, schedule=schedule).count == 9
    assert kit.assert_same_by_blocks(net, x, block={"W": 8}).axes == ("H", "W")
    assert net.training
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    with pytest.raises(
        oc.InputError, match="block=64 makes 1 block with the schedule crop, so there is nothing to compare"
    ):
        kit.assert_same_by_blocks(net, x, block=64)
    counted = iter(range(1000))
    with pytest.raises(oc.InputError, match="something else every time"):
        kit.assert_same_by_blocks(Each(lambda x: x if torch.compiler.is_compiling() else x + next(counted)), x)


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (torch.rand(1, 1, 9) / 0, {}, "x holds NaN or infinity"),
        ((1, 1, 9), {}, "x holds a int; expected a tensor"),
        (torch.rand(1, 1, 9).numpy(), {}, "x holds a ndarray; expected a tensor"),
        (torch.rand(1, 1, 9), {"axes": []}, "axes=[] names none; these inputs have L"),
        (torch.rand(1, 1, 9), {"dtype": torch.int32}, "dtype=torch.int32: expected a floating type"),
    ],
)
def test_comparisons_that_would_prove_nothing(x, options, said):
    with pytest.raises(oc.InputError, match=re.escape(said)):
        kit.assert_same_by_blocks(nn.Conv1d(1, 1, 3), x, block=3, **options)
    if "dtype" not in options:
        with pytest.raises(oc.InputError, match=re.escape(said)):
            kit.assert_reads(nn.Conv1d(1, 1, 3), x, **options)


class Deep(nn.Module):
    """Forty layers whose far taps are far below a unit in the last place, then, at run time only, one more."""

    def __init__(self, more):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(1, 1, 3, padding=1, bias=False) for _ in range(40))
        self.more = more
        for conv in self.convs:
            nn.init.constant_(conv.weight, 1e-3)
            conv.weight.data[0, 0, 1] = 1

    def forward(self, x):
        for conv in self.convs[: 39 + (self.more and not torch.compiler.is_compiling())]:
            x = conv(x)
        return x


def test_the_twin_sees_what_values_do_not():
    """A net of one layer more than its trace has: its tiles are one sample short, which no value shows."""
    x = torch.rand(1, 1, 300)
    kit.assert_same_by_blocks(Deep(more=False), x)
    kit.assert_same_by_blocks(Deep(more=True), x, twin=False)
    with pytest.raises(AssertionError, match="in integers modulo a prime "):
        kit.assert_same_by_blocks(Deep(more=True), x)


def test_outputs_that_are_no_numbers_and_other_types():
    net, x = Each(lambda x: (nn.functional.avg_pool1d(x, 3, 1, 1) > 0.5, x.round().long())), torch.rand(1, 1, 30)
    assert kit.assert_same_by_blocks(net, x).count == 3
    kit.assert_same_by_blocks(nn.Conv1d(1, 1, 3), x, dtype=torch.float32, tolerance=1e-5)


def test_reads_with_own_weights():
    net = nn.Conv1d(1, 1, 5, padding=2)
    nn.init.zeros_(net.weight)
    kit.assert_reads(net, torch.rand(1, 1, 12))  # weights are no structure
    kit.assert_reads(net, torch.rand(1, 1, 12), own_weights=True)  # too much is not claimed by what only NaN reaches


# ---- the package ------------------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import overlapcalc
assert "overlapcalc.testing" not in sys.modules
import overlapcalc.testing as kit
assert kit.positive and kit.assert_reads
try:
    kit.cnns
except ImportError as error:
    print(error)
"""


def test_without_hypothesis():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == (
        "overlapcalc.testing.cnns needs hypothesis, which is not installed: pip install overlapcalc[test]\n"
    ), done.stderr


def test_all_that_is_named_is_there():
    assert all(getattr(kit, name) is not None for name in kit.__all__)
    assert set(dir(kit)) == set(kit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nets_of_mine'"):
        kit.nets_of_mine  # noqa: B018


# ---- the recipes ------------------------------------------------------------------------------------------


def recipes(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("most", few([3, 1000], 1))
@pytest.mark.parametrize("number", range(6))
def test_recipes(number, most):
    """The Python of docs/testing.md runs as it stands; with fewer examples by `make test`."""
    page = recipes("docs/testing.md")
    page = [re.sub(r"max_examples=(\d+)", lambda said: f"max_examples={min(int(said[1]), most)}", one) for one in page]
    assert len(page) == 6
    space = {"__name__": f"recipe_{number}"}
    try:
        exec(compile(page[number], f"docs/testing.md, {number}", "exec"), space)
        tests = [value for name, value in space.items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test()
    finally:
        if "oc.rule" in page[number]:
            oc.unregister("mylib::blur")


def test_the_readme_shows_the_ten_lines():
    (shown,) = [block for block in recipes("README.md") if "overlapcalc.testing" in block]
    assert shown == recipes("docs/testing.md")[0]


def test_the_message_in_the_docs():
    with pytest.raises(AssertionError) as failed:
        kit.assert_blocking_free(UNet(), SHAPE, max_context={"W": (10, 11)})
    shown = (ROOT / "docs/testing.md").read_text().partition("```\nUNet at ")[2].partition("\n```")[0]
    assert str(failed.value).replace(f"{ROOT}/", "") == f"UNet at {shown}"


def test_claims_about_cones():
    """A convolution of 3x3 reads nine cells; from the row above and to the left alone, four, whose front has skew 2."""
    above = nn.Sequential(nn.ZeroPad2d((1, 1, 1, 0)), nn.Conv2d(1, 1, (1, 3)), nn.ZeroPad2d((0, 0, 0, -1)))
    kit.assert_blocking_free(above, (1, 1, 16, 16), max_cone=3, max_skew=2, causal="raster")
    for claim, said in [
        ({"max_cone": 2}, "max_cone=2 does not hold: 3 cells"),
        ({"max_skew": 1}, "max_skew=1 does not hold: 2"),
    ]:
        with pytest.raises(AssertionError, match=said):
            kit.assert_blocking_free(above, (1, 1, 16, 16), **claim)
    with pytest.raises(AssertionError, match="causal='raster' does not hold"):
        kit.assert_blocking_free(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 16, 16), max_cone=9, causal="raster")


def test_by_passes():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.GroupNorm(1, 2)), torch.rand(1, 1, 30, 33)
    plan = kit.assert_same_by_blocks(net, x, schedule="passes")
    assert (plan.count, plan.stream_axis, len(plan.passes.each)) == (3, "W", 2)
    assert kit.assert_same_by_blocks(net, x, schedule="passes", stream_axis="H", block=7).count == 5
    with pytest.raises(AssertionError, match="blocking-free does not hold"):
        kit.assert_same_by_blocks(net, x)
    with pytest.raises(oc.InputError, match="nothing to compare"):
        kit.assert_same_by_blocks(net, x, schedule="passes", block=99)


def test_what_runs_is_asserted():
    net = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.GroupNorm(1, 2))
    assert kit.assert_runs(net, (1, 1, 30, 33), max_passes=2).runs["H"].passes == 2
    kit.assert_runs(net[0], (1, 1, 30, 33), {"H": "tiles", "W": "tiles"})
    kit.assert_runs(net, (1, 1, 64, 33), max_memory="200KiB", max_disk=0, disk=0, block=4)
    with pytest.raises(AssertionError, match="runs='tiles' does not hold") as caught:
        kit.assert_runs(net, (1, 1, 30, 33), "tiles")
    assert "group_norm is a reduction" in str(caught.value)
    with pytest.raises(AssertionError, match="it is better than claimed"):
        kit.assert_runs(net[0], (1, 1, 30, 33), "passes")
    with pytest.raises(AssertionError, match="max_passes=1 does not hold"):
        kit.assert_runs(net, (1, 1, 30, 33), max_passes=1)
    with pytest.raises(AssertionError, match="max_memory=1000 does not hold"):
        kit.assert_runs(net, (1, 1, 30, 33), max_memory=1000, block=4)
    with pytest.raises(oc.InputError, match="runs='fast' is not allowed"):
        kit.assert_runs(net, (1, 1, 30, 33), "fast")


def test_a_wrong_reduction_is_found_by_passes():
    from dataclasses import replace

    from overlapcalc.ops import registry
    from overlapcalc.ops.parts import reduction_of

    net, x = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.GroupNorm(1, 2)), torch.rand(1, 1, 30, 33)
    with registry.kept():
        parts = replace(reduction_of("aten::group_norm"), combine=lambda a, b: a)
        registry._OPERATORS["aten::group_norm"] = replace(registry.known_of("aten::group_norm"), parts=parts)
        with pytest.raises(AssertionError, match="schedule passes") as caught:
            kit.assert_same_by_blocks(net, x, schedule="passes")
    assert "bands have at most 11 samples" in str(caught.value)
