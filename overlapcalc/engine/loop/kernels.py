"""How the operators of a loop run on samples from all over the image, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...ops.facts import kind_of
from ...ops.graph import Constant, Data, Node
from ...ops.kind import Kind
from ...ops.registry import find
from ...ops.slab import run_of
from ...trace.runnable import Fixed, Invocation
from ..slab.frame import Frame
from .calls import Values


@dataclass(frozen=True)
class Operand:
    """The place of an operand among the arguments of a prepared call."""

    node: str


@dataclass(frozen=True)
class Prepared:
    """A call whose arguments are all known but for the operands: the quickest way."""

    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: int | None

    @cached_property
    def _open(self) -> tuple[tuple[int, Any], ...]:
        """The arguments that hold operands, with their places."""
        return tuple((i, a) for i, a in enumerate(self.args) if isinstance(a, (Operand, list)))

    def __call__(self, values: Values) -> Tensor:
        args = list(self.args)
        for i, own in self._open:
            args[i] = values[own.node] if isinstance(own, Operand) else _filled(own, values)
        found: Any = self.target(*args, **self.kwargs)
        result: Tensor = found if self.result is None else found[self.result]
        return result


def _filled(items: Sequence[Any], values: Values) -> list[Any]:
    return [values[a.node] if isinstance(a, Operand) else a for a in items]


def prepared(frame: Frame, node: Node, invocation: Invocation | None) -> Prepared | None:
    """A pointwise call that needs nothing but its operands; None where its family has a way of its own, or where
    arguments are sizes."""
    rule = find(node.op)
    if invocation is None or (rule is not None and rule.sizes):
        return None
    if run_of(node.op) is not None and not _splits_channels(frame, node):
        return None
    read = {path.operand for path in frame.value(node.name).paths}
    if not set(node.operands) <= read:
        return None  # of one, only the shape matters
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for argument in invocation.target._schema.arguments:
        value = _template(frame, node.args.get(argument.name), invocation.values[argument.name])
        if argument.name == "device" and value is not None:
            value = frame.constants.device
        if argument.kwarg_only:
            kwargs[argument.name] = value
        else:
            args.append(value)
    if any(isinstance(value, (Operand, list)) for value in kwargs.values()):
        return None
    return Prepared(invocation.target, tuple(args), kwargs, invocation.result)


def _splits_channels(frame: Frame, node: Node) -> bool:
    """Whether an operator is a split or a chunk along a dimension that is no axis: it runs as it is."""
    layout = frame.value(node.operands[0]).layout
    return kind_of(node) is Kind.SPLIT and not layout.axes_of(int(node.args.get("dim") or 0) % len(layout.widths))


def _template(frame: Frame, argument: Any, template: Any) -> Any:
    if isinstance(argument, Data):
        return Operand(argument.node)
    if isinstance(template, Fixed):
        return frame.constants.value(template.node)
    if isinstance(template, (list, tuple)) and isinstance(argument, (list, tuple)):
        return [_template(frame, a, t) for a, t in zip(argument, template, strict=True)]
    return template


@dataclass(frozen=True)
class Convolution:
    """A convolution as one matrix product over the open taps.

    offsets, strides: along each axis, of every tap and of the operator; matrix: (groups, taps * inputs, outputs), per
    group.
    """

    operand: str
    offsets: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    matrix: Tensor
    bias: Tensor | None
    images: int

    def __call__(self, read: Tensor) -> Tensor:
        """read: (samples, taps, images * inputs) as rows. Returns rows: (samples, images * outputs)."""
        count, taps = read.shape[:2]
        groups, height, outputs = self.matrix.shape
        inputs = height // taps * groups
        x = read.reshape(count, taps, self.images, inputs)
        if self.images > 1:
            x = x.transpose(1, 2)
        if groups == 1:
            x = x.reshape(count * self.images, height)
            y = x @ self.matrix[0] if self.bias is None else torch.addmm(self.bias, x, self.matrix[0])
            return y.reshape(count, self.images * outputs)
        x = x.reshape(count * self.images, taps, groups, inputs // groups).permute(2, 0, 1, 3)
        y = torch.bmm(x.reshape(groups, count * self.images, height), self.matrix)
        y = y.transpose(0, 1).reshape(count * self.images, groups * outputs)
        return (y if self.bias is None else y + self.bias).reshape(count, self.images * groups * outputs)


def convolution(
    frame: Frame, node: Node, invocation: Invocation | None, axes: Sequence[str], call: Any
) -> Convolution | None:
    """The convolution of a call over exactly these axes with a constant kernel; None for any other call."""
    weight = call.constant("weight")
    if kind_of(node) is not Kind.CONVOLUTION or invocation is None or weight is None or len(node.operands) != 1:
        return None
    if isinstance(node.args.get("bias"), Data):
        return None
    n = len(weight.shape) - 2
    layout = frame.value(node.name).layout
    first = len(node.shape) - n
    along = [layout.labels[layout.starts[d]] if layout.widths[d] == 1 else "" for d in range(first, first + n)]
    if sorted(along) != sorted(axes) or any(layout.axes_of(d) for d in range(first)):
        return None
    padding = call["padding"]
    strides, dilation = call.ints("stride", n, 1), call.ints("dilation", n, 1)
    if isinstance(padding, str):
        same = padding == "same"
        padding = tuple(dilation[i] * (weight.shape[2 + i] - 1) // 2 if same else 0 for i in range(n))
    else:
        padding = call.ints("padding", n)
    taps = weight.taps if weight.taps is not None else tuple(_places(weight.shape[2:]))
    if not taps:
        return None
    order = [along.index(axis) for axis in axes]
    value = _constant(frame, node, invocation, "weight")
    bias = _constant(frame, node, invocation, "bias")
    assert value is not None
    groups = int(call["groups"] or 1)
    every = slice(None)
    at = [(every, every, *tap) for tap in taps]
    picked = torch.stack([value[place] for place in at], -1)
    outputs, inputs = picked.shape[:2]
    by_group = picked.reshape(groups, outputs // groups, inputs, len(taps)).permute(0, 3, 2, 1)
    matrix = by_group.reshape(groups, len(taps) * inputs, outputs // groups).contiguous()
    offsets = tuple(tuple(dilation[i] * tap[i] - padding[i] for i in order) for tap in taps)
    images = prod(node.shape[: first - 1])
    return Convolution(node.operands[0], offsets, tuple(strides[i] for i in order), matrix, bias, images)


def _constant(frame: Frame, node: Node, invocation: Invocation, name: str) -> Tensor | None:
    if not isinstance(node.args.get(name), Constant):
        return None
    value: Tensor = frame.constants.value(invocation.values[name].node)
    return value


def _places(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for size in sizes:
        found = [(*place, i) for place in found for i in range(size)]
    return found
