"""A plan: an image cut into blocks, and the cost of running it that way. From the graph, without a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from ..analysis.named import Named
from ..analysis.plain import as_json
from ..ops.layout import BATCH
from ..propagate.regions import Region
from .costs import Work
from .padding import Padding
from .passes.plan import PassesPlan
from .strips import BlockSpan, Strip

SCHEMA_VERSION = 1
LITTLE = 0.9

Cell = Mapping[str, BlockSpan]
"""A block: its slot along every axis."""


@dataclass(frozen=True)
class Memory:
    """Bytes. activations: what a run creates and holds at its fullest moment, with outputs, without inputs. weights:
    parameters and buffers.

    >>> Memory(activations=222368, weights=4768).total
    227136
    """

    activations: int
    weights: int

    @property
    def total(self) -> int:
        return self.activations + self.weights


Weigh = Callable[["Plan"], tuple[Memory, Memory] | None]
"""Plan -> the memory that its blocks take, and the whole image at once; None where that is not known."""


@dataclass(frozen=True)
class Plan:
    """How an image is run by blocks, and what that costs: the frozen result of `overlapcalc.plan`.

    inputs, outputs: names and shapes of the whole; labels: the axis of each of their dimensions, "" for none.
    strips: for each axis, its blocks. work: that of all blocks together; largest: the most of one block (for a stream,
    one band); full: that of the whole image at once. fed: samples fed to the net over the samples of the inputs.
    leaves: what the net returns. stream_axis: the axis along which a stream goes. stored: memory is that of a run whose
    inputs are read and outputs written by slices. passes: what each pass does, for that schedule. padding: where it was
    asked for; everything else is of the padded image. copied: bytes of padded copies of inputs, held throughout.
    weigh: predicts the memory when it is first needed; that takes a run on shapes, which a plan that is only run can
    do without.

    >>> plan = oc.plan(nn.Conv1d(3, 8, 5, padding=2), (1, 3, 64), block=16)
    >>> plan.count, plan.strips["L"].slots[1].tiles["input"], plan.work.macs == plan.full.macs
    (4, Span(start=14, stop=34), False)
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
    passes: PassesPlan | None = None
    padding: Padding | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    copied: int = 0
    weigh: Weigh | None = field(default=None, repr=False, compare=False)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes along which the plan has blocks, even if only one.

        >>> plan = oc.plan(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 16, 64), block={"W": 16})  # H stays whole
        >>> {axis: len(plan.strips[axis].slots) for axis in plan.axes}
        {'H': 1, 'W': 4}
        """
        return tuple(self.strips)

    @property
    def count(self) -> int:
        """The number of blocks.

        >>> oc.plan(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 64, 64), block=16).count
        16
        """
        return prod(len(strip.slots) for strip in self.strips.values())

    @property
    def results(self) -> Named[tuple[int, ...]]:
        """The shapes of the outputs as a run returns them: after padding, they are cut.

        >>> plan = oc.plan(nn.PixelUnshuffle(4), (1, 1, 64, 57), pad_to_fit="constant")
        >>> plan.outputs["output"], plan.results["output"]
        ((1, 16, 16, 15), (1, 16, 16, 15))
        """
        return self.outputs if self.padding is None else self.padding.kept

    @property
    def steps(self) -> int:
        """How often a run says that it has come further: after each block, or each band of each pass."""
        return self.count if self.passes is None else self.passes.bands

    @property
    def one_image(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the inputs of one image, where the images of a batch run one after another; else of all."""
        if BATCH not in self.strips:
            return tuple(self.inputs.values())
        return tuple(
            tuple(1 if label == BATCH else n for n, label in zip(shape, self.labels[name], strict=True))
            for name, shape in self.inputs.items()
        )

    @property
    def memory(self) -> Memory | None:
        """What the blocks take at their fullest moment; None where that cannot be predicted.

        >>> net = nn.Sequential(nn.Upsample(scale_factor=4), nn.AvgPool1d(4))  # from 32 samples to 128 and back
        >>> plan = oc.plan(net, (1, 1, 32), block=8)  # 8, 32 and 8 samples at a time, beside the whole output
        >>> plan.memory.activations, plan.full_memory.activations  # 4 bytes for each of 8 + 32 + 8 + 32, of 128 + 32
        (320, 640)
        """
        return None if self._memories is None else self._memories[0]

    @property
    def full_memory(self) -> Memory | None:
        """The same for the whole image at once."""
        return None if self._memories is None else self._memories[1]

    @property
    def saves_memory(self) -> bool | None:
        """Whether blocks take less than nine tenths of what the whole image takes, not counting weights; None where
        that is not known. They do not where layers hold nearly all rows: the net reaches across the image.

        >>> net = nn.Sequential(nn.Upsample(scale_factor=4), nn.AvgPool1d(4))
        >>> [oc.plan(net, (1, 1, 32), block=n).saves_memory for n in (8, 32)]  # one block of 32 is the whole
        [True, False]
        """
        if self.memory is None or self.full_memory is None:
            return None
        return self.memory.activations < LITTLE * self.full_memory.activations

    def cells(self, *, along: str | None = None) -> Iterator[Cell]:
        """Every block, as a slot per axis; the last axis varies fastest. along: every column of blocks along this axis.

        >>> plan = oc.plan(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=16)
        >>> [str(plan.tile(cell, "input")["L"]) for cell in plan.cells()]
        ['[0, 17)', '[15, 32)']
        """
        strips = {axis: strip.slots for axis, strip in self.strips.items() if axis != along}
        for slots in product(*strips.values()):
            yield dict(zip(strips, slots, strict=True))

    def region(self, cell: Cell, output: str) -> Region | None:
        """The part of an output that a block produces; None where the output has ended before the block.

        >>> plan = oc.plan(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=16)
        >>> [plan.region(cell, "output") for cell in plan.cells()]
        [{'L': Span(start=0, stop=16)}, {'L': Span(start=16, stop=32)}]
        """
        region = {axis: slot.outputs[output] for axis, slot in cell.items() if output in slot.outputs}
        ended = any(axis in self.labels[output] and axis not in region for axis in cell)
        return None if ended else region

    def tile(self, cell: Cell, input: str) -> Region:
        """The part of an input that the unmodified net is fed for a block: see `cells`.

        >>> plan = oc.plan(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=12)
        >>> [str(plan.tile(cell, "input")["L"]) for cell in plan.cells()]
        ['[0, 13)', '[11, 25)', '[23, 32)']
        """
        return {axis: slot.tiles[input] for axis, slot in cell.items() if input in slot.tiles}

    def given(self, cell: Cell, output: str) -> Region:
        """The part of an output that the unmodified net returns on the tile of a block; it contains `region`.

        >>> plan = oc.plan(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=12)
        >>> first, second, third = plan.cells()
        >>> print(plan.given(second, "output")["L"], plan.region(second, "output")["L"])  # the ends are cropped away
        [11, 25) [12, 24)
        """
        return {axis: slot.given[output] for axis, slot in cell.items() if output in slot.given}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: enough for another runtime to run the blocks.

        >>> plan = oc.plan(nn.Conv1d(1, 1, 3, padding=1), (1, 1, 32), block=16)
        >>> plan.to_dict()["axes"]["L"]["slots"][1]["tiles"]
        {'input': [15, 32]}
        """
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
            **({"fixed": as_json(self.fixed)} if self.fixed else {}),
            **({} if self.passes is None else {"passes": self.passes.to_dict()}),
            **({} if self.padding is None else {"padding": self.padding.to_dict()}),
        }

    @cached_property
    def _memories(self) -> tuple[Memory, Memory] | None:
        found = None if self.weigh is None else self.weigh(self)
        if found is None or not self.copied:
            return found
        blocks, whole = (replace(memory, activations=memory.activations + self.copied) for memory in found)
        return blocks, whole

    def __getstate__(self) -> dict[str, Any]:
        """Pickled with its memory, because what predicts it belongs to the net."""
        return {**self.__dict__, "_memories": self._memories, "weigh": None}

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
