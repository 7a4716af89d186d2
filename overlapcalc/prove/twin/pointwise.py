"""Sums and products exactly; every other function of single samples as a fixed nonlinear map."""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call
from .modular import PRIME, key, mixed, mod, power
from .registry import twin

UNTAGGED = frozenset(
    {
        "_prelu_kernel", "hardswish", "hardtanh", "hardsigmoid", "relu6", "celu", "selu", "elu", "leaky_relu", "mish",
        "softplus", "softshrink", "hardshrink", "threshold", "floor_divide", "silu", "gelu", "prelu", "log_sigmoid",
        "square", "rsqrt", "sqrt", "round",
    }
)  # fmt: skip
"""Functions of single samples that torch, or an older torch, does not tag as pointwise."""


def _integers(call: Call) -> bool:
    """Whether torch itself computes integers: no operand and no scalar is floating. They wrap around at 2^64, which
    is exact too."""
    if any(t.is_floating_point() for t in call.operands()):
        return False
    return not any(isinstance(v, float) for v in call.values.values())


def _as_torch(call: Call) -> Tensor:
    result: Tensor = call.replayed(lambda name, value: value)
    return result


@twin("add", "sub", "rsub")
def add(call: Call) -> Tensor:
    if _integers(call):
        return _as_torch(call)
    a, b = call.tensor("self"), call.factor("other")
    if call.name == "rsub":
        if not isinstance(b, Tensor):
            b = torch.tensor(b, dtype=a.dtype, device=a.device)
        a, b = b, a
    alpha = call.factor("alpha")
    sign = 1 if call.name == "add" else -1
    term = b if alpha == 1 else mod(torch.as_tensor(b, dtype=torch.float64, device=a.device) * alpha)
    total = a + sign * term
    result = mod(total)
    left_out = total == -float("inf")  # by a mask, or scores that were masked
    return torch.where(left_out, total, result) if left_out.any() else result


@twin("exp")
def exponential(call: Call) -> Tensor:
    """A power, so that a sum of exponentials below one maximum can be rescaled to another."""
    return power(call.tensor("self"))


@twin("mul")
def mul(call: Call) -> Tensor:
    return _as_torch(call) if _integers(call) else mod(call.tensor("self") * call.factor("other"))


@twin("neg")
def neg(call: Call) -> Tensor:
    return _as_torch(call) if _integers(call) else mod(-call.tensor("self"))


@twin("div", "true_divide")
def div(call: Call) -> Tensor:
    """Times the inverse of the divisor if that is a number, else times a residue that depends on the divisor."""
    if call["rounding_mode"] is not None:
        return pointwise(call)
    x, other = call.tensor("self"), call["other"]
    if isinstance(other, Tensor):
        return mod(x * mixed(key("divisor"), call.tensor("other")))
    divisor = call.number(other)
    if not 0 < divisor < PRIME:
        raise call.refused(f"division by {other}")
    return mod(x * pow(int(divisor), -1, PRIME))


@twin("addcmul", "addcdiv")
def addcmul(call: Call) -> Tensor:
    second = call.tensor("tensor2")
    if call.name == "addcdiv":
        second = mixed(key("divisor"), second)
    return mod(call.tensor("self") + mod(mod(call.tensor("tensor1") * second) * call.factor("value")))


@twin("lerp")
def lerp(call: Call) -> Tensor:
    start = call.tensor("self")
    return mod(start + mod(mod(call.tensor("end") - start) * call.factor("weight")))


@twin("glu")
def glu(call: Call) -> Tensor:
    value, gate = call.tensor("self").chunk(2, call["dim"])
    return mod(value * mixed(call.key, gate))


@twin("log_sigmoid_forward")
def log_sigmoid(call: Call) -> tuple[Tensor, ...]:
    x = call.tensor("self")
    return mixed(call.key, x), x.new_empty(0)


@twin("rrelu_with_noise")
def rrelu(call: Call) -> Tensor:
    if call["training"]:
        raise call.refused("draws at random")
    return mixed(call.key, call.tensor("self"))


@twin("_to_copy")
def cast(call: Call) -> Tensor:
    """Floating types are all float64, integer types all int64: a cast changes no value."""
    x: Tensor = call["self"]
    target = call["dtype"] or x.dtype
    if target.is_complex or x.is_complex():
        raise call.refused("complex numbers")
    if target == torch.bool and x.dtype != torch.bool:  # whether it is zero: as comparisons are
        made = mixed(key("ne"), call.residues_of(x)) < PRIME // 2
    elif target.is_floating_point:
        made = call.residues_of(x).to(torch.float64)
    else:
        made = x.to(torch.bool if target == torch.bool else torch.int64)
    return made.to(call["device"] or x.device, copy=True)


def pointwise(call: Call) -> Tensor:
    """Any function of single samples: a fixed map, whose constants come from its name and its other arguments.

    For integers too, with an integer result: a real `clamp` would send all residues to one end. Look-ups take the
    result modulo the length of their table.
    """
    if len(call.func._schema.returns) != 1:
        raise call.refused("has no twin in integers modulo a prime")
    made = mixed(call.key, *(call.residues_of(o) for o in call.operands()))
    if any(t.is_floating_point() for t in call.operands()):
        return made
    kind = call.replayed(lambda name, value: value).dtype
    if kind == torch.bool:
        return made < PRIME // 2
    return made if kind.is_floating_point else made.to(torch.int64)
