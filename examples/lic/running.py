"""How the nets of a codec are run: whole, or by blocks of the picture with any schedule of overlapcalc."""

from __future__ import annotations

import copy
from collections.abc import Callable
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
    """block: in samples of the picture; whole nets where it is None. schedule: crop, trim or stream. device: where
    copies of the nets run, and not the nets where they are; what they read and give stays where it is."""

    block: int | None = None
    schedule: str = "crop"
    device: str | None = None
    _placed: dict[int, tuple[nn.Module, Callable[..., Tensor]]] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, net: nn.Module, *inputs: Tensor, scale: int = 1) -> Tensor:
        if id(net) not in self._placed:  # it holds the net, so no other one gets its id
            self._placed[id(net)] = net, self._runner(net, scale)
        with torch.no_grad():
            made = self._placed[id(net)][1](*(x if self.device is None else x.to(self.device) for x in inputs))
            return made.to(inputs[0].device)

    def _runner(self, net: nn.Module, scale: int) -> Callable[..., Tensor]:
        here = net if self.device is None else copy.deepcopy(net).to(self.device)
        if self.block is None:
            return here
        return oc.tiled(here, block=max(1, self.block // scale), schedule=self.schedule)
