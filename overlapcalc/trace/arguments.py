"""How forward is called: the containers, numbers and names around the tensors that a net is followed from.

A net that takes more than tensors one after the other is followed under another class, which takes exactly these and
puts them where they belong: see `called_with`. What follows then knows nothing of containers.
"""

from __future__ import annotations

import copy
import enum
import functools
import inspect
import keyword
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils._pytree import TreeSpec, tree_unflatten

KEPT = 64
"""A net is kept under so many ways to call it."""


class Slot(enum.Enum):
    """Stands where a tensor belongs."""

    TENSOR = "a tensor"


SLOT = Slot.TENSOR


@dataclass(frozen=True, eq=False)
class Arguments:
    """The arguments of forward, positional ones and those by name, with a Slot for every tensor.

    structure: of both, as a pytree of torch. leaves: what they hold. paths: the name of each leaf: `batch.image`.
    """

    structure: TreeSpec
    leaves: tuple[Any, ...]
    paths: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in order."""
        return tuple(path for path, leaf in zip(self.paths, self.leaves, strict=True) if leaf is SLOT)

    @property
    def fixed(self) -> dict[str, Any]:
        """Everything else, by name: it is part of the net."""
        return {path: leaf for path, leaf in zip(self.paths, self.leaves, strict=True) if leaf is not SLOT}

    def around(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """What forward is called with for these tensors."""
        waiting = iter(tensors)
        filled = [next(waiting) if leaf is SLOT else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(filled, self.structure)
        return args, kwargs

    def same(self, other: Arguments) -> bool:
        return self.structure == other.structure and self.paths == other.paths and not self.differing(other)

    def differing(self, other: Arguments) -> list[str]:
        """The names of what both have, and only one as a tensor or both with another value."""
        there = dict(zip(other.paths, other.leaves, strict=True))
        return [p for p, leaf in zip(self.paths, self.leaves, strict=True) if p in there and not alike(leaf, there[p])]


def alike(a: Any, b: Any) -> bool:
    """Whether two values make the same net: of one type, and equal, or both NaN."""
    return type(a) is type(b) and (a is b or bool(a == b) or bool(a != a and b != b))


def arguments_of(model: object) -> Arguments | None:
    """How a net is called that `called_with` returned; None for any other, which takes tensors alone."""
    return getattr(type(model), "_overlapcalc_arguments", None)


def own_class(model: object) -> type:
    """The class that a net has in its author's code."""
    found: type = getattr(type(model), "_overlapcalc_class", type(model))
    return found


def called_with(model: nn.Module, arguments: Arguments) -> nn.Module:
    """The model as a net that takes tensors alone: the same object in all that it holds, under a class of its own.

    It shares the model's attributes, so that weights, hooks and the mode are those of the model at any time, and its
    layers have the same names. It lives as long as the model does, and is the same for the same arguments.
    """
    known = _known.get(id(model))
    if known is None or known[0]() is not model:
        known = weakref.ref(model, functools.partial(_forget, _known, id(model))), []
        _known[id(model)] = known
    nets = known[1]
    for own, net in nets:
        if own.same(arguments):
            return net
    kind = _class_of(type(model), arguments, known[0])
    made: nn.Module = _like(kind, model)
    nets.append((arguments, made))
    del nets[:-KEPT]
    return made


Known = dict[int, tuple[weakref.ref[nn.Module], list[tuple[Arguments, nn.Module]]]]
_known: Known = {}
"""By the identity of a model: what it is known as."""


def _forget(known: Known, place: int, gone: weakref.ref[nn.Module]) -> None:
    if place in known and known[place][0] is gone:
        del known[place]


def _class_of(kind: Any, arguments: Arguments, original: Callable[[], nn.Module | None]) -> Any:
    """A class like `kind` whose instances are called with tensors alone. Hooks of the model see what they always do."""
    signature = _signature(arguments.names)

    def call(self: Any, *tensors: Any) -> Any:
        args, kwargs = arguments.around(tensors)
        return kind.__call__(self, *args, **kwargs)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return kind.forward(self, *args, **kwargs)

    def deepcopy(self: Any, memo: Any) -> Any:
        """As the class of the model wants to be copied."""
        own = original()
        if own is None or vars(own) is not vars(self):
            own = _like(kind, self)
        return _like(made, copy.deepcopy(own, memo))

    forward.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *signature.parameters.values()]
    )
    made: Any = type(kind)(
        kind.__name__,
        (kind,),
        {
            "__call__": call,
            "__deepcopy__": deepcopy,
            "__doc__": kind.__doc__,
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "_overlapcalc_arguments": arguments,
            "_overlapcalc_class": kind,
            "forward": forward,
        },
    )
    return made


def _like(kind: Any, net: nn.Module) -> Any:
    """The same net under another class: its attributes are those of both."""
    made = kind.__new__(kind)
    object.__setattr__(made, "__dict__", vars(net))
    return made


def signed(net: nn.Module) -> None:
    """Makes a forward that somebody has set on a copy of a net say that it takes tensors."""
    arguments, function = arguments_of(net), vars(net).get("forward")
    if arguments is None or function is None:
        return

    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    forward.__signature__ = _signature(arguments.names)  # type: ignore[attr-defined]
    vars(net)["forward"] = forward


def _signature(names: Sequence[str]) -> inspect.Signature:
    """What torch names the inputs of a program after."""
    found: list[inspect.Parameter] = []
    taken = {"self"}
    for name in names:
        word = re.sub(r"\W+", "_", name).strip("_") or "x"
        word = f"x_{word}" if word[0].isdigit() or keyword.iskeyword(word) else word
        while word in taken:
            word += "_"
        taken.add(word)
        found.append(inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD))
    return inspect.Signature(found)
