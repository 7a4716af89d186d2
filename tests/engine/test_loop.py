"""Loops: nets that are fed their own outputs, against the whole net run again for every cell."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from shared.causal import causal_net, naively
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from examples.lic.checkerboard import anchors
from examples.lic.codec import walk
from examples.lic.masked import MaskedConv2d
from examples.lic.nested import Checkerboard, thirds
from overlapcalc.engine.loop.groups import Grouping


def bounded(y: Tensor) -> Tensor:
    return torch.sin(3 * y) + 0.1


def looped(net: nn.Module, shape: tuple[int, ...]) -> oc.Loop:
    name = "input" if isinstance(net, nn.Sequential) else "x"
    stage = oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds=name)
    return oc.Loop(net, [stage], torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("seed", few(range(24), 12))
def test_random_nets(seed):
    """One, two and three axes; strides, transposed convolutions, shuffles, pads, pools, groups; several images."""
    net, shape = causal_net(seed)
    loop = looped(net, shape)
    cell = [size // count for size, count in zip(shape[2:], loop.cells, strict=True)]
    expected = naively(net, shape, cell, bounded)
    for order in ("wavefront", "raster"):
        found = loop.run(order=order)[loop.fed[0]]
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


# ---- nets that are known ------------------------------------------------------------------------------------------


def masked(inputs: int, outputs: int, kernel: int, *, own: bool) -> MaskedConv2d:
    taps = torch.zeros(kernel, kernel, dtype=torch.bool)
    taps[: kernel // 2] = True
    taps[kernel // 2, : kernel // 2 + own] = True
    return MaskedConv2d(inputs, outputs, taps, "a mask")


class PixelCNN(nn.Module):
    """Of van den Oord et al. 2016: a 7x7 mask A, residual blocks with masks B, logits of each value. Values are indices."""

    def __init__(self, values: int = 5, width: int = 4) -> None:
        super().__init__()
        self.values = nn.Embedding(values, 3)
        self.first = masked(3, 2 * width, 7, own=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(2 * width, width, 1), nn.ReLU(), masked(width, width, 3, own=True),
                          nn.ReLU(), nn.Conv2d(width, 2 * width, 1))
            for _ in range(2)
        )  # fmt: skip
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * width, values, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.values(x).permute(0, 3, 1, 2))
        for block in self.blocks:
            y = y + block(y)
        return self.last(y)


class Drawn:
    """Samples by Gumbel's noise, which belongs to a place: so the order of sampling changes nothing."""

    def __init__(self, images: int, values: int, rows: int, columns: int) -> None:
        uniform = torch.rand(images, values, rows, columns, generator=torch.Generator().manual_seed(3))
        self.noise = -torch.log(-torch.log(uniform))

    def __call__(self, cells: oc.Cells) -> Tensor:
        noise = torch.stack([self.noise[:, :, row, column] for row, column in cells.places])
        return (cells["output"] + noise[..., None, None]).argmax(2)


def test_sampling_from_a_pixelcnn():
    """Two images at once. Each value is what the whole net would draw, given those before it."""
    torch.manual_seed(1)
    net, size = PixelCNN().double().eval(), (6, 7)
    draw = Drawn(2, 5, *size)
    loop = oc.Loop(
        net, [oc.Stage(("output",), draw, feeds="x")], torch.zeros(2, *size, dtype=torch.int64), layout="NHW"
    )
    assert loop.cells == size
    # the mask A of 7x7 reads (-1, 3), so every row begins 4 steps after the one above
    assert loop.steps() == 4 * (6 - 1) + 7
    x = torch.zeros(2, *size, dtype=torch.int64)
    with torch.no_grad():
        for row in range(size[0]):
            for column in range(size[1]):
                logits = net(x)[:, :, row, column]
                x[:, row, column] = (logits + draw.noise[:, :, row, column]).argmax(1)
    for order in ("wavefront", "raster"):
        assert torch.equal(loop.run(order=order)["x"], x)
    assert len(x.unique()) == 5


class TwoPass(nn.Module):
    """What decodes the latents of examples/lic's checkerboard: parameters of the anchors, which have no context, and of
    the others, which see the anchors."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.board = Checkerboard(channels, thirds(channels))

    def forward(self, hyper: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        group = self.board.group()
        return group.parameters(hyper, None), group.parameters(hyper, first), first + second


def test_the_checkerboard_model_takes_one_step_of_two_stages():
    """Anchors are read on all sides: no raster order decodes them, and two passes over all cells do."""
    torch.manual_seed(2)
    net, size = TwoPass().double().eval(), (5, 6)
    hyper, latents = (torch.randn(1, n, *size, dtype=torch.float64) for n in (6, 3))
    board = anchors(latents)

    def decoded(parameters: str, where: Tensor):
        def hook(cells: oc.Cells) -> Tensor:
            rows, columns = torch.tensor(cells.places).T
            means = cells[parameters][:, :, 3:]
            wanted = latents[:, :, rows, columns].permute(2, 0, 1)[..., None, None]
            here = where[rows, columns].reshape(-1, 1, 1, 1, 1)
            return torch.where(here, torch.round(wanted - means) + means, 0.0)

        return hook

    stages = [
        oc.Stage(("output0",), decoded("output0", board), feeds="first"),
        oc.Stage(("output1",), decoded("output1", ~board), feeds="second"),
    ]
    loop = oc.Loop(net, stages, hyper, latents, latents)
    assert loop.given == ("hyper",)
    assert loop.steps() == 1
    found = loop.run(hyper)
    with torch.no_grad():
        expected = walk(net.board.groups(), hyper, lambda _, mean: torch.round(latents - mean) + mean).values
    assert torch.allclose(found["first"] + found["second"], expected, atol=1e-12)
    assert not bool(found["first"][..., ~board].any())
    assert not bool(found["second"][..., board].any())
    assert [(p.name, p.status) for p in oc.verify(loop).proofs] == [
        ("order", "proved"), ("fixed point", "proved"), ("values", "proved")
    ]  # fmt: skip
    with pytest.raises(oc.InputError, match=r"not in raster order: output1 at \(0, 0\) of 5x6 reads first at \(0, 1\)"):
        loop.run(hyper, order="raster")
    with pytest.raises(oc.InputError, match=r"cells wait for each other.*output1 at .* reads first at"):
        oc.Loop(net, [oc.Stage(("output1",), bounded, feeds="first")], hyper, latents, latents).steps()


class Volume(nn.Module):
    """Masked convolutions over three axes: earlier slices whole, of its own slice earlier rows, of its row what is left."""

    def __init__(self) -> None:
        super().__init__()
        mask = torch.zeros(3, 3, 3, dtype=torch.float64)
        mask.view(-1)[:13] = 1
        self.register_buffer("mask", mask)
        self.first = nn.Parameter(torch.randn(4, 1, 3, 3, 3, dtype=torch.float64) / 3)
        self.second = nn.Parameter(torch.randn(1, 4, 1, 1, 1, dtype=torch.float64) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(torch.tanh(F.conv3d(x, self.first * self.mask, padding=1)), self.second)


def test_a_masked_net_over_three_axes():
    torch.manual_seed(3)
    net, shape = Volume().eval(), (1, 1, 3, 4, 5)
    loop = looped(net, shape)
    taps = [at for at in product(range(-1, 2), repeat=3) if at < (0, 0, 0)]
    times: dict[tuple[int, ...], int] = {}
    for cell in product(range(3), range(4), range(5)):
        before = [times.get(tuple(i + d for i, d in zip(cell, tap, strict=True)), -1) for tap in taps]
        times[cell] = max(before) + 1
    assert loop.steps() == max(times.values()) + 1 < 3 * 4 * 5
    assert torch.allclose(loop.run()["x"], naively(net, shape, (1, 1, 1), bounded), atol=1e-12)


def test_a_causal_stack_over_one_axis():
    """As in WaveNet: dilated convolutions. A hidden sample is made once: their number is that of the whole net."""
    torch.manual_seed(4)
    layers: list[nn.Module] = [nn.ConstantPad1d((1, -1), 0.0)]
    for dilation in (1, 2, 4):
        layers += [nn.ConstantPad1d((dilation, 0), 0.0), nn.Conv1d(1, 1, 2, dilation=dilation), nn.Tanh()]
    net, shape = nn.Sequential(*layers).double().eval(), (1, 1, 20)
    loop = looped(net, shape)
    assert torch.allclose(loop.run()["input"], naively(net, shape, (1,), bounded), atol=1e-12)
    program = loop.program()
    for held in program.held.values():
        assert int((held.slots > 0).sum()) <= 24
    made = {chain.nodes[-1]: len(program.ranges(chain).samples) for chain in program.chains}
    assert made[program.chains[-1].nodes[-1]] == 20
    assert max(made.values()) <= 24


# ---- what is held, and when ------------------------------------------------------------------------------------------


def test_hidden_samples_are_held_while_they_are_read():
    """Two masked layers of 3x3. Whatever the height, a hidden sample is read for the last time two steps and a row after
    it was made; so what is held grows with the front alone."""
    net = nn.Sequential(masked(1, 2, 3, own=False), nn.ReLU(), masked(2, 1, 3, own=True)).double().eval()
    counts = []
    for rows in (12, 24):
        loop = looped(net, (1, 1, rows, 10))
        program = loop.program()
        [hidden] = [name for name in program.held if name not in loop.fed]
        counts.append(program.held[hidden].count)
        assert int((program.held[hidden].slots > 0).sum()) == rows * 10  # each made once
    assert counts[0] == counts[1] < 60


def test_a_hidden_sample_is_made_when_it_is_first_needed():
    """Taps (-1, 2) and then (0, -1) together read (-1, 1). Made as soon as its own cell, the hidden one would read what
    is not there yet."""

    class Late(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            above = F.pad(x, (0, 2, 1, 0))[:, :, :-1, 2:]  # (-1, 2)
            return F.pad(torch.tanh(above) + 0.3, (1, 0))[..., :-1]  # (0, -1)

    net, shape = Late().double(), (1, 1, 5, 7)
    loop = looped(net, shape)
    assert loop.steps() == 5  # by the tap (-1, 1) alone, cells of a row do not wait for each other
    assert torch.allclose(loop.run()["x"], naively(net, shape, (1, 1), bounded), atol=1e-12)


# ---- what is refused ---------------------------------------------------------------------------------------------------


def stage(outputs: tuple[str, ...] = ("output",), feeds: str = "input") -> oc.Stage:
    return oc.Stage(outputs, lambda cells: cells[outputs[0]], feeds=feeds)


LEFT = nn.Sequential(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize(
    ("net", "stages", "said"),
    [
        (LEFT, [], "no stages"),
        (LEFT, [stage(("y",))], "no output 'y'; the net gives output"),
        (LEFT, [stage(feeds="y")], "feeds 'y'; the net takes input"),
        (LEFT, [stage(), stage()], "two stages feed input"),
        (LEFT, [oc.Stage("output", bounded, "input")], "expected names, in a tuple"),
        (nn.Conv2d(1, 1, 3, padding=1), [stage()], r"cells wait for each other.*output at \(0, 0\) reads input"),
        (
            nn.Sequential(LEFT, nn.MaxPool2d(2)),
            [stage()],
            r"cells wait for each other, so none can be made first: output at \(0, 0\) reads input",
        ),
        (nn.Sequential(LEFT, nn.ZeroPad2d((0, 1, 0, 0))), [stage()], "along W, output has 5 cells and input has 4"),
    ],
)
def test_stages_that_do_not_fit(net, stages, said):
    with pytest.raises(oc.InputError, match=said):
        oc.Loop(net, stages, (1, 1, 4, 4)).run()


def test_a_mean_over_the_image_is_an_obstacle():
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(x, (1, -1)) + x.mean((2, 3), keepdim=True)

    with pytest.raises(oc.ObstacleError, match="mean"):
        oc.Loop(Mean(), [stage(feeds="x")], (1, 1, 4, 4))
    with pytest.raises(oc.ObstacleError, match="circular"):
        oc.Loop(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), [stage()], (1, 1, 4, 4))


def test_inputs_and_hooks_that_do_not_fit():
    loop = oc.Loop(LEFT, [oc.Stage(("output",), lambda cells: torch.zeros(3), feeds="input")], (1, 1, 4, 4))
    with pytest.raises(oc.InputError, match=r"hook of input returned \(3,\) at step 0; expected .* \(4, 1, 1, 1, 1\)"):
        loop.run()
    with pytest.raises(oc.InputError, match="1 inputs; expected none"):
        loop.run(torch.zeros(1, 1, 4, 4))
    with pytest.raises(oc.InputError, match="order='diagonal': expected wavefront or raster"):
        loop.run(order="diagonal")


def test_a_net_that_changes_is_looked_at_again():
    """Weights are those of the moment; a tap that is opened is read, or refused."""
    torch.manual_seed(6)
    net = nn.Sequential(masked(1, 1, 3, own=False)).double().eval()
    loop, shape = looped(net, (1, 1, 4, 5)), (1, 1, 4, 5)
    before = loop.run()["input"]
    with torch.no_grad():
        net[0].weight *= 2
    assert torch.allclose(loop.run()["input"], naively(net, shape, (1, 1), bounded), atol=1e-12)
    net[0].mask[..., 0, 0] = 0
    found = loop.run()["input"]
    assert torch.allclose(found, naively(net, shape, (1, 1), bounded), atol=1e-12)
    assert not torch.allclose(found, before)
    net[0].mask[..., 1, 1] = 1
    with pytest.raises(oc.InputError, match="cells wait for each other"):
        loop.run()


def test_given_whole_numbers_beside_inputs_that_are_made():
    class Labelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.around, self.of = masked(1, 1, 3, own=False), nn.Embedding(4, 1)

        def forward(self, x: Tensor, label: Tensor) -> Tensor:
            return torch.tanh(self.around(x)) + self.of(label).permute(0, 3, 1, 2)

    torch.manual_seed(7)
    net, label = Labelled().double().eval(), torch.randint(4, (1, 4, 5))
    loop = oc.Loop(net, [oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds="x")],
                   torch.zeros(1, 1, 4, 5).double(), label, layout=["NCHW", "NHW"])  # fmt: skip
    found = loop.run(label)["x"]
    assert torch.allclose(found, naively(lambda x: net(x, label), (1, 1, 4, 5), (1, 1), bounded), atol=1e-12)


class Folded(nn.Module):
    """Windows of the rows above and below, of which only the row above is kept: hidden windows read both."""

    def forward(self, x: Tensor) -> Tensor:
        windows = F.pad(x, (1, 0, 1, 1))[..., :-1].unfold(2, 3, 1)  # one column to the left, rows -1, 0 and 1
        return windows[..., 0] * 0.7 + windows[..., 1] * 0.2


def test_hidden_samples_that_read_more_than_outputs_need_of_them():
    """The cone says (-1, -1) and (0, -1); windows read (1, -1), too, so steps are more, or an order is refused."""
    net, shape = Folded().double(), (1, 1, 4, 5)
    loop = looped(net, shape)
    assert loop._readings[0, 0][0].cone.taps == ((-1, -1), (0, -1))
    assert loop.steps() == 5  # column by column
    assert torch.allclose(loop.run()["x"], naively(net, shape, (1, 1), bounded), atol=1e-12)
    with pytest.raises(oc.InputError, match="in raster order, x would be read before it is made: hidden samples"):
        loop.run(order="raster")


def test_an_output_that_is_an_input_that_is_made():
    class Both(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return F.pad(x, (1, -1)) + 0.5, x

    stages = [
        oc.Stage(("output0",), lambda cells: 2 * cells["output0"], feeds="x"),
        oc.Stage(("output1",), lambda cells: cells["output1"], feeds="y"),
    ]
    found = oc.Loop(Both(), stages, (1, 1, 1, 4), (1, 1, 1, 4)).run()
    assert found["x"].flatten().tolist() == [1.0, 3.0, 7.0, 15.0]
    assert torch.equal(found["x"], found["y"])


def test_two_inputs_that_are_made_of_each_other():
    class Crossed(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return F.pad(y, (1, -1)) + 1, 2 * x

    stages = [oc.Stage((f"output{i}",), lambda cells, i=i: cells[f"output{i}"], feeds="xy"[i]) for i in (0, 1)]
    found = oc.Loop(Crossed(), stages, (1, 1, 1, 4), (1, 1, 1, 4)).run()
    assert found["x"].flatten().tolist() == [1.0, 3.0, 7.0, 15.0]
    assert found["y"].flatten().tolist() == [2.0, 6.0, 14.0, 30.0]


def test_axes_that_are_not_cut():
    """A row at a time: within its row, a cell reads what it likes."""
    net = nn.Sequential(nn.ZeroPad2d((0, 0, 1, -1)), nn.Conv2d(1, 1, (1, 3), padding=(0, 1)), nn.Softmax(3)).double()
    shape = (1, 1, 4, 5)
    loop = oc.Loop(net, [oc.Stage(("output",), lambda cells: bounded(cells["output"]), "input")],
                   torch.zeros(shape).double(), axes="H")  # fmt: skip
    assert loop.cells == (4,)
    x = torch.zeros(shape).double()
    with torch.no_grad():
        for row in range(4):
            x[:, :, row] = bounded(net(x)[:, :, row])
    assert torch.allclose(loop.run()["input"], x, atol=1e-12)


def test_types_that_differ():
    """Padding has the type of what it pads, whatever types other inputs have."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of = nn.Embedding(3, 1)

        def forward(self, label: Tensor, x: Tensor) -> Tensor:
            return F.pad(x, (1, -1), value=0.5) + self.of(label).sum()

    torch.manual_seed(8)
    net, label = Padded().double(), torch.tensor([2])
    loop = oc.Loop(net, [oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds="x")],
                   label, torch.zeros(1, 1, 2, 4).double())  # fmt: skip
    expected = naively(lambda x: net(label, x), (1, 1, 2, 4), (1, 1), bounded)
    assert torch.allclose(loop.run(label)["x"], expected, atol=1e-12)
    assert oc.verify(loop).proved
    with pytest.raises(oc.InputError, match=r"label is torch\.float32; this loop takes torch\.int64"):
        loop.run(label.float())
    wrong = oc.Loop(net, [oc.Stage(("output",), lambda cells: cells["output"] + 0j, feeds="x")],
                    label, torch.zeros(1, 1, 2, 4).double())  # fmt: skip
    with pytest.raises(oc.InputError, match=r"hook of x returned torch\.complex128; that input is torch\.float64"):
        wrong.run(label)


def test_given_inputs_are_made_use_of_whole():
    """What depends on nothing that is made may do what it likes: here a mean over the image, and a strided branch."""

    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.around, self.up = masked(2, 2, 3, own=False), nn.ConvTranspose2d(2, 2, 2, stride=2)

        def forward(self, x: Tensor, hyper: Tensor) -> Tensor:
            more = self.up(hyper)
            return self.around(x) * more.mean((2, 3), keepdim=True) + more

    torch.manual_seed(5)
    net = Conditioned().double().eval()
    hyper = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    shape = (1, 2, 6, 8)
    loop = oc.Loop(net, [oc.Stage(("output",), lambda cells: bounded(cells["output"]), feeds="x")],
                   torch.zeros(shape, dtype=torch.float64), hyper)  # fmt: skip
    cell = [n // c for n, c in zip(shape[2:], loop.cells, strict=True)]
    expected = naively(lambda x: net(x, hyper), shape, cell, bounded)
    assert torch.allclose(loop.run(hyper)["x"], expected, atol=1e-12)
    with pytest.raises(oc.InputError, match=r"hyper has shape \(1, 2, 3, 3\); this loop is for \(1, 2, 3, 4\)"):
        loop.run(hyper[..., :3])


def test_what_the_program_settles_is_worked_out_once(monkeypatch):
    """A second run makes the same of other weights, and groups no samples again."""
    torch.manual_seed(9)
    net, shape = (
        nn.Sequential(nn.ZeroPad2d((1, -1, 1, -1)), nn.AvgPool2d(3, 1, 1), nn.ZeroPad2d((1, -1, 0, 0))),
        (1, 1, 4, 6),
    )
    net.append(nn.Conv2d(1, 1, 1)).double()
    loop, parts = looped(net, shape), []
    made = Grouping._part
    monkeypatch.setattr(Grouping, "_part", lambda *args, **named: parts.append(args) or made(*args, **named))
    loop.run()
    assert len(parts) > 6
    parts.clear()
    with torch.no_grad():
        net[-1].weight *= -2
    assert torch.allclose(loop.run()["input"], naively(net, shape, (1, 1), bounded), atol=1e-12)
    assert not parts
    assert oc.verify(loop).proved


def test_stages_that_wait_for_each_other():
    """Each reads the other's cell: the message says both, and both ways out."""

    class Crossed(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return y + 1, 2 * x

    stages = [oc.Stage((f"output{i}",), lambda cells, i=i: cells[f"output{i}"], feeds="xy"[i]) for i in (0, 1)]
    with pytest.raises(oc.InputError, match=r"mask one of these taps, or let the stage that reads its own cell"):
        oc.Loop(Crossed(), stages, (1, 1, 1, 4), (1, 1, 1, 4))
