"""Settings under which kernels keep to what they read. They are restored afterwards."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_kernels(*, cudnn: bool = False, onednn: bool = True) -> Iterator[None]:
    """No kernels that mix neighbours on the way (NNPACK, Winograd, Fourier), no reduced precision (TF32).

    cudnn: let it run, deterministic, for values in the user's own type; without it CUDA runs torch's own kernels.
    onednn: let it run; in half precision it mixes neighbours.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        if not onednn:
            with warnings.catch_warnings():  # it warns of Intel's GPUs where there are none
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
