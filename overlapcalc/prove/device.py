"""The device that an argument names."""

from __future__ import annotations

import torch

from ..errors import Argument, InputError


def device_of(device: torch.device | str) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(Argument("device", device), ": torch knows no such device; give cpu or cuda") from error
    if found.type not in ("cpu", "cuda"):
        raise InputError(Argument("device", str(device)), ": nets run on cpu and cuda")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(Argument("device", str(device)), ": torch finds no CUDA device here")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        here = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count()))
        raise InputError(Argument("device", str(device)), f": torch finds {here} here")
    return found
