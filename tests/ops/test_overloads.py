"""Overloads are other operators: a plain name speaks only for those that its rule was written for."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from shared.blockwise import contexts, errors, made, never_wrong

import overlapcalc as oc
from overlapcalc.ops import find, full_name, op_name
from overlapcalc.ops.call import Call
from overlapcalc.ops.overloads import SPOKEN_FOR
from overlapcalc.ops.registry import _OPERATORS
from overlapcalc.ops.rules.pointwise import untagged
from overlapcalc.trace.naming import operator_name

# ---- every overload of every operator that has a rule ---------------------------------------------------------

IMMATERIAL = frozenset(
    [
        "dtype",
        "layout",
        "device",
        "pin_memory",
        "memory_format",
        "non_blocking",
        "copy",
        "generator",
        "out_dtype",
        "out_int32",
        "implicit",
        "eps",
        "momentum",
        "cudnn_enabled",
        "cudnn_enable",
        "benchmark",
        "deterministic",
        "allow_tf32",
        "momentum",
        "exponential_average_factor",
        "alpha",
        "beta",
        "value",
        "p",
        "ord",
        "correction",
        "unbiased",
        "keepdim",
        "descending",
        "stable",
        "largest",
        "sorted",
        "return_inverse",
        "return_counts",
        "antialias",
        "negative_slope",
        "lower",
        "upper",
        "approximate",
        "scale",
        "zero_point",
        "quant_min",
        "quant_max",
        "fake_quant_enabled",
        "observer_enabled",
        "half_to_float",
        "accumulate",
        "reduce",
        "include_self",
        "right",
        "side",
        "assume_unique",
        "invert",
        "padding_idx",
        "scale_grad_by_freq",
        "sparse",
        "is_causal",
        "return_debug_mask",
        "compute_log_sumexp",
        "need_weights",
        "average_attn_weights",
        "mask_type",
        "use_gelu",
        "norm_first",
        "interpolation_mode",
        "min",
        "max",
        "bins",
        "diagonal",
        "output_padding",
        "dropout",
        "has_biases",
        "num_layers",
        "bidirectional",
        "normalization",
        "onesided",
        "forward",
        "k",
        "num_samples",
        "replacement",
        "noise",
        "grad_factor",
        "unsafe",
        "dropout_p",
    ]
)
"""Arguments that change values and types, never which samples are read. The lengths of results say `keepdim`."""


@cache
def by_name() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for schema in torch._C._jit_get_all_schemas():
        found.setdefault(schema.name, []).append(schema)
    return found


@cache
def schemas(name: str) -> list[Any]:
    """Of every overload that works on tensors and writes to none."""
    return [
        schema for schema in by_name().get(name, [])
        if not schema.is_mutable and any("Tensor" in str(a.type) for a in (*schema.arguments, *schema.returns))
    ]  # fmt: skip


def constants_in(function: Any, seen: set[Any]) -> Iterator[str]:
    """Every string that a rule and what it calls within overlapcalc.ops may look an argument up by."""
    code = getattr(function, "__code__", None)
    if code is None or code in seen:
        return
    seen.add(code)
    todo: list[types.CodeType] = [code]
    names: set[str] = set()
    while todo:
        one = todo.pop()
        names |= set(one.co_names)
        for constant in one.co_consts:
            if isinstance(constant, types.CodeType):
                todo.append(constant)
            elif isinstance(constant, str):
                yield constant
            elif isinstance(constant, tuple):
                flat = [c for part in constant for c in (part if isinstance(part, tuple) else (part,))]
                yield from (c for c in flat if isinstance(c, str))
    for name in names:
        called = function.__globals__.get(name)
        if callable(called) and getattr(called, "__module__", "").startswith("overlapcalc.ops."):
            yield from constants_in(called, seen)
        method = getattr(Call, name, None)
        if inspect.isfunction(method):
            yield from (d for d in method.__defaults__ or () if isinstance(d, str))
            yield from constants_in(method, seen)


def unread(name: str, schema: Any) -> set[str]:
    """Arguments, other than tensors, that a rule neither looks at nor may ignore."""
    rule = _OPERATORS[name].rule
    read = set(constants_in(rule.law, set())) | set(rule.sizes)
    return {
        a.name for a in schema.arguments
        if "Tensor" not in str(a.type) and a.name not in read and a.name not in IMMATERIAL
    }  # fmt: skip


def pairs() -> list[tuple[str, Any]]:
    found = []
    for name in sorted(n for n, known in _OPERATORS.items() if known.rule and n.startswith("aten::") and "." not in n):
        found += [(name, schema) for schema in schemas(name) if full_name(name, schema.overload_name) == name]
    return found


def test_a_rule_looks_at_every_argument_of_the_overloads_that_it_speaks_for():
    by_value = (untagged,)
    blind = {
        f"{name}.{schema.overload_name}": unread(name, schema) - set(ACCOUNTED.get(name.partition("::")[2], "").split())
        for name, schema in pairs()
        if _OPERATORS[name].rule.law not in by_value
    }
    assert {key: left for key, left in blind.items() if left} == {}
    assert len(pairs()) > 250


ACCOUNTED = {
    **dict.fromkeys(("linalg_eigh", "linalg_eigvalsh"), "UPLO"),
    **dict.fromkeys(("linalg_svd", "_linalg_svd", "linalg_svdvals"), "full_matrices driver compute_uv"),
    **dict.fromkeys(("cholesky", "linalg_cholesky"), "upper"),
    "_linalg_eigh": "UPLO compute_v",
    "linalg_pinv": "rcond hermitian",
    "linalg_qr": "mode",
    "linalg_lu": "pivot",
    "linalg_matrix_power": "n",
    "diagonal": "offset",
    "_cdist_forward": "compute_mode",  # how the same number is computed
    "_native_multi_head_attention": "embed_dim num_head",  # everything is read
    "_reshape_alias": "stride",  # that of a view
    "affine_grid_generator": "size align_corners",  # reads everything, as all up to unique_consecutive do
    "as_strided": "size storage_offset stride",
    "bincount": "minlength",
    "grid_sampler": "padding_mode align_corners",
    "grid_sampler_2d": "padding_mode align_corners",
    "grid_sampler_3d": "padding_mode align_corners",
    "index_add": "dim",
    "index_copy": "dim",
    "index_fill": "dim",
    "index_reduce": "dim",
    "unique_consecutive": "dim",
    **{f"avg_pool{n}d": "count_include_pad ceil_mode divisor_override" for n in (1, 2, 3)},  # divisors; one more window
    **{f"max_pool{n}d{end}": "ceil_mode" for n in (1, 2, 3) for end in ("", "_with_indices")},
    "cudnn_batch_norm": "epsilon",
    "einsum": "path",  # the order of products
    "gather": "sparse_grad",
    "im2col": "dilation stride kernel_size padding",  # its steps read them
    "isin": "element test_element",  # values
    "max_unpool3d": "stride padding",  # those of the pooling that it undoes count
    "native_group_norm": "C",  # the length of a dimension
    "normal": "mean std",  # values
    "scaled_dot_product_attention": "enable_gqa",  # the numbers of heads say so
    **dict.fromkeys(("gru", "lstm", "rnn_relu", "rnn_tanh"), "train"),
}
"""Arguments that rules need not look at, and why."""


def test_a_blind_rule_would_be_seen():
    (schema,) = (s for s in schemas("aten::view") if s.overload_name == "dtype")
    (sizes,) = (s for s in schemas("aten::tensor_split") if s.overload_name == "indices")
    assert unread("aten::roll", schemas("aten::im2col")[0])
    assert "indices" not in unread("aten::tensor_split", sizes)
    assert "indices" in unread("aten::unbind", sizes)
    assert full_name("aten::view", schema.overload_name) == "aten::view.dtype"


def test_every_other_overload_has_a_name_of_its_own():
    """And that name has no rule, unless one was written for it."""
    refused = set()
    for name in {n.partition(".")[0] for n, known in _OPERATORS.items() if known.rule and n.startswith("aten::")}:
        for schema in schemas(name):
            full = full_name(name, schema.overload_name)
            if full != name and find(full) is None:
                refused.add(full)
    assert {
        "aten::repeat_interleave.self_Tensor", "aten::repeat_interleave.Tensor", "aten::narrow.Tensor",
        "aten::tensor_split.tensor_indices_or_sections", "aten::gru.data", "aten::lstm.data",
        "aten::dequantize.tensors", "aten::normal.Tensor_Tensor",
    } <= refused  # fmt: skip
    assert refused.isdisjoint({"aten::view.dtype", "aten::to.other", "aten::split.sizes", "aten::tensor_split.indices"})


def test_listed_overloads_exist():
    """A misspelt overload would be refused without anyone noticing."""
    known = {(s.name, s.overload_name) for s in torch._C._jit_get_all_schemas()}
    assert (
        torch.__version__ < "2.13"
        or [(name, o) for name, overloads in SPOKEN_FOR.items() for o in overloads if (name, o) not in known] == []
    )


# ---- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (torch.ops.aten.view.default, "aten::view"),
        (torch.ops.aten.view.dtype, "aten::view.dtype"),
        (torch.ops.aten.add.Tensor, "aten::add"),
        (torch.ops.aten.mul.Scalar, "aten::mul"),
        (torch.ops.aten.split.sizes, "aten::split"),
        (torch.ops.aten.histc.default, "aten::histc"),
        (torch.ops.aten.repeat_interleave.Tensor, "aten::repeat_interleave.Tensor"),
    ],
)
def test_what_an_operator_is_called(target, name):
    assert operator_name(target) == name


def test_names_of_users_operators_stay():
    for op in ("mylib::blur", "mylib::blur.default"):
        assert op_name(op) == "mylib::blur"
    assert op_name("mylib::blur.wide") == "mylib::blur.wide"
    assert op_name(torch.ops.aten.split.Tensor) == "aten::split"
    with pytest.raises(oc.RuleError, match="already has a rule"):
        oc.rule(torch.ops.aten.split.Tensor)(lambda call: call.identity())
    for wrong in ("blur", "::blur", "mylib::", "mylib::.wide"):
        with pytest.raises(oc.RuleError, match="names no operator"):
            op_name(wrong)


@pytest.fixture(scope="module")
def blur():
    """An operator whose second overload smears over as many rows as it is told."""
    library = torch.library.Library("overlapcalc_overloads", "DEF")
    library.define("blur(Tensor x) -> Tensor")
    library.define("blur.wide(Tensor x, int rows) -> Tensor")
    library.define("only.named(Tensor x) -> Tensor")

    def smear(x: torch.Tensor, rows: int = 1) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, (2 * rows + 1, 1), 1, (rows, 0))

    for name in ("blur", "blur.wide", "only.named"):
        library.impl(name, smear, "CompositeExplicitAutograd")
    yield torch.ops.overlapcalc_overloads
    library._destroy()


def rows_read(call):
    rows = call["rows"] or 1
    return call.local({2: oc.IndexMap.window(2 * rows + 1, padding=rows)})


def test_a_rule_for_a_name_does_not_speak_for_another_overload(blur):
    net, x = made(lambda net, x: blur.blur(x) + blur.blur.wide(x, 3))
    oc.rule(blur.blur)(rows_read)
    try:
        with pytest.raises(oc.UnknownOperatorError, match=r"overlapcalc_overloads::blur\.wide in") as refusal:
            oc.analyze(net, x)
        assert "for 1 operator call" in str(refusal.value)
        oc.rule(blur.blur.wide)(rows_read)
        try:
            assert contexts(net, x) == {"H": (3, 3), "W": (0, 0)}
        finally:
            oc.unregister("overlapcalc_overloads::blur.wide")
    finally:
        oc.unregister(blur.blur.default)


def test_a_name_speaks_for_an_operators_only_overload(blur):
    net, x = made(lambda net, x: blur.only(x))
    oc.rule("overlapcalc_overloads::only")(rows_read)
    try:
        assert contexts(net, x) == {"H": (1, 1), "W": (0, 0)}
    finally:
        oc.unregister("overlapcalc_overloads::only")


# ---- nets -------------------------------------------------------------------------------------------------------


def bits(net, x):
    return x.float().view(torch.int32).to(x.dtype)


def sign_bits_off(net, x):
    return net.a(net.b(x).view(torch.int64).bitwise_and((1 << 63) - 1).view(x.dtype))


def wider(net, x):
    return net.a((x * 8).to(torch.int16).view(torch.int32).to(x.dtype) / 1e5)


def narrower(net, x):
    return net.a((net.a(x) * 99).to(torch.int32).view(torch.int16).to(x.dtype))


def there_and_back(net, x):
    return net.a(net.a(x).view(torch.int32).view(torch.float64))


def by_indices(net, x):
    return net.a(net.a(x).tensor_split((3, -4), 2)[1])


def beyond_the_end(net, x):
    return net.a(x.tensor_split((-40, 3, 1000), 3)[2])


def channels_by_indices(net, x):
    first, _, rest = torch.cat([net.a(x), net.b(x), x, net.b(x)], 1).tensor_split((1, 3), 1)
    return first + rest[:, :1]


def by_sections(net, x):
    return net.a(net.a(x).tensor_split(3, 2)[1])


def by_sizes(net, x):
    return net.a(torch.ops.aten.split.sizes(net.a(x), [2, x.shape[2] - 2], 2)[1])


def unsafe_by_sizes(net, x):
    return net.a(torch.unsafe_split_with_sizes(net.a(x), [x.shape[3] - 5, 5], 3)[0])


def squeezed_by_nothing(net, x):
    return torch.squeeze(net.a(x), ())


def none_of_all(net, x):
    return torch.all(net.a(x) > 0.1, dim=()).to(x.dtype) + x


def to_a_ramp(net, x):
    return net.a(x).to(torch.linspace(0, 1, x.shape[3], dtype=x.dtype))


def swapped(net, x):
    return net.a(x.swapaxes(1, 3).add(1).swapaxes(-1, -3))


ANSWERED = {
    bits: {"H": (0, 0), "W": (0, 0)},
    sign_bits_off: {"H": (3, 3), "W": (3, 3)},
    wider: {"H": (1, 1), "W": (2, 2)},
    narrower: {"H": (2, 2), "W": (2, 2)},
    there_and_back: {"H": (2, 2), "W": (2, 2)},
    by_indices: {"H": (-1, 5), "W": (2, 2)},
    beyond_the_end: {"H": (1, 1), "W": (-2, 4)},
    channels_by_indices: {"H": (2, 2), "W": (2, 2)},
    by_sizes: {"H": (0, 4), "W": (2, 2)},
    unsafe_by_sizes: {"H": (2, 2), "W": (2, 2)},
    squeezed_by_nothing: {"H": (1, 1), "W": (1, 1)},
    none_of_all: {"H": (1, 1), "W": (1, 1)},
    to_a_ramp: {"H": (1, 1), "W": (1, 1)},
    swapped: {"H": (1, 1), "W": (1, 1)},
}


@pytest.mark.parametrize("function", ANSWERED, ids=lambda f: f.__name__)
def test_blocks_are_the_whole(function):
    net, x = made(function)
    assert contexts(net, x) == ANSWERED[function]
    assert max(errors(net, x).values()) <= 1e-12


def test_a_third_of_the_rows_begins_elsewhere_at_another_size():
    net, x = made(by_sections)
    assert never_wrong(net, x.shape) == "W"


def test_bits_of_another_width_keep_to_the_grid():
    a = oc.analyze(*made(wider))
    assert (a["W"].step, a["W"].out_step, a["W"].scale) == (2, 1, 2)
    a = oc.analyze(*made(narrower))
    assert (a["W"].step, a["W"].out_step) == (1, 2)


REFUSED = {
    "repeats by a tensor": lambda net, x: net.a(x).repeat_interleave(torch.tensor([2]), 2),
    "pieces by a tensor": lambda net, x: net.a(x.tensor_split(torch.tensor([3, 9]), 3)[1]),
    "packed sequence": lambda net, x: torch.ops.aten.gru.data(
        x[0, 0], torch.ones(16, dtype=torch.int64), torch.zeros(1, 1, 2, dtype=x.dtype),
        [torch.ones(6, 24, dtype=x.dtype), torch.ones(6, 2, dtype=x.dtype)], False, 1, 0.0, False, False,
    )[0],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_overloads_are_refused_in_words(name):
    net, x = made(REFUSED[name])
    with pytest.raises(oc.OverlapcalcError) as refusal:
        oc.analyze(net, x)
    assert "/tests/" in str(refusal.value)


def test_repeating_a_flattened_image_is_an_obstacle():
    a = oc.analyze(*made(lambda net, x: net.a(x).repeat_interleave(2)))
    assert {(o.axis, o.cause) for o in a.obstacles} == {("H", "reshape"), ("W", "reshape")}


def shared_keys(net, x):
    """Two heads of queries per head of keys; the heads' channels are told apart afterwards."""
    y = torch.cat([net.a(x), net.b(x)], 1)  # two heads of keys, rows as a batch of their own
    q = torch.cat([x, x, x, x], 1)
    at = lambda t: t.permute(0, 2, 1, 3)[0].unsqueeze(-2)  # noqa: E731 - (rows, heads, 1, columns)
    z = torch.nn.functional.scaled_dot_product_attention(at(q), at(y), at(y), enable_gqa=True)
    return z[:, 2:, 0].mean(1)[None, None]


def test_shared_heads_of_keys_are_read_by_all_heads_of_queries():
    """The last two heads of queries take the second head of keys, which is `b`'s."""
    net, x = made(shared_keys)
    context = oc.analyze(net, x)["H"].context
    assert (context.before, context.after) == (2, 2)


def test_what_torch_raises_on_the_way_names_operator_and_line(monkeypatch):
    """Here while a constant is looked at; whatever it is, it is one error of the project."""

    def fails(*args):
        raise ZeroDivisionError("no such luck\nand more lines")

    net, x = made(lambda net, x: net.a(x) * torch.ones(24, dtype=x.dtype))
    monkeypatch.setattr("overlapcalc.trace.constants.variation_along", fails)
    with pytest.raises(
        oc.TraceError, match=r"aten::mul: following it fails with ZeroDivisionError: no such luck \(at /"
    ):
        oc.analyze(net, x)
