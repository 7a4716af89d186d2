"""The library's contract: several inputs and outputs, errors, the model left alone, rules of users."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import TwoScales
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import THOROUGH
from torch import nn

import overlapcalc as oc
import overlapcalc.testing as kit
from overlapcalc.analysis import analyze as analysis_module
from overlapcalc.planning.options import BLOCKING_OPTIONS


def test_several_inputs_and_outputs():
    a = oc.analyze(TwoScales(), [(1, 3, 64, 80), (1, 4, 8, 10)])
    assert list(a.inputs) == ["image", "latents"]
    assert len(a.outputs) == 2
    with pytest.raises(oc.AmbiguousPair, match="output0, output1"):
        a["W"]
    with pytest.raises(oc.AmbiguousPair, match="image, latents"):
        a.between(output=0)
    fine = a.between(output=0, input="image")["W"]
    assert fine.scale == 4
    assert a.between(output=1, input=1)["W"].scale == 1
    assert tuple(a.between(output=1, input="latents")["W"].context) == (1, 1)
    grid = a.grid["W"]
    assert (grid.step["image"], grid.step[1], grid.out_step[0], grid.out_step["output1"]) == (8, 1, 2, 1)
    assert (fine.step, fine.out_step) == (8, 2)
    with pytest.raises(oc.InputError, match="output='none'"):
        a.between(output="none", input=0)


def test_tiles_of_several_inputs_belong_together():
    """One tile per input, cut at the same places of the joint grid; the net on them gives the block."""
    net = healthy(TwoScales(), 0)
    image, latents = torch.rand(1, 3, 16, 96, dtype=torch.float64), torch.rand(1, 4, 2, 12, dtype=torch.float64)
    whole = net(image, latents)["fine"]
    a = oc.analyze(net, [image, latents])
    first, second = (a.between(output=0, input=i)["W"] for i in (0, 1))
    s, t = first.tile_span(10, 14), second.tile_span(10, 14)
    assert (s.start // 8, s.stop // 8) == (t.start, t.stop)
    part = net(image[..., s.start : s.stop], latents[..., t.start : t.stop])["fine"]
    offset = 10 - t.start * 2
    assert (part[..., offset : offset + 4] - whole[..., 10:14]).abs().max() <= 1e-12 * whole.abs().max()
    shorter = net(image[..., s.start + 8 : s.stop], latents[..., t.start + 1 : t.stop])["fine"]
    assert (shorter[..., offset - 2 : offset + 2] - whole[..., 10:14]).abs().max() > 1e-6 * whole.abs().max()


class Conditioned(nn.Module):
    """The second input is pooled to one vector: an obstacle for it, none for the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x, style):
        return self.conv(x) * style.mean((2, 3), keepdim=True)


def test_an_obstacle_belongs_to_its_pair():
    a = oc.analyze(Conditioned(), [(1, 3, 32, 32), (1, 4, 20, 20)])
    assert not a.blocking_free
    assert tuple(a.between(input="x")["W"].context) == (1, 1)
    with pytest.raises(oc.ObstacleError, match="mean over the whole axis"):
        a.between(input="style")["W"]


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv1d(1, 1, 3)

    def forward(self, x):
        return self.shared(self.shared(x))


def test_shared_modules_are_told_apart():
    rows = oc.analyze(Siamese(), (1, 1, 40)).layers
    assert [r.name for r in rows] == ["shared", "shared#2"]
    assert rows[1].inputs == ("shared",)
    assert [r["L"].receptive_field for r in rows] == [(3, 3), (5, 5)]
    assert (rows[1]["L"].added.before, rows[1]["L"].added.after) == (0, 2)


def test_rows():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))

        def forward(self, x):
            h = self.body(x)
            return torch.cat([h, F.relu(h) + h], 1)

    rows = oc.analyze(Net(), (1, 3, 32, 48)).layers
    assert [(r.name, r.op, r.inputs) for r in rows] == [
        ("body.0", "aten::conv2d", ("x",)),
        ("body.2", "aten::conv2d", ("body.0",)),
        ("add", "aten::add", ("body.2",)),
        ("cat", "aten::cat", ("body.2", "add")),
    ]
    assert rows[0].detail == {"kernel": 5, "stride": 2, "padding": 2}
    w = rows[1]["W"]
    assert (w.size, w.scale, w.receptive_field, w.before, w.after) == (24, Fraction(2), (9, 9), 4, 3)


class Stateful(nn.Module):
    """Writes to itself in forward, in training mode, with dropout and batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv1d(1, 2, 3, padding=1), nn.BatchNorm1d(2), nn.Dropout(0.5)
        self.calls, self.last = 0, None
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.last = x
        self.seen += 1
        return self.drop(self.norm(self.conv(x)))


def test_the_model_is_left_as_it_was():
    net = Stateful().train()
    net.norm.eval()
    before = copy.deepcopy(net.state_dict())
    modes = {n: m.training for n, m in net.named_modules()}
    a = oc.analyze(net, (1, 1, 20))
    assert a.blocking_free  # analysed in eval mode
    assert {n: m.training for n, m in net.named_modules()} == modes
    assert (net.calls, net.last) == (0, None)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_no_weights_are_read_and_no_forward_pass_is_run():
    """Weights that are all NaN, and a net far too large to run here, change nothing."""
    net = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.Conv2d(8, 8, 3, padding=1))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(float("nan"))
    w = oc.analyze(net, (1, 3, 200_000, 200_000))["W"]
    assert tuple(w.context) == (4, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types(dtype):
    assert oc.analyze(nn.Conv1d(1, 1, 3).to(dtype), (1, 1, 9))["L"].receptive_field == (3, 3)


def test_batches():
    assert oc.analyze(nn.Conv1d(1, 1, 3), (5, 1, 9))["L"].receptive_field == (3, 3)


def test_frozen():
    a = oc.analyze(nn.Conv1d(1, 1, 3), (1, 1, 9))
    with pytest.raises(dataclasses.FrozenInstanceError):
        a["L"].step = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.axes = ()


def test_to_dict_is_plain_data():
    a = oc.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), (1, 3, 32, 32))
    data = json.loads(json.dumps(a.to_dict()))
    assert data["blocking_free"] is False
    assert {o["cause"] for o in data["obstacles"]} == {"global"}
    assert data["pairs"][0]["axes"]["W"]["obstacles"][0]["layer"] == "1"
    decoder = oc.analyze(nn.ConvTranspose1d(1, 1, 16, 16), (1, 1, 9)).to_dict()
    assert decoder["pairs"][0]["axes"]["L"]["scale"] == "1/16"


@pytest.mark.parametrize(
    ("model", "inputs", "axes", "words"),
    [
        (nn.Conv2d, (1, 3, 8, 8), None, "an instance, not a class"),
        (nn.Conv2d(3, 3, 3), (1, 3, 0, 8), None, "at least 1"),
        (nn.Conv2d(3, 3, 3), "1x3x8x8", None, "expected a shape"),
        (nn.Conv2d(3, 3, 3), (1, 3), None, "no spatial axis"),
        (nn.Conv2d(3, 3, 3), (1, 3, 8, 8), "L", "axis 'L'"),
        (nn.Conv2d(3, 3, 3), [(1, 3, 8, 8)] * 2, None, "takes 1 input, 2 given"),
    ],
)
def test_bad_input(model, inputs, axes, words):
    with pytest.raises(oc.InputError, match=words):
        oc.analyze(model, inputs, axes=axes)


def test_an_unknown_option_is_wrong_input():
    net, x = nn.Conv2d(1, 1, 3), torch.rand(1, 1, 8, 8)
    for call in (oc.run, oc.tiled, lambda *given, **options: list(oc.blocks(*given, **options))):
        with pytest.raises(oc.InputError, match="'blok' is no option; there are block, schedule"):
            call(net, x, blok=8)
    for call in (oc.plan, oc.verify, kit.assert_blocking_free, kit.assert_same_by_blocks):
        with pytest.raises(oc.InputError, match="'blok' is no option; there are ") as refused:
            call(net, x, blok=8)
        named = [p.name for p in inspect.signature(call).parameters.values() if p.kind is p.KEYWORD_ONLY]
        said = str(refused.value).partition("there are ")[2].split(", ")
        assert set(said) - set(named) in ({"block", "schedule", "stream_axis"}, set(BLOCKING_OPTIONS))
        assert set(named) <= set(said)


@pytest.mark.parametrize(
    ("given", "way"),
    [({"inputs": (1, 1, 9)}, "at"), ({"axes": "L"}, "to analyze"), ({"layout": "NCL"}, "to analyze")],
)
def test_what_an_analysis_has_answered_is_not_asked_again(given, way):
    net = nn.Conv1d(1, 1, 3, padding=1)
    found = oc.analyze(net, (1, 1, 8))
    (name,) = given
    calls = [lambda: oc.plan(found, **given)]
    if name != "inputs":  # that is where verify takes the analysis itself
        calls.append(lambda: oc.verify(net, found, **given))
    for call in calls:
        with pytest.raises(oc.InputError, match=f"^an Analysis has its {name} already; .*{way}"):
            call()


def test_the_same_net_at_other_shapes(monkeypatch):
    traces = []
    trace = analysis_module.trace
    monkeypatch.setattr(analysis_module, "trace", lambda *given: traces.append(given) or trace(*given))
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 4, 2, 1))
    shape, other = (1, 3, 16, 24), (1, 3, 33, 40)
    a = oc.analyze(model, shape, axes="W")
    moved = a.at(other)
    assert moved.to_dict() == oc.analyze(model, other, axes="W").to_dict()
    assert a.at(shape) is a
    before = len(traces)
    assert a.at(other) == moved == a.at(shape).at(other)
    assert moved.at(shape) == a
    assert len(traces) == before
    for wrong in ((), (other, other), ((3, 33, 40),)):
        with pytest.raises(oc.InputError, match="one for each input"):
            a.at(*wrong)


def test_the_names_are_the_public_ones():
    assert set(dir(oc)) == set(oc.__all__)
    assert all(hasattr(oc, name) for name in dir(oc))


def test_bad_questions():
    a = oc.analyze(nn.Conv1d(1, 1, 3, 2, 1), (1, 1, 40))
    w = a["L"]
    with pytest.raises(oc.InputError, match="start < stop"):
        w.reads(3, 3)
    with pytest.raises(oc.InputError, match="samples \\[0, 20\\)"):
        w.reads(0, 21, size=40)
    with pytest.raises(oc.InputError, match="no axis 'H'"):
        a["H"]
    with pytest.raises(oc.InputError, match="size=0"):
        w.reads(0, 1, size=0)
    assert w.reads(-5, 3) == oc.Span(-11, 6)  # the law of the interior holds for any outputs


def test_reads_at_another_size():
    w = oc.analyze(nn.Conv1d(1, 1, 5, 2, 2), (1, 1, 40))["L"]
    net = healthy(nn.Conv1d(1, 1, 5, 2, 2), 0)
    for n in (33, 40, 58):
        truth = Dependency(net, torch.rand(1, 1, n, dtype=torch.float64), 2)
        for o in range(truth.out_size):
            assert tuple(w.reads(o, o + 1, size=n)) == truth.hull(o, o + 1)


@torch.library.custom_op("overlapcalc_test::blur5", mutates_args=())
def blur5(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool1d(x, 5, 1, 2)


@blur5.register_fake
def _(x):
    return torch.empty_like(x)


class Blurred(nn.Module):
    def forward(self, x):
        return torch.relu(torch.ops.overlapcalc_test.blur5(x))


def test_an_operator_without_a_rule_is_refused_until_it_has_one():
    with pytest.raises(
        oc.UnknownOperatorError, match=r"overlapcalc_test::blur5 in blur5 at .*test_api.py:\d+"
    ) as refusal:
        oc.analyze(Blurred(), (1, 1, 20))
    assert "overlapcalc.rule" in str(refusal.value)

    @oc.rule("overlapcalc_test::blur5")
    def _(call):
        return call.local({-1: oc.IndexMap.window(5, padding=2)})

    try:
        a = oc.analyze(Blurred(), (1, 1, 20))
        assert tuple(a["L"].context) == (2, 2)
        assert [r.name for r in a.layers] == ["blur5"]
        with pytest.raises(oc.RuleError, match="already has a rule"):
            oc.rule(torch.ops.overlapcalc_test.blur5)(lambda call: call.identity())
    finally:
        oc.unregister("overlapcalc_test::blur5")
    with pytest.raises(oc.UnknownOperatorError):
        oc.analyze(Blurred(), (1, 1, 20))


def test_a_rule_that_forgets_an_axis_is_refused():
    from overlapcalc.ops.law import DimRead, Law, Link

    @oc.rule("overlapcalc_test::blur5")
    def _(call):
        return Law((Link(0, (DimRead(0, 0, oc.IndexMap.identity()), DimRead(1, 1, oc.IndexMap.identity()))),))

    try:
        with pytest.raises(oc.RuleError, match="must stand exactly once"):
            oc.analyze(Blurred(), (1, 1, 20))
    finally:
        oc.unregister("overlapcalc_test::blur5")


class Many(nn.Module):
    def forward(self, x):
        return (
            torch.linalg.solve_triangular(x, x, upper=True)
            + torch.cholesky_inverse(x)
            + torch.linalg.solve_triangular(x.mT, x, upper=True)
        )


def test_all_unknown_operators_at_once():
    with pytest.raises(oc.UnknownOperatorError) as refusal:
        oc.analyze(Many(), (1, 1, 8, 8))
    assert str(refusal.value).count("aten::linalg_solve_triangular") == 2
    assert "aten::cholesky_inverse" in str(refusal.value)


LSTM = nn.LSTM(4, 4)

OBSTACLES = [
    ("group norm", nn.GroupNorm(2, 4), "global"),
    ("instance norm", nn.InstanceNorm2d(4), "global"),
    ("batch norm without statistics", nn.BatchNorm2d(4, track_running_stats=False), "global"),
    pytest.param("layer norm over space", nn.LayerNorm((16, 16)), "global", marks=THOROUGH),
    ("softmax over space", nn.Softmax(dim=-1), "global"),
    ("mean", lambda x: x - x.mean((2, 3), keepdim=True), "global"),
    ("squeeze-excite by full pooling", lambda x: x * F.avg_pool2d(x, x.shape[2:]).sigmoid(), "size-dependent"),
    ("squeeze-excite by view", lambda x: x * x.view(1, 4, -1).mean(2).view(1, 4, 1, 1), "global"),
    ("norm over space", lambda x: x / x.norm(dim=(2, 3), keepdim=True), "global"),
    ("adaptive pooling", nn.AdaptiveMaxPool2d(4), "adaptive-pooling"),
    ("align_corners", nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align-corners"),
    ("fixed size", nn.Upsample(size=(20, 20)), "size-dependent"),
    ("roll", lambda x: x.roll(1, 3), "reorder"),
    ("flip", lambda x: x + x.flip(3), "reorder"),
    ("circular", nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "circular-padding"),
    ("cat on space", lambda x: torch.cat([x, x], 3), "concatenation"),
    ("cumsum", lambda x: x.cumsum(3), "global"),
    ("random", lambda x: x + torch.rand_like(x), "random"),
    ("dropout always", lambda x: F.dropout(x, training=True), "random"),
    ("leaky at random", lambda x: F.rrelu(x, training=True), "random"),
    ("position", lambda x: x + torch.arange(x.shape[3]), "absolute-position"),
    ("gather", lambda x: x.gather(3, x.argsort(3)), "data-dependent-indexing"),
    ("halves padded to whole", lambda x: F.pad(F.avg_pool2d(x, 2), (0, x.shape[3] // 2, 0, x.shape[2] // 2)) + x,
     "size-dependent"),
    ("scales", lambda x: _mismatched(x), "scale-mismatch"),
    ("spatial transpose", lambda x: x + x.transpose(2, 3), "axes-mixed"),
    ("attention", lambda x: F.scaled_dot_product_attention(x, x, x), "global"),
    pytest.param("linear over space", nn.Linear(16, 16), "global", marks=THOROUGH),
    ("select", lambda x: x[:, :, 3], "selection"),
    pytest.param("LSTM", lambda x: LSTM(x.mean(2).permute(2, 0, 1))[0].permute(1, 2, 0).unsqueeze(2) + x, "global",
                 marks=THOROUGH),
    pytest.param("a loop over columns", lambda x: torch.stack([x[..., i].tanh() for i in range(x.shape[3])], 3),
                 "selection", marks=THOROUGH),
    ("written rows", lambda x: _written_rows(x), "absolute-position"),
]  # fmt: skip


def _mismatched(x):
    """Runs at one size only, where two scales happen to have one length."""
    assert x.shape[2:] == (16, 16)
    return F.pad(F.avg_pool2d(x, 2), (0, 8, 0, 8)) + x


def _written_rows(x):
    y = x * 2
    y[:, :, 2:4] = 0.0 * x[:, :, :2]
    return y


class Call(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(("name", "what", "cause"), OBSTACLES, ids=[getattr(o, "values", o)[0] for o in OBSTACLES])
def test_obstacles(name, what, cause):
    if name == "batch norm without statistics" and torch.__version__ < "2.7":
        pytest.skip("torch.export fails on it: IndexError inside torch")
    net = what if isinstance(what, nn.Module) else Call(what)
    a = oc.analyze(net, (1, 4, 16, 16))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}, a.obstacles
    assert all(o.layer and o.message and o.help for o in a.obstacles)
    with pytest.raises(oc.ObstacleError):
        assert a[a.obstacles[0].axis].context is None  # a running sum says how far ahead it reads, and no more


class PadRunCrop(nn.Module):
    """Pads to a multiple of four, runs, crops back: the crop vanishes where nothing was padded, and with it a name."""

    def forward(self, x):
        p = F.pad(x, (0, -x.shape[2] % 4))
        y = F.avg_pool1d(p, 4, 4).repeat_interleave(4, 2)[:, :, : x.shape[2]]
        return F.avg_pool1d(y, 3, 1, 1)[:, :, 1:]


@pytest.mark.parametrize("analysed", [16, 13])
@pytest.mark.parametrize("size", [12, 13, 15, 16])
def test_reads_at_a_size_where_nodes_have_other_names(analysed, size):
    w = oc.analyze(PadRunCrop(), (1, 1, analysed))["L"]
    truth = Dependency(PadRunCrop(), torch.rand(1, 1, size, dtype=torch.float64) + 0.1, 2)
    for o in range(size - 1):
        said = w.reads(o, o + 1, size=size)
        assert (None if said is None else (said.start, said.stop)) == truth.hull(o, o + 1)


def test_an_input_that_torch_cannot_hold_is_refused():
    with pytest.raises(oc.TraceError, match="inputs of 1x3x4000000000x4000000000 are more than torch can hold"):
        oc.analyze(nn.Conv2d(3, 3, 3), (1, 3, 4_000_000_000, 4_000_000_000))


def test_sizes_are_whole_numbers_of_any_kind():
    numpy = pytest.importorskip("numpy")
    net, shape = nn.Conv2d(3, 3, 3, padding=1), (1, 3, 16, 12)
    counted = tuple(numpy.array(shape))
    a = oc.analyze(net, counted)
    assert a.inputs["input"] == shape
    assert {type(n) for n in (*a.inputs["input"], *a.at((1, 3, numpy.int32(9), 12)).inputs["input"])} == {int}
    assert oc.tiled(net, block=8).plan(counted).inputs["input"] == shape
    for call in (lambda s: oc.analyze(net, s), a.at, oc.tiled(net, block=8).plan):
        with pytest.raises(oc.InputError, match=r"^shape \(1, 3, 64\.0, 64\): 64\.0 is not a whole number$"):
            call((1, 3, 64.0, 64))
        with pytest.raises(oc.InputError, match=r"^input shape \(1, 3, 0, 64\): expected sizes of at least 1"):
            call((1, 3, 0, 64))
