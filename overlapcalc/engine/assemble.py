"""Blocks -> the whole outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from ..planning.plan import Plan
from .block import Block, within
from .store import write

Room = Callable[[Tensor, tuple[int, ...]], Tensor]
"""The first block of an output, and the output's shape -> the tensor to write blocks to: the block itself if it is all
of the output."""


class Writer(Protocol):
    """Writes parts into one output."""

    def write(self, place: Sequence[slice], result: Tensor) -> None: ...


def assemble(
    blocks: Iterable[Block],
    plan: Plan,
    *,
    writers: Mapping[str, Writer] | None = None,
    room: Room = Tensor.new_empty,
    after: Callable[[], object] | None = None,
) -> dict[str, Tensor]:
    """Write every block to its place. Returns the outputs that were created here, by name.

    writers: for the outputs that exist already. room: creates the others, when their first block comes. after: called
    after each block. No block is held while the next one is computed.
    """
    outputs: dict[str, Tensor] = {}
    for block in blocks:
        _put(block, plan, writers or {}, outputs, room)
        del block
        if after is not None:
            after()
    return outputs


def _put(block: Block, plan: Plan, writers: Mapping[str, Writer], outputs: dict[str, Tensor], room: Room) -> None:
    for name, result in block.results.items():
        place = within(plan.labels[name], block.regions[name])
        if name in writers:
            writers[name].write(place, result)
            continue
        if name not in outputs:
            outputs[name] = room(result, plan.results[name])
        if outputs[name] is not result:
            write(outputs[name], place, result)
