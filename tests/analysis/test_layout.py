"""Inputs that are not batch, channels, space: every answer against brute force along the dimension that is the axis."""

from __future__ import annotations

import json
import subprocess

import pytest
import torch
import torch.nn.functional as F
from shared.commands import run
from shared.nets import healthy
from shared.oracle import Dependency
from torch import nn

import overlapcalc as oc


class ChannelsLast(nn.Module):
    """Takes and gives N, H, W, C; reads 9 rows and 5 columns at steps of 2 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.down = nn.Conv2d(3, 2, (5, 3), (2, 1), (2, 1))
        self.mix = nn.Conv2d(2, 2, 3, padding=1)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        y = self.mix(self.down(x.permute(0, 3, 1, 2)))
        return self.head(y.permute(0, 2, 3, 1))


class Unbatched(nn.Module):
    """Takes C, H, W."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, (3, 5), padding=(1, 2)), nn.Conv2d(4, 3, 4, 2, 1))
        self.up = nn.ConvTranspose2d(3, 12, 3, 2, 1, 1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        return self.shuffle(self.up(self.body(x)))


class Plane(nn.Module):
    """Takes H, W."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, (3, 7), padding=(1, 3))

    def forward(self, x):
        return self.conv(x[None, None])[0, 0]


class Tokens(nn.Module):
    """Takes N, L, C."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv, self.norm = nn.Linear(3, 4), nn.Conv1d(4, 4, 5, 2, 1), nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(self.conv(self.embed(x).transpose(1, 2)).transpose(1, 2))


class Clip(nn.Module):
    """Takes N, T, C, H, W: frames one by one, then all frames together."""

    def __init__(self) -> None:
        super().__init__()
        self.frame, self.mix = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(8, 2, (1, 5), padding=(0, 2))

    def forward(self, x):
        n, t = x.shape[:2]
        y = self.frame(x.flatten(0, 1)).unflatten(0, (n, t))
        return self.mix(y.flatten(1, 2)) + y.mean(1)


class EachOf(nn.Module):
    """A net without a batch, given one: for the oracle, which puts its trials there."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.stack([self.net(one) for one in x])


CASES = [
    (ChannelsLast, "NHWC", (1, 24, 20, 3), {"H": (1, 1), "W": (2, 2)}),
    (Unbatched, "CHW", (3, 20, 26), {"H": (1, 1), "W": (2, 2)}),
    (Plane, "HW", (14, 22), {"H": (0, 0), "W": (1, 1)}),
    (Tokens, "NLC", (1, 30, 3), {"L": (1, 1)}),
    (Clip, "NTCHW", (1, 4, 3, 12, 18), {"H": (3, 2), "W": (4, 3)}),
]


@pytest.mark.parametrize(("kind", "layout", "shape", "dims"), CASES, ids=[c[1] for c in CASES])
def test_reads_are_those_of_brute_force(kind, layout, shape, dims):
    net = healthy(kind(), 0)
    torch.manual_seed(0)
    x = torch.rand(shape, dtype=torch.float64) + 0.1
    a = oc.analyze(net, x, layout=layout)
    assert a.axes == tuple(dims)
    assert a.size_verified
    assert a.layouts[0] == layout
    given = x if layout.startswith("N") else x[None]
    model = net if layout.startswith("N") else EachOf(net)
    more = given.dim() - x.dim()
    for axis, (dim, out_dim) in dims.items():
        truth = Dependency(model, given, dim + more, out_dim + more)
        w = a[axis]
        assert w.exact
        assert (w.size, w.out_size) == (truth.size, truth.out_size)
        for o in range(truth.out_size):
            said = w.reads(o, o + 1, size=w.size)
            assert (said and tuple(said)) == truth.hull(o, o + 1)
        low, high = w.receptive_field
        inside = [truth.hull(o, o + 1) for o in range(truth.out_size)]
        lengths = {stop - start for start, stop in inside if start > 0 and stop < truth.size}
        assert (low, high) == (min(lengths), max(lengths))


@pytest.mark.parametrize(("kind", "layout", "shape", "dims"), CASES, ids=[c[1] for c in CASES])
def test_a_tile_is_enough_and_a_step_less_is_not(kind, layout, shape, dims):
    net = healthy(kind(), 1)
    torch.manual_seed(1)
    x = torch.rand(shape, dtype=torch.float64) + 0.1
    with torch.no_grad():
        whole = net(x)
    for axis, (dim, out_dim) in dims.items():
        w = oc.analyze(net, x, layout=layout, axes=axis)[axis]
        u = (w.out_size // w.out_step) // 2
        start, stop = u * w.out_step, (u + 1) * w.out_step

        def same(tile: oc.Span, dim=dim, out_dim=out_dim, w=w, start=start, stop=stop) -> bool:
            with torch.no_grad():
                part = net(x.narrow(dim, tile.start, tile.length))
            first = start - tile.start // w.step * w.out_step
            if first < 0 or first + stop - start > part.shape[out_dim]:
                return False
            got, want = part.narrow(out_dim, first, stop - start), whole.narrow(out_dim, start, stop - start)
            return bool((got - want).abs().max() <= 1e-12 * whole.abs().max())

        tile = w.tile_span(start, stop)
        assert tile.length < w.size
        assert same(tile)
        assert not same(oc.Span(tile.start + w.step, tile.stop))
        assert not same(oc.Span(tile.start, tile.stop - w.step))


def test_the_second_trace_grows_the_axes_alone():
    a = oc.analyze(ChannelsLast(), (2, 24, 20, 3), layout="NHWC")
    assert a.verified_at is not None
    n, h, w, c = a.verified_at[0]
    assert (n, c) == (2, 3)
    assert h > 24
    assert w > 20
    assert a.between().axes == ("H", "W")


def test_axes_go_by_their_letters_not_by_their_places():
    """W stands first here, and is still the axis that the first kernel size belongs to; H is reported first."""
    a = oc.analyze(nn.Conv2d(1, 1, (7, 3), padding=(3, 1)), (1, 1, 20, 30), layout="NCWH")
    assert a.axes == ("H", "W")
    assert (a["W"].size, a["W"].receptive_field) == (20, (7, 7))
    assert (a["H"].size, a["H"].receptive_field) == (30, (3, 3))
    usual = oc.analyze(nn.Conv2d(1, 1, (7, 3), padding=(3, 1)), (1, 1, 20, 30))
    assert (usual["H"].receptive_field, usual["W"].receptive_field) == ((7, 7), (3, 3))


class PadsToEight(nn.Module):
    """N, H, W, C; the image padded to a multiple of 8 on its right."""

    def forward(self, x):
        y = F.pad(x.permute(0, 3, 1, 2), (0, -x.shape[2] % 8, 0, -x.shape[1] % 8))
        return F.avg_pool2d(y, 8).permute(0, 2, 3, 1)


def test_a_period_is_found_in_any_layout():
    a = oc.analyze(PadsToEight(), (1, 30, 37, 2), layout="NHWC")
    assert (a["H"].step, a["W"].step) == (8, 8)


def test_an_obstacle_is_on_the_axis_that_the_layout_names():
    class MeanOfColumns(nn.Module):
        def forward(self, x):
            return x - x.mean(2, keepdim=True)

    a = oc.analyze(MeanOfColumns(), (1, 16, 20, 3), layout="NHWC")
    assert {(o.axis, o.cause) for o in a.obstacles} == {("W", "global")}
    assert a["H"].context is not None
    over_time = oc.analyze(MeanOfColumns(), (1, 16, 20, 3), layout="NHTC")
    assert over_time.blocking_free
    assert over_time.axes == ("H",)
    assert {o.axis for o in oc.analyze(MeanOfColumns(), (1, 16, 20, 3)).obstacles} == {"H"}


class Guided(nn.Module):
    """An image N, H, W, C and a map N, C, H, W."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.guide = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, image, guide):
        return self.conv(image.permute(0, 3, 1, 2)) * self.guide(guide)


def test_a_layout_per_input():
    shapes = [(1, 16, 20, 3), (1, 1, 16, 20)]
    for layout in (["NHWC", None], ["NHWC", "NCHW"]):
        a = oc.analyze(Guided(), shapes, layout=layout)
        assert dict(a.layouts) == {"image": "NHWC", "guide": "NCHW"}
        assert tuple(a.between(input="image")["W"].context) == (1, 1)
        assert tuple(a.between(input="guide")["W"].context) == (2, 2)
    assert oc.analyze(Guided(), [(1, 16, 20, 3), (1, 1, 16, 20)], layout=["NHWC", None], axes="H").axes == ("H",)
    with pytest.raises(oc.InputError, match="3 layouts for 2 inputs"):
        oc.analyze(Guided(), shapes, layout=["NHWC", None, None])


def test_a_convolution_without_a_batch_needs_the_layout():
    with pytest.raises(oc.InputError, match=r"without a batch.*layout='CHW'"):
        oc.analyze(Unbatched(), (3, 20, 26))
    assert oc.analyze(Unbatched(), (3, 20, 26), layout="CHW").blocking_free


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("NHW", "3 letters, but the input 1x16x20x3 has 4 dimensions"),
        ("NHWCT", "5 letters"),
        ("NHHC", "H stands there more than once"),
        ("NTUC", "no spatial axis"),
        ("nhwc", "a capital letter per dimension"),
        ("NHW3", "a capital letter per dimension"),
        ("", "a capital letter per dimension"),
        (["NHWC", "NHWC"], "2 layouts for 1 inputs"),
        (4, "layout=4"),
        ([4], "a capital letter per dimension"),
    ],
)
def test_wrong_layouts(layout, words):
    with pytest.raises(oc.InputError, match=words):
        oc.analyze(ChannelsLast(), (1, 16, 20, 3), layout=layout)


class Gain(nn.Module):
    """A gain per channel beside the image, as codecs of variable rate have it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x, gain):
        return self.conv(x) * gain


def test_an_input_of_one_sample_beside_an_image_has_no_axis():
    x, gain, net = torch.rand(1, 3, 30, 34), torch.rand(1, 4, 1, 1), Gain().eval()
    a = oc.analyze(net, [x.shape, gain.shape])
    assert a.blocking_free
    assert a.between(input="x")["W"].context == oc.analyze(net.conv, x.shape)["W"].context
    for schedule in ("crop", "trim", "stream"):
        assert torch.allclose(oc.run(net, x, gain, block=8, schedule=schedule), net(x, gain), atol=1e-6)
    assert oc.verify(net, [x.shape, gain.shape], block=8).proved


def test_an_image_of_one_sample_keeps_its_axes():
    assert oc.analyze(nn.ReLU(), (1, 3, 1, 1)).axes == ("H", "W")
    a = oc.analyze(Gain(), [(1, 3, 30, 34), (1, 4, 1, 1)], layout=[None, "NCHW"])
    assert not a.blocking_free  # said to be an image: its one sample is spread over the other


def test_more_dimensions_than_have_a_usual_layout():
    with pytest.raises(oc.InputError, match="layout='NTCHW'"):
        oc.analyze(nn.Identity(), (1, 2, 3, 4, 5, 6))
    assert oc.analyze(nn.ReLU(), (1, 2, 3, 4, 5, 6), layout="NTCDHW").axes == ("D", "H", "W")


NETS = """from torch import nn
class Last(nn.Module):
    def __init__(self, c=3):
        super().__init__()
        self.conv = nn.Conv2d(c, 3, 5, padding=2)
    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
class Plane(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
    def forward(self, x):
        return self.conv(x[None, None])[0, 0]
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)
    def forward(self, x, y):
        return self.conv(x.permute(0, 3, 1, 2)) + y
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "m.py").write_text(NETS)
    return tmp_path


def _json(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_takes_layouts(nets):
    said = _json(run("analyze", "m.py:Last", "--input", "1x20x24x3", "--layout", "NHWC", "--format", "json", cwd=nets))
    assert said["layouts"] == {"x": "NHWC"}
    assert said["pairs"][0]["axes"]["W"]["size"] == 24
    guessed = _json(run("analyze", "m.py:Last", "--layout", "NHWC", "--format", "json", cwd=nets))
    assert guessed["inputs"] == {"x": [1, 256, 256, 3]}
    plane = _json(run("analyze", "m.py:Plane", "--layout", "HW", "--format", "json", cwd=nets))
    assert plane["inputs"] == {"x": [256, 256]}
    two = ["--input", "1x20x24x3", "--input", "1x1x20x24"]
    both = _json(run("analyze", "m.py:Two", *two, "--layout", "NHWC", "--layout", "NCHW", "--format", "json", cwd=nets))
    assert both["layouts"] == {"x": "NHWC", "y": "NCHW"}
    table = run("analyze", "m.py:Last", "--input", "1x20x24x3", "--layout", "NHWC", cwd=nets)
    assert "from x 1x20x24x3 (NHWC)" in table.stdout
    assert "To produce output columns [a, b) this net needs x columns [a-2, b+2); rows alike." in " ".join(
        table.stdout.split()
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m.py:Last", "--layout", "NTHWC"], ["can be guessed", "--input"]),
        (["m.py:Last", "--layout", "HW"], ["can be guessed", "3 channels"]),
        (["m.py:Last", "--layout", "NLC"], ["can be guessed", "in 2-D"]),
        (["m.py:Last", "--layout", "NC"], ["no spatial axis"]),
        (["m.py:Last", "--input", "1x20x24x3", "--layout", "NHW"], ["3 letters"]),
        (["m.py:Two", "--input", "1x8x8x3", "--input", "1x1x8x8", "--layout", "NHWC"], ["[axes-mixed]"]),
    ],
)
def test_the_command_refuses_wrong_layouts(nets, arguments, words):
    done = run("analyze", *arguments, cwd=nets)
    assert done.returncode in (2, 3)
    text = done.stderr if done.returncode == 2 else done.stdout
    for word in words:
        assert word in text
    assert "Traceback" not in done.stderr
