"""Each operator family against brute force, at a size that divides by nothing, on every axis and in 1-D to 3-D."""

from __future__ import annotations

import pytest
from shared.agreement import followed
from shared.families import CASES, one_of_each_kind
from shared.thorough import few


@pytest.mark.parametrize(
    ("name", "net", "shape", "zero_taps"), few(CASES, one_of_each_kind()), ids=[c[0] for c in CASES]
)
def test_family(name, net, shape, zero_taps):
    assert followed(net, shape, name, zero_taps=zero_taps).wrong == []
