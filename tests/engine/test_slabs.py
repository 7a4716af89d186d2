"""Operators that need more than to be called on a part of the image: trim and stream against the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from shared.thorough import crossed, few
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops import registry


def ends_of_constants(x: Tensor) -> Tensor:
    return torch.cat([x.new_full((*x.shape[:-1], 2), 3.0), x, x.new_ones(*x.shape[:-1], 3)], -1)


def constant_channel(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_full((x.shape[0], 1, *x.shape[2:]), 2.0)], 1)


def shifted_by_writing(x: Tensor) -> Tensor:
    y = x.new_zeros(*x.shape[:-1], x.shape[-1] + 5)
    y[..., 3:-2] = x
    return y


def inverse_wavelet(x: Tensor) -> Tensor:
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    for i in range(2):
        for j in range(2):
            y[:, :, i::2, j::2] = x * (1 + i + 2 * j)
    return y


def no_channels(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_empty(x.shape[0], 0, *x.shape[2:])], 1)


def channels_by_slice(x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 4, *x.shape[2:])
    y[:, 1:3] = x
    return y


def channel_by_index(x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 4, *x.shape[2:])
    y[:, 1] = x[:, 0]
    return y


def one_hot(x: Tensor) -> Tensor:
    return torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0) * x


def overlap_added(x: Tensor) -> Tensor:
    return F.fold(F.unfold(x, 4, stride=2, padding=1) ** 2, tuple(x.shape[2:]), 4, stride=2, padding=1)


def filled(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :1] = 0.5
    return y


def einsum(x: Tensor) -> Tensor:
    return torch.einsum("bchw,dc->bdhw", x, x.new_ones(3, 2))


def smooth(factor: float, mode: str) -> Callable[[Tensor], Tensor]:
    return partial(F.interpolate, scale_factor=factor, mode=mode, antialias=True)


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "ends of constants": ends_of_constants,
    "constant channel": constant_channel,
    "shifted by writing": shifted_by_writing,
    "inverse wavelet": inverse_wavelet,
    "no channels": no_channels,
    "channels by slice": channels_by_slice,
    "channel by index": channel_by_index,
    "one-hot": one_hot,
    "overlap-add": overlap_added,
    "filled": filled,
    "einsum with a constant": einsum,
    "antialiased to half": smooth(0.5, "bilinear"),
    "antialiased to 2/3": smooth(2 / 3, "bicubic"),
    "antialiased up": smooth(1.5, "bicubic"),
}


def net(function: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), Do("", function)).double().eval()


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("name", "how"), crossed(CASES, [("trim", 5), ("stream", 5), ("stream", 1)]))
def test_by_trim_and_stream(name: str, how: tuple[str, int]) -> None:
    model = net(CASES[name])
    x = torch.randn(1, 2, 24, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(x)
    found = oc.run(model, x, schedule=how[0], block=how[1])
    assert found.shape == whole.shape
    assert float((found - whole).abs().max()) <= 1e-12 * float(whole.abs().max())


def test_a_tensor_laid_behind_itself() -> None:
    """A block of the second copy reads nothing of the first, and other rows of the same tensor."""
    model, x = net(lambda x: torch.cat([x, x], 2)), torch.randn(1, 2, 24, 20, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
    found = oc.run(model, x, schedule="trim", block=6)
    assert float((found - whole).abs().max()) <= 1e-12 * float(whole.abs().max())


@pytest.mark.parametrize("name", few(["inverse wavelet", "overlap-add", "ends of constants"], 1))
def test_proved(name: str) -> None:
    assert oc.verify(net(CASES[name]), schedule="stream").proved


@pytest.mark.parametrize("function", few([inverse_wavelet, filled], 1))
def test_proved_in_a_wider_type_than_the_net_was_traced_in(function: Callable[[Tensor], Tensor]) -> None:
    assert oc.verify(net(function).float(), [(1, 2, 24, 30)], schedule="stream", block=5).proved


class Unpooled(nn.Module):
    """A level of a SegNet: what is between pooling and unpooling reads its neighbours."""

    def __init__(self, kernel: int, stride: int, padding: int, ceil: bool = False, n: int = 2) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[n]
        self.before, self.between, self.after = (convolution(2, 2, 3, padding=1) for _ in range(3))
        self.pool = {2: F.max_pool2d, 3: F.max_pool3d}[n]
        self.unpool = {2: F.max_unpool2d, 3: F.max_unpool3d}[n]
        self.window, self.ceil = (kernel, stride, padding), ceil

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        y, where = self.pool(x, *self.window, ceil_mode=self.ceil, return_indices=True)
        return self.after(self.unpool(self.between(y), where, *self.window, output_size=x.shape[2:]))


UNPOOLED = {
    "aligned": (lambda: Unpooled(2, 2, 0), (24, 30)),
    "a rest": (lambda: Unpooled(3, 3, 0), (25, 31)),
    "gaps": (lambda: Unpooled(2, 3, 0), (25, 31)),
    "padded": (lambda: Unpooled(3, 3, 1), (25, 31)),
    "ceil": (lambda: Unpooled(2, 2, 0, ceil=True), (25, 31)),
    "three axes": (lambda: Unpooled(2, 2, 0, n=3), (8, 12, 10)),
}


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("name", few(UNPOOLED, ("a rest", "padded", "three axes")))
def test_unpooling_counts_places_within_windows(name: str) -> None:
    make, sizes = UNPOOLED[name]
    torch.manual_seed(5)
    model, x = make().double().eval(), torch.randn(1, 2, *sizes, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
    for schedule, block in (("crop", 7), ("trim", 1), ("stream", 7)):
        found = oc.run(model, x, schedule=schedule, block={"W": block})
        assert float((found - whole).abs().max()) <= 1e-12 * float(whole.abs().max())


def test_a_twin_of_unpooling() -> None:
    torch.manual_seed(5)
    assert oc.verify(Unpooled(3, 3, 1), [(1, 2, 25, 31)], schedule="stream")["exact twin"].status == "proved"


def test_what_has_no_slab_is_refused_by_name_and_crop_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = replace(registry.known_of("aten::col2im"), slab=None)
    monkeypatch.setitem(registry._OPERATORS, "aten::col2im", unknown)
    model, x = net(overlap_added), torch.randn(1, 2, 24, 30, dtype=torch.float64)
    for schedule in ("trim", "stream"):
        with pytest.raises(oc.NoSlabError, match=r"col2im has arguments that are sizes.*the schedule crop runs"):
            oc.run(model, x, schedule=schedule, block=4)
    with torch.no_grad():
        assert torch.allclose(oc.run(model, x, schedule="crop", block=4), model(x), atol=1e-12)
