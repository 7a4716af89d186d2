"""What a caller passes as inputs and axes -> shapes, types and axes, or one clear refusal."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..errors import Argument, InputError
from ..ops import kind_of
from ..ops.graph import Constant, Graph, Shapes
from ..ops.kind import CONVOLUTIONS
from ..ops.layout import axes_in, default_layout
from ..trace.arguments import arguments_of
from .shapes import as_shape

Types = tuple[torch.dtype | None, ...]


def parsed(inputs: Any) -> tuple[Shapes, Types]:
    """A shape, a list of shapes, or example tensors: the shape of each input, and its type where it is known."""
    if isinstance(inputs, torch.Tensor):
        items: list[Any] = [inputs]
    elif isinstance(inputs, (list, tuple)) and inputs and not any(map(_is_input, inputs)):
        items = [tuple(inputs)]
    elif isinstance(inputs, (list, tuple)) and inputs:
        items = list(inputs)
    else:
        raise InputError(
            Argument("inputs", inputs), ": expected a shape such as (1, 3, 256, 256), a list of shapes, or tensors"
        )
    shapes: list[tuple[int, ...]] = []
    dtypes: list[torch.dtype | None] = []
    for item in items:
        if isinstance(item, torch.Tensor):
            if not item.numel():
                raise InputError(f"input of shape {tuple(item.shape)}: it holds nothing; expected sizes of at least 1")
            shapes.append(tuple(item.shape))
            dtypes.append(item.dtype)
        else:
            shapes.append(as_shape(item))
            dtypes.append(None)
    return tuple(shapes), tuple(dtypes)


def _is_input(item: Any) -> bool:
    """Whether an item of a list stands for an input, not for a size."""
    return isinstance(item, (list, tuple, torch.Tensor, Mapping))


def module_inputs(model: Any, inputs: Any) -> tuple[Shapes, tuple[torch.dtype, ...]]:
    """The shapes and types of a module's inputs. Where only a shape is given, the type is that of its parameters."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"expected a torch.nn.Module or a program of torch.export, got {type(model).__name__}; give an instance, "
            "not a class"
        )
    if inputs is None:
        raise InputError("inputs are missing; give a shape such as (1, 3, 256, 256), a list of shapes, or tensors")
    shapes, types = parsed(inputs)
    called = arguments_of(model)
    alone = _needed_by_name(model) if called is None else ()
    if alone:
        raise InputError(
            f"{type(model).__name__}.forward takes {', '.join(alone)} by name only; give it in ",
            Argument("kwargs", dict.fromkeys(alone, ...)),
        )
    needed, most = forward_arity(model) if called is None else (len(called.names),) * 2
    if len(shapes) < needed or (most is not None and len(shapes) > most):
        wants = f"{needed}" if most == needed else f"{needed} to {most}" if most is not None else f"at least {needed}"
        one = ". Where it takes one list of them, give ([...],), with the comma" if most == 1 else ""
        raise InputError(
            f"{type(model).__name__}.forward takes {wants} input{'s' if wants != '1' else ''}, {len(shapes)} given; "
            f"give each: a tensor, a shape in its place, or what else forward takes{one}"
        )
    default = own_type(model)
    return shapes, tuple(default if dtype is None else dtype for dtype in types)


def own_type(model: nn.Module) -> torch.dtype:
    """The floating type of a module: that of its parameters."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def forward_arity(model: nn.Module) -> tuple[int, int | None]:
    """How many positional inputs a model's forward requires, and accepts at most (None: any number).

    >>> forward_arity(nn.Bilinear(2, 2, 1))
    (2, 2)
    """
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return 1, None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return needed, None
    return needed, len(positional)


def _needed_by_name(model: nn.Module) -> list[str]:
    """The arguments that forward requires and that have no position."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def asked_axes(axes: Sequence[str] | str | None, shapes: Shapes, layouts: Sequence[str]) -> tuple[str, ...]:
    """The axes asked for (all axes of the inputs when absent), in the order of the inputs and of `layout.AXES`."""
    said = [layout or default_layout(len(shape)) for layout, shape in zip(layouts, shapes, strict=True)]
    known = tuple(dict.fromkeys(axis for layout in said for axis in axes_in(layout)))
    if not known:
        raise InputError(f"input shape {shapes[0]} has no spatial axis; expected (N, C, ...) with one to three of them")
    if axes is None:
        return known
    if not isinstance(axes, (str, list, tuple, set, frozenset)):
        raise InputError(Argument("axes", axes), ": expected names such as 'W' or ['H', 'W']")
    wanted = (axes,) if isinstance(axes, str) else tuple(axes)
    if not wanted:
        raise InputError(
            Argument("axes", axes), f" names none; these inputs have {', '.join(known)}, and None means all of them"
        )
    for axis in wanted:
        if axis not in known:
            raise InputError(f"axis {axis!r}: these inputs have {', '.join(known)}")
    return tuple(a for a in known if a in wanted)


def refuse_unbatched(graph: Graph) -> None:
    """A convolution also runs without a batch. But the first dimension of an input is the batch unless its layout says
    otherwise, so a row would be taken for a channel. Raises InputError."""
    for node in graph:
        weight = node.args.get("weight")
        if kind_of(node) not in CONVOLUTIONS or not isinstance(weight, Constant) or not node.operands:
            continue
        shape = graph[node.operands[0]].shape
        if len(shape) == len(weight.shape) - 1 and any(not graph[i].layout for i in graph.inputs_of(node.name)):
            letters = default_layout(len(weight.shape))[1:]
            raise InputError(
                f"{node.layer or 'net'}: {node.op} reads a tensor without a batch, of shape {shape}; the batch comes "
                f"first in every input: {(1, *shape)} here. Or say what the dimensions of the input are, as in ",
                Argument("layout", letters),
            )
