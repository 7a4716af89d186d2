"""examples/lic/exact.py: sums that are exact, so blocks, schedules and threads change no bit."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from shared.thorough import few
from torch import nn
from torch.profiler import profile

from examples.lic.checkerboard import CheckerboardConv2d
from examples.lic.exact import (
    ACTIVATIONS,
    ExactConv,
    ExactSigmoid,
    Grid,
    OnlyExact,
    exact,
    exact_conv,
    exact_root,
    most_units,
)
from examples.lic.gdn import GDN
from examples.lic.layers import ResidualDown, deconv, subpixel
from examples.lic.running import SCHEDULES, Running
from overlapcalc import InputError

pytestmark = pytest.mark.usefixtures("traced_once")


def small(seed: int = 0) -> nn.Sequential:
    """What the codecs are made of, with weights that make numbers of some size."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        ResidualDown(3, 4), CheckerboardConv2d(4, 4), nn.Sigmoid(), deconv(4, 4), GDN(4, inverse=True), subpixel(4, 2)
    )
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    return net.eval()


def test_sums_are_those_of_rational_numbers():
    """For each output channel the largest sum that the grid allows, and one beside it, against Fractions."""
    torch.manual_seed(1)
    own = exact_conv(torch.randn(3, 5, 3, 3), torch.randn(3), {}, ACTIVATIONS, "net")
    x = torch.sign(own.weight) * 2.0**13
    x[:, 0] = torch.rand(3, 3, 3).double()
    found = own(x)[:, :, 0, 0]
    for i in range(3):
        read = [Fraction(round(Fraction(v) * 2**13), 2**13) for v in x[i].flatten().tolist()]
        for o in range(3):
            weights = [Fraction(w) * 2**13 for w in own.weight[o].flatten().tolist()]
            right = sum((w * v for w, v in zip(weights, read, strict=True)), Fraction(own.bias[o].item()))
            assert Fraction(found[i, o].item()) == right


def test_every_order_of_taps_gives_the_same_bits_and_finer_weights_do_not():
    torch.manual_seed(2)
    weight = torch.randn(2, 64, 5, 5)
    own = exact_conv(weight, None, {}, ACTIVATIONS, "net")
    too_fine = ExactConv(weight.double() * 2.0**-13, torch.zeros(2).double(), {}, Grid(30, 13), 43, transposed=False)
    inputs = 8 * torch.rand(50, 64, 5, 5).double() - 4
    orders = [torch.randperm(64) for _ in range(5)]

    def results(conv_: ExactConv) -> list[torch.Tensor]:
        units = conv_.grid.units(inputs)
        return [F.conv2d(units[:, order], conv_.weight[:, order]) for order in orders]

    first, *others = results(own)
    assert all(torch.equal(first, other) for other in others)
    first, *others = results(too_fine)
    assert not all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(("exponent", "fraction"), [(0, 24), (2, 24), (3, 23), (10, 16), (18, 8)])
def test_weights_are_as_fine_as_the_law_allows(exponent, fraction):
    """Inputs have 26 bits, so a single tap may have 27: 1.3 * 2^exponent has as many in steps of 2^(exponent - 26)."""
    own = exact_conv(torch.full((1, 1, 1, 1), 1.3 * 2.0**exponent).double(), None, {}, ACTIVATIONS, "net")
    steps = own.weight.item() * 2.0 ** (13 + fraction)
    assert steps == round(float(torch.tensor(1.3)) * 2.0 ** (exponent + fraction))


@pytest.mark.parametrize("weight", [2.0**19, 1e30, float("nan"), float("inf")])
def test_sums_beyond_53_bits_are_refused_by_name(weight):
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.Conv2d(1, 1, 1)))
    with torch.no_grad():
        net[1][0].weight.fill_(weight)
    with pytest.raises(InputError, match=r"^g_a\.1\.0: "):
        exact(net, called="g_a")
    if weight == 2.0**19:
        assert exact(net, activations=Grid(12, 12)) is not net  # the way out


@pytest.mark.parametrize("bias", [float("nan"), float("inf"), -(2.0**60)])
def test_a_bias_that_is_too_large_or_no_number_is_refused_by_name(bias):
    net = nn.Sequential(nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        net[0].bias.fill_(bias)
    with pytest.raises(InputError, match=r"^net\.0: a weight or bias of"):
        exact(net)


@pytest.mark.parametrize(("buffer", "value"), [("beta_reparam", 1.5), ("gamma_reparam", 1.5)])
def test_a_gdn_that_could_divide_by_zero_or_take_the_root_of_less_is_refused(buffer, value):
    """Its bounds are in the checkpoint: a pedestal above the square of what is stored makes it negative."""
    net = nn.Sequential(GDN(2))
    exact(net)
    getattr(net[0], buffer).pedestal.fill_(value)
    with pytest.raises(InputError, match=r"^net\.0: gamma below 0, or beta not above it"):
        exact(net)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_bound_is_no_less_than_what_an_input_can_reach(groups, transposed):
    torch.manual_seed(3)
    taps = torch.randint(-50, 50, (4, 6 // groups, 3, 3)).double()
    outputs = 6 if transposed else 4
    constant = torch.randint(-50, 50, (outputs,)).double()
    grid = Grid(2, 3)
    apply = F.conv_transpose2d if transposed else F.conv2d
    ones = torch.full((1, 4 if transposed else 6, 5, 5), 2.0**5, dtype=torch.float64)
    reached = apply(ones, taps.abs(), constant.abs(), groups=groups)
    assert most_units(taps, constant, grid, groups=groups, transposed=transposed) == reached.max().item()


def test_an_exact_net_is_close_to_the_net():
    net, x = small(), torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        found, right = exact(net)(x.double()), net.double()(x.double())
    assert (found - right).abs().max() < 1e-3 * right.abs().max()


def test_sigmoid():
    x = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    assert (ExactSigmoid()(x) - torch.sigmoid(x)).abs().max() < 1e-6


def test_the_net_stays_as_it_is():
    net = small()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    exact(net)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert next(net.parameters()).dtype == torch.float32


class Doubled(nn.Conv2d):
    """A subclass that computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "layer", [nn.PReLU(), nn.BatchNorm2d(3), Doubled(3, 3, 1)], ids=lambda layer: type(layer).__name__
)
def test_layers_without_an_exact_form_are_refused_by_name(layer):
    with pytest.raises(InputError, match=rf"net\.1: {type(layer).__name__} "):
        exact(nn.Sequential(nn.ReLU(), layer))
    with pytest.raises(InputError, match=r"padding .*reflect"):
        exact(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"))


@pytest.mark.parametrize("last_bit", [0, -1, 1])
def test_roots_do_not_depend_on_the_last_bit_of_the_machine(last_bit, monkeypatch):
    """Against the integer roots of Python, beside squares as well, whatever torch's root does to its last bit."""
    places, root = 17, torch.sqrt
    toward = torch.tensor(last_bit * torch.inf, dtype=torch.float64)
    monkeypatch.setattr(torch, "sqrt", lambda x: torch.nextafter(root(x), toward) if last_bit else root(x))
    torch.manual_seed(4)
    bases = torch.cat([torch.randint(1, 2**24, (300,)), torch.tensor([1, 2, 3, 2**13, 2**24 - 1])])
    squared = torch.cat([bases * bases + more for more in (-1, 0, 1)] + [torch.randint(1, 2**48, (500,))])
    squared = squared[squared > 0]
    expected = [math.isqrt(n) for n in squared.tolist()]
    found = exact_root(squared.double() * 4.0**-places, places) * 2.0**places
    assert found.tolist() == expected
    assert exact_root(torch.tensor([2.0**-40], dtype=torch.float64), places).item() == 2.0**-places


def test_an_exact_gdn_is_that_of_fractions():
    torch.manual_seed(5)
    norm = GDN(3)
    with torch.no_grad():
        for p in norm.parameters():
            p += torch.rand_like(p)
    own = exact(norm)
    x = torch.randn(1, 3, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        found = own(x).flatten().tolist()
    (conv,) = (m for m in own.modules() if isinstance(m, ExactConv))
    read = [round(Fraction(v * v) * 2**16) for v in x.flatten().tolist()]
    for o, y in enumerate(found):
        taps = [Fraction(w) for w in conv.weight[o].flatten().tolist()]
        total = sum((w * v for w, v in zip(taps, read, strict=True)), Fraction(conv.bias[o].item()))
        assert (total * 2**conv.fraction).denominator == 1
        places = (conv.fraction - 5) // 2
        root = Fraction(math.isqrt(int(total * 4**places)), 2**places)
        assert y == x.flatten()[o].item() / float(root)


class Root(nn.Module):
    """shift: what makes of integers what the root may be taken of; then: what comes after it."""

    def __init__(self, shift: float, then: nn.Module) -> None:
        super().__init__()
        self.shift, self.then = shift, then

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.then(torch.sqrt(torch.floor(x * x) + self.shift))


class Then(nn.Module):
    """function: of x and the root of half-integers of it."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, torch.sqrt(torch.floor(x * x) + 0.5))


class Of(Then):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


HOLES = [
    (Then(lambda x, r: x / r + torch.floor(r)), "sqrt"),  # rounded down, and used as it is too
    (Then(lambda x, r: torch.floor(x) + r), "sqrt"),
    (Then(lambda x, r: r - torch.floor(r)), "sqrt"),
    (Of(lambda x: torch.floor(torch.sqrt(torch.floor(x * x)))), "sqrt"),  # beside squares the last bit decides
    (Of(lambda x: torch.floor(torch.sqrt(torch.floor(x * x) * 2.0**48 + 2.0**49 + 0.5))), "sqrt"),
    (Of(lambda x: x / 3.0), "div"),
    (Of(lambda x: torch.div(x, x + 3, rounding_mode="floor")), "div"),
]


@pytest.mark.parametrize(("layer", "said"), HOLES)
def test_what_depends_on_the_machine_is_refused(layer, said):
    torch.manual_seed(7)
    x = torch.rand(1, 3, 4, 4, dtype=torch.float64) * 40 + 1
    with pytest.raises(InputError, match=rf"^g_a: {said} "), OnlyExact("g_a"):
        layer(x)


def test_what_does_not_is_let_through():
    def two(x: torch.Tensor) -> torch.Tensor:
        a, b = torch.sqrt(torch.floor(x) + 0.5), torch.sqrt(torch.floor(x * x) + 0.5)
        return torch.floor(a) + torch.floor(b.clone())

    x = torch.rand(1, 3, 4, 4, dtype=torch.float64) * 40 + 1
    with OnlyExact("g_a"):
        found, quarter = two(x), x / 4.0
    expected = [math.isqrt(int(v)) + math.isqrt(int(v * v)) for v in x.flatten().tolist()]
    assert found.flatten().tolist() == expected
    assert torch.equal(quarter, x * 0.25)


class Exp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x)


class Fused(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, x, alpha=3)


class Single(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Exp(), "exp"),
        (Root(0.5, nn.Identity()), "sqrt"),
        (Root(0.5, nn.ReLU()), "sqrt"),
        (Root(0.0, nn.Identity()), "sqrt"),
        (Fused(), "alpha"),
        (Single(), "float32"),
        (nn.Softplus(), "softplus"),
    ],
)
def test_operators_that_ieee_754_does_not_fix_are_refused_by_name(layer, said):
    net = exact(nn.Sequential(nn.Conv2d(3, 3, 1), layer), called="g_a")
    with torch.no_grad(), pytest.raises(InputError, match=rf"^g_a: .*{said}"), OnlyExact("g_a"):
        net(torch.zeros(1, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("schedule", few(SCHEDULES, 1))
def test_blocks_change_no_bit(schedule):
    """Sizes that divide by nothing; and nothing runs by blocks but what the proof allows."""
    net, x = exact(small()), torch.rand(1, 3, 36, 44, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
    for block in {"crop": (12,), "trim": (23,), "stream": (7,)}[schedule]:
        running = Running(block, schedule)
        assert torch.equal(running(net, x), whole)
        with OnlyExact(schedule):
            running(net, x)


def test_threads_change_no_bit():
    net, x = exact(small()), torch.rand(2, 3, 44, 72, dtype=torch.float64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with torch.no_grad():
                found.append(net(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert torch.equal(found[0][1:], net(x[1:]))


def test_convolutions_in_float64_are_matrix_products():
    """The law is of kernels that add products. Of torch's on a CPU, oneDNN's and NNPACK's may be others."""
    net, x = exact(small()), torch.rand(1, 3, 36, 44, dtype=torch.float64)
    with torch.no_grad(), profile() as seen:
        net(x)
    ran = {event.key for event in seen.key_averages() if "conv" in event.key}
    assert {"aten::_slow_conv2d_forward", "aten::slow_conv_transpose2d"} <= ran
    assert not {name for name in ran if "mkldnn" in name or "nnpack" in name or "winograd" in name}


def test_blocks_do_change_bits_of_a_net_as_it_is():
    """The control."""
    net, x = small(), torch.rand(1, 3, 44, 72)
    with torch.no_grad():
        whole = net(x)
    assert not torch.equal(Running(12, "crop")(net, x), whole)
