"""A plan: an image cut into blocks, and what running it that way costs. From the graph, without a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from ..analysis.named import Named
from ..propagate.regions import Region
from .costs import Work
from .strips import BlockSpan, Strip

SCHEMA_VERSION = 1
LITTLE = 0.9

Cell = Mapping[str, BlockSpan]
"""A block: its slot of every axis that is cut."""


@dataclass(frozen=True)
class Memory:
    """Bytes. activations: what a run makes and holds at its fullest, outputs included, inputs not. weights: parameters
    and buffers."""

    activations: int
    weights: int

    @property
    def total(self) -> int:
        return self.activations + self.weights


Weigh = Callable[["Plan"], tuple[Memory, Memory] | None]
"""The memory that the blocks of a plan take, and the whole image at once; None where it is not known."""


@dataclass(frozen=True)
class Plan:
    """How an image is run by blocks, and what that costs. Made by `overlapcalc.plan`; frozen.

    inputs, outputs: names and shapes of the whole; labels: which axis each of their dimensions is, "" for none.
    strips: per axis that is cut, its blocks. work: all blocks together; largest: the most of one block (of a stream,
    one band); full: the whole image at once. fed: samples fed to the net over the samples of the inputs. leaves: what
    the net returns. stream_axis: along which a stream goes. stored: memory is that of a run whose inputs are read and
    outputs written by slices. weigh: finds out the memory when it is first asked for, which takes a run on shapes that
    those who only run the plan need not pay for.
    """

    schedule: str
    inputs: Named[tuple[int, ...]]
    outputs: Named[tuple[int, ...]]
    labels: Named[tuple[str, ...]]
    strips: Mapping[str, Strip]
    work: Work
    largest: Work
    full: Work
    dtype: str | None
    fed: Fraction
    leaves: tuple[str | None, ...]
    stream_axis: str | None = None
    stored: bool = False
    weigh: Weigh | None = field(default=None, repr=False, compare=False)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that are cut."""
        return tuple(self.strips)

    @property
    def count(self) -> int:
        """The number of blocks."""
        return prod(len(strip.slots) for strip in self.strips.values())

    @property
    def memory(self) -> Memory | None:
        """What the blocks take at the fullest moment; None where it cannot be predicted."""
        return None if self._weights is None else self._weights[0]

    @property
    def full_memory(self) -> Memory | None:
        """The same of the whole image at once."""
        return None if self._weights is None else self._weights[1]

    @property
    def saves_memory(self) -> bool | None:
        """Whether blocks take less than nine tenths of what the whole image takes, weights apart; None where it is not
        known. They do not where layers hold nearly all rows: the net reaches across the image."""
        if self.memory is None or self.full_memory is None:
            return None
        return self.memory.activations < LITTLE * self.full_memory.activations

    def cells(self, *, along: str | None = None) -> Iterator[Cell]:
        """Every block as a slot per axis, the last axis fastest. along: every column of blocks along this axis."""
        strips = {axis: strip.slots for axis, strip in self.strips.items() if axis != along}
        for slots in product(*strips.values()):
            yield dict(zip(strips, slots, strict=True))

    def region(self, cell: Cell, output: str) -> Region | None:
        """What a block gives of an output; None where the output has ended before the block."""
        region = {axis: slot.outputs[output] for axis, slot in cell.items() if output in slot.outputs}
        ended = any(axis in self.labels[output] and axis not in region for axis in cell)
        return None if ended else region

    def tile(self, cell: Cell, input: str) -> Region:
        """What the unmodified net is fed of an input for a block."""
        return {axis: slot.tiles[input] for axis, slot in cell.items() if input in slot.tiles}

    def given(self, cell: Cell, output: str) -> Region:
        """What the unmodified net gives of an output on the tile of a block; `region` is a part of it."""
        return {axis: slot.given[output] for axis, slot in cell.items() if output in slot.given}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: enough for another runtime to run the blocks."""
        return {
            "schema_version": SCHEMA_VERSION,
            "schedule": self.schedule,
            "stream_axis": self.stream_axis,
            "dtype": self.dtype,
            "stored": self.stored,
            "inputs": {name: self._tensor_dict(name, shape) for name, shape in self.inputs.items()},
            "outputs": {name: self._tensor_dict(name, shape) for name, shape in self.outputs.items()},
            "blocks": self.count,
            "axes": {axis: _strip_dict(strip) for axis, strip in self.strips.items()},
            "samples_fed_ratio": float(self.fed),
            "macs": {"blocks": self.work.macs, "largest_block": self.largest.macs, "full": self.full.macs},
            "kernel_macs": {
                "blocks": self.work.kernel_macs,
                "largest_block": self.largest.kernel_macs,
                "full": self.full.kernel_macs,
            },
            "memory": _memory_dict(self.memory),
            "full_memory": _memory_dict(self.full_memory),
            "saves_memory": self.saves_memory,
        }

    @cached_property
    def _weights(self) -> tuple[Memory, Memory] | None:
        return None if self.weigh is None else self.weigh(self)

    def __getstate__(self) -> dict[str, Any]:
        """Saved with its memory: what finds it out belongs to the net."""
        return {**self.__dict__, "_weights": self._weights, "weigh": None}

    def __deepcopy__(self, memo: Any) -> Plan:
        return self

    def _tensor_dict(self, name: str, shape: tuple[int, ...]) -> dict[str, Any]:
        return {"shape": list(shape), "axes": list(self.labels[name])}


def _memory_dict(memory: Memory | None) -> dict[str, int] | None:
    return None if memory is None else {"activations": memory.activations, "weights": memory.weights}


def _strip_dict(strip: Strip) -> dict[str, Any]:
    return {
        "block": strip.block,
        "slots": [
            {
                "outputs": {name: list(span) for name, span in slot.outputs.items()},
                "reads": {name: None if span is None else list(span) for name, span in slot.reads.items()},
                "tiles": {name: list(span) for name, span in slot.tiles.items()},
                "crop": {
                    name: [span.start - slot.given[name].start, span.stop - slot.given[name].start]
                    for name, span in slot.outputs.items()
                },
            }
            for slot in strip.slots
        ],
    }
