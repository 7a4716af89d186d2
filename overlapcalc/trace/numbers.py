"""Numbers that forward reads out of constants while it is traced: `.item()`, `tolist`, `permute(*order)`.

A traced tensor has no values, and a net that takes a count, a size or an order of dimensions out of a buffer, or out of
a tensor that it makes of nothing but numbers, would be refused like one that looks at its data.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

from ..errors import ChangingStateError
from .arguments import own_class
from .stand_in import shared_tensors

MOST = 1 << 16
"""Constants of more samples hold no counts and orders."""

NORM = re.compile("(batch|instance)_norm")
READERS = frozenset((
    "item", "tolist", "numpy", "__array__", "__int__", "__float__", "__bool__", "__index__", "__complex__",
    "__format__", "__contains__", "equal", "allclose", "is_nonzero",
))  # fmt: skip
MAKERS = frozenset((
    "tensor", "as_tensor", "scalar_tensor", "arange", "zeros", "ones", "full", "linspace", "eye", "hann_window",
    "hamming_window", "blackman_window", "bartlett_window", "kaiser_window",
))  # fmt: skip
WRITERS = frozenset((
    "__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "add_", "sub_", "mul_",
    "div_", "copy_", "fill_", "zero_", "clamp_", "neg_", "floor_", "round_", "pow_", "index_fill_",
    "masked_fill_",
))  # fmt: skip
TAKE_NUMBERS = frozenset((
    "permute", "view", "reshape", "expand", "repeat", "tile", "roll", "flip", "rot90", "transpose", "swapaxes",
    "swapdims", "movedim", "moveaxis", "narrow", "split", "chunk", "tensor_split", "flatten", "unflatten",
    "squeeze", "unsqueeze", "select", "unfold", "diagonal", "new_zeros", "new_ones", "new_full", "new_empty",
    "zeros", "ones", "full", "arange", "pad", "interpolate", "pixel_shuffle", "pixel_unshuffle", "__getitem__",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
))  # fmt: skip
"""Functions that take a tensor of one number for a number; what is passed in its place means the same."""


@dataclass(frozen=True, eq=False)
class _Known:
    tensor: Tensor
    value: Tensor
    names: frozenset[str]
    version: int

    @property
    def valid(self) -> bool:
        """Whether nothing has been written to the tensor, or to what shares its memory."""
        return self.version == self.tensor._version


class KnownNumbers(TorchFunctionMode):
    """Follows constants by value along the trace of a stand-in.

    parameters: names of those, and of buffers that stand for them, which are no constants.
    """

    def __init__(self, model: nn.Module, parameters: Collection[str]) -> None:
        super().__init__()
        self._model, self._parameters = model, parameters
        self._values = {name: t.detach().clone() for name, t in self._named() if t.numel() <= MOST}
        self._groups = shared_tensors(model)
        self._known: dict[int, _Known] = {}
        self._read: set[str] = set()
        self._written: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, a forward pass of the model is followed. It raises ChangingStateError at its end where it changed
        what it read a number from: it would be another net at the next call."""
        plain: Callable[..., Any] = self._model.forward
        own = vars(self._model).get("forward")

        @functools.wraps(plain)
        def forward(*args: Any, **kwargs: Any) -> Any:
            self._known.clear()
            given = self._versions()
            with _disable_current_modes():
                values = {name: value.clone() for name, value in self._values.items()}
            for name, t in () if _runs_before_forward(self._model) else self._named():
                if name in values:
                    self._keep(t, values[name], frozenset({name}))
            with self:
                result = plain(*args, **kwargs)
            self._refuse_changed(given, values)
            return result

        self._model.forward = forward
        try:
            yield
        finally:
            del self._model.forward
            if own is not None:
                self._model.forward = own

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        name = getattr(func, "__name__", "")
        known = self._operands((args, given))
        if known and name in READERS:
            self._read.update(*(one.names for one in known))
            return _evaluated(func, args, given, known)[0]
        if name in TAKE_NUMBERS:
            own = args[:1] if name not in MAKERS else ()  # what the function is called on
            masks = (torch.bool, torch.uint8) if name == "__getitem__" else (torch.bool,)
            args, given = (*own, *self._as_numbers(args[len(own) :], masks)), self._as_numbers(given, masks)
            known = self._operands((args, given))
        if known is None and NORM.search(name) and any(value is True for value in (*args, *given.values())):
            for one in filter(None, map(self._get, _tensors((args, given)))):
                self._written |= one.names
            self._known.clear()  # it may write its statistics to one of them, of which nothing else tells
        if known is None or not (known or name in MAKERS):
            return func(*args, **given)
        before = [one for one in self._known.values() if one.valid] if name in WRITERS else known
        result = func(*args, **given)
        traced = _tensors(result)
        if name in WRITERS or (traced and all(t.numel() <= MOST for t in traced)):
            self._learn(traced, _evaluated(func, args, given, known), known, before)
        return result

    def value(self, tensor: Tensor) -> Tensor | None:
        """The value of a tensor that depends on constants alone; None for any other."""
        found = self._get(tensor)
        return None if found is None else found.value

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """Buffers, and tensors that are mere attributes of modules."""
        for prefix, module in self._model.named_modules():
            for key, value in (*module._buffers.items(), *vars(module).items()):
                name = f"{prefix}.{key}" if prefix else key
                if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and name not in self._parameters:
                    yield name, value

    def _keep(self, tensor: Tensor, value: Tensor, names: frozenset[str]) -> None:
        self._known[id(tensor)] = _Known(tensor, value, names, tensor._version)

    def _get(self, tensor: Tensor) -> _Known | None:
        found = self._known.get(id(tensor))
        return found if found is not None and found.valid else None

    def _operands(self, given: Any) -> list[_Known] | None:
        """What is known of every tensor among arguments; None if not all is."""
        found = [self._get(t) for t in _tensors(given)]
        return None if any(one is None for one in found) else [one for one in found if one is not None]

    def _as_numbers(self, given: Any, masks: Collection[torch.dtype]) -> Any:
        """Arguments with plain numbers for tensors of one. masks: types that are none."""

        def number(t: Tensor) -> Any:
            known = self._get(t) if t.dim() == 0 else None
            if known is None or known.value.dtype in masks or known.value.is_complex():
                return t
            self._read |= known.names
            return known.value.item()

        return _mapped(number, given)

    def _learn(
        self, traced: list[Tensor], found: tuple[Any, _Watch], known: list[_Known], before: list[_Known]
    ) -> None:
        """The values of the results of a call. known: its operands. before: what was known, if it may write."""
        values, watch = _tensors(found[0]), found[1]
        if watch.random or [(t.shape, t.dtype) for t in traced] != [(t.shape, t.dtype) for t in values]:
            return
        names: frozenset[str] = frozenset().union(*(one.names for one in known))
        for one in before if watch.writes else ():  # the values share memory as the traced tensors do
            self._keep(one.tensor, one.value, one.names if one.valid else one.names | names)
        for t, value in zip(traced, values, strict=True):
            self._keep(t, value, names)

    def _versions(self) -> dict[str, tuple[Tensor, int]]:
        named = (*self._model.named_parameters(remove_duplicate=False), *self._named())
        return {name: (t, t._version) for name, t in named}

    def _refuse_changed(self, given: Mapping[str, tuple[Tensor, int]], values: Mapping[str, Tensor]) -> None:
        """given: the tensors before forward, by any name. values: what it may have written to through numpy."""
        now = self._versions()
        for name in sorted(self._read):
            alike = {name}.union(*(group for group in self._groups if name in group)) & given.keys()
            written = any(n not in now or now[n][0] is not given[n][0] or now[n][1] != given[n][1] for n in alike)
            if written or alike & self._written or not _equal(values[name], self._values[name]):
                raise ChangingStateError(
                    f"forward reads a number out of {name} and changes it, so it is another net at every call; analyse "
                    "the submodules that compute on images"
                )


def _runs_before_forward(model: nn.Module) -> bool:
    """Whether there is code that may change constants before forward begins."""
    hooks = (model._forward_pre_hooks, nn.modules.module._global_forward_pre_hooks)
    return own_class(model).__call__ is not nn.Module.__call__ or any(hooks)


def _equal(value: Tensor, other: Tensor) -> bool:
    with _disable_current_modes():
        return bool(((value == other) | ((value != value) & (other != other))).all())


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """writes: something was written to. random: what was run gives something else each time."""

    writes = random = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.writes |= func._schema.is_mutable
        self.random |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


def _evaluated(func: Any, args: Any, kwargs: Mapping[str, Any], known: Collection[_Known]) -> tuple[Any, _Watch]:
    """A call on the values of what is known."""
    values = {id(one.tensor): one.value for one in known}
    args, named = _mapped(lambda t: values[id(t)], (args, dict(kwargs)))
    with _disable_current_modes(), torch._C.DisableTorchFunction(), _Watch() as watch:  # type: ignore[no-untyped-call]
        return func(*args, **named), watch


def _mapped(turn: Callable[[Tensor], Any], given: Any) -> Any:
    """Arguments with something else for each tensor, those in slices too. No function here refers to itself: what it
    found would be held until the garbage is collected."""

    def one(leaf: Any) -> Any:
        return turn(leaf) if isinstance(leaf, Tensor) else leaf

    def turned(leaf: Any) -> Any:
        return slice(one(leaf.start), one(leaf.stop), one(leaf.step)) if isinstance(leaf, slice) else one(leaf)

    return tree_map(turned, given)


def _tensors(given: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(found.append, given)
    return found
