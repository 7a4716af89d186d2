"""`explain`: contributions sum to the context, and the way they follow is really read, by brute force."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from math import lcm

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from shared.blockwise import TwoScales
from shared.commands import ROOT, run
from shared.explaining import check, really_read
from shared.literature import TRUTHS, UNet, cps, g_a, g_s
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import THOROUGH, few
from torch import nn

import overlapcalc as oc
from overlapcalc.report import Explained, render_explained
from overlapcalc.report.explain import explained_json, tile_text


class UpTo(nn.Module):
    """A net that ends at one of its modules."""

    def __init__(self, net: nn.Module, layer: str) -> None:
        super().__init__()
        self.net, self.layer = net, layer

    def forward(self, x):
        found = []
        handle = self.net.get_submodule(self.layer).register_forward_hook(lambda m, i, o: found.append(o))
        self.net(x)
        handle.remove()
        return found[0]


@pytest.mark.parametrize(
    ("build", "channels", "size", "width"),
    [
        (lambda: g_a(2), 3, 200, 16),
        (lambda: g_s(2), 2, 14, 10),
        (lambda: UNet(2), 3, 72, 16),
        pytest.param(lambda: cps(2), 3, 160, 80, marks=THOROUGH),
    ],
    ids=["g_a", "g_s", "U-Net", "CPS"],
)
def test_every_layer_on_the_way_reads_the_extreme(build, channels, size, width):
    """Net by net, cut at each layer of the way: its sample reads the extreme sample, and none beyond it."""
    net = healthy(build(), 1)
    x = torch.rand(1, channels, size, width, dtype=torch.float64)
    a = oc.analyze(net, x)
    w, e = a["H"], a.explain("H")
    check(w, e)
    rates = {row.name: row["H"].scale for row in a.layers}
    u = size // w.step // 2
    layers, truths = 0, {}
    for side, end in ((e.before, 0), (e.after, 1)):
        for c in side.contributions[1:]:
            if c.layer in dict(net.named_modules()) and c.layer in rates:
                layers += 1
                sample = c.sample + int(u * w.step / rates[c.layer])
                if c.layer not in truths:
                    truths[c.layer] = Dependency(UpTo(net, c.layer), x, 2)
                hull = truths[c.layer].hull(sample, sample + 1)
                assert hull[end] - end == side.sample + u * w.step, c.layer
    assert layers >= 8


@pytest.mark.parametrize("truth", few(TRUTHS, 4, single=True), ids=lambda t: t[0])
def test_truths(truth):
    _, net, channels, size, context, _, _ = truth
    a = oc.analyze(net, (1, channels, size, size))
    for axis in a.axes:
        e = a.explain(axis)
        check(a[axis], e)
        assert (e.before.total, e.after.total) == context
        assert (e.before.exact, e.after.exact) == (True, True)


def by_layer(side) -> dict[str, Fraction]:
    return {c.layer: c.adds for c in side.contributions if c.adds}


def test_strided_convolutions_by_formula():
    """A convolution k, s, p before which strides multiply to S adds p*S before and (k - s - p)*S after."""
    e = oc.analyze(g_a(), (1, 3, 64, 64)).explain("W")
    assert by_layer(e.before) == {"0": 2, "2": 4, "4": 8, "5": 16}
    assert by_layer(e.after) == {"0": 1, "2": 2, "4": 4, "5": 8}


def test_transposed_convolutions_by_hand():
    """Output -1 of a tconv k5 s2 p2 reads -1, which begins half a sample earlier; output 0 reads -1, a whole one.

    On the way back from sample 0: 0 -> -1, -1 -> -1, -1 -> -1, -1 -> -1, at scales 1/8, 1/8 - 1/16..., in samples
    of the input: the left edge goes 0, -1/8, -1/4, -1/2, -1.
    """
    e = oc.analyze(g_s(), (1, 4, 16, 16)).explain("W")
    assert [c.adds for c in e.before.contributions if c.adds] == [
        Fraction(1, 8), Fraction(1, 8), Fraction(1, 4), Fraction(1, 2)
    ]  # fmt: skip


def test_the_farthest_reader_is_not_always_at_the_edge():
    """tconv k2 s2 d3: output 0 reads input 0, output 1 reads input (1 - 3) / 2 = -1; output 1 begins at 1/2."""
    e = oc.analyze(nn.ConvTranspose1d(1, 1, 2, 2, dilation=3), (1, 1, 20)).explain("L")
    assert [(c.op, c.reads, c.adds) for c in e.before.contributions] == [
        ("block", 1, Fraction(-1, 2)), ("aten::conv_transpose1d", -1, Fraction(3, 2))
    ]  # fmt: skip


def test_crops_count_negative():
    class Crop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(x)[..., 3:-3]

    e = oc.analyze(Crop(), (1, 1, 40)).explain("L")
    assert (e.before.total, e.after.total) == (-2, 4)
    assert by_layer(e.before) == {"conv": 1, "slice": -3}
    assert by_layer(e.after) == {"conv": 1, "slice": 3}


class Parts(nn.Module):
    def __init__(self, part: int) -> None:
        super().__init__()
        self.nine, self.one, self.part = nn.Conv1d(1, 2, 9, padding=4), nn.Conv1d(1, 2, 1), part

    def forward(self, x):
        return torch.cat([self.nine(x), self.one(x)], 1).chunk(2, 1)[self.part]


@pytest.mark.parametrize(("part", "layer", "total"), [(0, "nine", 4), (1, "one", 0)])
def test_channels_choose_the_way(part, layer, total):
    e = oc.analyze(Parts(part), (1, 1, 64)).explain("L")
    assert e.before.total == e.after.total == total
    for side in (e.before, e.after):
        layers = {c.layer for c in side.contributions}
        assert layer in layers
        assert not layers & ({"nine", "one"} - {layer})


class Regrouped(nn.Module):
    """Channels laid out by a view and a permute before one of them is picked."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(1, 1, k, padding=k // 2) for k in (1, 3, 5, 7, 9, 11))

    def forward(self, x):
        y = torch.cat([c(x) for c in self.convs], 1)
        n, c, w = y.shape
        return y.view(n, 2, 3, w).permute(0, 2, 1, 3).reshape(n, c, w)[:, 3:4]


def test_a_way_through_a_view():
    """Permuted, channel 3 is (3 // 2, 3 % 2) = (1, 1) of (3, 2), which was (1, 1) of (2, 3): channel 4, k = 9."""
    net = healthy(Regrouped(), 0)
    x = torch.rand(1, 1, 90, dtype=torch.float64)
    a = oc.analyze(net, x)
    e = a.explain("L")
    assert "convs.4" in {c.layer for c in e.before.contributions}
    assert e.before.total == 4
    assert really_read(a["L"], e, Dependency(net, x, 2)) > 0


def test_ties_are_said_and_chosen_the_same_way():
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.a(x) + self.b(x)

    found = [oc.analyze(Twins(), (1, 1, 40)).explain("L") for _ in range(2)]
    assert found[0] == found[1]
    add = found[0].before.contributions[1]
    assert (add.operand, add.others, add.tied) == ("a", ("b",), True)
    lone = oc.analyze(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 40)).explain("L")
    assert not any(c.tied for c in lone.before.contributions)


def test_several_inputs_and_outputs():
    a = oc.analyze(TwoScales(), [(1, 3, 64, 80), (1, 4, 8, 10)])
    for pair in a.pairs:
        for axis in pair.axes:
            check(pair[axis], pair.explain(axis))
    e = a.between(output=1, input="image").explain("W")
    assert [c.operand for c in e.before.contributions][-1] == "image"
    with pytest.raises(oc.AmbiguousPair):
        a.explain("W")
    with pytest.raises(oc.InputError, match="axis 'L'"):
        a.between(output=0, input=0).explain("L")


class Uneven(nn.Module):
    """A mask that leaves other taps to other channels: what is known is a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 5, padding=2)
        mask = torch.ones(2, 1, 5)
        mask[0, 0, :2] = 0
        mask[1, 0, 3:] = 0
        self.register_buffer("mask", mask)
        self.tail = nn.Conv1d(2, 1, 3, padding=1)

    def forward(self, x):
        return self.tail(F.conv1d(x, self.conv.weight * self.mask, padding=2))


def test_a_bound_is_called_a_bound():
    a = oc.analyze(Uneven(), (1, 1, 40))
    e = a.explain("L")
    check(a["L"], e)
    assert (e.before.exact, e.after.exact) == (False, False)
    out = io.StringIO()
    render_explained(Explained(a, a.pairs), Console(file=out, width=100))
    assert "may be the first" in out.getvalue()
    assert "An upper bound" in out.getvalue()


def test_what_makes_the_step():
    """Branches through stride 2 and stride 3 meet again: 6, and it takes both."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.three = nn.Conv1d(1, 1, 3, 2, 1), nn.Conv1d(1, 1, 3, 3)

        def forward(self, x):
            a, b = (F.interpolate(c(x), scale_factor=c.stride[0]) for c in (self.two, self.three))
            n = min(a.shape[2], b.shape[2])
            return a[..., :n] + b[..., :n]

    a = oc.analyze(Two(), (1, 1, 60))
    e = a.explain("L")
    assert a["L"].step == lcm(2, 3)
    assert {(r.layer, r.multiple) for r in e.step_reasons} == {("two", 2), ("three", 3)}


def test_a_constant_makes_the_step():
    class Striped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(x) * (1 + torch.arange(x.shape[2]) % 5)

    (r,) = oc.analyze(Striped(), (1, 1, 60)).explain("L").step_reasons
    assert (r.layer, r.multiple, r.why) == ("mul", 5, "constant")


def test_padding_to_a_multiple_makes_the_step():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.conv(F.pad(x, (0, -x.shape[2] % 8)))

    e = oc.analyze(Padded(), (1, 1, 61)).explain("L")
    assert e.step == 8
    assert [r.why for r in e.step_reasons] == ["size"]


def test_what_must_exist():
    """A crop by 3 reads 3 fewer, yet the tile needs 0 before and 6 after (law 3)."""

    class Crop(nn.Module):
        def forward(self, x):
            return x[..., 3:-3]

    e = oc.analyze(Crop(), (1, 1, 40)).explain("L")
    assert (e.before.total, e.after.total) == (-3, 3)
    assert [(r.side, r.total) for r in e.tile_reasons] == [("before", 0), ("after", 6)]


@pytest.mark.parametrize(
    ("layers", "total", "said"),
    [
        (
            (nn.Conv1d(1, 1, 1), nn.Conv1d(1, 1, 7, padding=3)),
            3,
            "input must hold 3 samples before the block's own place",
        ),
        (
            (nn.Conv1d(1, 1, 7, padding=3), nn.Conv1d(1, 1, 1, stride=2)),
            4,
            "input must hold 3 samples before the block's own place, rounded up to whole steps of 2",
        ),
        (
            (nn.ConvTranspose1d(1, 1, 1, stride=2), nn.Conv1d(1, 1, 3, padding=1)),
            1,
            "0 must hold 1 sample before the block's own place, rounded up to whole steps (2 samples of it, 1 of the input)",
        ),
    ],
)
def test_the_text_of_a_tile_says_how_its_length_comes_about(layers, total, said):
    """By hand: 3; 4, which is 3 rounded up to steps of 2; 1, because half of it is made of nothing, but must exist."""
    e = oc.analyze(nn.Sequential(*layers), (1, 1, 40)).explain("L")
    assert tile_text(e.tile_reasons[0], e.step) == f"tile {total} before: {said}"


# ---- what is in the way ---------------------------------------------------------------------------------------


def test_obstacles_with_their_line_and_the_way_to_them():
    import sys

    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from obstacle import Denoiser
    finally:
        sys.path.pop(0)
    e = oc.analyze(Denoiser(), (1, 3, 32, 32)).explain("W")
    assert (e.before, e.after) == (None, None)
    (blame,) = e.obstacles
    _, _, line = blame.obstacle.source.rpartition(":")
    assert blame.text == (ROOT / "examples" / "obstacle.py").read_text().splitlines()[int(line) - 1].strip()
    assert "squeeze" in blame.text
    assert blame.way == ("x", "head", "attention.squeeze")
    assert blame.obstacle.help


def test_a_source_that_is_gone_is_left_out(tmp_path):
    code = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x - x.mean(2, keepdim=True)\n"
    space: dict = {}
    exec(compile(code, str(tmp_path / "gone.py"), "exec"), space)
    (blame,) = oc.analyze(space["Net"](), (1, 3, 16, 16)).explain("H").obstacles
    assert blame.text == ""
    assert blame.way == ("x", "mean")


def test_the_way_goes_by_the_operand_that_is_blocked():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keys, self.maps = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 1)

        def forward(self, x):
            return self.maps(x) * self.keys(x).amax(2, keepdim=True)

    (blame,) = oc.analyze(Net(), (1, 2, 16)).explain("L").obstacles
    assert blame.way == ("x", "keys", "amax")


# ---- the command ----------------------------------------------------------------------------------------------


def test_what_runs_a_net_with_obstacles_is_said_with_the_class_of_each():
    net = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Softmax(2))
    analysis = oc.analyze(net, (1, 1, 32))
    out = io.StringIO()
    render_explained(Explained(analysis, analysis.pairs), Console(file=out, width=100))
    said = [line.strip() for line in out.getvalue().splitlines()]
    begins = said.index("L: 3 passes run it exactly (schedule passes)")
    assert said[begins + 1 :] == ["reduction: group_norm in 1", "reduction: softmax in 2"]
    found = json.loads(explained_json(Explained(analysis, analysis.pairs)))
    assert [(one["layer"], one["kind"]) for one in found["classes"]] == [("1", "reduction"), ("2", "reduction")]
    assert found["runs"]["L"]["passes"] == 3


def test_the_command():
    done = run("explain", "examples/unet.py:UNet", "--input", "1x3x64x64", "--axis", "W")
    assert done.returncode == 0
    assert "context 11 before, 11 after" in done.stdout
    assert run("explain").returncode == 2


@pytest.mark.parametrize(
    ("spec", "shape"),
    few([("unet.py:UNet", "1x3x64x96"), ("superres.py:SuperResolver", "1x3x32x32"), ("codec.py:Codec", "1x3x64x64"),
     ("codec.py:Codec.h_s", "1x128x8x8")], 2),
)  # fmt: skip
def test_examples(spec, shape):
    done = run("explain", f"{ROOT}/examples/{spec}", "--input", shape, "--format", "json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["schema_version"] == 1
    plain = json.loads(run("analyze", f"{ROOT}/examples/{spec}", "--input", shape, "--format", "json").stdout)
    for e in data["explanations"]:
        context = plain["pairs"][0]["axes"][e["axis"]]["context"]
        for side in ("before", "after"):
            assert sum(Fraction(c["adds"]) for c in e[side]["contributions"]) == e[side]["total"] == context[side]


def test_the_table_folds_what_adds_nothing():
    done = run("explain", f"{ROOT}/examples/unet.py:UNet", "--input", "1x3x64x64", "--axis", "W")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    enc = next(r for r in rows if r and r[0] == "bottom.0")
    assert enc[-2] == "4"
    before = done.stdout.split("11 after:")[0]
    listed = [r for r in before.splitlines() if " conv " in r or " tconv " in r]
    assert [r.split()[0] for r in listed] == ["dec1", "up1", "dec2.0", "bottom.0", "enc2.0", "enc1.0"]
    assert "and 9 layers that add nothing" in before  # two cats, four ReLUs, two pools, the upper tconv
    assert "step 4" in done.stdout
    assert "tile 12 before" in done.stdout


def test_exit_codes_and_pairs(tmp_path):
    (tmp_path / "m.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x, style):\n"
        "        return x * style.mean((2, 3), keepdim=True), x\n"
    )
    spec = [f"{tmp_path}/m.py:Net", "--input", "1x3x8x8", "--input", "1x3x8x8"]
    done = run("explain", *spec)
    assert done.returncode == 3
    assert "return x * style.mean((2, 3), keepdim=True), x" in " ".join(done.stdout.split())
    assert run("explain", *spec, "--pair", "0:x").returncode == 0
    assert run("explain", *spec, "--pair", "output1:").returncode == 0
    assert run("explain", *spec, "--pair", ":style").returncode == 3
    one = json.loads(run("explain", *spec, "--pair", "0:1", "--axis", "W", "--format", "json").stdout)
    assert [(e["output"], e["input"], e["axis"]) for e in one["explanations"]] == [("output0", "style", "W")]
    wrong = run("explain", *spec, "--pair", "none:x")
    assert wrong.returncode == 2
    assert "'none'" in wrong.stderr
    target = tmp_path / "why.txt"
    assert run("explain", *spec, "--pair", "0:x", "--output", str(target)).returncode == 0
    assert "output0 against x" in target.read_text()


@pytest.mark.parametrize("width", [80, 200])
def test_widths(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    done = run("explain", f"{ROOT}/examples/unet.py:UNet", "--input", "1x3x64x64")
    assert max(map(len, done.stdout.splitlines())) <= width


def test_the_picture_in_the_readme(monkeypatch):
    """The README shows the beginning of what the command prints, to the letter."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(ROOT)
    block = (ROOT / "README.md").read_text().partition("$ overlapcalc explain ")[2].partition("\n```")[0]
    command, _, shown = block.partition("\n")
    done = run("explain", *command.split())
    assert done.stdout.startswith(shown + "\n")
    assert len(shown.splitlines()) > 10
