"""The benchmarks: a wrong answer is caught, a wrong refusal is suspicious, and a model that crashes harms no other."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from torch import nn

import overlapcalc as oc
from benchmarks import nets, zoo
from benchmarks.answers import Claim, Report, check
from benchmarks.local import traits_of, windows
from benchmarks.operators import inspect_operators
from benchmarks.page import page
from benchmarks.record import checked_answer, checked_refusal, portable
from benchmarks.refusals import Refused, confirm
from benchmarks.runs import Net
from benchmarks.speed import CHAINS, against_torch, growth
from benchmarks.zoofile import ZooError, load

WHOLE_IMAGE = {"restoration/nafnet", "diffusion/vae-decoder", "segmentation/aspp-image-pooling",
               "medical/unet3d-instance-norm", "classifier/small"}  # fmt: skip
"""What pools over the image or takes statistics of it, by what is written in nets.py."""


@pytest.mark.parametrize("name", nets.names())
def test_the_own_zoo_is_answered_or_refused_as_written(name):
    model, inputs = nets.build(name)
    a = oc.analyze(model, list(inputs))
    assert a.blocking_free == (name not in WHOLE_IMAGE)


def test_own_answers_hold_and_own_refusals_are_confirmed():
    for name in ("codec/synthesis", "superres/bilinear-skip", "codec/masked-context"):
        model, inputs = nets.build(name)
        found = checked_answer(model, inputs, oc.analyze(model, list(inputs)))
        assert found["status"] == "passed", found["failures"]
        assert found["controls"] > 0
        assert found["silent_controls"] == 0
        assert found["tile_controls"] > found["silent_tile_controls"]
    model, inputs = nets.build("segmentation/aspp-image-pooling")
    assert checked_refusal(model, inputs, oc.analyze(model, list(inputs)))["status"] == "confirmed"


# ---- answers ------------------------------------------------------------------------------------------------


def blur(*middle: nn.Module) -> Net:
    """Output o reads [o - 2, o + 3), 40 columns."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2), *middle).double().eval()
    return Net(model, (torch.randn(1, 1, 6, 40, dtype=torch.float64),))


def claim(before: int, after: int, tile: int) -> Claim:
    def around(sides: tuple[int, int]):
        return lambda start, stop: (max(0, start - sides[0]), min(40, stop + sides[1]))

    return Claim(0, 0, 1, 40, 40, (1,), 1, (True, True), None, around((before, after)), around((tile, tile)))


def checked(net: Net, said: Claim) -> Report:
    report = Report()
    check(net, [said], report, "W")
    return report


def test_a_right_claim_passes_with_controls_that_speak():
    report = checked(blur(), claim(2, 2, 2))
    assert (report.failures, report.silent_controls, report.silent_tile_controls) == ([], 0, 0)
    assert report.controls == 2 * report.claims
    assert report.tile_controls == 2


def test_each_of_many_outputs_is_looked_at():
    class Three(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x, x[..., :] + 1, F.avg_pool2d(x, 3, 1, 1)]

    net = Net(Three(), blur().inputs)

    def same(output: int, reach: int) -> Claim:
        sides = claim(reach, reach, reach)
        return replace(sides, output=output)

    report = Report()
    check(net, [same(0, 0), same(1, 0), same(2, 1)], report, "W")
    assert (report.claims, report.failures, report.silent_controls) == (6, [], 0)
    check(net, [same(0, 0), same(1, 0), same(2, 0)], report, "W")
    assert len(report.failures) == 4
    assert all("output 2" in text for text in report.failures)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_claim_of_one_sample_less_is_caught(before, after):
    report = checked(blur(), claim(before, after, 2))
    assert report.failures
    assert "are said to read" in report.failures[0]


def test_a_claim_that_says_exact_and_is_not_is_noted():
    report = checked(blur(), claim(3, 2, 2))
    assert not report.failures
    assert report.silent_controls


def test_a_tile_one_sample_short_is_caught():
    report = checked(blur(), claim(2, 2, 1))
    assert any("on tile" in text for text in report.failures)


def test_what_nan_does_not_pass_is_caught_by_finite_values():
    net = blur(Do("sign", torch.sign))
    assert traits_of(net.model, net.inputs).stops_nan
    assert not checked(net, claim(2, 2, 2)).failures
    assert checked(net, claim(1, 1, 2)).failures


def test_taps_of_weight_zero_are_not_reads():
    """Clamped at the border, linear resampling reads sample 0 only, and sample 1 with weight 0: NaN comes in."""
    up = nn.Upsample(scale_factor=2, mode="bilinear").double()
    net = Net(up, (torch.randn(1, 1, 5, 20, dtype=torch.float64),))

    def reads(start: int, stop: int) -> tuple[int, int]:
        return max(0, (start - 1) // 2), min(20, stop // 2 + 1)

    said = Claim(
        0, 0, 1, 20, 40, (1,), 2, (True, True), (1, 1), reads, lambda a, b: (max(0, a // 2 - 1), min(20, b // 2 + 1))
    )
    report = checked(net, said)
    assert report.failures == []
    assert report.silent_controls == 0
    single = Claim(0, 0, 1, 20, 40, (1,), 1, (True, True), None, reads, lambda a, b: (0, 20))
    assert checked(net, single).nan_only > 0


# ---- refusals -----------------------------------------------------------------------------------------------


class Gated(nn.Module):
    """Local but for `whole`."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.conv, self.whole = nn.Conv2d(2, 4, 3, padding=1), whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.whole(self.conv(x))


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2).tanh().transpose(1, 2).reshape(x.shape)


LOCAL = {
    "convolution": nn.Conv2d(4, 4, 5, padding=2),
    "wider than the image": nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=16, dilation=16) for _ in range(6))),
    "space to depth by views": Do("s2d", space_to_depth),
    "flattened and back": Do("tokens", tokens),
    "strided": nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.Upsample(scale_factor=2)),
}
FAR = {
    "mean": (Do("gate", lambda x: x * x.mean((2, 3), keepdim=True)), "poison"),
    "group norm": (nn.GroupNorm(2, 4), "poison"),
    "pooled away": (Do("head", lambda x: x.amax((2, 3))), "poison"),
    "flip": (Do("flip", lambda x: x.flip(2, 3)), "poison"),
    "align corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "tile"),
    "adaptive pooling": (nn.AdaptiveAvgPool2d(5), "tile"),
    "resized": (Do("resize", lambda x: F.interpolate(x, (50, 50))), "tile"),
    "coordinates": (Do("ramp", lambda x: x * torch.arange(x.shape[2])[:, None] * torch.arange(x.shape[3])), "tile"),
    "one size": (
        nn.Sequential(
            *(nn.Conv2d(4, 4, 3, padding=16, dilation=16) for _ in range(2)), nn.Flatten(), nn.Linear(4096, 8)
        ),
        "one size",
    ),
    "random": (Do("noise", lambda x: x + torch.randn_like(x)), "random"),
}


def confirmed(whole: nn.Module) -> list[str]:
    torch.manual_seed(5)
    both = [Refused(0, 0, 0), Refused(0, 0, 1)]
    return [c.method for c in confirm(Gated(whole).eval(), (torch.zeros(1, 2, 32, 32),), both).values()]


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_net_is_never_confirmed_to_be_otherwise(name):
    assert confirmed(LOCAL[name]) == ["", ""]


@pytest.mark.parametrize("name", FAR)
def test_a_refusal_is_confirmed(name):
    whole, method = FAR[name]
    assert confirmed(whole) == [method, method]


def test_a_local_model_that_is_refused_is_reported_suspicious():
    """By a rule that says of a pointwise operator of our own that it reads the whole axis."""
    library = torch.library.Library("benchtest", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    try:
        model = Gated(Do("twice", lambda x: torch.ops.benchtest.twice(x))).eval()
        reading = importlib.import_module("overlapcalc.ops.law")

        @oc.rule("benchtest::twice")
        def twice(call):
            dims = (
                reading.DimRead(0, 0),
                reading.DimRead(1, 1),
                reading.whole(2, 2, "all"),
                reading.whole(3, 3, "all"),
            )
            return reading.Law((reading.Link(0, dims),))

        shape = (1, 2, 32, 32)
        a = oc.analyze(model, shape)
        assert not a.blocking_free
        found = checked_refusal(model, (torch.zeros(shape),), a)
    finally:
        oc.unregister("benchtest::twice")
        library._destroy()
    assert found["status"] == "suspicious"
    record = {"kind": "cnn", "result": "refused", "seconds": {}, "obstacles": [], "check": found}
    header = {"zoo": "z", "command": "c", "overlapcalc": "0", "commit": "0", "versions": []}
    text = page(header, {"wronged": record})
    assert "maybe local\n\n- `wronged`: output from x along H" in text


def test_windows_bound_the_receptive_field():
    """Four 5-tap convolutions of stride 2: 1 + 4 * (1 + 2 + 4 + 8) = 61."""
    encoder = nn.Sequential(*(nn.Conv2d(1, 1, 5, 2, 2) for _ in range(4)))
    assert windows(encoder, (torch.zeros(1, 1, 64, 64),)) == (61, 61)
    skip = Do("skip", lambda x: x + F.max_pool2d(F.avg_pool2d(x, 3, 1, 1), 5, 1, 2))
    assert windows(skip, (torch.zeros(1, 1, 64, 64),)) == (7, 7)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.s2d, self.gate = Do("s2d", space_to_depth), Do("gate", lambda x: x * x.mean((2, 3), keepdim=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(self.s2d(x)).mean((2, 3))


def test_operators_are_looked_at_one_by_one():
    """A head that pools hides what was refused before it; module by module it shows."""
    said = [oc.Obstacle(f"{layer}.x", "aten::x", axis, "reshape", "") for layer in ("s2d", "gate") for axis in "HW"]
    found = inspect_operators(Two().eval(), (torch.zeros(1, 3, 32, 32),), said)
    assert [(o["module"], o["axis"], o["verdict"]) for o in found] == [
        ("s2d", "H", "local"), ("s2d", "W", "local"), ("gate", "H", "far"), ("gate", "W", "far"),
    ]  # fmt: skip


# ---- the command --------------------------------------------------------------------------------------------

BROKEN_ZOO = """
import os, time
import torch
from torch import nn

class Hangs(nn.Module):
    def forward(self, x):
        time.sleep(60)
        return x

class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("no such luck")

class Entry:
    zoo, kind = "", "cnn"

def crash():
    os.abort()

MADE = {"good": lambda: nn.Conv2d(1, 1, 3), "crashes": crash, "raises": Raises, "unbuilt": lambda: 1 / 0,
        "hangs": Hangs, "pooled": lambda: nn.AdaptiveAvgPool2d(1)}
REG = {name: Entry() for name in MADE}

def build(name, init=False):
    assert init
    with open(__file__ + ".log", "a") as log:
        log.write(name + "\\n")
    return MADE[name]().eval(), (torch.zeros(1, 1, 16, 16),)
"""


def test_one_crash_stops_nothing_else_and_a_second_run_goes_on(tmp_path, capsys):
    file, out = tmp_path / "broken.py", tmp_path / "results" / "broken"
    file.write_text(BROKEN_ZOO)
    arguments = ["--zoo", str(file), "--check", "--timeout", "12", "--out", str(out) + ".json"]
    assert zoo.main(arguments) == 1
    models = json.loads((tmp_path / "results" / "broken.json").read_text())["models"]
    assert {name: r["result"] for name, r in models.items()} == {
        "good": "answered", "crashes": "crashed", "raises": "failed", "unbuilt": "not built", "hangs": "timed out",
        "pooled": "refused",
    }  # fmt: skip
    assert models["raises"]["error"]["kind"] == "TraceError"
    assert models["crashes"]["error"]["message"] == "SIGABRT"
    assert models["good"]["check"]["status"] == "passed"
    assert models["pooled"]["check"]["status"] == "confirmed"
    assert "| all | 6 | 1 | 1 | 1 | 1 | 1 | 1 |" in (tmp_path / "results" / "broken.md").read_text()
    assert str(tmp_path) not in (tmp_path / "results" / "broken.json").read_text()
    log = Path(str(file) + ".log")
    before = log.read_text()
    assert zoo.main([*arguments, "--names", "good", "p*"]) == 0
    assert log.read_text() == before
    assert zoo.main([*arguments, "--names", "good", "--fresh"]) == 0
    assert log.read_text() == before + "good\n"
    capsys.readouterr()


def test_what_is_no_zoo_says_so(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("")
    for path, text in ((tmp_path / "empty.py", "it has no build"), (tmp_path / "none.py", "no such file")):
        assert zoo.main(["--zoo", str(path)]) == 2
        assert text in capsys.readouterr().err
    with pytest.raises(ZooError, match="no model nothing"):
        load(Path(nets.__file__)).chosen(["nothing"], [], None)
    assert load(Path(nets.__file__)).chosen([], ["codec"], 2) == ["codec/analysis", "codec/synthesis"]


def test_results_name_no_place_of_this_machine():
    assert portable("at /a/b/lib/python3.11/site-packages/timm/layers/x.py:3") == "at timm/layers/x.py:3"
    assert portable(f"{Path(nets.__file__).parent.parent}/benchmarks/nets.py:3") == "benchmarks/nets.py:3"


# ---- speed --------------------------------------------------------------------------------------------------


def test_speed_is_measured_beside_tracing():
    door = importlib.import_module("overlapcalc.analysis.analyze")
    trace = door.trace
    found = growth(CHAINS["u-net"], 7, 28)
    assert door.trace is trace
    assert found["28"]["traces"] >= 2
    assert found["ratio"] > 0
    row = against_torch(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 8, 8),))
    assert row["ratio"] == pytest.approx(row["analyze"] / row["torch"])
