"""Convolutions with a mask: taps that are closed whatever the weights say."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedConv2d(nn.Conv2d):
    """A convolution with zero padding, of the size that it reads, through the taps that a mask leaves open.

    The mask is in the state dict, as CompressAI's is; another mask is refused with ValueError when it is loaded.
    Weights are multiplied in forward, never changed, so torch.export traces it.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, taps: Tensor, called: str) -> None:
        """taps: True where one is open, square and of odd size. called: what an error calls such a mask."""
        super().__init__(inputs, outputs, len(taps), 1, len(taps) // 2)
        self.called = called
        self.register_buffer("mask", taps.expand_as(self.weight).to(self.weight.dtype).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        mask = state_dict.get(f"{prefix}mask")
        if mask is not None and mask.shape == self.mask.shape and not torch.equal(mask.to(self.mask), self.mask):
            raise ValueError(
                f"{prefix}mask: the checkpoint masks other taps than {self.called} does, so its weights are for "
                f"another order of coding; load one that was trained with {self.called}"
            )
        super()._load_from_state_dict(state_dict, prefix, *others, **named)
