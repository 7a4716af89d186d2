"""One sample that is spread over the image, such as a mean that is resized to it: by passes as by the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.nets import Do
from shared.thorough import few

import overlapcalc as oc

SIZE = (1, 2, 12, 10)


def resized(mode: str, cells: int, **options: bool) -> Do:
    """The image beside its mean (of each of cells x cells parts), which is resized to it: an ASPP's pooling."""
    return Do(
        "mean", lambda x: x * F.interpolate(F.adaptive_avg_pool2d(x, cells), size=x.shape[2:], mode=mode, **options)
    )


WAYS = [("nearest", {}), ("bilinear", {"align_corners": False}), ("bilinear", {"align_corners": True}),
        ("bicubic", {"align_corners": False}), ("bilinear", {"antialias": True})]  # fmt: skip


@pytest.mark.parametrize(("mode", "options"), few(WAYS, 2))
def test_a_mean_that_is_resized_to_the_image(mode, options):
    x = torch.rand(SIZE, dtype=torch.float64)
    net = resized(mode, 1, **options)
    found = oc.run(net, x, schedule="passes", block=4)
    assert (found - x * x.mean((2, 3), keepdim=True)).abs().max() <= 1e-15  # weights add up to one, but for rounding
    assert torch.allclose(found, net(x), rtol=0, atol=1e-15)


def test_means_of_parts_are_not_all_one():
    x = torch.rand(SIZE, dtype=torch.float64)
    net = resized("nearest", 2)
    found = oc.run(net, x, schedule="passes", block=4)
    assert torch.allclose(found, net(x), rtol=0, atol=1e-15)
    assert (found - x * x.mean((2, 3), keepdim=True)).abs().max() > 1e-2
