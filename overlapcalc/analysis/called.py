"""The one way in which all functions are given what forward takes: a shape, tensors, containers of these, numbers.

`inputs` stands for the positional arguments of forward: several in a list or tuple, one alone also as it is; `kwargs`
for those by name. A shape stands for a tensor anywhere. What is neither is part of the net.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils._pytree import TreeSpec, tree_flatten_with_path, tree_structure

from ..errors import Argument, InputError
from ..trace.arguments import SLOT, Arguments, alike, arguments_of, called_with
from .analysis import Analysis

Kwargs = Mapping[str, Any] | None
FIXED = (Number, str, bytes, enum.Enum, type(None), torch.dtype, torch.device, torch.memory_format, torch.layout)
"""What may be part of a net."""
ARRAY = "a tensor, or an array with shape, dtype and slicing,"
LISTS, OF_NUMBERS = r"list|tuple|sequence|iterable", r"(list|tuple|sequence)\[int\b|torch\.size"
"""Annotations, in small letters, of an argument that is a list, and of one of sizes."""


def followed(model: Any, inputs: Any, kwargs: Kwargs = None, *, run: bool = False) -> tuple[Any, Any]:
    """The net to follow, and its tensors or their shapes one after the other.

    A net that is called with tensors alone comes back as it is, and so do its inputs; any other as one that is (see
    `called_with`). run: what is given is what forward gets, so that numbers in a tuple are no shape. Raises InputError.
    """
    if kwargs is not None and (not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs)):
        raise InputError(
            Argument("kwargs", kwargs), ": expected the arguments of forward by name, such as {'scale': 2}"
        )
    if isinstance(model, torch.export.ExportedProgram) and _nested(inputs, kwargs):
        return model, _of_program(model, _positional(inputs, ()) if inputs is not None else (), dict(kwargs or {}))
    if not isinstance(model, nn.Module) or arguments_of(model) is not None or not (_some(inputs) or kwargs):
        return model, inputs
    signature = _signature(model)
    parameters = tuple(signature.parameters.values()) if signature else ()
    given = _positional(inputs, parameters, run=run) if inputs is not None else ()
    if not kwargs and all(
        _is_tensor(one) or (not run and is_shape(one, _at(parameters, i))) for i, one in enumerate(given)
    ):
        return model, given if run else inputs
    args, named = given, dict(kwargs or {})
    if signature is not None:
        try:
            bound = signature.bind(*args, **named)
        except TypeError as error:
            _refuse_none(_leaves((args, named), parameters, shapes=not run)[0], run)
            raise InputError(
                f"{type(model).__name__}.forward{_said(parameters)}: {error}; give its positional arguments in a tuple "
                "and others by name in ",
                Argument("kwargs"),
            ) from error
        args, named = bound.args, bound.kwargs
    leaves, structure = _leaves((args, named), parameters, shapes=not run)
    slots, tensors = [], []
    for path, leaf in leaves:
        fixed = isinstance(leaf, FIXED) and not _is_tensor(leaf)
        if not fixed and not _is_tensor(leaf) and not is_shape(leaf):
            _refuse(path, leaf)
        slots.append(leaf if fixed else SLOT)
        if not fixed:
            tensors.append(leaf)
    _refuse_none(leaves, run)
    if not named and len(slots) == len(args) and all(slot is SLOT for slot in slots) and structure == _flat(len(args)):
        return model, tuple(tensors)
    arguments = Arguments(structure, tuple(slots), tuple(path for path, _ in leaves))
    return called_with(model, arguments), tuple(tensors)


def followed_each(
    model: nn.Module, inputs: Sequence[Any], kwargs: Kwargs = None, *, run: bool = False
) -> tuple[nn.Module, Sequence[Any]]:
    """The same of inputs that are given one after the other; a single list or tuple of them is what it is there."""
    one = inputs[0] if len(inputs) == 1 else tuple(inputs) if inputs or not kwargs else None
    net, tensors = followed(model, one, kwargs, run=run)
    alone = not isinstance(tensors, (list, tuple)) or (not run and tensors is one and is_shape(tensors))
    return net, (tensors,) if alone else tensors


def as_analysed(model: nn.Module, analysis: Analysis) -> nn.Module:
    """A model as the net that was analysed."""
    arguments = analysis.variants.net.traced.arguments
    return model if arguments is None or arguments_of(model) is not None else called_with(model, arguments)


def refuse_others(model: nn.Module, held: Arguments | None, now: Arguments | None) -> None:
    """Raises InputError where what is not a tensor is not what it was. What is left out is what forward has for it."""
    if held is None:
        return
    signature = _signature(model)
    left_out = {
        p.name: p.default for p in (signature.parameters.values() if signature else ()) if p.default is not p.empty
    }
    then, given = held.fixed, {} if now is None else now.fixed
    for name in dict.fromkeys((*then, *given)):
        before, after = (found.get(name, left_out.get(name, MISSING)) for found in (then, given))
        if not alike(before, after):
            said = f"{name} is left out" if after is MISSING else f"{name}={after!r}"
            raise InputError(
                f"{said}; this was planned {'without it' if before is MISSING else f'for {name}={before!r}'}, which is "
                "part of the net: give the same, or plan another"
            )


MISSING = inspect.Parameter.empty


def _of_program(program: torch.export.ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The tensors, or their shapes, for a saved program, which has everything else in it. Raises InputError."""
    leaves, _ = _leaves((args, kwargs), ())
    specs = [one.arg for one in program.graph_signature.input_specs if one.kind is InputKind.USER_INPUT]
    for (_, leaf), spec in zip(leaves, specs, strict=False):
        if isinstance(spec, ConstantArgument) and not alike(leaf, spec.value):
            raise InputError(f"{spec.name}={leaf!r}: the program was exported with {spec.value!r}, which is part of it")
    return [leaf for _, leaf in leaves if not isinstance(leaf, FIXED)]


def _some(inputs: Any) -> bool:
    return inputs is not None and not (isinstance(inputs, (list, tuple)) and not inputs)


# ---- what is given ----------------------------------------------------------------------------------------


def _positional(inputs: Any, parameters: Sequence[inspect.Parameter], *, run: bool = False) -> tuple[Any, ...]:
    """The positional arguments that `inputs` stands for."""
    first = _at(parameters, 0)
    if type(inputs) not in (list, tuple) or (not run and (not inputs or is_shape(inputs, first))):
        return (inputs,)
    alone = len(parameters) == 1 and first is not None and first.kind is not first.VAR_POSITIONAL
    if alone and re.search(LISTS, _annotated(first)) and not (len(inputs) == 1 and type(inputs[0]) in (list, tuple)):
        return (inputs,)
    return tuple(inputs)


def _is_tensor(value: Any) -> bool:
    """A tensor, or an array that stands for one."""
    return isinstance(value, torch.Tensor) or (
        hasattr(value, "shape")
        and hasattr(value, "dtype")
        and hasattr(value, "__getitem__")
        and not isinstance(value, Number)
    )


def is_shape(value: Any, parameter: inspect.Parameter | None = None) -> bool:
    """Whether a list or tuple is a shape, or was meant to be one: it holds numbers, and no inputs."""
    if type(value) not in (list, tuple, torch.Size) or not value or _takes_numbers(parameter):
        return False
    plain = all(isinstance(item, FIXED) and not _is_tensor(item) for item in value)
    return plain and any(isinstance(item, Number) and not isinstance(item, bool) for item in value)


def _takes_numbers(parameter: inspect.Parameter | None) -> bool:
    """Whether forward says that an argument is a tuple of numbers: by its annotation or its default."""
    if parameter is None:
        return False
    default = parameter.default
    known = isinstance(default, (list, tuple)) and bool(default) and all(isinstance(n, Number) for n in default)
    return known or re.search(OF_NUMBERS, _annotated(parameter)) is not None


def _annotated(parameter: inspect.Parameter | None) -> str:
    return "" if parameter is None or parameter.annotation is parameter.empty else str(parameter.annotation).lower()


def _nested(inputs: Any, kwargs: Kwargs) -> bool:
    """Whether there is more than a shape, a tensor, or a list of these."""
    listed = inputs if type(inputs) in (list, tuple) and not is_shape(inputs) else [inputs]
    return bool(kwargs) or not all(_is_tensor(one) or is_shape(one) or one is None for one in listed)


# ---- names ------------------------------------------------------------------------------------------------


def _leaves(
    given: tuple[Sequence[Any], Mapping[str, Any]], parameters: Sequence[inspect.Parameter], *, shapes: bool = True
) -> tuple[list[tuple[str, Any]], TreeSpec]:
    """What the arguments hold, each with its name, and their structure."""
    args, named = given
    numbers = [id(a) for i, a in enumerate(args) if _takes_numbers(_at(parameters, i))]
    numbers += [id(named[p.name]) for p in parameters if p.name in named and _takes_numbers(p)]

    def is_leaf(value: Any) -> bool:
        return _is_tensor(value) or (shapes and id(value) not in numbers and is_shape(value))

    found, structure = tree_flatten_with_path((tuple(args), dict(named)), is_leaf)
    return [(_name(path, parameters), leaf) for path, leaf in found], structure


def _name(path: Sequence[Any], parameters: Sequence[inspect.Parameter]) -> str:
    """`batch.image`, `feats[0]`, `batch['two words']`."""
    side, place, *rest = path
    if side.idx:
        text = str(place.key)
    else:
        at = _at(parameters, place.idx)
        first = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        text = f"input{place.idx}" if at is None else at.name
        if at is not None and first is not None and place.idx >= first:
            text += f"[{place.idx - first}]"
    for step in rest:
        key = getattr(step, "key", getattr(step, "name", None))
        if hasattr(step, "idx"):
            text += f"[{step.idx}]"
        else:
            text += f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"
    return text


def _at(parameters: Sequence[inspect.Parameter], i: int) -> inspect.Parameter | None:
    """The parameter that the argument at a position goes to."""
    found = None
    for j, p in enumerate(parameters):
        if p.kind is p.VAR_POSITIONAL or j == i:
            found = p if p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) else None
            break
    return found


def _signature(model: nn.Module) -> inspect.Signature | None:
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def _said(parameters: Sequence[inspect.Parameter]) -> str:
    return f"({', '.join(p.name for p in parameters)})"


def _flat(count: int) -> TreeSpec:
    return tree_structure(((None,) * count, {}))


def _refuse_none(leaves: Sequence[tuple[str, Any]], run: bool) -> None:
    """Raises InputError where there is nothing to follow a net from."""
    if not any(_is_tensor(leaf) or (not run and is_shape(leaf)) for _, leaf in leaves):
        expected = ARRAY if run else "a shape such as (1, 3, 256, 256), or a tensor,"
        held = ", ".join(f"{path}={leaf!r}" for path, leaf in leaves)
        raise InputError(f"{held or 'nothing'} given: expected {expected} among the arguments of forward")


def _refuse(path: str, value: Any) -> None:
    kind = type(value)
    raise InputError(
        f"{path} is a {kind.__module__}.{kind.__qualname__}, which is no tensor, no shape, no number and no container "
        "that torch knows; make it one with torch.export.register_dataclass or "
        "torch.utils._pytree.register_pytree_node, or give what it holds"
    )
