"""How much memory a net takes at its fullest moment, without running it: a pass over shapes alone, as in export."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ..errors import TraceError
from ..ops.graph import Shapes
from .kernel_memory import bytes_in, code, panel, while_running
from .on_shapes import Call, OnShapes
from .places import reason
from .quiet import quiet
from .run_memory import RunMemory


class MemoryMeter(TorchDispatchMode):
    """Adds up the results of operators for as long as somebody holds them. peak: the most at any time, in bytes; live:
    the most since it was last set to 0, without what kernels keep, code and panel.

    known: tensors that do not count. kernels: whether to count what kernels need for themselves. trail: the calls, with
    every number in their arguments and the tensors they take, but without tensor sizes. strange: a call took a tensor
    of unknown values, so the trail does not say everything.
    """

    def __init__(self, known: Sequence[Tensor], *, kernels: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels, self._aside = kernels, False
        self._known = {t.untyped_storage()._cdata for t in known}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._most = 0  # bytes of self._live, of which some may be held by nobody any more
        self.peak = self.live = 0
        self.code: dict[Any, int] = {}
        self.panel = 0
        self.trail: list[Any] = []
        self.strange = False
        self._places: dict[int, tuple[weakref.ref[Tensor], Any]] = {
            id(t): (weakref.ref(t), i) for i, t in enumerate(known)
        }

    @contextmanager
    def not_counting(self) -> Iterator[None]:
        """What is made here is not counted; it must live as long as the meter is used."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._aside:
            made_aside = func(*args, **(kwargs or {}))
            self._known |= {t.untyped_storage()._cdata for t in tree_iter(made_aside) if isinstance(t, Tensor)}
            return made_aside
        result = func(*args, **(kwargs or {}))
        workspace = while_running(func, args, result) if self._kernels else 0
        made = code(func, args) if self._kernels else None
        if made is not None:
            self.code[made[0]] = made[1]
        if self._kernels:
            self.panel = max(self.panel, panel(func, args))
        self._count(workspace)
        self.trail.append((str(func), *map(self._told, tree_iter((args, kwargs or {})))))
        for i, t in enumerate(tree_iter(result)):
            if isinstance(t, Tensor):
                self._places[id(t)] = weakref.ref(t), (len(self.trail), i)
                storage = t.untyped_storage()
                ref = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                if ref.cdata not in self._known:
                    self._most += storage.nbytes() - self._live.get(ref.cdata, (ref, 0))[1]
                    self._live[ref.cdata] = ref, storage.nbytes()
        self._count(0)
        return result

    @property
    def kept(self) -> int:
        """What kernels keep."""
        return sum(self.code.values()) + self.panel

    def _count(self, workspace: int) -> None:
        """Raises the peaks to what is held now. Whether each is still held is asked only where it matters: a net of
        thousands of calls holds hundreds of tensors."""
        kept = self.kept
        if self._most + workspace <= min(self.live, self.peak - kept):
            return
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}  # type: ignore[no-untyped-call]
        self._most = sum(size for _, size in self._live.values())
        self.live = max(self.live, self._most + workspace)
        self.peak = max(self.peak, self._most + workspace + kept)

    def _told(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            known, place = self._places.get(id(value), (None, None))
            self.strange = self.strange or known is None or known() is not value
            return "tensor", place
        return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


def run_memory(model: nn.Module, shapes: Shapes, dtypes: Sequence[torch.dtype], dtype: torch.dtype | None) -> RunMemory:
    """The memory that a run of a stand-in on inputs of these shapes holds.

    dtype: the type assumed for floating weights and inputs. Raises TraceError.
    """
    try:
        return OnShapes(model).of(partial(_metered, model, shapes, dtypes, dtype))
    except Exception as error:  # torch raises many unrelated types here
        raise TraceError(reason(error, f"a pass over shapes fails with {type(error).__name__}")) from error


def _metered(
    model: nn.Module, shapes: Shapes, dtypes: Sequence[torch.dtype], dtype: torch.dtype | None, call: Call
) -> RunMemory:
    mode: Any = FakeTensorMode(allow_non_fake_inputs=True)

    def cast(t: torch.dtype) -> torch.dtype:
        return dtype if dtype is not None and t.is_floating_point else t

    with quiet(), torch.no_grad(), mode:
        inputs = [torch.empty(s, dtype=cast(d)) for s, d in zip(shapes, dtypes, strict=True)]
        own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        state = {name: torch.empty(t.shape, dtype=cast(t.dtype)) for name, t in own.items()}
        held = MemoryMeter([*inputs, *state.values()], kernels=True)
        with held:
            result = call(state, inputs)
        held.trail.append([held._told(leaf) for leaf in tree_iter(result)])
        outputs = {t.untyped_storage()._cdata: bytes_in(t) for t in tree_iter(result) if isinstance(t, Tensor)}
        del result
    weights, given = sum(map(bytes_in, state.values())), sum(map(bytes_in, inputs))
    return RunMemory(
        held.peak,
        weights,
        given,
        sum(outputs.values()),
        sum(held.code.values()),
        None if held.strange else repr(held.trail),
    )
