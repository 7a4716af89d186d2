"""The checkerboard context of He et al. 2021: anchors are coded first, then the others, which see the anchors.

Anchors are the positions whose row and column add up to an even number, counted from the whole image's corner: a
block starts on an even row and column, or its board is turned over.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def anchors(like: Tensor) -> Tensor:
    """True where a position of `like` is an anchor, of shape (height, width)."""
    rows, columns = (torch.arange(n, device=like.device) for n in like.shape[-2:])
    return (rows[:, None] + columns) % 2 == 0


class CheckerboardConv2d(nn.Conv2d):
    """A convolution that reads, at a position of one colour, the other colour only.

    Its mask is in the state dict, as CompressAI's is; another mask is refused with ValueError when it is loaded.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 5) -> None:
        super().__init__(inputs, outputs, kernel, 1, kernel // 2)
        taps = torch.arange(kernel)
        other = (taps[:, None] + taps) % 2 == 1
        self.register_buffer("mask", other.expand_as(self.weight).to(self.weight.dtype).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        mask = state_dict.get(f"{prefix}mask")
        if mask is not None and mask.shape == self.mask.shape and not torch.equal(mask.to(self.mask), self.mask):
            raise ValueError(
                f"{prefix}mask: the checkpoint masks other taps than a checkerboard does, so its weights are for "
                "another order of coding; load one that was trained with the checkerboard context"
            )
        super()._load_from_state_dict(state_dict, prefix, *others, **named)
