"""How the nets of a codec are run: whole, or by blocks of the picture with any schedule of overlapcalc."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

import overlapcalc as oc

SCHEDULES = ("crop", "trim", "stream")


class Runs(Protocol):
    """A way to run a net."""

    def __call__(self, net: nn.Module, *inputs: Tensor, scale: int = 1) -> Tensor:
        """What `net(*inputs)` gives.

        scale: samples of the picture per sample of the finer of the net's inputs and outputs.
        """
        ...


@dataclass(frozen=True)
class Running:
    """block: in samples of the picture; whole nets where it is None. schedule: crop, trim or stream."""

    block: int | None = None
    schedule: str = "crop"
    _tiled: dict[int, oc.Tiled] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, net: nn.Module, *inputs: Tensor, scale: int = 1) -> Tensor:
        with torch.no_grad():
            if self.block is None:
                whole: Tensor = net(*inputs)
                return whole
            if id(net) not in self._tiled:  # it holds the net, so no other one gets its id
                self._tiled[id(net)] = oc.tiled(net, block=max(1, self.block // scale), schedule=self.schedule)
            made: Tensor = self._tiled[id(net)](*inputs)
            return made
