"""The dispatch mode under which an unmodified net computes modulo a prime."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode_stack

from ...errors import InputError, NoTwin
from .call import Call, bound, tensors, written
from .modular import are_residues, of_tensor
from .pointwise import UNTAGGED, pointwise
from .registry import twin_of_op
from .storages import Storages, whole_memory

EMPTY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"})

FACTORIES = EMPTY | frozenset(
    {
        "zeros", "ones", "full", "arange", "linspace", "logspace", "eye", "scalar_tensor", "zeros_like", "ones_like",
        "full_like", "new_zeros", "new_ones", "new_full",
    }
)  # fmt: skip
"""They may read a tensor's shape and type, never its values."""

MADE = FACTORIES | {"lift_fresh", "lift_fresh_copy", "_to_copy"}
"""Operators that allocate memory in a type that forward chooses: here all floating types are one."""

VIEWS_IN_PLACE = frozenset({"squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims", "detach", "as_strided"})

OTHER_VALUES = frozenset({"view_as_real", "view_as_complex", "real", "imag", "_conj", "_neg_view"})
"""Views that read the memory as other numbers."""


class Modular(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, whatever derives from a net's input is computed in residues modulo `PRIME`, exactly.

    Constants - parameters, buffers, and what forward computes from these alone - are computed as in torch, and become
    residues by a fixed map when they first meet data. So a mask that forward computes remains that mask.

    Raises NoTwin at the first operator on data that has no twin.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages = Storages()
        self._layers: list[str] = []
        self._settings: list[ExitStack] = []

    def __enter__(self) -> Modular:
        """Within, cuDNN and fused layers are off, and attention is computed by its parts: which fused kernel takes it
        depends on strides. All other float64 kernels compute in full float64 (oneDNN has none)."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            fast = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
            stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
            super().__enter__()  # type: ignore[no-untyped-call]
            self._settings.append(stack.pop_all())
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)  # type: ignore[no-untyped-call]
        finally:
            self._settings.pop().close()

    # ---- what is data -------------------------------------------------------------------------------------

    def entered(self, layer: str, operands: Iterable[Tensor]) -> None:
        """A module of a twin is called. The inputs of the outermost one are data; everything else it has is constant.

        Raises InputError for floating data that are not residues.
        """
        self._layers.append(layer)
        if len(self._layers) > 1:
            return
        operands = list(operands)
        if not operands:
            raise InputError("the twin was given no tensors: what it makes from nothing is constant")
        with _disable_current_modes():
            for t in operands:
                if t.is_floating_point() and (t.dtype != torch.float64 or not are_residues(t)):
                    raise InputError(
                        f"the twin was given {t.dtype} of shape {tuple(t.shape)} that are not residues: "
                        "make its input by residues()"
                    )
                self._storages.mark(t, data=True)

    def left(self) -> None:
        self._layers.pop()

    def _is_data(self, t: Tensor) -> bool:
        """Unknown memory is constant within a twin; outside one, residues are taken for data."""
        if t.layout != torch.strided:
            return True
        known = self._storages.holds_data(t)
        if known is None:
            known = not self._layers and t.numel() > 0 and t.dtype == torch.float64 and are_residues(t)
            self._storages.mark(t, data=known)
        return known

    # ---- operators ----------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not isinstance(func, OpOverload):
            raise NoTwin(f"{func}: an operator that runs parts of the net has no exact twin; use the other proofs")
        layer = self._layers[-1] if self._layers else ""
        call = bound(func, args, kwargs or {}, self._is_data, layer)
        if torch.Tag.nondeterministic_seeded in func.tags and twin_of_op(call.name) is None:
            raise call.refused("draws at random")
        if call.name in FACTORIES or not any(self._is_data(t) for t in tensors(list(call.values.values()))):
            return self._on_constants(call, args, kwargs or {})
        over = written(func)
        if call.name in OTHER_VALUES or (call.name == "view" and func._overloadname == "dtype"):
            raise call.refused("reads the memory as other numbers")
        if (over and call.name in VIEWS_IN_PLACE) or (not over and _is_view(func)):
            return func(*args, **(kwargs or {}))
        compute = twin_of_op(call.name)
        if compute is None and (torch.Tag.pointwise in func.tags or call.name in UNTAGGED):
            compute = pointwise
        if compute is None:
            return self._in_parts(call, args, kwargs or {})
        if over:
            self._writable(call, over)
            return self._in_place(call, compute(call.functional()), over)
        result = compute(call)
        for t in tensors(result):
            self._storages.mark(t, data=True)
        return result

    def _in_parts(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A composite operator is computed by its parts."""
        if not call.func._schema.name.startswith("aten::"):
            raise call.refused("has no twin in integers modulo a prime")
        with self:
            result = call.func.decompose(*args, **kwargs)
        if result is NotImplemented:
            raise call.refused("has no twin in integers modulo a prime")
        return result

    def _on_constants(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = call.func(*args, **kwargs)
        if call.name in MADE and result.is_floating_point():
            result = result.to(torch.float64)
        if call.name in EMPTY:
            # memory that nobody writes must not look like a value
            result.fill_(math.nan if result.is_floating_point() else 0)
        for t in tensors(result):
            if t.layout == torch.strided and self._storages.holds_data(t) is None:
                self._storages.mark(t, data=False)
        return result

    def _writable(self, call: Call, over: list[str]) -> None:
        """Integer data needs memory of 64 bits, and boolean memory takes only booleans."""
        sources = {t.dtype for t in call.operands() if self._is_data(t)}
        for target in (t for name in over for t in tensors(call[name])):
            narrow = not target.is_floating_point() and target.dtype not in (torch.int64, torch.bool)
            if narrow or (target.dtype == torch.bool and not sources <= {torch.bool} and "out" not in over):
                raise call.refused(f"writes residues to memory of type {target.dtype}")

    def _in_place(self, call: Call, result: Any, over: list[str]) -> Any:
        """Write the twin's result where the operator would write its own."""
        targets = [t for name in over for t in tensors(call[name])]
        results = list(tensors(result))[: len(targets)]
        if len(results) != len(targets):
            raise call.refused("writes to a tensor in a way that has no twin")
        for target, value in zip(targets, results, strict=True):
            self._become_data(call, target)
            if target.shape != value.shape:
                raise call.refused(f"writes {tuple(value.shape)} over {tuple(target.shape)}")
            if not _holds(target.dtype, value.dtype):
                raise call.refused(f"writes {value.dtype} residues to memory of type {target.dtype}")
            target.copy_(value)
        return targets[0] if len(targets) == 1 and len(call.func._schema.returns) == 1 else tuple(targets)

    def _become_data(self, call: Call, target: Tensor) -> None:
        """Constants in the same memory become residues before data is written among them."""
        if self._is_data(target):
            return
        if target.dtype in (torch.float32, torch.float64):
            memory = whole_memory(target)
            memory.copy_(of_tensor(memory))
        self._storages.mark(target, data=True)


def _holds(memory: torch.dtype, value: torch.dtype) -> bool:
    """Whether residues of a type survive in memory of another."""
    if value.is_floating_point:
        return memory in (torch.float32, torch.float64)
    return memory == value or (value == torch.bool and memory == torch.bool)


def _is_view(func: OpOverload) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def current() -> Modular | None:
    """The innermost Modular that is active."""
    for mode in reversed(_get_current_dispatch_mode_stack()):
        if isinstance(mode, Modular):
            return mode
    return None
