"""Short-time Fourier transforms and their inverses, and overlap-add by itself."""

from __future__ import annotations

import pytest
import torch
from shared.oracle import Dependency
from torch import Tensor, nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")

N, HOP = 16, 4


class Masked(nn.Module):
    """A mask on the spectrum, from the magnitudes of three frames."""

    def __init__(self, window: Tensor) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("window", window.double())
        self.conv = nn.Conv1d(N // 2 + 1, N // 2 + 1, 3, padding=1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        there = {"n_fft": N, "hop_length": HOP, "window": self.window}
        spectrum = torch.stft(x[:, 0], center=True, return_complex=True, **there)  # type: ignore[arg-type]
        masked = spectrum * self.conv(spectrum.abs()).sigmoid()
        return torch.istft(masked, length=x.shape[-1], **there)[:, None]  # type: ignore[arg-type]


class Added(nn.Module):
    """Overlap-add of what a convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(1, 3, 3, padding=1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.conv(x).unfold(-1, 8, 3) * 2
        shape = [x.shape[0], 3, 3 * (frames.shape[2] - 1) + 8]
        return torch.ops.aten.unfold_backward(frames, shape, 2, 8, 3)  # type: ignore[no-any-return]


NETS = {"hann": lambda: Masked(torch.hann_window(N)), "flat": lambda: Masked(torch.ones(N)), "added": Added}


@pytest.mark.parametrize("name", list(NETS))
def test_local_and_run_by_blocks(name: str) -> None:
    net, x = NETS[name]().eval(), torch.randn(1, 1, 128, dtype=torch.float64)
    found = oc.analyze(net, x)
    assert found.blocking_free
    whole = net(x)
    for schedule in ("crop", "trim", "stream"):
        for block in (HOP * 5, 30):
            got = oc.run(net, x, schedule=schedule, block=block)
            torch.testing.assert_close(got, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(NETS))
def test_no_sample_is_read_that_the_context_has_not(name: str) -> None:
    """By brute force; where no tap is zero, all of the context is read."""
    net, x = NETS[name]().eval(), torch.randn(1, 1, 96, dtype=torch.float64)
    found = oc.analyze(net, x)["L"]
    truth = Dependency(_Each(net), x, 2, zero_taps=True)
    step, context = found.step, found.context
    assert context is not None
    reached = []
    for a in range(40 // step, 56 // step):
        hull = truth.hull(a * step, (a + 1) * step)
        assert hull is not None
        reached.append((a * step - hull[0], hull[1] - (a + 1) * step))
    most = max(b for b, _ in reached), max(b for _, b in reached)
    assert most[0] <= context.before
    assert most[1] <= context.after
    if name != "hann":
        assert most == (context.before, context.after)


class _Each(nn.Module):
    """One sample of the batch after another: torch.stft of a batch need not round alike."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(one[None]) for one in x])
