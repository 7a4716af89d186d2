"""Nets whose sums are exact, so that every block size, schedule, kernel and thread number gives the same bits.

The idea is of Ballé, Johnston and Minnen, "Integer networks for data compression with latent-variable models"
(ICLR 2019): float sums depend on their order, sums of integers do not. Here integers are carried by float64, which
holds every one below 2^53, so torch's own kernels run.

The law: let a convolution read multiples of 2^-f of at most 2^r, and let its weights be multiples of 2^-w, its bias of
2^-(w+f). If for every output channel

    sum over taps of |weight| * 2^r + |bias|  <  2^53 units of 2^-(w+f),

then every product, every partial sum in whatever order and every fused multiply-add of it is an integer below 2^53 in
those units, hence exact. All between two convolutions is made of operations that IEEE 754 rounds correctly, each a
kernel of its own; `OnlyExact` holds a net to that while it runs. torch's square root is not one of them: on CPUs it is
MKL's, which is off in the last bit now and then where CUDA's is not. So roots are found on a grid (`exact_root`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from overlapcalc import InputError

from .checkerboard import CheckerboardConv2d
from .gdn import GDN, NonNegative
from .masked import MaskedConv2d

MANTISSA = 53
EDITION = 2
"""Raised whenever an exact form gives other numbers, since older bitstreams then mean something else."""
FINEST, COARSEST = 24, 8
"""Weights are multiples of 2^-24 where the law allows it, and of no less than 2^-8."""


class Grid(NamedTuple):
    """The multiples of 2^-fraction from -2^range to 2^range."""

    fraction: int
    range: int

    def units(self, x: Tensor) -> Tensor:
        """The nearest point of the grid, half to even, as an integer number of steps."""
        most = 2.0 ** (self.fraction + self.range)
        return torch.clamp(torch.round(x * 2.0**self.fraction), -most, most)


ACTIVATIONS = Grid(13, 13)
SQUARES = Grid(16, 20)
"""What the convolution in a GDN reads: squares are small or large."""


class ExactConv(nn.Module):
    """A convolution that rounds what it reads to its grid. Its sums obey the law of this file.

    fraction: its results are multiples of 2^-fraction.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, options: Mapping[str, Any], grid: Grid, fraction: int, *, transposed: bool
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.options, self.grid, self.fraction, self.transposed = dict(options), grid, fraction, transposed

    def forward(self, x: Tensor) -> Tensor:
        apply = F.conv_transpose2d if self.transposed else F.conv2d
        return apply(self.grid.units(x), self.weight, self.bias, **self.options)


SPARE = MANTISSA - 48
"""Binary places of a sum that its root leaves out."""


class ExactGDN(nn.Module):
    """x / sqrt(beta + gamma * x^2), or the product for the inverse, with the root of `exact_root`."""

    def __init__(self, norm: ExactConv, *, inverse: bool) -> None:
        super().__init__()
        self.norm, self.inverse = norm, inverse

    def forward(self, x: Tensor) -> Tensor:
        root = exact_root(self.norm(x * x), (self.norm.fraction - SPARE) // 2)
        return x * root if self.inverse else x / root


def exact_root(x: Tensor, places: int) -> Tensor:
    """The largest multiple of 2^-places whose square is at most x, but at least one step. x: below 2^(48 - 2 places).

    For an integer n below 2^48, the root of n + 1/2 is at least 2^-26 from every integer. A machine's root, right to
    eight units in the last place, is on the same side.
    """
    squared = torch.floor(x * 4.0**places) + 0.5
    return torch.clamp_min(torch.floor(torch.sqrt(squared)), 1.0) * 2.0**-places


class ExactSigmoid(nn.Module):
    """1 / (1 + exp(-x)) with exp(x) = exp(x / 256)^256, by a cubic and eight squarings: within 1e-6 of it."""

    def forward(self, x: Tensor) -> Tensor:
        u = torch.clamp(x, -24.0, 24.0) * (1 / 256)
        power = ((u * (1 / 6) + 0.5) * u + 1.0) * u + 1.0
        for _ in range(8):
            power = power * power
        return power / (power + 1.0)


def exact(net: nn.Module, *, called: str = "net", activations: Grid = ACTIVATIONS) -> nn.Module:
    """A copy of a net of convolutions and pointwise layers whose results are the same however it is run.

    called: what an error calls the net. activations: the grid to which every convolution rounds what it reads.
    Raises InputError for a layer that has no exact form, and for one whose sums could pass 2^53.
    """
    return _converted(copy.deepcopy(net).eval(), called, activations)


def _converted(layer: nn.Module, path: str, activations: Grid) -> nn.Module:
    form = exact_form(layer, path, activations)
    if form is not None:
        return form
    if layer._parameters or layer._buffers:
        raise InputError(f"{path}: {type(layer).__name__} holds numbers and has no exact form; write one in exact_form")
    for name, child in layer.named_children():
        setattr(layer, name, _converted(child, f"{path}.{name}", activations))
    return layer


def exact_form(layer: nn.Module, path: str, activations: Grid) -> nn.Module | None:
    """What stands for a layer in an exact net, or None for one that only holds others.

    By exact type: a subclass may do something else.
    """
    if type(layer) in (nn.Conv2d, nn.ConvTranspose2d, MaskedConv2d, CheckerboardConv2d):
        return _convolution(layer, path, activations)
    if type(layer) is GDN:
        gamma = _non_negative(layer.gamma_reparam, layer.gamma)[:, :, None, None]
        beta = _non_negative(layer.beta_reparam, layer.beta)
        norm = exact_conv(gamma, beta, {}, SQUARES, path)
        if not (bool((norm.weight >= 0).all()) and bool((norm.bias > 0).all())):
            raise InputError(f"{path}: gamma below 0, or beta not above it: its bounds are not those of a GDN")
        return ExactGDN(norm, inverse=layer.inverse)
    if type(layer) is nn.Sigmoid:
        return ExactSigmoid()
    return None


def _convolution(layer: Any, path: str, activations: Grid) -> ExactConv:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise InputError(
            f"{path}: padding {layer.padding!r} of mode {layer.padding_mode!r}; expected zeros, in numbers"
        )
    options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    transposed = isinstance(layer, nn.ConvTranspose2d)
    if transposed:
        options["output_padding"] = layer.output_padding
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    if isinstance(layer, MaskedConv2d):
        weight = weight * layer.mask
    return exact_conv(weight, bias, options, activations, path, transposed=transposed)


def _non_negative(reparam: NonNegative, stored: Tensor) -> Tensor:
    root = torch.maximum(stored.detach().double(), reparam.lower_bound.bound.double())
    return root * root - reparam.pedestal.double()


def exact_conv(
    weight: Tensor, bias: Tensor | None, options: Mapping[str, Any], grid: Grid, path: str, *, transposed: bool = False
) -> ExactConv:
    """A convolution with weights as fine as the law allows. Raises InputError where even the coarsest are too fine."""
    groups = int(options.get("groups", 1))
    weight = weight.double()
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    bias = torch.zeros(outputs, dtype=torch.float64) if bias is None else bias.double()
    for numbers in (weight, bias):  # one by one: Python's max may lose a NaN
        largest = float(numbers.abs().max())
        if not largest < 2.0**MANTISSA:
            raise InputError(f"{path}: a weight or bias of {largest:g}; expected finite numbers below 2^{MANTISSA}")
    for fraction in range(FINEST, COARSEST - 1, -1):
        taps = torch.round(weight * 2.0**fraction)
        constant = torch.round(bias * 2.0 ** (fraction + grid.fraction))
        reached = most_units(taps, constant, grid, groups=groups, transposed=transposed)
        if reached < 2**MANTISSA:
            unit = 2.0 ** -(fraction + grid.fraction)
            return ExactConv(
                taps * unit, constant * unit, options, grid, fraction + grid.fraction, transposed=transposed
            )
    raise InputError(
        f"{path}: its sums may reach {reached / 2**MANTISSA:.3g} times 2^{MANTISSA}, so they are not exact: weights "
        f"in steps of 2^-{COARSEST}, inputs of up to 2^{grid.range} in steps of 2^-{grid.fraction}; give it a coarser "
        "grid or smaller weights"
    )


def most_units(taps: Tensor, constant: Tensor, grid: Grid, *, groups: int, transposed: bool) -> int:
    """The largest |sum| that any output can reach, in units; taps and constant are integers.

    Where the answer is below 2^53, so was every sum on the way to it, and it is exact.
    """
    by_output = taps.abs().reshape(groups, -1, *taps.shape[1:]).transpose(1, 2) if transposed else taps.abs()
    totals = by_output.reshape(len(constant), -1).sum(1).tolist()
    steps = 2 ** (grid.fraction + grid.range)
    return max(int(total) * steps + abs(int(own)) for total, own in zip(totals, constant.tolist(), strict=True))


class OnlyExact(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, an operator whose result IEEE 754 does not fix is refused by name, with InputError.

    A root is let through where `exact_root` takes it: of half-integers, and used in nothing but rounding down.
    """

    def __init__(self, called: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.called = called
        self._roots: list[tuple[Tensor, list[bool]]] = []
        """Each root, or view of one, with whether it was rounded down."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        roots = [used for root, used in self._roots if any(x is root for x in given)]
        if roots and name == "floor":
            roots[0][0] = True
        elif roots and name not in MOVES:
            self._refuse("sqrt")
        if name == "sqrt" and bool(((given[0] - given[0].floor() == 0.5) & (given[0] < 2.0**48)).all()):
            roots = [[False]]
        elif name not in FIXED:
            self._refuse(name)
        if name == "div" and not _by_tensor_or_power(args, kwargs or {}):
            raise InputError(f"{self.called}: div by a number may be a multiplication; multiply, or divide by a tensor")
        if abs((kwargs or {}).get("alpha", 1)) != 1:
            raise InputError(f"{self.called}: {name} with alpha may be fused; multiply first")
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            raise InputError(f"{self.called}: {name} gives {result.dtype}; expected torch.float64 throughout")
        if roots and name != "floor":
            self._roots += [(x, roots[0]) for x in tree_leaves(result) if isinstance(x, Tensor)]
        return result

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        roots, self._roots = self._roots, []
        if kind is None and not all(used[0] for _, used in roots):
            self._refuse("sqrt")

    def _refuse(self, name: str) -> None:
        raise InputError(f"{self.called}: {name} is not fixed to the last bit by IEEE 754; give it an exact form")


def _by_tensor_or_power(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a division is rounded once: CUDA multiplies by the inverse of a number."""
    if kwargs.get("rounding_mode") is not None or len(args) < 2:
        return False
    by = args[1]
    if isinstance(by, Tensor) and by.dim():
        return True
    return math.frexp(float(by))[0] in (0.5, -0.5)


CORRECTLY_ROUNDED = {
    "abs", "add", "add_", "clamp", "clamp_min", "convolution", "div", "eq", "floor", "ge", "gt", "le", "leaky_relu",
    "lt", "maximum", "minimum", "mul", "mul_", "neg", "relu", "round", "sub", "where",
}  # fmt: skip
MOVES = {
    "_to_copy", "_unsafe_view", "alias", "as_strided", "cat", "clone", "constant_pad_nd", "copy_", "detach", "empty",
    "expand", "fill_", "full", "index_select", "lift_fresh", "new_empty", "new_full", "new_zeros", "permute",
    "pixel_shuffle", "replication_pad2d", "select", "slice", "split", "split_with_sizes", "squeeze", "transpose",
    "unsqueeze", "view", "zero_", "zeros", "zeros_like",
}  # fmt: skip
FIXED = CORRECTLY_ROUNDED | MOVES
"""Operators with one right result: rounded once, or only moving numbers. Convolutions are exact by the law above."""
