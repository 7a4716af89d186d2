"""The benchmarks: a wrong answer is caught, a wrong refusal is suspicious, and a model that crashes harms no other."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from benchmarks import page as pages
from benchmarks import subjects
from benchmarks.bounded import ROOTS, bounded
from benchmarks.cost import cuda, cuda_checks, guarding, kernels, lengths, looking, speed, streaming
from benchmarks.cost.chains import CHAINS, growth
from benchmarks.zoo import nets, running, survey
from benchmarks.zoo.answers import Claim, Report, check
from benchmarks.zoo.checks import checked_answer, checked_refusal
from benchmarks.zoo.local import traits_of, windows
from benchmarks.zoo.operators import inspect_operators
from benchmarks.zoo.page import page
from benchmarks.zoo.record import portable
from benchmarks.zoo.refusals import Refused, confirm
from benchmarks.zoo.results import Results
from benchmarks.zoo.runs import Net
from benchmarks.zoo.zoofile import ZooError, load
from examples.kim2026.checkpoint import load_coding, path_of
from examples.lic.running import Running
from overlapcalc.cli import main as shell

ORIGIN = pages.Origin("command", "abc1234", "2026-11-26", ("torch 0",), "")
WHOLE_IMAGE = {"restoration/nafnet", "diffusion/vae-decoder", "segmentation/aspp-image-pooling",
               "medical/unet3d-instance-norm", "classifier/small"}  # fmt: skip
"""What pools over the image or takes statistics of it, by what is written in nets.py."""


@pytest.mark.parametrize(
    "name", few(nets.names(), {name for name in nets.names() if name.startswith("codec/")} | WHOLE_IMAGE)
)
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


@pytest.mark.parametrize("name", few(LOCAL, set(LOCAL) - {"wider than the image", "convolution"}))
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
    text = page("zoo/z.py", ORIGIN, {"wronged": record})
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


def test_one_crash_stops_nothing_else_and_a_second_run_goes_on(tmp_path, capsys, monkeypatch):
    right = survey.isolated
    monkeypatch.setattr(survey, "isolated", lambda work, most: right(work, 2 if work.args[1] == "hangs" else most))
    file, out = tmp_path / "broken.py", tmp_path / "results" / "broken"
    file.write_text(BROKEN_ZOO)
    arguments = ["--zoo", str(file), "--check", "--timeout", "300", "--out", str(out) + ".json"]
    assert survey.main(arguments) == 1
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
    assert survey.main([*arguments, "--names", "good", "p*"]) == 0
    assert log.read_text() == before
    assert survey.main([*arguments, "--names", "good", "--fresh"]) == 0
    assert log.read_text() == before + "good\n"
    capsys.readouterr()


def test_what_is_no_zoo_says_so(tmp_path, capsys):
    (tmp_path / "empty.py").write_text("")
    for path, text in ((tmp_path / "empty.py", "it has no build"), (tmp_path / "none.py", "no such file")):
        assert survey.main(["--zoo", str(path)]) == 2
        assert text in capsys.readouterr().err
    with pytest.raises(ZooError, match="no model nothing"):
        load(Path(nets.__file__)).chosen(["nothing"], [], None)
    assert load(Path(nets.__file__)).chosen([], ["codec"], 2) == ["codec/analysis", "codec/synthesis"]


def test_results_name_no_place_of_this_machine():
    assert portable("at /a/b/lib/python3.11/site-packages/timm/layers/x.py:3") == "at timm/layers/x.py:3"
    assert portable(f"{Path(nets.__file__)}:3") == "benchmarks/zoo/nets.py:3"


# ---- speed --------------------------------------------------------------------------------------------------


def test_speed_is_measured_beside_tracing():
    door = importlib.import_module("overlapcalc.analysis.analyze")
    trace = door.trace
    found = growth(CHAINS["u-net"], 2, 4)
    assert door.trace is trace
    assert found["4"]["traces"] >= 2
    assert found["ratio"] > 0
    row = speed.against_torch(nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 8, 8),))
    assert row["ratio"] == pytest.approx(row["analyze"] / row["torch"])


# ---- pages --------------------------------------------------------------------------------------------------


def test_every_page_says_where_its_figures_come_from():
    text = pages.page("Title", pages.origin("benchmarks.cost.interior", ["--out", "x.md"], threads=2), ["body"])
    title, _, command, _, origin, _, body = text.splitlines()
    assert (title, command, body) == ("# Title", "    python -m benchmarks.cost.interior", "body")
    commit = rf"({pages.commit()[:7]}( \+ changes)?|unknown)"
    assert re.match(
        rf"Commit {commit}, \d{{4}}-\d\d-\d\d\. overlapcalc [\d.]+, Python 3\S+, torch \S+\. .*2 threads\.$", origin
    )


def test_pages_kept_in_the_repository_say_it_too():
    kept = sorted((pages.ROOT / "docs" / "results").glob("*.md"))
    assert kept
    for file in kept:
        head = file.read_text().split("\n| ", 1)[0]
        command = re.search(r"^    python -m ([\w.]+)", head, re.MULTILINE)
        assert command, file
        assert importlib.util.find_spec(command[1]), file
        assert re.search(r"ommit(ted)?\b.* [0-9a-f]{7}\b.*, \d{4}-\d\d-\d\d\.", head), file
        assert str(pages.ROOT) not in file.read_text()


def test_a_commit_is_said_to_be_unknown_where_there_is_none(monkeypatch, tmp_path):
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(pages, "ROOT", tmp_path / "ours")
    (tmp_path / "ours").mkdir()
    assert pages.commit() == "unknown"
    monkeypatch.setenv("COMMIT", "abc1234")
    assert pages.commit() == "abc1234"


def test_a_commit_is_that_of_the_code_and_not_of_a_repository_around_it(monkeypatch, tmp_path):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    if shutil.which("git") is None:
        pytest.skip("no git")
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "a.py").write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    short = git("rev-parse", "--short", "HEAD")
    (tmp_path / "page.md").write_text("a page written a moment ago")
    assert pages.commit() == short
    (tmp_path / "benchmarks" / "b.py").write_text("")
    assert pages.commit() == f"{short} + changes"
    monkeypatch.setattr(pages, "ROOT", tmp_path / "benchmarks")
    assert pages.commit() == "unknown"


def test_docstrings_of_the_benchmarks_are_true():
    for module in (pages, subjects):
        assert doctest.testmod(module).failed == 0


def test_a_page_of_several_commits_says_so(tmp_path):
    zoo = load(Path(nets.__file__))
    first = Results(tmp_path / "own", zoo, "m", [], checked=False)
    first.write({"codec/analysis": {"kind": "codec", "result": "answered", "seconds": {}, "answers": {}}})
    record = json.loads((tmp_path / "own.json").read_text())
    record["header"].update(code="another", commit="abc1234")
    (tmp_path / "own.json").write_text(json.dumps(record))
    again = Results(tmp_path / "own", zoo, "m", [], checked=False)
    assert again.kept(["codec/analysis"], any_code=False) == {}
    models = again.kept(["codec/analysis"], any_code=True)
    again.write(models)
    assert "Commit abc1234, then " in (tmp_path / "own.md").read_text()


# ---- commands, in their smallest form -----------------------------------------------------------------------


def test_cuda_is_skipped_in_one_line_where_there_is_none(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda.main(["--out", str(tmp_path / "cuda.md")]) == 0
    assert capsys.readouterr().out == "skipped: no CUDA\n"
    assert not list(tmp_path.iterdir())


def test_the_cuda_page_is_written_row_by_row(monkeypatch, tmp_path):
    """On the CPU. What fails is a row, and a failure."""
    out = tmp_path / "cuda.md"
    seen = []

    def verify(net, *shapes, **how):
        seen.append(out.read_text() if out.exists() else "")
        raise RuntimeError("no kernel\nimage")

    monkeypatch.setattr(oc, "verify", verify)
    monkeypatch.setattr(cuda_checks, "load", lambda path: replace(load(path), names=("superres/espcn",)))
    monkeypatch.setattr(cuda, "agreement", lambda device: iter([(["mean-scale", "4", "4", "4"], True)]))
    monkeypatch.setattr(cuda, "mixing", lambda device: iter([(["none of those tried", "", "", "", ""], True)]))
    monkeypatch.setattr(cuda_checks, "HAZARDS", ("channels", "types"))
    monkeypatch.setattr(cuda, "BLOCKS", {"trim": 64})
    monkeypatch.setitem(cuda.IMAGES, "tiny", (96, 128))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    arguments = ["--device", "cpu", "--images", "tiny", "--channels", "4", "--nets", "1", "--out", str(out)]
    assert cuda.main(arguments) == 1
    assert seen[0] == ""
    assert "Not finished." in seen[2]
    assert "| codec.g_a | trim | RuntimeError: no kernel image |  |  |" in seen[2]
    assert len(seen) == 4 * 3 + 1
    text = out.read_text()
    assert "Not finished." not in text
    assert text.count("| not measured |") == 4
    rows = [
        line.split(" | ") for line in text.splitlines() if line.startswith(("| encoder | trim", "| decoder | trim"))
    ]
    assert [float(row[-1].strip(" |")) <= cuda.MOST_ERROR for row in rows] == [True, True]


def test_a_random_net_that_differs_by_blocks_fails_the_cuda_page(monkeypatch):
    monkeypatch.setattr(cuda_checks, "HAZARDS", ("aliases",))
    [(row, good)] = cuda_checks.hazards("cpu", 2)
    assert row[:2] == ["aliases", "2"]
    assert sum(map(int, row[2:])) == 2
    assert int(row[2]) > 0
    assert good
    monkeypatch.setattr(oc, "tiled", lambda net, *shape, **how: lambda x: net(x) * 1.001)
    [(wrong, good)] = cuda_checks.hazards("cpu", 2)
    assert int(wrong[-1]) > 0
    assert not good


def test_codecs_are_judged_by_bytes_and_pictures(monkeypatch):
    """With other numbers by blocks neither is the same."""
    pytest.importorskip("constriction")
    coding = load_coding(path_of("mean-scale"))
    other = Running.__call__
    monkeypatch.setattr(cuda_checks, "PICTURE", (64, 64))
    monkeypatch.setattr(cuda_checks, "RUNS", ((None, "crop"), (48, "trim")))
    monkeypatch.setattr("examples.kim2026.coding.CODECS", {"mean-scale": coding})
    assert list(cuda_checks.agreement("cpu")) == [(["mean-scale", "2", "2", "2"], True)]
    monkeypatch.setattr(
        Running, "__call__", lambda self, *x, scale=1: other(self, *x, scale=scale) * (1.5 if self.block else 1)
    )
    [(row, good)] = cuda_checks.agreement("cpu")
    assert row == ["mean-scale", "2", "1", "1"]
    assert not good


def test_kernels_that_mix_neighbours_are_rows(monkeypatch):
    monkeypatch.setattr(cuda_checks, "SIZE", (12, 24))
    monkeypatch.setattr(cuda_checks, "KERNELS", (3, 5))
    monkeypatch.setattr(cuda_checks, "CHANNELS", (3, 16))
    assert [row[0] for row, _ in cuda_checks.mixing("cpu")] == ["none of those tried"]
    plain = cuda_checks._plain
    monkeypatch.setattr(cuda_checks, "_plain", lambda net, x: plain(net, x) + x[..., -1:].mean())
    rows = [row for row, _ in cuda_checks.mixing("cpu")]
    assert rows[0] == ["3x3", "3", "float64", "100%", "11 of 11"]


def test_a_stream_is_measured_beside_the_whole(monkeypatch, capsys):
    """Memory where it repeats, time where it is short; each over that of the whole."""

    def apart(work, *, quiet=False, **task):
        if work.__name__ == "whole":
            return {"seconds": 99.0 if quiet else 8.0, "growth": 400 * 2**20 if quiet else 0, "plan": 0, "work": 16e9}
        found = {"seconds": 99.0 if quiet else 4.0, "growth": 4 * 2**20 if quiet else 0, "plan": 5 * 2**20}
        return {**found, "macs": 1.001, "differs": 1e-4 if task["net"] == "decoder" else 1e-7}

    monkeypatch.setattr(streaming, "apart", apart)
    monkeypatch.setattr(streaming, "matrix_product", lambda: 8e9)
    assert streaming.main(["--bands", "32", "--axes", "W", "--nets", "encoder"]) == 0
    out = capsys.readouterr().out
    assert "| encoder | whole |  | 1.000 | 8.0 | 1.00 | 0.25 | 400 | 100.00% | 0 |  |" in out
    assert "| encoder | stream along W | 32 | 1.001 | 4.0 | 0.50 | 0.50 | 4 | 1.00% | 5 | 1.0e-07 |" in out
    assert streaming.main(["--bands", "32", "--axes", "W", "--nets", "decoder"]) == 1


def test_other_commands_print_their_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("benchmarks.cost.rates.SIDE", 64)
    assert kernels.main(["--channels", "2", "--threads", "1", "--out", str(tmp_path / "kernels.md")]) == 0
    assert "| convolution, 1x1 |" in (tmp_path / "kernels.md").read_text()
    monkeypatch.setattr(guarding, "command", lambda *words: float(words != ("--help",) and shell(list(words))))
    assert guarding.main(["--models", "1"]) == 0
    out = capsys.readouterr().out
    assert "| checked again, unchanged |" in out
    assert "| the same, all files read anew | 0.00 |" in out
    assert looking.main(["--modules", "3", "--megabytes", "1"]) == 0
    assert re.search(r"\| 3 modules \| \d+\.\d \|\n\| 1 MB of buffers \| \d", capsys.readouterr().out)
    assert lengths.main(["--lengths", "2", "4"]) == 0
    out = capsys.readouterr().out
    assert "| milliseconds per layer | 2 layers | 4 layers |" in out
    for stage in ("tracing", "following what is read", "planning stream", "all but tracing"):
        assert re.search(rf"\| {stage} \| [\d.e+-]+ \| [\d.e+-]+ \|", out), stage
    assert running.main(["--names", "superres/espcn", "diffusion/vae-decoder", "--twin"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\| superres/espcn \| 1x1x30x\d+ .* \| proved \| proved \| proved \|", out)
    assert "| diffusion/vae-decoder" not in out
    speed.main(["--names", "superres/espcn", "--only", "zoo"])
    assert re.search(r"Median \d\.\d\d of 1 models", capsys.readouterr().out)


# ---- the house ----------------------------------------------------------------------------------------------


def imported(file: Path) -> set[str]:
    """Modules that a file of the repository imports, by their whole names."""
    found: set[str] = set()
    package = file.relative_to(pages.ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def strays(file: Path) -> set[str]:
    """Imports that a file must not have: of benchmarks from outside, and of one benchmark package from another."""
    rooms = ("zoo", "tiling", "cost")
    room = file.relative_to(pages.ROOT).parts[1] if file.is_relative_to(pages.ROOT / "benchmarks") else None
    own = [f"benchmarks.{r}." for r in rooms if room in rooms and r != room] if room else ["benchmarks"]
    shared = "benchmarks.zoo.zoofile."
    return {name for name in imported(file) if name.startswith(tuple(own)) and not name.startswith(shared)}


def test_benchmarks_are_imported_by_nobody_and_not_by_each_other():
    files = [f for folder in ("overlapcalc", "examples", "benchmarks") for f in (pages.ROOT / folder).rglob("*.py")]
    assert {str(f): found for f in files if (found := strays(f))} == {}


def test_an_import_that_must_not_be_is_seen(monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    for name, text in (
        ("examples/a.py", "from benchmarks.page import table"),
        (
            "benchmarks/cost/b.py",
            "from ..zoo.runs import Net\nfrom ..zoo.zoofile import load\nfrom ..page import table",
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert strays(tmp_path / "examples" / "a.py") == {"benchmarks.page.table"}
    assert strays(tmp_path / "benchmarks" / "cost" / "b.py") == {"benchmarks.zoo.runs.Net"}


def test_no_file_of_the_benchmarks_is_long():
    assert [f.name for f in (pages.ROOT / "benchmarks").rglob("*.py") if len(f.read_text().splitlines()) > 300] == []


def test_a_bounded_process_leaves_no_control_group_behind():
    before = {path for root in ROOTS for path in root.glob("bounded-*")}
    with bounded(1 << 30) as made:
        assert made == any(path not in before for root in ROOTS for path in root.glob("bounded-*"))
    assert {path for root in ROOTS for path in root.glob("bounded-*")} == before
