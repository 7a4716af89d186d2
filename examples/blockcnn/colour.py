"""The colours of JPEG: RGB bytes to planes of Y, Cb and Cr, and back (ITU-T T.871).

Planes are in levels around 0: -128 to 127. Every step is one rounded operation of its own, in a fixed order, so equal
bytes give equal planes on every machine, however a picture is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from examples.lic.pictures import Picture

RED, GREEN, BLUE = 0.299, 0.587, 0.114
CB, CR = 2 * (1 - BLUE), 2 * (1 - RED)
"""What a level of blue or red differs from Y, for a level of Cb or Cr."""


def planes(picture: Picture, dtype: torch.dtype = torch.float32) -> Tensor:
    """(height, width, 3) or (height, width) bytes to (1, 3, height, width); grey has Cb and Cr of 0.

    >>> planes(np.full((1, 1, 3), 255, np.uint8)).flatten().tolist()
    [127.0, 0.0, 0.0]
    """
    x = torch.from_numpy(np.ascontiguousarray(picture)).to(torch.float64)
    if x.ndim == 2:
        y, zero = x - 128, torch.zeros_like(x)
        return torch.stack([y, zero, zero])[None].to(dtype)
    red, green, blue = x.unbind(2)
    y = RED * red + GREEN * green + BLUE * blue
    return torch.stack([y - 128, (blue - y) / CB, (red - y) / CR])[None].to(dtype)


def colours(x: Tensor) -> Tensor:
    """Planes, (batch, 3, height, width), to red, green and blue of the same shape, neither rounded nor clipped."""
    y, cb, cr = x.unbind(1)
    red, blue = y + CR * cr, y + CB * cb
    return torch.stack([red, (y - RED * red - BLUE * blue) / GREEN, blue], 1) + 128


def picture(x: Tensor, *, grey: bool = False) -> Picture:
    """Planes, (1, 3, height, width), to bytes: (height, width, 3), or (height, width) of Y alone where it is grey."""
    made = x[0, 0].double() + 128 if grey else colours(x.double())[0].permute(1, 2, 0)
    bytes_: Any = made.round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
    return bytes_
