"""Operators that need more than to be called on a part of the image: trim and stream against the whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from nets import Do
from torch import Tensor, nn

import overlapcalc as oc


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


@pytest.mark.parametrize("name", CASES)
def test_by_trim_and_stream(name: str) -> None:
    model = net(CASES[name])
    x = torch.randn(1, 2, 24, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(x)
    for schedule, block in (("trim", 5), ("stream", 5), ("stream", 1)):
        found = oc.run(model, x, schedule=schedule, block=block)
        assert found.shape == whole.shape
        assert float((found - whole).abs().max()) <= 1e-12 * float(whole.abs().max())


@pytest.mark.parametrize("name", ["inverse wavelet", "overlap-add", "ends of constants"])
def test_proved(name: str) -> None:
    assert oc.verify(net(CASES[name]), schedule="stream").proved


class Unpooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y, where = F.max_pool2d(x, 2, return_indices=True)
        found: Tensor = F.max_unpool2d(y, where, 2)
        return found


def test_what_has_no_slab_is_refused_by_name_and_crop_runs_it() -> None:
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    for schedule in ("trim", "stream"):
        with pytest.raises(oc.NoSlabError, match=r"max_unpool2d takes positions that count .*the schedule crop runs"):
            oc.run(Unpooled(), x, schedule=schedule, block=4)
    assert torch.equal(oc.run(Unpooled(), x, schedule="crop", block=4), Unpooled()(x))
