"""Constants are compared by all of their bits, however long they are and whatever they hold."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from shared.blockwise import made
from shared.thorough import few

import overlapcalc as oc
from overlapcalc.trace.values import alive_in, bits, digest_of, rows_of, variation_along

LONG = 70_000
"""More values than were once compared one by one."""
NAN, INFINITY = float("nan"), float("inf")
TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool,
         torch.uint8, torch.int16, torch.int64]  # fmt: skip


def digest(value: torch.Tensor) -> str:
    return digest_of(value, (None,) * value.dim())


def different(change: Callable[[torch.Tensor], object], value: torch.Tensor) -> bool:
    other = value.clone()
    change(other)
    return digest(value) != digest(other)


def swap(t: torch.Tensor) -> None:
    """Two moments stay: the sum, and the sum of values times places."""
    t[100] += 1
    t[200] -= 2
    t[300] += 1


def beside_an_infinity(t: torch.Tensor) -> None:
    t[69_000] += 1


def test_every_value_of_a_long_constant_counts():
    value = torch.arange(LONG, dtype=torch.float64)
    assert different(swap, value)
    assert different(beside_an_infinity, value)
    for special in (INFINITY, -INFINITY, NAN):
        value[5] = special
        assert different(beside_an_infinity, value)
        assert digest(value) == digest(value.clone())


def test_moments_would_not_tell():
    """What a digest once was, of the same constants."""

    def moments(t: torch.Tensor) -> str:
        return repr(torch.stack([t.sum(), (t * torch.arange(t.numel())).sum()]).tolist())

    value = torch.arange(LONG, dtype=torch.float64)
    other = value.clone()
    swap(other)
    assert moments(value) == moments(other)
    value[5] = INFINITY
    other = value.clone()
    beside_an_infinity(other)
    assert moments(value) == moments(other)


def test_type_and_shape_count():
    value = torch.zeros(4, 6)
    assert len({digest(v) for v in (value, value.reshape(6, 4), value.to(torch.int32), value.double())}) == 4


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_one_bit_of_any_type_counts(dtype):
    value = torch.zeros(4, 6, dtype=dtype)
    other = value.clone()
    other.view(torch.uint8)[1, 3] = 1
    assert variation_along(value, 1) == variation_along(value, 0) == 0
    assert variation_along(other, 1) is None
    assert digest(value) != digest(other)
    assert rows_of(value, (None, None)) != rows_of(other, (None, None))


def test_nan_is_equal_to_itself():
    value = torch.full((4, 6), NAN)
    assert variation_along(value, 0) == variation_along(value, 1) == 0
    value[:, 1::2] = 1
    assert variation_along(value, 1) == 2
    first, again = rows_of(value, (0, 2)), rows_of(value.clone(), (0, 2))
    assert first == again
    assert first[1][0] == first[1][2] != first[1][1]


def test_a_zero_that_is_negative_is_another_number():
    """1 / x tells them apart."""
    value = torch.zeros(4, 6)
    value[2, 3] = -0.0
    assert variation_along(value, 1) is None
    assert digest(value) != digest(torch.zeros(4, 6))
    assert alive_in(value, (None, None)) == (((False,) * 4, (False,) * 6), True)  # both are zero, where they multiply


def test_views_conjugates_and_nothing_at_all():
    value = torch.rand(5, 7)
    assert digest(value.t().contiguous().t()) == digest(value)
    z = torch.complex(value, value)
    assert digest(z.conj()) == digest(z.conj().resolve_conj()) != digest(z)
    assert bits(z).shape == (5, 7, 2)
    assert variation_along(torch.zeros(5, 0), 0) == 0
    assert digest(torch.zeros(5, 0)) != digest(torch.zeros(0, 5))
    assert digest(torch.tensor(1.0)) != digest(torch.tensor(2.0))


def test_a_large_constant_takes_no_time():
    """16 MB: well under a second on an idle machine."""
    value = torch.rand(1, 1, 2048, 2048)
    start = time.process_time()
    digest_of(value, tuple(variation_along(value, d) for d in range(4)))
    assert time.process_time() - start < 2


# ---- nets whose constants follow from the size ------------------------------------------------------------------


SIDE = 257
"""Of a kernel that has more than 65,536 values."""


def far_out(t: torch.Tensor, size: int) -> None:
    t[66_000] = size


def beside_infinity(t: torch.Tensor, size: int) -> None:
    t[0], t[66_000] = -INFINITY, size


def beside_nan(t: torch.Tensor, size: int) -> None:
    t[0], t[66_000] = NAN, size


def balanced(t: torch.Tensor, size: int) -> None:
    t[100] += size
    t[200] -= 2 * size
    t[300] += size


def not_by_size(t: torch.Tensor, size: int) -> None:
    t[0], t[1], t[66_000] = -INFINITY, NAN, 5


@pytest.mark.parametrize(
    "change",
    few([far_out, beside_infinity, beside_nan, balanced, not_by_size], (beside_infinity,)),
    ids=lambda f: f.__name__,
)
def test_a_kernel_of_which_one_value_follows_from_the_size(change):
    def forward(net, x):
        kernel = torch.linspace(1, 2, SIDE * SIDE, dtype=x.dtype)
        change(kernel, x.shape[2])
        return torch.nn.functional.conv2d(x, kernel.reshape(1, 1, SIDE, SIDE), padding=SIDE // 2)

    a = oc.analyze(*made(forward, size=(12, 12)))
    if change is not_by_size:
        assert a.blocking_free
        assert a["H"].context.before == SIDE // 2
    else:
        assert {(o.axis, o.cause) for o in a.obstacles} == {("H", "size-dependent")}
