"""Settings under which kernels stick to what the operators read. They are restored afterwards."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_kernels(*, cudnn: bool = False, onednn: bool = True) -> Iterator[None]:
    """No kernels that mix neighbours internally (NNPACK, Winograd, Fourier), no reduced precision (TF32).

    cudnn: allow it, deterministic, for values in the user's own type; without it CUDA runs torch's own kernels.
    onednn: allow it; in half precision it mixes neighbours.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        if not onednn:
            with warnings.catch_warnings():  # it warns about Intel's GPUs where there are none
                warnings.simplefilter("ignore")
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        if torch.cuda.is_available():
            precision = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("highest")
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=cudnn, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield
