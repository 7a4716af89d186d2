"""`features`: what comes before the obstacles; `local`: what remains beside them. Against nets that have no obstacles,
and against brute force on nets whose global part is held fixed."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import draw_shape, same_on
from shared.commands import ROOT, run
from shared.literature import ResidualStride, UNet, g_a
from shared.nets import CONV, Net, healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.algebra.spans import Spans
from overlapcalc.propagate.backward import interior


class Head(nn.Module):
    """A body with a classifier behind it."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.body, self.fc = body, nn.Linear(channels, 7)

    def forward(self, x):
        return self.fc(self.body(x).mean(tuple(range(2, x.dim()))))


def alike(a: oc.AxisAnalysis, b: oc.AxisAnalysis) -> None:
    for name in (
        "scale",
        "receptive_field",
        "reach",
        "step",
        "out_step",
        "context",
        "tile",
        "exact",
        "size",
        "out_size",
    ):
        assert getattr(a, name) == getattr(b, name), name


def drawn(seed: int) -> tuple[Net, nn.Module, torch.Tensor]:
    """The net of a seed that runs, has no obstacles and does not give too much, in float64."""
    rng = random.Random(seed)
    for _ in range(200):
        net = Net(lambda low, high: rng.randint(low, high))
        torch.manual_seed(seed)
        x = torch.rand(draw_shape(net, rng), dtype=torch.float64) + 0.1
        model = healthy(net.module, seed)
        with contextlib.suppress(RuntimeError, ValueError, AssertionError), torch.no_grad():
            y = model(x)
            if y.isfinite().all() and 0 < y.numel() <= 20_000 and oc.analyze(model, x).blocking_free:
                return net, model, x
    raise RuntimeError(f"seed {seed}: no net ran")


# ---- features -------------------------------------------------------------------------------------------------


def test_a_local_net_is_its_own_features():
    a = oc.analyze(UNet(), (1, 3, 64, 64))
    assert a.features is a
    assert a.to_dict()["features"] is None


@pytest.mark.parametrize(("body", "channels", "out"), few([(g_a, 3, 4), (UNet, 3, 3)], 1))
def test_a_head_does_not_spoil_what_comes_before(body, channels, out):
    net = body()
    a, alone = oc.analyze(Head(net, out), (1, channels, 128, 96)), oc.analyze(net, (1, channels, 128, 96))
    assert not a.blocking_free
    features = a.features
    assert features.blocking_free
    (name,) = features.outputs
    assert name.startswith("body.")
    assert features.outputs[name] == alone.outputs["output"]
    for axis in ("H", "W"):
        alike(features[axis], alone[axis])
        step, size = alone[axis].step, alone[axis].size
        block = (2 * alone[axis].out_step, 3 * alone[axis].out_step)
        assert features[axis].tile_span(*block) == alone[axis].tile_span(*block)
        assert features[axis].reads(*block, size=size + step) == alone[axis].reads(*block, size=size + step)
    assert features.size_verified
    with pytest.raises(oc.ObstacleError):
        a["W"]


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("seed", few(range(8), 3))
def test_heads_on_drawn_nets(seed):
    net, model, x = drawn(seed)
    a = oc.analyze(Head(model, net.out_channels).double(), x)
    alone = oc.analyze(model, x)
    if not a.features.outputs:
        assert len(list(model.modules())) <= 2  # nothing but one operator that changes nothing
        return
    assert len(a.features.outputs) == 1
    for place, axis in enumerate(alone.axes):
        alike(a.features[axis], alone[axis])
        w = a.features[axis]
        if w.out_step is None or model(x).shape[2 + place] < 2 * w.out_step:
            continue
        tile = w.tile_span(w.out_step, 2 * w.out_step)
        assert same_on(model, x, model(x), 2 + place, tile, w.out_step, 2 * w.out_step, w)


class Excite(nn.Module):
    """Squeeze-and-excitation, with a convolution on either side."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 5, padding=2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1), nn.Sigmoid())

    def forward(self, x):
        y = self.before(x)
        return x + self.after(y * self.gate(y))


def test_the_last_tensor_on_each_way():
    """The skip leaves earlier than the tensor that is squeezed, and lies on the way to it: one tensor is last."""
    net = nn.Sequential(ResidualStride(3, 4), Excite(4), Excite(4))
    a = oc.analyze(net, (1, 3, 32, 32))
    assert list(a.features.outputs) == ["1.before"]
    alike(a.features["W"], oc.analyze(nn.Sequential(net[0], net[1].before), (1, 3, 32, 32))["W"])


class Pyramid(nn.Module):
    """Branches beside an image-pooling branch, as in ASPP: each of them is a last tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.one, self.wide = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=6, dilation=6)
        self.relu, self.join = nn.ReLU(), nn.Conv2d(12, 2, 1)

    def forward(self, x):
        x = self.relu(self.stem(x))
        pooled = x.mean((2, 3), keepdim=True).expand_as(x)
        return self.join(torch.cat([F.relu(self.one(x)), F.relu(self.wide(x)), pooled], 1))


def test_several_last_tensors():
    a = oc.analyze(Pyramid(), (1, 3, 64, 64))
    assert list(a.features.outputs) == ["one", "wide"]
    with pytest.raises(oc.AmbiguousPair):
        a.features["W"]
    wide = a.features.between("wide")["W"]
    # stem k3 s2 p1 reads 1 before; the dilated one reaches 6 samples of scale 2 further, on both sides
    assert tuple(wide.context) == (1 + 6 * 2, 6 * 2)
    assert a.features.grid["W"].step["x"] == 2


def test_the_grid_is_that_of_the_part():
    """Behind the obstacle the net goes down to a sixteenth; what comes before it stays on every second sample."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.gate, self.deep = nn.Conv2d(3, 4, 3, 2, 1), Excite(4), g_a(4)
            self.mix = nn.Conv2d(4, 3, 1)

        def forward(self, x):
            return self.deep(self.mix(self.gate(self.stem(x))))

    a = oc.analyze(Net(), (1, 3, 128, 128))
    assert a.grid["W"].step["x"] == 32
    assert a.features["W"].step == 2


def test_nothing_before_the_first_operator():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    a = oc.analyze(net, (1, 3, 32, 32))
    assert dict(a.features.outputs) == {}
    assert not a.features.blocking_free  # nothing is claimed of nothing
    assert a.features.pairs == ()
    with pytest.raises(oc.InputError, match="no output to ask about"):
        a.features["W"]
    assert a.to_dict()["features"]["outputs"] == {}
    assert a.features.features is a.features


def test_only_the_requested_axes_count():
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(x).mean(2, keepdim=True)

    assert oc.analyze(Rows(), (1, 3, 16, 16), axes="W").features["W"].output == "output"
    both = oc.analyze(Rows(), (1, 3, 16, 16)).features
    assert list(both.outputs) == ["conv"]
    assert tuple(both["W"].context) == (1, 1)


def test_several_inputs_and_outputs():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, 2, 2)

        def forward(self, x, style):
            y, s = self.a(x), self.b(style)
            return y * s.mean((2, 3), keepdim=True), y

    a = oc.analyze(Net(), [(1, 3, 32, 32), (1, 3, 20, 20)])
    assert list(a.features.outputs) == ["a", "b"]
    assert tuple(a.features.between("b", "style")["W"].context) == (2, 1)
    assert a.features.between("b", "x")["W"].context is None
    assert a.between(0, "x")["W"].context.total == 2  # x has no obstacle of its own


def test_parts_of_channels_are_not_taken_for_the_whole():
    """The pooled tensor is one part of a cat: it reads 3, the whole 9."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nine, self.three = nn.Conv1d(1, 2, 9, padding=4), nn.Conv1d(1, 2, 3, padding=1)

        def forward(self, x):
            return torch.cat([self.nine(x), self.three(x)], 1).chunk(2, 1)[1].mean(2)

    (w,) = (pair["L"] for pair in oc.analyze(Net(), (1, 1, 64)).features.pairs)
    assert w.receptive_field == (3, 3)


def test_other_operators_at_other_sizes():
    """The net branches on the size behind its second layer; the part before that is verified by itself."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, 2, 1)

        def forward(self, x):
            y = self.two(self.one(x))
            return y.sigmoid() if x.shape[2] == 64 else y.tanh().abs()

    a = oc.analyze(Net(), (1, 1, 64))
    assert not a.blocking_free
    assert list(a.features.outputs) == ["two"]
    alike(a.features["L"], oc.analyze(nn.Sequential(Net().one, Net().two), (1, 1, 64))["L"])


def test_features_of_features_are_free():
    """Padding that depends on the size, in front of a branch on the size: the first cut shows a second obstacle."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            y = F.pad(self.one(x), (x.shape[2] // 13, 0))
            return self.two(y).sigmoid() if x.shape[2] == 64 else self.two(y).tanh().abs()

    a = oc.analyze(Net(), (1, 1, 64))
    assert a.features.blocking_free
    assert list(a.features.outputs) == ["one"]


# ---- local ----------------------------------------------------------------------------------------------------


class Held(nn.Module):
    """Gives what it gave for the whole image, whatever it is fed."""

    def __init__(self, kept: torch.Tensor) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, x):
        return self.kept


class Affine(nn.Module):
    """A group norm whose statistics are those of the whole image."""

    def __init__(self, norm: nn.GroupNorm, x: torch.Tensor) -> None:
        super().__init__()
        flat = x.reshape(1, norm.num_groups, -1)
        mean, var = flat.mean(2), flat.var(2, unbiased=False)
        each = x.shape[1] // norm.num_groups
        scale = (var + norm.eps).rsqrt().repeat_interleave(each, 1)
        shift = -mean.repeat_interleave(each, 1) * scale
        ones = [1] * (x.dim() - 2)
        self.scale = (scale * norm.weight).reshape(1, -1, *ones)
        self.shift = (shift * norm.weight + norm.bias).reshape(1, -1, *ones)

    def forward(self, x):
        return x * self.scale + self.shift


def held(net: nn.Module, x: torch.Tensor) -> nn.Module:
    """A copy of the net whose modules called `gate` and group norms compute from the whole image x, once and for all."""
    twin, seen = copy.deepcopy(net), {}
    for name, module in net.named_modules():
        if name.split(".")[-1] == "gate" or isinstance(module, nn.GroupNorm):
            module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: (i[0].detach(), o.detach())}))
    with torch.no_grad():
        whole = net(x)
    for name, (given, gave) in seen.items():
        module = net.get_submodule(name)
        module._forward_hooks.clear()
        parent, _, last = name.rpartition(".")
        setattr(
            twin.get_submodule(parent), last, Affine(module, given) if isinstance(module, nn.GroupNorm) else Held(gave)
        )
    with torch.no_grad():
        assert (twin(x) - whole).abs().max() <= 1e-9 * whole.abs().max()  # the same net, but for what it depends on
    return twin


def agrees(w: oc.LocalAxis, truth: Dependency) -> int:
    margin, seen = w.receptive_field[1] + 12, 0
    for o in range(truth.out_size):
        said = w.reads(o, o + 1)
        if said is not None and said.start >= margin and said.stop <= truth.size - margin:
            real = truth.hull(o, o + 1)
            seen += 1
            assert (said.start, said.stop) == real if w.exact else (said.start <= real[0] and real[1] <= said.stop)
    for u in range(truth.out_size // w.out_step):
        first, last = u * w.step - w.context.before, (u + 1) * w.step + w.context.after
        if first >= margin and last <= truth.size - margin and w.exact:
            assert truth.hull(u * w.out_step, (u + 1) * w.out_step) == (first, last)
    return seen


class Normed(nn.Module):
    """A small U-Net with group norms."""

    def __init__(self, c: int = 4) -> None:
        super().__init__()
        self.a, self.n1 = nn.Conv2d(3, c, 3, padding=1), nn.GroupNorm(2, c)
        self.b, self.n2 = nn.Conv2d(c, c, 5, 2, 2), nn.GroupNorm(1, c)
        self.up, self.c = nn.ConvTranspose2d(c, c, 4, 2, 1), nn.Conv2d(2 * c, 3, 3, padding=1)

    def forward(self, x):
        a = F.softplus(self.n1(self.a(x)))
        return self.c(torch.cat([self.up(F.softplus(self.n2(self.b(a)))), a], 1))


class Attended(nn.Module):
    """Channel attention by a matrix of the whole image, added to the map; a strided way round it."""

    def __init__(self, c: int = 3) -> None:
        super().__init__()
        self.conv, self.gate, self.down = nn.Conv2d(c, c, 5, padding=2), ChannelAttention(), nn.Conv2d(c, c, 3, 2, 1)

    def forward(self, x):
        y = self.conv(x)
        return self.down(y + self.gate(y))


class ChannelAttention(nn.Module):
    def forward(self, x):
        return x.amax((2, 3), keepdim=True) * x.mean(1, keepdim=True).mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    "build",
    few([Attended, lambda: nn.Sequential(ResidualStride(3, 4), Excite(4), Excite(4)), Normed], 1),
    ids=["attention", "squeeze-excite", "group norm"],
)
def test_the_window_beside_the_obstacles(build):
    net = healthy(build(), 0)
    x = torch.rand(1, 3, 200, 22, dtype=torch.float64) + 0.1
    a = oc.analyze(net, x)
    assert not a.blocking_free
    w = a.local["H"]
    frozen = held(net, x)
    assert w.exact
    assert agrees(w, Dependency(frozen, x, 2)) > 20
    alone = oc.analyze(frozen, x)["H"]
    assert (w.scale, w.step, w.out_step, w.context) == (alone.scale, alone.step, alone.out_step, alone.context)
    assert (w.receptive_field, w.reach) == (alone.receptive_field, alone.reach)
    assert all(w.reads(s, s + n) == alone.reads(s, s + n) for s in range(-9, 9) for n in (1, 2, 5))
    assert not hasattr(w, "tile_span")
    assert not hasattr(w, "tile")
    with pytest.raises(oc.ObstacleError):
        a["H"]


class Gated(nn.Module):
    """Two nets with a gate between them that looks at the whole image, and a way round the gate."""

    def __init__(self, first: nn.Module, mid: int, second: nn.Module, channels: int, n: int, around: bool) -> None:
        super().__init__()
        self.first, self.second, self.gate, self.around = first, second, Squeeze(), around
        self.fit = CONV[n](mid, channels, 1)

    def forward(self, x):
        y = self.first(x)
        z = y * self.gate(y)
        return self.second(self.fit(y + z if self.around else z))


class Squeeze(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x.mean(tuple(range(2, x.dim())), keepdim=True))


@pytest.mark.parametrize("seed", few(range(14), (2, 6, 8, 13)))
def test_gates_in_drawn_nets(seed):
    rng = random.Random(seed)
    for _ in range(200):
        first = Net(lambda low, high: rng.randint(low, high), axes=rng.choice((1, 1, 2)), depth=rng.randint(1, 3))
        second = Net(lambda low, high: rng.randint(low, high), axes=first.n, depth=rng.randint(1, 3))
        net = healthy(
            Gated(first.module, first.out_channels, second.module, second.channels, first.n, rng.random() < 0.5), seed
        )
        x = torch.rand(draw_shape(first, rng), dtype=torch.float64) + 0.1
        with contextlib.suppress(RuntimeError, ValueError, AssertionError), torch.no_grad():
            y = net(x)
            if (
                y.isfinite().all()
                and 0 < y.numel() <= 20_000
                and min(y.shape[2:]) >= 4
                and min(net.first(x).shape[2:]) > 1
            ):
                break
    a, frozen = oc.analyze(net, x), held(net, x)
    plain = oc.analyze(frozen, x)
    for place, axis in enumerate(a.axes):
        w = a.local[axis]
        if plain.between().obstacles(axis):
            continue
        alone = plain[axis]
        if alone.context is None:
            assert w is None or w.context is None
            continue
        assert (w.scale, w.context, w.receptive_field) == (alone.scale, alone.context, alone.receptive_field)
        assert not w.exact or alone.exact
        truth = Dependency(frozen, x, 2 + place, zero_taps=first.zero_taps or second.zero_taps)
        agrees(w, truth)
        variants = a.variants
        found = interior(variants.net, variants.output_node("output"), axis, Spans.span(0, w.out_step))
        assert found.reads[w.input].hull == w.reads(0, w.out_step)


def test_where_nothing_local_remains():
    a = oc.analyze(Head(g_a(), 4), (1, 3, 64, 64))
    assert a.local["W"] is None
    assert a.to_dict()["pairs"][0]["axes"]["W"]["local"] is None


def test_without_obstacles_the_window_is_the_answer():
    a = oc.analyze(UNet(), (1, 3, 64, 64))
    w, local = a["W"], a.local["W"]
    assert (local.context, local.receptive_field, local.exact, local.beside) == (w.context, w.receptive_field, True, ())
    assert [p.output for p in a.local.pairs] == ["output"]
    with pytest.raises(oc.InputError, match="axis 'L'"):
        a.local["L"]


def test_not_exact_where_it_is_not_proven():
    """What is read beside an obstacle might be read of bias alone: then no claim is made."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.conv = nn.ConvTranspose2d(3, 3, 1, 2), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            y = self.up(x)
            return self.conv(y * y.mean((2, 3), keepdim=True))

    w = oc.analyze(Net(), (1, 3, 32, 32)).local["W"]
    assert not w.exact
    assert not w.exact_before
    assert oc.analyze(nn.Sequential(Net().up, Net().conv), (1, 3, 32, 32))["W"].context == w.context


# ---- reports --------------------------------------------------------------------------------------------------


def told(*arguments: str) -> tuple[int, str]:
    done = run(*arguments)
    return done.returncode, done.stdout


def test_the_verdict_names_both():
    code, text = told("analyze", f"{ROOT}/examples/obstacle.py:Denoiser", "--input", "1x3x32x48")
    assert code == 3
    words = " ".join(text.split())
    assert "Before the obstacles: head, H and W: scale 1, field 3, context 1, 1, tile 1, 1 in steps of 1" in words
    assert "held fixed: output, H and W: scale 1, field 5, context 2, 2" in words
    _, plain = told("analyze", f"{ROOT}/examples/unet.py:UNet", "--input", "1x3x32x48")
    assert "obstacles" not in plain


def test_json_has_both():
    _, text = told("analyze", f"{ROOT}/examples/obstacle.py:Denoiser", "--input", "1x3x32x48", "--format", "json")
    data = json.loads(text)
    assert data["schema_version"] == 1
    assert data["features"]["outputs"] == {"head": [1, 16, 32, 48]}
    assert data["features"]["pairs"][0]["axes"]["W"]["context"] == {"before": 1, "after": 1, "total": 2}
    assert data["features"]["grid"]["W"] == {"step": {"x": 1}, "out_step": {"head": 1}}
    local = data["pairs"][0]["axes"]["W"]["local"]
    assert local["context"] == {"before": 2, "after": 2, "total": 4}
    assert Fraction(local["scale"]) == 1
    assert local["beside"] == ["attention.squeeze"]
    assert "tile" not in local


def test_the_verdict_says_when_nothing_comes_before(tmp_path):
    (tmp_path / "m.py").write_text("from torch import nn\nnet = nn.Sequential(nn.AdaptiveAvgPool2d(1))\n")
    code, text = told("analyze", f"{tmp_path}/m.py:net", "--input", "1x3x16x16")
    assert code == 3
    assert "Nothing comes before the obstacles" in text
