"""`verify` of a loop: all proofs, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...engine.loop.loop import Loop
from ..kernel_settings import exact_kernels
from .fixed_point import fixed_point
from .order import order_proof
from .result import LoopVerification
from .subject import LoopSubject
from .values import loop_values


def verify_loop(loop: Loop, inputs: Sequence[Tensor] | None, order: str, device: torch.device) -> LoopVerification:
    """See `verify`. inputs: those that the loop is given; noise if absent."""
    subject = LoopSubject.of(loop, inputs, device)
    program = subject.loop.program(order)
    with torch.no_grad(), exact_kernels():
        proofs = order_proof(subject, program), fixed_point(subject, program), loop_values(subject, program)
    return LoopVerification(proofs, order, loop.cells, program.order.steps, str(device), torch.__version__)
