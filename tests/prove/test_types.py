"""Values are judged by what a net's own arithmetic can hold, and constants are of the type of the run."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from shared.thorough import few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.engine import Machine
from overlapcalc.prove.widened import Widened, coarsest, rounding_allowed


def conv(i: int = 3, o: int = 3, kernel: int = 3) -> nn.Module:
    torch.manual_seed(kernel)
    return nn.Conv2d(i, o, kernel, padding=kernel // 2)


class Norm32(nn.Module):
    """A layer norm over channels that computes in float32, whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(), conv()

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).permute(0, 2, 3, 1)
        y = F.layer_norm(y.to(torch.float32), (3,)).to(y.dtype)
        return self.last(y.permute(0, 3, 1, 2))


class Sobel(nn.Module):
    """No parameters: the kernel is made in the type of the image. One that float32 does not hold exactly."""

    def forward(self, x: Tensor) -> Tensor:
        k = torch.tensor([[-0.1, 0, 0.1], [-0.3, 0, 0.3], [-0.1, 0, 0.1]], dtype=x.dtype, device=x.device)
        return F.conv2d(x, k[None, None], padding=1)


class Gauss(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        g = torch.exp(-((torch.arange(5, dtype=x.dtype, device=x.device) - 2) ** 2) / 2.3)
        x = F.conv2d(x, (g / g.sum())[None, None, :, None], padding=(2, 0))
        return F.conv2d(x, x.new_tensor([0.1, 0.7, 0.2])[None, None, None], padding=(0, 1))


class Halved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(), conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x).half()).to(x.dtype))


class HalfWeights(Halved):
    """Weights of two types: as a whole it runs in neither float32 nor float64."""

    def __init__(self) -> None:
        super().__init__()
        self.last.half()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).half()).to(x.dtype)


class Autocast(Halved):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.first(x)
        return self.last(y.to(x.dtype))


class Float64Constants(nn.Module):
    """A buffer and a plain tensor of float64 in a net of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv()
        self.factor = torch.full((3, 1, 1), 0.3, dtype=torch.float64)
        self.register_buffer("offset", torch.full((3, 1, 1), 1 / 3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.first(x) * self.factor + self.offset).to(x.dtype)


class Kernel32(nn.Module):
    """A float32 kernel that no module knows of: the net does not run in float64 as it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = conv()

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(self.first(x), x)
        return (z * z).real.abs()


NETS = {
    "norm in float32": (Norm32, 3, "float32 on the way"),
    "sobel": (Sobel, 1, ""),
    "gauss": (Gauss, 1, ""),
    "halved": (Halved, 3, "float16 on the way"),
    "weights of two types": (HalfWeights, 3, ""),
    "autocast": (Autocast, 3, ""),
    "float64 constants": (Float64Constants, 3, ""),
    "a plain kernel": (Kernel32, 1, ""),
    "complex": (Complex, 3, ""),
}


@cache
def made(name: str) -> tuple[nn.Module, int, str]:
    make, channels, said = NETS[name]
    return make(), channels, said


CALLS = ("norm in float32", "sobel", "weights of two types")


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(
    ("name", "schedule"),
    few(
        [*((name, "crop") for name in NETS), *((name, "stream") for name in CALLS)],
        [
            ("sobel", "stream"),
            *((name, "crop") for name in NETS if name in ("norm in float32", "halved", "float64 constants", "complex")),
        ],
    ),
)
def test_what_is_right_is_proved(name, schedule):
    net, channels, said = made(name)
    v = oc.verify(net, (1, channels, 28, 10), axes="H", schedule=schedule, block=7)
    assert v.proved, [(p.name, p.reason, p.failures) for p in v.proofs]
    assert v["values"].status == v["poisoned borders"].status == "proved"
    assert said in v["values"].reason
    if schedule == "crop":
        assert "at most 1e-12" in v["values"].reason


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("name", few(["norm in float32", "sobel", "halved", "weights of two types", "complex"], 3))
def test_one_sample_short_is_refuted_by_values(name):
    """A tolerance that follows from a coarse type must leave a proof that can fail."""
    net, channels, _ = made(name)
    context = 2 if hasattr(net, "last") else 1
    v = oc.verify(net, (1, channels, 28, 10), axes="H", block=7, tile=context - 1)
    assert v["values"].status == "refuted"
    assert oc.verify(net, (1, channels, 28, 10), axes="H", block=7, tile=context)["values"].status == "proved"


class Deep32(nn.Module):
    """Twelve layers whose outermost taps are tiny: one sample short is off by less than float32 can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(1, 1) for _ in range(6))
        with torch.no_grad():
            for layer in self.layers:
                layer.weight.mul_(torch.tensor([0.05, 1, 0.05])[:, None])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x.to(torch.float32).to(x.dtype))
        return x


@pytest.mark.usefixtures("traced_once")
def test_an_error_below_what_the_coarse_type_holds_is_found_without_it():
    shape = (1, 1, 64, 8)
    net = Deep32()
    v = oc.verify(net, shape, axes="H", block=16, tile=5)
    assert v.figures[0].error < rounding_allowed(torch.float32)
    assert v["values"].status == "refuted"
    assert "float64 in the place of float32" in v["values"].failures[0]
    assert oc.verify(net, shape, axes="H", block=16, tile=6).proved


@pytest.mark.parametrize(("make", "schedule"), few([(Sobel, "trim"), (Gauss, "stream")], 1))
def test_constants_have_the_full_precision_of_the_run(make, schedule):
    """Traced in float32 and run in float64, they would be off by 1e-8."""
    net, x = make(), torch.rand(1, 1, 28, 10, dtype=torch.float64)
    analysis = oc.analyze(net, (1, 1, 28, 10))
    variants, plan = analysis.variants, oc.plan(analysis, block=7, schedule=schedule)
    calls = variants.runnable(((1, 1, 28, 10),))

    def error(of):
        found = torch.zeros_like(x)
        for block in Machine(net, of, plan).blocks({"x": x}):
            h, w = (slice(*block.regions["output"][axis]) for axis in "HW")
            found[:, :, h, w] = block.results["output"]
        return float((found - net(x)).abs().max())

    assert error(variants.typed("float64", calls)) < 1e-15
    with pytest.raises(oc.OverlapcalcError):
        error(variants)  # kernels of float32


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("dtype", "schedule"), few([(torch.float64, "stream"), (torch.bfloat16, "trim")], 1))
def test_a_net_without_parameters_runs_in_the_type_of_its_input(dtype, schedule):
    x = torch.rand(1, 1, 28, 10).to(dtype)
    net = Sobel()
    assert oc.run(net, x, block=7, schedule=schedule).dtype == dtype
    v = oc.verify(net, x, block=7, schedule=schedule, axes="H")
    assert v.proved
    assert v.figures[-1].dtype == str(dtype).removeprefix("torch.")


def test_the_tolerance_of_a_type():
    assert rounding_allowed(torch.float32) == 2.0**-15
    assert rounding_allowed(torch.complex64) == 2.0**-15
    assert rounding_allowed(torch.bfloat16) == rounding_allowed(torch.float16) == 0.05
    assert coarsest([torch.int64, torch.float64, torch.float16, torch.bfloat16]) is torch.bfloat16
    assert coarsest([torch.int64]) is None


def test_widened_arithmetic():
    x = torch.full((4,), 1 / 3, dtype=torch.float64)
    with Widened():
        assert torch.equal(x.to(torch.float32).double(), x)
        assert torch.equal(x.half() * torch.tensor(0.1, dtype=torch.float32).sum(), x * torch.tensor(0.1).double())
        assert torch.softmax(x, 0, dtype=torch.float32).dtype is torch.float64
        assert (x + torch.zeros(4)).dtype is torch.float64
        with pytest.raises(TypeError, match="memory"):
            x.view(torch.int64)
    assert x.to(torch.float32).dtype is torch.float32
