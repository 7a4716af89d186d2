"""The nets of examples/blockcnn: sizes, fields by brute force, windows, and blocks that change no bit."""

from __future__ import annotations

import functools

import pytest
import torch
from shared.nets import healthy
from shared.oracle import Dependency
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from examples.blockcnn import tables
from examples.blockcnn.nets import DRAWN, PUBLISHED, BlockCNN, Windows, folded
from examples.blockcnn.remover import JPEG, Filters, Remover, Shape, means
from examples.lic import exact as exact_forms
from examples.lic.exact import OnlyExact, exact
from examples.lic.short import Short

pytestmark = pytest.mark.usefixtures("traced_once")

SCHEDULES = ("crop", "trim", "stream")


def seeded(net: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, and statistics of the batch norms that are not those of a start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) * 0.1)
                layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
        for parameter in net.parameters():
            if parameter.dim() > 1:
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.6 / fan) ** 0.5)
            else:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    return net.eval()


def levels(*size: int, seed: int = 5) -> Tensor:
    """Planes, or colours, in whole levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-128, 128, (1, 3, *size), generator=generator).double()


# ---- the published net ----------------------------------------------------------------------------------------------


def test_the_published_net_has_the_published_number_of_weights():
    """Convolutions without bias, and two numbers for each channel of a batch norm; a bottleneck has 11 k^2 and 6 k."""
    k = 64
    widths = [k, 2 * k, 4 * k, 8 * k, 4 * k, 2 * k, k]
    bottlenecks = [2, 1, 2, 1, 1, 1, 1]
    taps = [15, 15, 5, 1, 1, 1, 1]
    convolutions = sum(t * a * b for t, a, b in zip(taps, [3, *widths], widths, strict=False)) + 3 * k
    inner = sum(n * (11 * w**2 + 6 * w) for n, w in zip(bottlenecks, widths, strict=True))
    assert convolutions + inner + sum(2 * w for w in widths) == 6_147_968
    net = BlockCNN()
    assert sum(parameter.numel() for parameter in net.parameters()) == 6_147_968
    assert sum(bottlenecks) == 9


@pytest.mark.parametrize(
    ("kernels", "window", "block"), [(PUBLISHED, (16, 24), (12, 12)), (DRAWN, (24, 24), (8, 8))], ids=["code", "figure"]
)
def test_a_window_to_its_block(kernels, window, block):
    with torch.no_grad():
        found = seeded(BlockCNN(4, kernels))(torch.rand(2, 3, *window))
    assert found.shape == (2, 3, *block)
    assert 0 <= float(found.min()) < 1 < float(found.max()) <= 255


def test_the_field_of_the_published_net():
    """Nine convolutions of 3x3 reach 9 samples each way; those that are not padded take 2 + 2 rows, 4 + 4 + 4 columns."""
    rows, columns = 18 + 1 + 2 + 2, 18 + 1 + 4 + 4 + 4
    analysis = oc.analyze(BlockCNN(2).eval(), (1, 3, 48, 56))
    for axis, field, context in (("H", rows, (9, 13)), ("W", columns, (9, 21))):
        own = analysis[axis]
        assert (own.receptive_field, tuple(own.context), own.step, own.exact) == ((field, field), context, 1, True)


@pytest.mark.parametrize(("axis", "size", "context"), [("H", (34, 14), (9, 13)), ("W", (6, 44), (9, 21))])
def test_the_field_by_brute_force(axis, size, context):
    net = healthy(BlockCNN(1), 0)
    net.add_module(str(len(net) - 2), nn.Identity())  # a sigmoid of large sums hides what they are made of
    dim = "HW".index(axis) + 2
    truth = Dependency(net, torch.rand(1, 3, *size, dtype=torch.float64), dim)
    assert truth.hull(10, 11) == (10 - context[0], 11 + context[1])


# ---- windows --------------------------------------------------------------------------------------------------------


@functools.cache
def drawn() -> nn.Module:
    """The form of the figure, in its exact form."""
    return exact(folded(seeded(BlockCNN(2, DRAWN), 1)), called="the drawn net")


def test_folding_batch_norms_changes_nothing():
    net = seeded(BlockCNN(2, DRAWN), 1).double()
    x = levels(24, 24)
    with torch.no_grad():
        whole, other = net(x), folded(net)(x)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded(net).modules())
    assert float((whole - other).abs().max()) < 1e-9
    assert float(whole.std()) > 0.1


def by_hand(net: nn.Module, x: Tensor, window: int, block: int) -> Tensor:
    """Every window cut out and run alone; beyond the border the nearest sample of the picture."""
    height, width = x.shape[2:]
    around, made = (window - block) // 2, torch.full_like(x, torch.nan)
    for top in range(0, height, block):
        for left in range(0, width, block):
            rows = torch.arange(top - around, top - around + window).clamp(0, height - 1)
            columns = torch.arange(left - around, left - around + window).clamp(0, width - 1)
            part = net(x[:, :, rows][..., columns])
            made[:, :, top : top + block, left : left + block] = part[:, :, : height - top, : width - left]
    return made


def test_windows_are_every_window_by_itself():
    x = levels(29, 35)
    assert torch.equal(Windows(drawn())(x), by_hand(drawn(), x, 24, 8))
    assert not torch.equal(Windows(drawn())(x), by_hand(drawn(), x.roll(1, 3), 24, 8))


def test_a_crop_of_the_whole_net_is_not_what_windows_give():
    """Inside a window the padded convolutions read zeros where a whole picture has samples."""
    x = levels(40, 40)
    whole = drawn()(x)  # of 24 rows and columns: outputs [8, 16) are those of the window [8, 32)
    window = drawn()(x[:, :, 8:32, 8:32])
    assert torch.equal(window, Windows(drawn())(x)[:, :, 16:24, 16:24])
    assert float((whole[:, :, 8:16, 8:16] - window).abs().max()) > 1e-3 * float(window.max() - window.min())


def test_a_crop_of_a_whole_net_that_pads_nothing_is():
    plain = exact(seeded(nn.Sequential(nn.Conv2d(3, 4, 9), nn.LeakyReLU(0.1), nn.Conv2d(4, 3, 9)), 2))
    x = levels(40, 40)
    assert torch.equal(plain(x)[:, :, 8:16, 8:16], Windows(plain)(x)[:, :, 16:24, 16:24])


@pytest.mark.parametrize(("window", "block"), [(23, 8), (6, 8)])
def test_windows_lie_evenly_around_their_blocks(window, block):
    with pytest.raises(ValueError, match=f"windows of {window} for blocks of {block}"):
        Windows(nn.Identity(), window, block)


def test_what_windows_read():
    """Half of what a window has beyond its block, on each side; the blocks are the grid."""
    analysis = oc.analyze(Windows(nn.Conv2d(3, 1, 5), 6, 2).eval(), (1, 3, 12, 14))
    for axis in "HW":
        own = analysis[axis]
        assert (tuple(own.context), tuple(own.tile), own.step, own.out_step, own.exact) == ((2, 2), (2, 2), 2, 2, True)


# ---- the remover ----------------------------------------------------------------------------------------------------


@functools.cache
def remover(*, halved: bool) -> Remover:
    """In its exact form: sums are exact, so neither sizes nor kernels change a bit of them."""
    net = Remover(Shape(halved, k=2, layers=3))
    seeded(net, 3)
    made = exact(net, called="the remover")
    assert isinstance(made, Remover)
    return made


@pytest.mark.parametrize("halved", few([False, True], 1))
def test_the_remover_reads_as_many_samples_as_its_margin(halved):
    """8 convolutions of 3x3 reach 8, so the blocks beside a block; the filters of those read 8 more."""
    net = Remover(Shape(halved, k=1)).eval()
    grid = 16 if halved else 8
    context = 8 + 8 + (8 if halved else 0)
    analysis = oc.analyze(net, (1, 3, 64, 96))
    for axis in "HW":
        own = analysis[axis]
        assert (tuple(own.context), own.step, own.exact) == ((context, context), grid, True)
        assert own.tile.before % grid == own.tile.after % grid == 0
    truth = Dependency(healthy(net, 0), torch.rand(1, 3, 80, 16, dtype=torch.float64), 2)
    assert truth.hull(32, 32 + grid) == (32 - context, 32 + grid + context)


@pytest.mark.parametrize("halved", [False, True])
def test_the_remover_is_itself_on_windows(halved):
    """Nothing is padded between its layers."""
    net = remover(halved=halved)
    margin, grid = net.shape.margin, net.shape.grid
    x, side = levels(112, 96), grid + 2 * margin
    top, left = (-margin % grid + n for n in (32, 16))  # windows begin where their blocks lie on the grid
    assert (top, left) == ((40, 24) if halved else (32, 16))
    found = net(x)[:, :, top + margin :, left + margin :][:, :, :grid, :grid]
    assert torch.equal(net.inside(x[:, :, top : top + side, left : left + side]), found)
    assert not torch.equal(net.inside(x[:, :, top : top + side, left - 1 : left - 1 + side]), found)


def test_filters_are_one_for_each_position():
    """By hand: the sample at row 3 and column 5 of a block is the product of its filter with the window."""
    filters = Filters().double()
    plane = levels(40, 48)[:, :1]
    with torch.no_grad():
        found = filters(plane)
        assert found.shape == (1, 1, 24, 32)
        window, place = plane[0, 0, 8:32, 16:40], 3 * JPEG + 5
        value = (filters.positions.weight[place, 0] * window).sum() + filters.positions.bias[place]
    assert float(found[0, 0, 8 + 3, 16 + 5]) == pytest.approx(float(value), rel=1e-12)


def test_filters_of_halved_planes_read_what_was_coded():
    """16x16 samples each way around, as 16 means."""
    filters = Filters(halved=True).double()
    plane = levels(48, 64)[:, :1]
    with torch.no_grad():
        found = filters(plane)
        assert found.shape == (1, 1, 32, 48)
        window = plane[0, 0, 16:48, 0:32].reshape(16, 2, 16, 2).mean((1, 3))
        value = (filters.positions.weight[37, 0] * window).sum() + filters.positions.bias[37]
    assert float(found[0, 0, 16 + 37 // 16, 37 % 16]) == pytest.approx(float(value), rel=1e-12)
    assert torch.equal(means(plane)[0, 0, 8:24, 0:16], window)


@pytest.mark.parametrize(("halved", "number"), [(False, 89_091), (True, 117_955)])
def test_the_number_of_weights_that_the_readme_names(halved, number):
    """A filter has its window and a constant; convolutions of 3x3 have 9 a channel, and a constant."""
    filters = 64 * (24**2 + 1) + (256 * (16**2 + 1) if halved else 64 * (24**2 + 1))
    body = 16 * (9 * 6 + 1) + 6 * 16 * (9 * 16 + 1) + 3 * (9 * 16 + 1)
    assert filters + body == number
    assert sum(parameter.numel() for parameter in Remover(Shape(halved)).parameters()) == number


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="at least one channel and two layers"):
        Shape(k=0)
    with pytest.raises(ValueError, match="at least one channel and two layers"):
        Shape(layers=1)


# ---- by blocks ------------------------------------------------------------------------------------------------------


def padded_window() -> nn.Module:
    """6x6 to 2x2, and another net on a window than on a picture, as the published one is."""
    layers = (nn.Conv2d(3, 2, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(2, 3, 5))
    return exact(seeded(nn.Sequential(*layers), 4))


NETS = {
    "windows": (lambda: Windows(padded_window(), 6, 2), (13, 11), 6),
    "remover 4:4:4": (lambda: remover(halved=False), (61, 29), 24),
    "remover 4:2:0": (lambda: remover(halved=True), (61, 29), 24),
}
"""With a size, of primes, and a block."""


@pytest.mark.parametrize("name", few(NETS, ("remover 4:4:4",)))
def test_by_blocks_bit_for_bit(name):
    """Exact sums have one value, whatever the kernel, so only a wrong tile could differ. Blocks in both directions, and
    the nets of the paper: `python -m examples.blockcnn tables agreement`."""
    build, size, block = NETS[name]
    net, x = build(), levels(*size)
    whole = net(x)
    for schedule in SCHEDULES:
        assert torch.equal(oc.run(net, x, block={"H": block}, schedule=schedule), whole), schedule


@pytest.mark.parametrize("name", few(NETS, 1))
def test_a_sample_less_of_the_context_shows(name):
    build, size, block = NETS[name]
    net, x = build(), levels(*size)
    whole = net(x)
    assert torch.equal(Short(net, block)(net, x), whole)
    assert not torch.equal(Short(net, block, before=1)(net, x), whole)
    assert not torch.equal(Short(net, block, after=1)(net, x), whole)


def test_what_bit_equality_rests_on(monkeypatch):
    """All operators of the remover have one right result by IEEE 754. In float32 it is only nearly so."""
    x = levels(37, 29)
    for halved in (False, True):
        with OnlyExact("the remover"):
            remover(halved=halved)(x)
    monkeypatch.setattr(exact_forms, "FIXED", exact_forms.FIXED - {"replication_pad2d"})
    with pytest.raises(oc.InputError, match="replication_pad2d"), OnlyExact("the remover"):
        remover(halved=False)(x)


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_table_of_overlaps(monkeypatch):
    """Of a quick one; windows of 24 take seconds."""
    monkeypatch.setattr(tables, "SIZE", (1, 3, 24, 24))
    monkeypatch.setattr(tables, "nets", lambda: {"one": nn.Conv2d(3, 3, (3, 2), padding=(1, 0))})
    assert tables.overlaps().rows == (
        ("one", "H", "3", "1, 1", "1", "1, 1"),
        ("one", "W", "2", "0, 1", "1", "0, 1"),
    )
    monkeypatch.setattr(tables, "nets", lambda: {"two": nn.AdaptiveAvgPool2d(5)})
    with pytest.raises((ValueError, oc.ObstacleError)):
        tables.overlaps()


def test_the_nets_of_the_tables():
    """The table of agreement leaves out what is run on no picture."""
    own = tables.nets()
    assert set(own) == {
        "published, whole",
        "24x24 to 8x8, whole",
        "24x24 to 8x8, windows",
        "remover 4:4:4",
        "remover 4:2:0",
    }
    assert isinstance(own["24x24 to 8x8, windows"], Windows)
    assert own["remover 4:2:0"].shape.halved


def test_the_table_of_agreement(monkeypatch):
    """Every schedule gives the bits of the whole; what does not is not counted."""
    monkeypatch.setattr(tables, "SIZES", ((13, 11),))
    monkeypatch.setattr(tables, "BLOCKS", (5,))
    monkeypatch.setattr(
        tables, "nets", lambda: {"one": nn.Conv2d(3, 3, 3, padding=1), "published, whole": nn.Identity()}
    )
    assert tables.agreement().rows == (("one", "3", "3"),)
    run = oc.run
    monkeypatch.setattr(
        oc, "run", lambda net, x, *, schedule, **more: run(net, x, schedule=schedule, **more) * (schedule != "trim")
    )
    assert tables.agreement().rows == (("one", "3", "2"),)
