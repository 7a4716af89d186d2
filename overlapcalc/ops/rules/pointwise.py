"""Operators that read one sample per operand: those that torch tags as pointwise, and those it should."""

from __future__ import annotations

from ...algebra.index_map import IndexMap
from ..call import Call
from ..facts import describe
from ..kind import Kind, Masking
from ..law import Cause, DimRead, Law, Link, Obstruction, drawn, keep
from ..registry import rule
from ..slab import Slab, Tensor, on_slab


@rule(
    *(
        f"aten::{name}"
        for name in (
            "alias", "detach", "detach_", "_to_copy", "to", "clone", "contiguous", "lift_fresh_copy", "lift_fresh",
            "hardswish", "hardsigmoid", "hardtanh", "relu6", "celu", "selu", "elu", "leaky_relu", "mish", "softplus",
            "softshrink", "hardshrink", "threshold", "isfinite", "ldexp", "rad2deg",
            "_conj", "_conj_physical", "_neg_view", "resolve_conj", "resolve_neg",
            "__and__", "__or__", "__xor__", "__lshift__", "__rshift__",
            "fake_quantize_per_tensor_affine", "log_sigmoid_forward", "isclose", "complex", "polar", "floor_divide",
            "fake_quantize_per_tensor_affine_cachemask", "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
            "_fake_quantize_learnable_per_tensor_affine", "quantize_per_tensor", "dequantize", "int_repr",
        )
    ),
    shown=False,
)  # fmt: skip
def untagged(call: Call) -> Law:
    return call.broadcast()


COPIES = ("clone", "contiguous", "alias", "detach", "lift_fresh_copy", "lift_fresh")
LIKE_ANOTHER = (
    "fill", "zero", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
    "new_empty", "rand_like", "randn_like", "randint_like",
)  # fmt: skip
describe(*(f"aten::{name}" for name in COPIES), kind=Kind.COPY)
describe(*(f"aten::{name}" for name in LIKE_ANOTHER), kind=Kind.LIKE)
describe("aten::type_as", "aten::expand_as", kind=Kind.AS)
describe(
    *(
        f"aten::{name}"
        for name in (
            "sign", "signbit", "copysign", "heaviside", "fmax", "fmin", "hardtanh", "isnan", "isinf", "isfinite",
            "nan_to_num", "one_hot", "bucketize", "searchsorted", "_to_copy", "quantize_per_tensor",
            "quantize_per_channel", "dequantize", "fake_quantize_per_tensor_affine",
            "fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine",
            "fake_quantize_per_channel_affine_cachemask", "_fake_quantize_learnable_per_tensor_affine",
            "_fake_quantize_learnable_per_channel_affine",
            "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
        )
    ),
    stops_nan=True,
)  # fmt: skip
describe("aten::where", zero_weights=True, masking=Masking.CHOOSES)
describe("aten::masked_fill", zero_weights=True, masking=Masking.FILLS)
describe("aten::add", masking=Masking.ADDS)
describe("aten::mul", masking=Masking.SCALES)
describe(*(f"aten::{name}" for name in (*COPIES, "to", "_to_copy", "type_as", "dropout")), masking=Masking.MOVES)


@rule("aten::bucketize", "aten::searchsorted", "aten::isin", shown=False)
def against_a_list(call: Call) -> Law:
    """Each sample is compared with a list of constants."""
    place = call.position("elements" if call["elements"] is not None else "self")
    if len(call.shapes) > 1 or place is None:
        return Law(tuple(
            Link(k, (*(DimRead(s, None, None, obstruction=LIST) for s in range(len(shape))),
                     *(DimRead(None, t) for t in range(len(call.shape)))))
            for k, shape in enumerate(call.shapes)
        ), places=tuple(p for name in LISTS for p in call.place(name)))  # fmt: skip
    return Law(call.identity().links, places=tuple(p for name in LISTS for p in call.place(name, _rows(call, name))))


LISTS = ("boundaries", "sorted_sequence", "sorter", "test_elements", "test_element", "elements", "element", "self")


def _rows(call: Call, name: str) -> dict[int, int]:
    """All but the last dimension of a list lie along those of the samples: each row is searched separately."""
    constant = call.constant(name)
    searched = call.node.op == "aten::searchsorted" and constant is not None
    return {s: s for s in range(len(constant.shape) - 1)} if searched and constant is not None else {}


LIST = Obstruction(Cause.INDEXING, "is compared with a list that depends on data")


@rule("aten::fake_quantize_per_channel_affine_cachemask", "aten::_fake_quantize_learnable_per_channel_affine",
      "aten::quantize_per_channel", shown=False)  # fmt: skip
def quantized_per_channel(call: Call) -> Law:
    d = call.dim("axis")
    why = Obstruction(Cause.POSITION, "has a scale of its own for every position of the axis")
    places = tuple(p for name in ("scale", "zero_point", "scales", "zero_points") for p in call.place(name, {0: d}))
    return Law(
        (Link(0, keep(len(call.shape), but={d: DimRead(d, d, IndexMap.identity(), obstruction=why)})),), places=places
    )


@rule("aten::view_as_real", shown=False)
def view_as_real(call: Call) -> Law:
    n = len(call.shapes[0])
    return Law((Link(0, (*keep(n), DimRead(None, n))),))


@rule("aten::view_as_complex", shown=False)
def view_as_complex(call: Call) -> Law:
    n = len(call.shape)
    parts = DimRead(n, None, None, obstruction=Obstruction(Cause.GLOBAL, "takes two positions for one complex number"))
    return Law((Link(0, (*keep(n), parts)),))


describe("aten::view_as_complex", reads_memory=True)


@rule("aten::triu", "aten::tril", shown=False)
def triangle(call: Call) -> Law:
    """Which samples stay depends on their place in the last two dimensions."""
    n = len(call.shape)
    why = Obstruction(Cause.POSITION, "keeps a triangle of the image")
    but = {d: DimRead(d, d, IndexMap.identity(), obstruction=why) for d in (n - 2, n - 1)}
    return Law((Link(0, keep(n, but=but), exact=False),))


@rule("aten::type_as", "aten::to.other", shown=False)
def type_as(call: Call) -> Law:
    """Of the other tensor, only the type matters."""
    if call.position("self") is None:
        return Law((), places=call.broadcast_places(), unread=frozenset({"other"}))
    return Law(call.identity().links, unread=frozenset({"other"}))


@rule("aten::copy", "aten::fill", shown=False)
def copy(call: Call) -> Law:
    """Of `self`, only the shape matters; every value comes from `src`."""
    whole = call.broadcast()
    source = "value" if call.node.op == "aten::fill" else "src"
    at = call.position(source)
    links = tuple(link for link in whole.links if link.operand == at)
    return Law(links, places=whole.places, unread=frozenset({"self"}))


@rule("aten::prelu", "aten::_prelu_kernel", shown=False)
def prelu(call: Call) -> Law:
    """The weight is one slope per channel; `_prelu_kernel` has it shaped for broadcasting."""
    n, place = len(call.shape), call.position("weight")
    if call.node.op == "aten::_prelu_kernel" or n < 2:
        return call.broadcast()
    links = []
    for k, shape in enumerate(call.shapes):
        if k != place:
            links.append(Link(k, keep(n)))
            continue
        dims = [] if not shape else [DimRead(0, 1, None if shape[0] == 1 else IndexMap.identity())]
        links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(n) if t != 1 or not shape))))
    places = (*call.place("self", {s: s for s in range(n)}), *call.place("weight", {0: 1}))
    return Law(tuple(links), places=places)


@rule("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::native_dropout", "aten::rrelu",
      "aten::rrelu_with_noise", shown=False)  # fmt: skip
def dropout(call: Call) -> Law:
    law = call.identity()
    if not (call["train"] or call["training"]):
        return law
    return Law(law.links, obstructions=drawn(len(call.shape)))


DRAWS = "draws at random"
describe(*(f"aten::{name}" for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout",
                                        "native_dropout")), kind=Kind.DROPOUT, training=DRAWS)  # fmt: skip
describe("aten::rrelu", "aten::rrelu_with_noise", "aten::rrelu_with_noise_functional", training=DRAWS)


@on_slab("aten::copy")
def copy_on_slab(slab: Slab) -> Tensor:
    """There is no `self` to copy into: none of it is read."""
    at = slab.call.position("src")
    x = slab.constant("src") if at is None else slab.fetch(at)
    return slab.typed(x).expand(slab.shape)


@on_slab("aten::fill")
def fill_on_slab(slab: Slab) -> Tensor:
    return slab.typed(slab.run()).expand(slab.shape)
