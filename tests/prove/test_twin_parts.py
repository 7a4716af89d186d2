"""What the twin needs so that reductions in parts are exact in it: exponentials that can be rescaled, products that can
be split, differences of scores that are masked. Against Python integers."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from overlapcalc.prove.twin import PRIME, Modular, residues
from overlapcalc.prove.twin.modular import GENERATOR, power


def test_the_generator_has_the_full_order():
    orders = [(PRIME - 1) // p for p in (2, 3, 5, 7, 13)]
    assert (PRIME - 1) == 2**4 * 3**2 * 5 * 7 * 13
    assert all(pow(GENERATOR, order, PRIME) != 1 for order in orders)


def test_an_exponential_against_integers():
    x = torch.tensor([0, 1, 2, 1000, PRIME - 1, PRIME - 2], dtype=torch.float64)
    expected = [1, *(pow(GENERATOR, int(r) - PRIME, PRIME) for r in x[1:].tolist())]
    with Modular():
        y = x.exp()
    assert y.tolist() == expected


def test_an_exponential_tells_residues_apart():
    """All but 0 and 1, whose differences from PRIME are 0 and a full period."""
    assert power(torch.arange(PRIME, dtype=torch.float64)).unique().numel() == PRIME - 1


def test_an_exponential_can_be_rescaled_exactly():
    low, middle, high = residues((3, 2000), 0).sort(0).values
    with Modular():
        scaled = (low - middle).exp() * (middle - high).exp()
        swapped = (middle - low).exp() * (middle - high).exp()
        expected = (low - high).exp()
    assert torch.equal(scaled, expected)
    assert not torch.equal(swapped, expected)


def test_an_exponential_of_what_is_no_residue():
    x = torch.tensor([5.0, -torch.inf, torch.nan], dtype=torch.float64)
    assert power(x)[1].item() == 0
    assert power(x)[2].isnan()


def test_differences_of_masked_scores():
    x = residues((3,), 0)
    with Modular():
        masked = x.masked_fill(torch.tensor([False, True, False]), -torch.inf)
        gone = (masked - masked.amax()).exp()
        less, more = masked - 7, masked + x
    assert less[1] == more[1] == -torch.inf
    assert gone[1] == 0
    assert gone.isfinite().all()


@pytest.mark.parametrize("d", [0, 1, 2])
def test_a_product_against_integers(d):
    x = residues((3, 5, 7), 0)
    with Modular():
        y, kept, of_all = x.prod(d), x.prod(d, keepdim=True), x.prod()
    X = x.to(torch.int64).movedim(d, -1)
    for place in itertools.product(*map(range, y.shape)):
        expected = 1
        for v in X[place].tolist():
            expected = expected * v % PRIME
        assert y[place] == expected
    assert torch.equal(kept.squeeze(d), y)
    expected = 1
    for v in x.flatten().to(torch.int64).tolist():
        expected = expected * v % PRIME
    assert of_all == expected


def test_a_zero_hides_no_other_factor():
    x = residues((4, 6), 0)
    x[:, 2] = 0
    changed = x.clone()
    changed[:, 4] = x[:, 4] % (PRIME - 1) + 1
    with Modular():
        y, other, split = x.prod(1), changed.prod(1), x[:, :3].prod(1) * x[:, 3:].prod(1)
    assert (y != other).all()
    assert torch.equal(y, split)


def test_whole_numbers_multiply_as_in_torch():
    x = torch.arange(1, 7).reshape(2, 3)
    with Modular():
        assert (residues((2,), 0) * 0 + x.prod(1)).tolist() == [6, 120]


def test_a_softmax_written_out_is_blind_to_no_sample():
    """exp(x - max) / sum, as many nets have it."""

    def soft(x):
        e = (x - x.amax(1, keepdim=True)).exp()
        return e / e.sum(1, keepdim=True)

    x = residues((3, 6), 0)
    for i in range(6):
        changed = x.clone()
        changed[:, i] = x[:, i] % (PRIME - 1) + 1
        with Modular():
            y, other = soft(x), soft(changed)
        assert (y != other).any(1).all()
    assert torch.allclose(soft(x), F.softmax(x, 1))
