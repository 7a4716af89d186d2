"""Programs of torch.export, in memory and from a file: what they answer is what the module answers, or a refusal."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.commands import run
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import nn

import overlapcalc as oc

OLD = tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 6)
"""torch 2.5 takes a resize to a computed size apart, and knows no Dim.AUTO that works here."""


class Block(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(inplace=True)
        self.register_buffer("gain", torch.ones(1, c, 1, 1), persistent=False)

    def forward(self, x):
        y = self.act(self.norm(self.conv(x)))
        y += x * self.gain
        return y


class Net(nn.Module):
    """Reads more before than after; in-place operators, a buffer that is not in the state, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 5, 2, 2)
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.up, self.drop = nn.PixelShuffle(2), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.up(self.blocks(self.head(x))))


class Masked(nn.Conv2d):
    """A causal mask along columns, in a buffer."""

    def __init__(self) -> None:
        super().__init__(3, 3, 5, padding=2)
        mask = torch.ones(1, 1, 5, 5)
        mask[..., 3:] = 0
        self.register_buffer("mask", mask)

    def forward(self, input):
        return F.conv2d(input, self.weight * self.mask, self.bias, padding=2)


class ToSize(nn.Module):
    """Back to the size of its input, by name of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 3, 4, 2, 1)

    def forward(self, x):
        return F.interpolate(self.down(x), size=x.shape[2:]) + x


class Checker(nn.Module):
    def forward(self, x):
        return x * (torch.arange(x.shape[3]) % 4)


class Halves(nn.Module):
    """Runs at even sizes only."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 2, 2), nn.ConvTranspose2d(4, 3, 2, 2)

    def forward(self, x):
        return self.up(self.down(x)) + x


def exported(net: nn.Module, shape=(1, 3, 32, 40), **more: Any) -> torch.export.ExportedProgram:
    dtype = next((p.dtype for p in net.parameters()), torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(net, (torch.rand(shape, dtype=dtype),), **{"strict": False, **more})


def saved(program: torch.export.ExportedProgram, folder: Path) -> Path:
    torch.export.save(program, folder / "net.pt2")
    return folder / "net.pt2"


def through_a_file(program: torch.export.ExportedProgram, folder: Path) -> torch.export.ExportedProgram:
    return torch.export.load(saved(program, folder))


def any_size(least: int = 8, times: int = 1) -> tuple[dict[int, Any], ...]:
    height, width = (torch.export.Dim(name, min=least, max=400) for name in ("height", "width"))
    return ({2: times * height, 3: times * width},)


class OneByOne(nn.Module):
    """A program of batch 1, given a batch: for the oracle, which puts its trials there."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.run = program.module()

    def forward(self, x):
        return torch.cat([self.run(one[None]) for one in x])


KINDS = [Net, Masked, Checker, Halves]


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("kind", few(KINDS, list(KINDS)[:2]))
def test_a_saved_program_answers_as_the_program_runs(kind, dynamic, tmp_path):
    """Brute force on the program that comes back from the file, at its own size."""
    shapes = any_size(8, 2 if kind is Halves else 1) if dynamic else None
    program = through_a_file(exported(healthy(kind(), 0), dynamic_shapes=shapes), tmp_path)
    torch.manual_seed(0)
    x = torch.rand(1, 3, 32, 40, dtype=next(iter(program.state_dict.values()), x32()).dtype) + 0.1
    a = oc.analyze(program)
    assert a.inputs[0] == (1, 3, 32, 40)
    assert a.size_verified is dynamic
    assert a.blocking_free
    for axis, dim in (("H", 2), ("W", 3)):
        truth = Dependency(OneByOne(program), x, dim, zero_taps=kind in (Masked, Checker))
        for o in range(truth.out_size):
            said = a[axis].reads(o, o + 1, size=a[axis].size)
            assert (said and tuple(said)) == truth.hull(o, o + 1)


def x32() -> torch.Tensor:
    return torch.zeros(1)


@pytest.mark.parametrize("strict", few([False, True], 1))
def test_names_and_source_lines_are_those_of_the_module(strict, tmp_path):
    net = Net().eval()
    program = through_a_file(exported(net, strict=strict), tmp_path)
    here = oc.analyze(net, (1, 3, 32, 40))
    there = oc.analyze(program)
    assert [(r.name, r.inputs, r.source) for r in there.layers] == [(r.name, r.inputs, r.source) for r in here.layers]
    assert [r.name for r in there.layers][:2] == ["head", "blocks.0.conv"]
    assert all("test_saved.py:" in r.source for r in there.layers)
    assert there.to_dict()["pairs"] == here.to_dict()["pairs"]


def test_a_program_needs_no_file():
    a = oc.analyze(exported(Net().eval()))
    assert tuple(a["W"].context) == tuple(oc.analyze(Net(), (1, 3, 32, 40))["W"].context)


def test_the_program_is_left_as_it_was():
    program = exported(Net().eval(), dynamic_shapes=any_size())
    graph, state = str(program.graph), {k: v.clone() for k, v in program.state_dict.items()}
    oc.analyze(program)
    assert str(program.graph) == graph
    assert all(torch.equal(state[k], v) for k, v in program.state_dict.items())


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_weights_are_not_read_and_masks_are(value, tmp_path):
    """A trained zero is no mask; a zero in a buffer is. So it is for a module, too."""
    net = Masked()
    with torch.no_grad():
        net.weight.fill_(value)
        net.mask[..., 0, :] = 0
    a = oc.analyze(through_a_file(exported(net.eval()), tmp_path))
    assert a["W"].exact
    assert tuple(a["W"].context) == (2, 0)
    assert tuple(a["H"].context) == (1, 2)
    free = nn.Conv2d(3, 3, 5, padding=2)
    with torch.no_grad():
        free.weight.fill_(value)
    assert tuple(oc.analyze(through_a_file(exported(free.eval()), tmp_path))["W"].context) == (2, 2)


def test_a_fixed_size_is_said_not_to_be_verified(tmp_path):
    program = through_a_file(exported(Net().eval()), tmp_path)
    a = oc.analyze(program)
    assert not a.size_verified
    assert a.verified_at is None
    assert oc.analyze(program, (1, 3, 32, 40)).to_dict() == a.to_dict()
    for shape in ((1, 3, 32, 41), (2, 3, 32, 40), (1, 3, 32)):
        with pytest.raises(oc.TraceError, match=r"input x is 1x3x32x40 in the program.*only this size"):
            oc.analyze(program, shape)
    with pytest.raises(oc.TraceError, match="only this size"):
        a["W"].reads(0, 1, size=48)
    assert a["W"].tile_span(0, 8) == oc.Span(0, 40)  # the program runs on nothing shorter


@pytest.mark.skipif(OLD, reason="torch 2.5 takes the resize apart")
def test_a_factor_taken_from_sizes_needs_a_second_size(tmp_path):
    fixed = oc.analyze(through_a_file(exported(ToSize().eval()), tmp_path))
    assert {o.cause for o in fixed.obstacles} == {"resize-to-size"}
    dynamic = oc.analyze(through_a_file(exported(ToSize().eval(), dynamic_shapes=any_size()), tmp_path))
    assert dynamic.size_verified
    assert dynamic.blocking_free
    assert dynamic.to_dict()["pairs"] == oc.analyze(ToSize(), (1, 3, 32, 40)).to_dict()["pairs"]


class Positions(nn.Module):
    def forward(self, x):
        return x + torch.arange(x.shape[3])


def test_constants_are_made_anew_at_every_size():
    """A constant that a fixed program holds for one width; a dynamic one makes it from the width that is asked for."""
    program = exported(Positions(), dynamic_shapes=any_size())
    for width in (40, 53):
        a = oc.analyze(program, (1, 3, 32, width))
        assert {(o.axis, o.cause) for o in a.obstacles} == {("W", "absolute-position")}
        assert a["H"].size == 32
    periodic = oc.analyze(exported(Checker(), dynamic_shapes=any_size()), (1, 3, 32, 53))
    assert periodic["W"].step == 4
    assert periodic.size_verified


def test_other_sizes_of_a_dynamic_program():
    net = healthy(Net(), 0)
    program = exported(net, dynamic_shapes=any_size())
    a = oc.analyze(program, (1, 3, 37, 51))
    assert a.size_verified
    assert a.to_dict()["pairs"] == oc.analyze(net, (1, 3, 37, 51)).to_dict()["pairs"]
    truth = Dependency(OneByOne(program), torch.rand(1, 3, 16, 44, dtype=torch.float64), 3)
    w = oc.analyze(program, (1, 3, 16, 51))["W"]
    assert [tuple(w.reads(o, o + 1, size=44)) for o in range(truth.out_size)] == [
        truth.hull(o, o + 1) for o in range(truth.out_size)
    ]
    tile = oc.analyze(program, (1, 3, 37, 91))["W"].tile_span(40, 44)
    assert (tile.start, tile.stop) == tuple(oc.analyze(net, (1, 3, 37, 91))["W"].tile_span(40, 44))
    with pytest.raises(oc.TraceError, match="is outside what the program allows, 8 to 400"):
        oc.analyze(program, (1, 3, 7, 51))
    with pytest.raises(oc.TraceError, match="sizes that are numbers are fixed"):
        oc.analyze(program, (1, 4, 32, 40))


def test_sizes_that_are_multiples():
    """The program runs at multiples of 4 alone, so its grid is no finer."""
    program = exported(Halves().eval(), dynamic_shapes=any_size(4, 4))
    a = oc.analyze(program)
    assert a.size_verified
    assert all(n % 4 == 0 for n in a.verified_at[0][2:])
    assert (a["W"].step, a["H"].step) == (4, 4)
    assert oc.analyze(Halves(), (1, 3, 32, 40))["W"].step == 2
    with pytest.raises(oc.TraceError, match="a size of 42 is not of the form 4"):
        oc.analyze(program, (1, 3, 32, 42))


@pytest.mark.skipif(OLD, reason="torch 2.5 has no Dim.AUTO that can be exported here")
def test_what_the_program_asserts_of_its_sizes_is_kept(tmp_path):
    auto = torch.export.Dim.AUTO
    program = through_a_file(exported(Halves().eval(), dynamic_shapes=({2: auto, 3: auto},)), tmp_path)
    assert oc.analyze(program)["W"].step == 2
    with pytest.raises(oc.TraceError, match=r"the program (holds|asserts)"):
        oc.analyze(program, (1, 3, 32, 41))


def test_guards_are_read_and_never_run():
    from overlapcalc.trace.dynamic_sizes import _holds

    at = {"x": (1, 3, 32, 40), "d_a_0": (1, 1)}
    assert _holds("(L['x'].size()[3] % 8) == 0", at, False)
    assert not _holds("(L['x'].size()[2] // 2) != 16", at, True)
    assert _holds("max(1, L['x'].size()[3]) == 40 and not L['d_a'][0].size()[0] == 2", at, True)
    assert _holds("L['d_a'][0].size()[1] == 1", at, False)
    for foreign in ("__import__('os').system('true') == 0", "L['y'].size()[0] == 1", "open", "1 /"):
        assert _holds(foreign, at, True)
        assert not _holds(foreign, at, False)


def test_inputs_are_checked():
    program = exported(Net().eval(), dynamic_shapes=any_size())
    with pytest.raises(oc.InputError, match=r"takes 1 inputs \(x\), 2 given"):
        oc.analyze(program, [(1, 3, 32, 40)] * 2)
    with pytest.raises(oc.InputError, match=r"torch.float32 in the program, torch.float64 given"):
        oc.analyze(program, torch.rand(1, 3, 32, 40, dtype=torch.float64))
    with pytest.raises(oc.InputError, match="inputs are missing"):
        oc.analyze(Net())
    assert oc.analyze(program, torch.rand(1, 3, 32, 40)).size_verified


def test_a_layout_goes_with_a_program():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, (5, 3), padding=(2, 1))

        def forward(self, x):
            return self.conv(x.permute(0, 3, 1, 2))

    a = oc.analyze(exported(Last().eval(), (1, 20, 24, 3)), layout="NHWC")
    assert {axis: a[axis].size for axis in a.axes} == {"H": 20, "W": 24}
    assert (tuple(a["H"].context), tuple(a["W"].context)) == ((2, 2), (1, 1))


class Dropped(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.conv, self.p = nn.Conv2d(3, 3, 3, padding=1), p

    def forward(self, x):
        return F.dropout(self.conv(x), self.p, training=self.training)


@pytest.mark.parametrize(("net", "words"), [(Net(), "blocks.0.norm"), (Dropped(0.3), "the net draws at random")])
def test_training_mode_is_refused(net, words):
    with pytest.raises(
        oc.InputError, match=rf"saved in training mode: {words}.*test_saved.py:\d+.*call model.eval\(\)"
    ):
        oc.analyze(exported(net.train()))
    assert oc.analyze(exported(net.eval())).blocking_free


def test_eval_mode_that_looks_like_training_is_not_refused():
    assert oc.analyze(exported(Dropped(0.0).eval())).blocking_free
    if not OLD and tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 7):
        own = oc.analyze(exported(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()))
        assert {o.cause for o in own.obstacles} == {"global"}


# ---- the command ------------------------------------------------------------------------------------------------


def test_the_command_reads_a_file(tmp_path):
    saved(exported(Net().eval()), tmp_path)
    done = run("analyze", "net.pt2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "from x 1x3x32x40 to output 1x1x32x40" in done.stdout
    assert "Size not verified" in done.stdout
    assert "is a guess" not in done.stdout
    data = json.loads(run("analyze", str(tmp_path / "net.pt2"), "--format", "json", "--axis", "W").stdout)
    assert data["size_verified"] is False
    assert data["pairs"] == oc.analyze(Net(), (1, 3, 32, 40), axes="W").to_dict()["pairs"]
    saved(exported(Net().eval(), dynamic_shapes=any_size()), tmp_path)
    done = run("analyze", "net.pt2", "--input", "1x3x48x64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traced again at 1x3x" in done.stdout


def test_an_obstacle_in_a_file_is_exit_code_3(tmp_path):
    saved(exported(Positions()), tmp_path)
    done = run("analyze", "net.pt2", cwd=tmp_path)
    assert done.returncode == 3
    assert "absolute-position" in done.stdout
    assert "test_saved.py:" in done.stdout


def test_a_program_in_a_python_file(tmp_path):
    (tmp_path / "m.py").write_text(
        "import torch\nfrom torch import nn\nnet = nn.Sequential(nn.Conv2d(3, 3, 3)).eval()\n"
        "made = torch.export.export(net, (torch.rand(1, 3, 16, 16),), strict=False)\n"
        "def make():\n    return made\n"
    )
    for spec in ("m.py:made", "m.py:make"):
        done = run("analyze", spec, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "from input 1x3x16x16" in done.stdout
    done = run("analyze", "m.py:made.0", cwd=tmp_path)
    assert done.returncode == 2
    assert "one whole net" in done.stderr


@pytest.fixture
def files(tmp_path):
    saved(exported(Net().eval()), tmp_path)
    (tmp_path / "text.pt2").write_text("no program")
    torch.save(Net().state_dict(), tmp_path / "weights.pt2")
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("version", "1.0")
        archive.writestr("serialized_exported_program.json", "{}")
    (tmp_path / "folder.pt2").mkdir()
    torch.export.save(exported(Net().train()), tmp_path / "train.pt2")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    few(
        [
            (["none.pt2"], ["there is no file none.pt2"]),
            (["folder.pt2"], ["there is no file folder.pt2"]),
            (["text.pt2"], ["reads no program in it", "torch.export.save"]),
            (["weights.pt2"], ["reads no program in it", "torch.export.save"]),
            (["other.pt2"], ["reads no program in it", f"torch {torch.__version__}"]),
            (["train.pt2"], ["train.pt2", "saved in training mode", "model.eval()"]),
            (["net.pt2:head"], ["one whole net", "'head'"]),
            (["net.pt2", "--kwargs", '{"N": 3}'], ["--kwargs are for a class"]),
            (["net.pt2", "--input", "1x3x32x41"], ["net.pt2", "1x3x32x40 in the program", "only this size"]),
            (["net.pt2", "--layout", "NHW"], ["3 letters"]),
        ],
        6,
    ),
)
def test_refusals(files, arguments, words):
    done = run("analyze", *arguments, cwd=files)
    assert done.returncode == 2, done.stdout
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
