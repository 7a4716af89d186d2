"""Reductions in parts: bands, combined, give what the operator gives of the whole; a wrong combination shows."""

from __future__ import annotations

import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.banded import In, Whole, by_bands, finished, folded, spans, started
from shared.reductions import ADDED, CHOSEN, COUNTED, FAMILIES, SPREAD, WHOLE_NUMBERS, A
from torch import nn

import overlapcalc as oc
from overlapcalc.ops.accumulate import Moments
from overlapcalc.ops.parts import reduction_of
from overlapcalc.prove.twin import Modular, residues

HALF = (torch.bfloat16, torch.float16, torch.float32)


def drawn(seed: int, spread: float = 1.0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * spread + 0.3

    return draw


def image(name: str, shape=(2, 6, 9, 5), d: int = 2, seed: int = 0) -> Whole:
    draw = drawn(seed)
    return FAMILIES[name](draw(*shape), d, draw)


def of_residues(name: str, shape=(2, 6, 9, 5), d: int = 2, seed: int = 0) -> Whole:
    numbers = itertools.count(100 * seed)
    whole = FAMILIES[name](residues(shape, seed), d, lambda *sizes: residues(sizes, 1 + next(numbers)))
    assert whole.call.node.op  # looked at outside of the mode, where the operator is torch's own
    assert whole.dtype
    return whole


def error(y: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest error, relative to the largest value."""
    return float((y.double() - exact.double()).abs().max() / exact.double().abs().max().clamp(min=1e-300))


shapes = st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 6]), st.integers(2, 11), st.integers(2, 8))
cuttings = st.lists(st.integers(1, 10), max_size=4)

# ---- the calls of these tests are those of a trace ----------------------------------------------------------------

TRACED = {
    "sum": lambda x, w: x.sum((2, 3)),
    "mean": lambda x, w: x.mean((2, 3), keepdim=True),
    "var": lambda x, w: x.var((2, 3)),
    "std_mean": lambda x, w: torch.std_mean(x, (2, 3), unbiased=False)[0],
    "max": lambda x, w: x.max(2)[0],
    "places of max": lambda x, w: x.max(2)[1],
    "norm 2": lambda x, w: x.norm(dim=(2, 3), keepdim=True),
    "logsumexp": lambda x, w: x.logsumexp((2, 3), keepdim=True),
    "softmax": lambda x, w: F.softmin(x, 2),
    "group_norm": lambda x, w: F.group_norm(x, 2, w, w, 1e-3),
    "instance_norm": lambda x, w: F.instance_norm(x, None, None, w, w),
    "batch_norm": lambda x, w: F.batch_norm(x, None, None, w, w, training=True),
    "layer_norm": lambda x, w: F.layer_norm(x, x.shape[2:], *2 * (w.sum().expand(x.shape[2:]),)),
    "rms_norm": lambda x, w: F.rms_norm(x, x.shape[2:], w.sum().expand(x.shape[2:]), 1e-5),
    "avg_pool2d": lambda x, w: F.avg_pool2d(x, (9, 1)),
    "adaptive_max_pool2d": lambda x, w: F.adaptive_max_pool2d(x, (1, 5)),
    "baddbmm": lambda x, w: torch.baddbmm(w[None, None] * w[:, None], x[..., 0], x[..., 0].mT, beta=3),
    "einsum": lambda x, w: torch.einsum("nchw,ndhw->ncd", x, x),
    "count_nonzero": lambda x, w: torch.count_nonzero(x > 0, (2, 3)),
}


class Called(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.weight)


@pytest.mark.parametrize("name", TRACED)
def test_calls_as_a_trace_has_them(name):
    made = image(name).call.node
    nodes = [node for node in oc.analyze(Called(TRACED[name]), (2, 6, 9, 5)).variants.net.graph if node.op == made.op]
    assert len(nodes) == 1
    kinds = [{key: type(v) for key, v in node.args.items()} for node in (made, *nodes)]
    assert kinds[0].keys() == kinds[1].keys()
    assert {key for key in kinds[0] if kinds[0][key] is not kinds[1][key]} <= {"ord", "p"}  # 2 or 2.0
    assert (made.shape, made.result) == (nodes[0].shape, nodes[0].result)


# ---- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(shape=shapes, d=st.sampled_from([2, 3]), edges=cuttings, seed=st.integers(0, 99))
def test_bands_give_what_the_whole_gives(name, shape, d, edges, seed):
    whole = image(name, shape, d, seed)
    assert whole.fits
    y, expected = by_bands(whole, spans(edges, whole.length)), whole.run()
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    if expected.is_floating_point():
        assert error(y, expected) <= 1e-12
    else:
        assert torch.equal(y, expected)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", [*ADDED, *SPREAD, *CHOSEN])
def test_the_error_of_narrow_types(name, dtype):
    """Against float64 on the same samples: at most twice that of torch, or 1e-6."""
    whole = image(name, (2, 6, 23, 9)).of_type(lambda x: x.to(dtype) if x.is_floating_point() else x)
    exact = whole.of_type(lambda x: x.double() if x.is_floating_point() else x).run()
    y, torchs = by_bands(whole, spans([4, 9, 16], 23)), whole.run()
    assert (y.shape, y.dtype) == (torchs.shape, torchs.dtype)
    if not y.is_floating_point():
        assert torch.equal(y, torchs)
    elif exact.isfinite().all():
        assert error(y, exact) <= max(2 * error(torchs, exact), 1e-6)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_whole_numbers_are_exact(name, dtype):
    whole = image(name).of_type(lambda x: (x * 20).round().to(dtype))
    y, expected = by_bands(whole, spans([2, 5], 9)), whole.run()
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)


@pytest.mark.parametrize("name", ["places of max", "places of min", "argmax", "argmin"])
def test_of_equal_samples_the_first_is_meant(name):
    for seed in range(10):
        whole = image(name, seed=seed).of_type(torch.round)
        assert torch.equal(by_bands(whole, spans([2, 5], 9)), whole.run())


@pytest.mark.parametrize("name", [name for name in (*ADDED, *CHOSEN) if name not in ("any", "all", "dot")])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_goes_where_torch_lets_it(name, value):
    """In one band of three; in another all samples of a column are minus infinity."""
    whole = image(name)
    x = whole.operands[0]
    x.tensor.select(x.cut, 4)[..., 0] = value
    x.tensor.narrow(x.cut, 0, 2)[..., -1] = -torch.inf
    y, expected = by_bands(whole, spans([2, 6], whole.length)), whole.run()
    if whole.how.apply is None and "norm" not in name:
        assert torch.allclose(y.double(), expected.double(), rtol=1e-12, atol=1e-12, equal_nan=True)
    else:
        assert torch.equal(y.isfinite(), expected.isfinite())


@pytest.mark.parametrize("name", ["softmax", "_safe_softmax", "log_softmax", "logsumexp"])
def test_bands_of_nothing_but_minus_infinity(name):
    for rows in (slice(0, 2), slice(2, 5), slice(0, 9)):
        whole = image(name)
        whole.operands[0].tensor[:, :, rows] = -torch.inf
        y, expected = by_bands(whole, spans([2, 5], 9)), whole.run()
        assert torch.allclose(y, expected, rtol=1e-12, atol=0, equal_nan=True)
        assert name == "_safe_softmax" or rows == slice(0, 9) or not y.isnan().any()


@pytest.mark.parametrize("name", ["var", "group_norm", "layer_norm", "batch_norm"])
def test_a_large_mean_leaves_the_variance_exact(name):
    """In float32, with a mean of a thousand deviations: by a sum of squares it would be off by 6 %.

    What a norm then adds to a product of 1000 cancels it, and both are rounded: by 3e-5 each.
    """
    whole = image(name, (2, 6, 40, 9)).of_type(lambda x: (x + 1000).float() if x.dim() == 4 else x.float())
    exact = whole.of_type(torch.Tensor.double).run()
    assert error(by_bands(whole, spans([7, 20], 40)), exact) <= (1e-6 if name == "var" else 6e-5)


def test_a_product_whose_parts_overflow():
    x = torch.tensor([1e30, 1e30, 1e-30, 1e-30])
    whole = Whole(A.prod.default, {"self": In(x, 0)})
    assert by_bands(whole, spans([2], 4)).item() == pytest.approx(1)


def test_the_type_that_a_call_asks_for():
    x = (torch.randn(2, 3, 9, 5) * 10).to(torch.bfloat16)
    for dtype in (torch.float64, torch.float32, torch.int64):
        whole = Whole(A.sum.dim_IntList, {"self": In(x, 2), "dim": [2], "dtype": dtype})
        y = by_bands(whole, spans([2, 5], 9))
        assert y.dtype == dtype
        assert error(y, whole.run()) <= 1e-6
    whole = Whole(A.softmax.int, {"self": In(x, 2), "dim": 2, "dtype": torch.float64})
    assert error(by_bands(whole, spans([2, 5], 9)), whole.run()) <= 1e-12
    complex_sum = Whole(A.sum.dim_IntList, {"self": In(torch.randn(3, 9, dtype=torch.complex64), 1), "dim": [1]})
    with pytest.raises(Exception, match="complex"):
        by_bands(complex_sum, spans([2], 9))


def test_epsilon_of_the_type():
    """Where rms_norm has none of its own, it shows on small samples."""
    for dtype, size in ((torch.float64, 1e-8), (torch.float32, 1e-4), (torch.bfloat16, 1e-4)):
        x = torch.full((2, 3, 9, 5), size, dtype=dtype)
        whole = Whole(A.rms_norm.default, {"input": In(x, 2), "normalized_shape": [9, 5]})
        assert error(by_bands(whole, spans([2, 5], 9)), whole.run()) <= (8e-3 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_operands_stay_as_they_are(name):
    whole = image(name)
    before = [x.tensor.clone() for x in whole.operands]
    by_bands(whole, spans([2, 5], whole.length))
    assert all(torch.equal(x.tensor, b) for x, b in zip(whole.operands, before, strict=True))


# ---- partial results --------------------------------------------------------------------------------------------


def trees(partials, combine):
    """One by one from the left, from the right, and by halves: bands stay in order."""
    yield folded(partials, combine)
    total = partials[-1]
    for one in partials[-2::-1]:
        total = combine(one, total)
    yield total
    while len(partials) > 1:
        pairs = [partials[i : i + 2] for i in range(0, len(partials), 2)]
        partials = [folded(two, combine) for two in pairs]
    yield partials[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_order_of_combination_does_not_matter(name):
    whole = image(name)
    bands = spans([1, 3, 4, 7], whole.length)
    first, *others = [finished(whole, one, bands) for one in trees(started(whole, bands), whole.how.combine)]
    assert all(torch.allclose(first.double(), y.double(), rtol=1e-12, atol=1e-12) for y in others)


@pytest.mark.parametrize("name", FAMILIES)
def test_partial_results_can_be_sent(name):
    whole = image(name)
    bands = spans([2, 5], whole.length)
    sent = pickle.loads(pickle.dumps([tuple(one) for one in started(whole, bands)]))
    assert torch.equal(finished(whole, folded(sent, whole.how.combine), bands), by_bands(whole, bands))
    assert all(isinstance(part, (torch.Tensor, int)) for one in sent for part in one)


# ---- the twin ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_residues_are_the_same_for_any_cutting(name):
    whole = of_residues(name)
    bands = spans([1, 3, 4, 7], whole.length)
    with Modular():
        one = by_bands(whole, spans([], whole.length))
        many = [finished(whole, partial, bands) for partial in trees(started(whole, bands), whole.how.combine)]
    assert all(torch.equal(one, y) for y in many)


@pytest.mark.parametrize("name", ["softmax", "_safe_softmax", "logsumexp"])
def test_residues_below_a_mask(name):
    whole = of_residues(name)
    with Modular():
        whole.operands[0].tensor[:, :, 1:6, 1:] = -torch.inf  # inside, so that it stays data
        one, many = by_bands(whole, spans([], 9)), by_bands(whole, spans([1, 4, 7], 9))
    assert torch.equal(one, many)
    assert not one.isnan().any()


# ---- wrong combinations -----------------------------------------------------------------------------------------


def values_and_residues(name):
    return image(name), of_residues(name)


def wrong(whole, change, combine=None):
    """The result of a wrong list of partial results, or of a wrong way to combine them."""
    bands = spans([2, 5], whole.length)
    return finished(whole, folded(change(started(whole, bands)), combine or whole.how.combine), bands)


def differs(name, change, combine=None) -> tuple[bool, bool]:
    """Whether a wrong combination shows in values, and in residues."""
    real, modular = values_and_residues(name)
    value = wrong(real, change, combine)
    with Modular():
        right, changed = by_bands(modular, spans([], modular.length)), wrong(modular, change, combine)
    exact = real.run()
    return error(value, exact) > 1e-6, not torch.equal(right, changed)


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_a_dropped_band_shows(name, k):
    assert differs(name, lambda parts: parts[:k] + parts[k + 1 :]) == (True, True)


@pytest.mark.parametrize("name", [*ADDED, *SPREAD, *COUNTED])
def test_a_band_counted_twice_shows(name):
    assert differs(name, lambda parts: [parts[0], parts[1], parts[1], parts[2]]) == (True, True)


def without_the_term_between(a, b):
    return Moments(a[0] + b[0], (a[1] * a[0] + b[1] * b[0]) / (a[0] + b[0]), a[2] + b[2])


@pytest.mark.parametrize("name", SPREAD)
def test_a_variance_without_the_term_between_bands_shows(name):
    assert differs(name, lambda parts: parts, without_the_term_between) == (True, True)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_exponentials_that_are_not_rescaled_show(name):
    def unscaled(a, b):
        return torch.maximum(a[0], b[0]), a[1] + b[1]

    def unscaled_in_the_twin(a, b):
        return a[0].where(a[0] > b[0], b[0]), a[1] + b[1]

    assert differs(name, lambda parts: parts, unscaled)[0]
    assert differs(name, lambda parts: parts, unscaled_in_the_twin)[1]


# ---- calls that do not fit --------------------------------------------------------------------------------------

X = torch.randn(2, 6, 9, 5)
W = torch.randn(9, 9)
NO_FIT = {
    "a dimension that is not reduced": Whole(A.mean.dim, {"self": In(X, 3), "dim": [2]}),
    "positions in several dimensions": Whole(A.argmax.default, {"self": In(X, 2)}),
    "maximum of two": Whole(A.max.other, {"self": In(X, 2), "other": In(X, 2)}),
    "any over no dimension": Whole(A.any.dims, {"self": In(X > 0, 2), "dim": []}),
    "a type that rounds": Whole(A.sum.dim_IntList, {"self": In(X, 2), "dim": [2], "dtype": torch.int32}),
    "statistics of a group norm": Whole(A.native_group_norm.default, {
        "input": In(X, 2), "weight": None, "bias": None, "N": 2, "C": 6, "HxW": 45, "group": 2, "eps": 1e-5}, 1),
    "a group norm cut along channels": Whole(A.group_norm.default, {"input": In(X, 1), "num_groups": 2}),
    "a group norm whose weight is data": Whole(A.group_norm.default, {
        "input": In(X, 2), "num_groups": 2, "weight": In(torch.randn(6), None)}),
    "running statistics": Whole(A.instance_norm.default, {
        "input": In(X, 2), "weight": None, "bias": None, "running_mean": torch.zeros(6), "running_var": torch.ones(6),
        "use_input_stats": False, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False}),
    "running statistics of a batch norm": Whole(A.batch_norm.default, {
        "input": In(X, 2), "weight": None, "bias": None, "running_mean": torch.zeros(6), "running_var": torch.ones(6),
        "training": False, "momentum": 0.1, "eps": 1e-5, "cudnn_enabled": False}),
    "a layer norm along the axis alone, cut elsewhere": Whole(A.layer_norm.default, {
        "input": In(X, 2), "normalized_shape": [5]}),
    "a softmax along another dimension": Whole(A.softmax.int, {"self": In(X, 2), "dim": 3}),
    "a constant factor along the cut": Whole(A.matmul.default, {"self": In(X.mT.contiguous(), 3), "other": W}),
    "one factor that is not cut": Whole(A.matmul.default, {"self": In(X.mT.contiguous(), 3), "other": In(W, None)}),
    "factors cut along a row": Whole(A.matmul.default, {"self": In(X, 2), "other": In(X.mT.contiguous(), 3)}),
    "a summand that is cut": Whole(A.addmm.default, {
        "self": In(W, 0), "mat1": In(W, 1), "mat2": In(W, 0)}),
    "a constant mixer of tokens": Whole(A.linear.default, {"input": In(X.mT.contiguous(), 3), "weight": W}),
    "einsum: a letter of the result": Whole(A.einsum.default, {
        "equation": "nchw,ndhw->nhcd", "tensors": [In(X, 2), In(X, 2)]}),
    "einsum: a constant along the cut": Whole(A.einsum.default, {
        "equation": "nchw,hk->nck", "tensors": [In(X, 2), W]}),
    "einsum: a diagonal": Whole(A.einsum.default, {"equation": "hh,hk->k", "tensors": [In(W, 0), In(W, 0)]}),
    "einsum: two letters": Whole(A.einsum.default, {"equation": "hk,kl->l", "tensors": [In(W, 0), In(W, 0)]}),
    "several windows": Whole(A.avg_pool2d.default, {"self": In(X, 2), "kernel_size": [3, 1]}),
    "a window with padding": Whole(A.avg_pool2d.default, {
        "self": In(X, 2), "kernel_size": [9, 1], "padding": [4, 0]}),
    "a divisor of its own": Whole(A.avg_pool2d.default, {
        "self": In(X, 2), "kernel_size": [9, 1], "divisor_override": 2}),
    "a grid": Whole(A.adaptive_avg_pool2d.default, {"self": In(X, 2), "output_size": [3, 1]}),
    "pooling cut along channels": Whole(A.adaptive_avg_pool2d.default, {"self": In(X, 1), "output_size": [1, 1]}),
    "positions of maxima": Whole(A.adaptive_max_pool2d.default, {"self": In(X, 2), "output_size": [1, 1]}, 1),
}  # fmt: skip


@pytest.mark.parametrize("why", NO_FIT)
def test_calls_that_do_not_fit(why):
    assert not NO_FIT[why].fits


@pytest.mark.parametrize("op", ["median", "kthvalue", "mode", "sort", "topk", "cumsum"])
def test_operators_that_do_not_run_in_parts(op):
    assert reduction_of(f"aten::{op}") is None
