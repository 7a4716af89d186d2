"""Samples taken along a dimension, against torch's index_select."""

from __future__ import annotations

import random

import pytest
import torch

from overlapcalc.engine.slab.taps import Places


def drawn(seed: int) -> tuple[int, list[int]]:
    """A length, and places along it: a stretch of samples repeated in turn, or any."""
    rng = random.Random(seed)
    n, times = rng.randint(1, 9), rng.randint(1, 4)
    if seed % 2:
        return n, [rng.randrange(n) for _ in range(rng.randint(1, 9))]
    begins = rng.randrange(n * times)
    return n, [i // times for i in range(begins, rng.randint(begins, n * times - 1) + 1)]


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_places_are_taken_in_the_order_of_memory(order):
    repeated = 0
    for seed in range(200):
        n, places = drawn(seed)
        x, taken = torch.randn(2, 3, n, 4).to(memory_format=order), Places(places)
        y = taken.of(x, 2)
        assert torch.equal(y, x.index_select(2, torch.tensor(places))), (n, places)
        repeated += taken._times is not None and taken._times > 1
    assert repeated > 50  # both ways were tried


def test_an_image_in_channels_last_stays_so():
    x = torch.randn(1, 3, 6, 5).to(memory_format=torch.channels_last)
    for places in ([0, 0, 1, 1, 2, 2], [4, 0, 2]):
        assert Places(places).of(x, 2).is_contiguous(memory_format=torch.channels_last)
