"""Nets that need the value of a constant on the way, on shapes alone: against runs of torch on numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.trace.on_shapes import _refuse_holes
from overlapcalc.trace.peak_memory import run_memory
from overlapcalc.trace.stand_in import stand_in
from overlapcalc.trace.trial import trial

N, HOP = 16, 4


class Masked(nn.Module):
    """A spectrum and back. made: the window, in forward; else it is a buffer, or a parameter."""

    def __init__(self, window: Any, *, center: bool = True, made: bool = False) -> None:
        super().__init__()
        self.center, self.make = center, window if made else None
        if not made:
            self.window = window if isinstance(window, nn.Parameter) else nn.Buffer(window)
        self.conv = nn.Conv1d(N // 2 + 1, N // 2 + 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        window = self.window if self.make is None else self.make(N)
        there = {"n_fft": N, "hop_length": HOP, "window": window, "center": self.center}
        spectrum = torch.stft(x[:, 0], return_complex=True, **there)
        masked = spectrum * self.conv(spectrum.abs()).sigmoid()
        return torch.istft(masked, length=x.shape[-1], **there)[:, None]


def runs(net: nn.Module, n: int) -> bool:
    try:
        with torch.no_grad():
            net(torch.randn(1, 1, n))
    except RuntimeError:
        return False
    return True


NETS: dict[str, Callable[[], nn.Module]] = {
    "buffer": lambda: Masked(torch.hann_window(N)),
    "made": lambda: Masked(torch.hann_window, made=True),
    "parameter": lambda: Masked(nn.Parameter(torch.hann_window(N))),
    "hole": lambda: Masked(torch.hann_window(N), center=False),
    "flat": lambda: Masked(torch.ones(N), center=False),
}


@pytest.mark.parametrize("name", list(NETS))
def test_sizes_are_those_at_which_torch_runs(name: str) -> None:
    net = NETS[name]()
    found = trial(net, [torch.float32])
    assert [found(((1, 1, n),)) for n in (3, 8, 9, 16, 17, 40, 64)] == [runs(net, n) for n in (3, 8, 9, 16, 17, 40, 64)]


def test_oc_sizes_of_a_net_with_an_inverse() -> None:
    net = NETS["buffer"]()
    found = oc.sizes(net, (1, 1, 64))["L"]
    assert (found.smallest, found.step) == (next(n for n in range(1, 64) if runs(net, n)), 1)


def test_the_memory_of_passes_is_predicted_and_is_the_same_each_time() -> None:
    net = NETS["buffer"]()
    found = [run_memory(stand_in(net), ((1, 1, 96),), [torch.float32], None) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    plan = oc.plan(net, (1, 1, 1024), schedule="passes", block=64)
    assert plan.memory is not None
    assert plan.full_memory is not None
    assert plan.memory.activations < plan.full_memory.activations


def test_few_frames_say_what_all_say() -> None:
    """Random transforms, with windows that leave holes or not: torch on all frames, and the check on few of them."""
    rng = random.Random(0)
    said = []
    for _ in range(400):
        n_fft = rng.choice([4, 8, 9, 16])
        hop, frames = rng.randint(1, n_fft), rng.randint(1, 60)
        window = torch.tensor([float(rng.random() < 0.7) for _ in range(n_fft)])
        total = n_fft + hop * (frames - 1)
        asked = {
            "input": torch.zeros(1, n_fft // 2 + 1, frames, dtype=torch.complex64),
            "n_fft": n_fft, "hop_length": hop, "center": rng.random() < 0.5,
            "length": rng.choice([None, total, total + 5, max(1, total - n_fft), rng.randint(1, total)]),
        }  # fmt: skip
        outcome = []
        for check in (lambda: torch.istft(**asked, window=window, onesided=True),  # noqa: B023
                      lambda: _refuse_holes({**asked, "onesided": True}, window)):  # noqa: B023  # fmt: skip
            try:
                check()
                outcome.append(True)
            except RuntimeError:
                outcome.append(False)
        assert outcome[0] == outcome[1], (asked, window)
        said.append(outcome[0])
    assert 50 < sum(said) < 350


def test_a_number_read_out_of_a_buffer() -> None:
    class Strided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = nn.Buffer(torch.tensor(4))

        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(1, 1, -1, int(self.count.item())).mean(-1)

    found = oc.sizes(Strided(), (1, 1, 40))["L"]
    assert str(found) == "multiples of 4 from 4"
