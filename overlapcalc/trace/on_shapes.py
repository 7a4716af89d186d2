"""A forward pass on shapes alone, of nets that need a number on the way.

Fake tensors have no values. What depends on constants alone is followed by value beside them, as in an export; and an
inverse short-time Fourier transform, which asks whether its windows leave a hole, is asked that of its real window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from .fx import were_parameters
from .numbers import KnownNumbers

T = TypeVar("T")
State = Mapping[str, Tensor]
Call = Callable[[State, Sequence[Tensor]], Any]
"""The net, as a function of its weights and its inputs."""

PARAMETERS = (
    "input", "n_fft", "hop_length", "win_length", "window", "center", "normalized", "onesided", "length",
    "return_complex",
)  # fmt: skip
"""Of torch.istft, in order."""
ANSWERED = torch.ops.aten.equal.default


class OnShapes:
    """Runs of one net on shapes. The first that needs a value shows that all do."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._values = model, False

    def of(self, attempt: Callable[[Call], T]) -> T:
        """What `attempt` returns, which is given the net to call, and makes the modes of its run itself: the plain net,
        or, where a value is needed, with constants followed by value. Raises what it raises."""
        if not self._values:
            try:
                return attempt(self._plain)
            except Exception as error:
                if not asks_for_values(error):
                    raise
                self._values = True
        names = {name for name, _ in self._model.named_parameters()} | set(were_parameters(self._model))
        known = KnownNumbers(self._model, names)

        def followed(state: State, inputs: Sequence[Tensor]) -> Any:
            with _Inverses(known), known.watching():
                return self._plain(state, inputs)

        return attempt(followed)

    def _plain(self, state: State, inputs: Sequence[Tensor]) -> Any:
        return torch.func.functional_call(self._model, dict(state), tuple(inputs))


def asks_for_values(error: Exception | None) -> bool:
    """Whether torch says that the value of a tensor is needed, or that it has a symbol in its place."""
    said = str(error).lower()
    words = ("data-dependent", "numpy()", "symint", "symfloat", "symbool")
    return any(word in said for word in words) or "DataDependent" in type(error).__name__


class _Inverses(TorchFunctionMode):
    """Answers what an inverse short-time Fourier transform asks of its window; where the window is not known, as the
    export does: it leaves no hole."""

    def __init__(self, known: KnownNumbers) -> None:
        super().__init__()
        self._known = known

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") != "istft":
            return func(*args, **given)
        asked = dict(zip(PARAMETERS, args, strict=False)) | given
        window = asked.get("window")
        value = None if window is None else self._known.value(window)
        if window is None or value is not None:
            with _disable_current_modes(), torch._C.DisableTorchFunction():
                _refuse_holes(asked, value)
        with _NoHole():  # type: ignore[no-untyped-call]
            return func(*args, **given)


class _NoHole(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Whether the sum of windows is zero somewhere: no."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return False if func is ANSWERED else func(*args, **(kwargs or {}))


def _refuse_holes(asked: Mapping[str, Any], window: Tensor | None) -> None:
    """Runs the transform on zeros. Raises what it raises.

    The sum of windows repeats amid the signal, so as few frames as show its ends and a period between are enough.
    """
    spectrum, n_fft = asked["input"], int(asked["n_fft"])
    hop, frames = asked.get("hop_length") or n_fft // 4, spectrum.shape[-1]
    few = min(frames, 4 * (-(-n_fft // max(hop, 1)) + 1))
    length = asked.get("length")
    if length is not None and length - (frames - few) * hop < 2 * n_fft + hop:
        few = frames
    dtype = torch.complex128 if spectrum.dtype is torch.complex128 else torch.complex64
    shorter = None if length is None else length - (frames - few) * hop
    torch.istft(
        **{
            **asked,
            "input": torch.zeros(1, spectrum.shape[-2], few, dtype=dtype),
            "window": window,
            "length": shorter,
        }
    )
