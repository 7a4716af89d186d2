"""Recurrent layers while a net is traced: the shapes of their results, at once.

torch runs them step by step on shapes, at some 20 ms a step, to find out what is known from the first state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within a trace, one at a time (see quiet.py). Where this torch keeps its tables otherwise, nothing changes."""
    with contextlib.ExitStack() as stack:
        for name in LAYERS:
            overload = getattr(torch.ops.aten, name).input
            kernels = getattr(overload, "py_kernels", {})
            for key, kernel in list(kernels.items()):
                if callable(kernel) and hasattr(overload, "_uncache_dispatch"):
                    stack.callback(_set, overload, key, kernel)
                    _set(overload, key, _quick(kernel))
        yield


def _set(overload: Any, key: Any, kernel: Callable[..., Any]) -> None:
    overload.py_kernels[key] = kernel
    overload._uncache_dispatch(key)


def _quick(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but for tensors without samples only new ones of the right shapes. With dropout: as it was."""

    def run(x: Tensor, hx: Any, params: Any, *rest: Any) -> Any:
        tensors = [t for t in tree_leaves((x, hx, params)) if isinstance(t, Tensor)]
        _, _, dropout, train, bidirectional, batch_first = rest
        states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
        if (train and dropout) or not all(isinstance(t, FakeTensor) for t in tensors) or x.dim() != 3:
            return kernel(x, hx, params, *rest)
        time, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
        y = x.new_empty((time, batch, states[0].shape[2] * (1 + bidirectional)))
        return (y.transpose(0, 1) if batch_first else y, *(state.new_empty(state.shape) for state in states))

    return run
