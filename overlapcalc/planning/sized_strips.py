"""An axis cut into blocks at one size, where tensors have no joint grid: by shares of the length of each output."""

from __future__ import annotations

from ..algebra.spans import Span
from ..analysis.named import Named
from ..propagate.regions import extents_for
from ..propagate.values import Propagation
from .strips import BlockSpan, Strip, refuse_many, refuse_without_samples


class SizedCutter:
    """Cuts one axis of a net at one size, for schedules without tiles. Raises InputError where no output has the axis,
    or one has no samples along it.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool1d(10), nn.Conv1d(1, 1, 3, padding=1))  # from 32 samples to 10
    >>> cutter = SizedCutter(oc.analyze(net, (1, 1, 32)).variants.here.net, "L")
    >>> [str(slot.outputs["output"]) for slot in cutter.free_strip(12).slots]  # blocks count on the finer side
    ['[0, 4)', '[4, 8)', '[8, 10)']
    """

    def __init__(self, net: Propagation, axis: str) -> None:
        self.net, self.axis = net, axis
        sizes = {shown: net.size(node, axis) for shown, node in net.graph.outputs}
        self.outputs = {shown: size for shown, size in sizes.items() if size is not None}
        nodes = dict(net.graph.outputs)
        refuse_without_samples(net, axis, {shown: nodes[shown] for shown in self.outputs})
        self.inputs = [name for name in net.graph.inputs if net.size(name, axis) is not None]
        self.like = nodes[next(iter(self.outputs))]

    @property
    def length(self) -> int:
        """The length of the longest input or output."""
        return max(*self.outputs.values(), *(self.net.size(name, self.axis) or 0 for name in self.inputs), 1)

    def free_strip(self, block: int) -> Strip:
        """Blocks of this many samples of the longest input or output: of each output its share, rounded up.

        In place of tiles they have the part of each input that must be present.
        """
        slots, length = [], self.length
        refuse_many(-(-length // block), self.axis)
        for start in range(0, length, block):
            outputs = {}
            for shown, size in self.outputs.items():
                a, b = (-(-min(at, length) * size // length) for at in (start, start + block))
                if a < b:
                    outputs[shown] = Span(a, b)
            if not outputs:
                continue
            wanted = extents_for(self.net, self.axis, outputs)
            reads = {name: wanted.get(name) for name in self.inputs}
            held = Named({name: span for name, span in reads.items() if span is not None})
            slots.append(BlockSpan(Named(outputs), Named(reads), held, Named(outputs), 0, 0))
        return Strip(self.axis, min(block, length), self.like, tuple(slots))
