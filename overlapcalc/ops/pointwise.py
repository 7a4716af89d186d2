"""Operators that read one sample per operand: torch's pointwise tag, and those that have no tag but deserve it."""

from __future__ import annotations

from .call import Call
from .law import Block, Cause, Law, Link, keep, per_channel
from .registry import rule


def broadcast(call: Call) -> Law:
    """The rule of every operator that torch tags as pointwise and that has no rule of its own."""
    return call.broadcast()


@rule(
    *(
        f"aten::{name}"
        for name in (
            "alias", "detach", "detach_", "_to_copy", "to", "clone", "contiguous", "lift_fresh_copy", "lift_fresh",
            "hardswish", "hardsigmoid", "hardtanh", "relu6", "celu", "selu", "elu", "leaky_relu", "mish", "softplus",
            "softshrink", "hardshrink", "threshold", "isfinite", "ldexp", "rad2deg",
            "_conj", "_conj_physical", "_neg_view", "resolve_conj", "resolve_neg",
            "__and__", "__or__", "__xor__", "__lshift__", "__rshift__",
            "fake_quantize_per_tensor_affine", "log_sigmoid_forward", "isclose",
        )
    ),
    shown=False,
)  # fmt: skip
def untagged(call: Call) -> Law:
    return call.broadcast()


@rule("aten::type_as", shown=False)
def type_as(call: Call) -> Law:
    """The other tensor gives its type, and nothing else."""
    return call.identity()


@rule("aten::copy", shown=False)
def copy(call: Call) -> Law:
    """`self` gives the shape only; every value comes from `src`."""
    whole = call.broadcast()
    at = call.position("src")
    return Law(tuple(link for link in whole.links if link.operand == at), whole.period, whole.blocks)


@rule("aten::prelu", "aten::_prelu_kernel", shown=False)
def prelu(call: Call) -> Law:
    """The weight is one slope per channel, whatever its position."""
    weight = call.constant("weight")
    n = len(call.shape)
    if weight is None:
        return call.broadcast()
    return Law((Link(0, per_channel(n) if weight.shape != (1,) else keep(n)),))


@rule("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::native_dropout", "aten::rrelu",
      "aten::rrelu_with_noise", shown=False)  # fmt: skip
def dropout(call: Call) -> Law:
    law = call.identity()
    if not (call["train"] or call["training"]):
        return law
    random = Block(Cause.RANDOM, "draws at random: it is in training mode")
    return Law(law.links, blocks=tuple((d, random) for d in range(len(call.shape))))
