"""Analysis -> Plan for the schedule `passes`: bands, what is stored between passes, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from ..analysis.analysis import Analysis
from ..analysis.named import Named
from ..analysis.variants import Variants
from ..errors import Argument, InputError, NoSlabError, TraceError
from ..ops.layout import BATCH
from ..planning.byte_size import bytes_of, bytes_text
from ..planning.costs import Costs, Work
from ..planning.options import Blocking, default_block, per_axis
from ..planning.passes.cut import share
from ..planning.passes.net import PassNet
from ..planning.passes.plan import PassesPlan, PassPlan, traffic
from ..planning.passes.recompute import Recompute
from ..planning.passes.stored import Stored
from ..planning.plan import Memory, Plan
from ..planning.strips import BlockSpan, Strip, batch_strip, labels_by_dim
from ..propagate.regions import whole_region
from ..trace.runnable import Runnable
from .plan_stored import all_stored, kept, kept_beyond, needed_text, readers, taken_with
from .spill.place import spill_folder
from .spill.stores import slots_of
from .weigh_passes import Weight, weighed_passes

BANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Lengths of bands that are tried for a budget."""


def passes_plan(
    analysis: Analysis, blocking: Blocking, *, stored: bool = False, dtype: str | None = None, room: int | None = None
) -> Plan:
    """The plan of passes with bands of the length that is asked for, or the longest that fit into a budget.

    Without a budget, as much is kept in memory as there is room for, beside the weights; if that is not known either,
    no more than necessary. Raises InputError, ObstacleError.
    """
    return _Planner(analysis, blocking, stored, dtype, room).plan()


class _Planner:
    def __init__(
        self, analysis: Analysis, blocking: Blocking, stored: bool, dtype: str | None, room: int | None
    ) -> None:
        self._room = room
        self._one = analysis.variants.one_image
        self._variants: Variants = analysis.variants if self._one is None else self._one.variants
        self._analysis, self._blocking, self._stored, self._dtype = analysis, blocking, stored, dtype
        self._axis = self._chosen_axis()
        limit = blocking.disk
        self._limit = None if limit is None else bytes_of(limit, "disk", least=0)
        self._unparted: frozenset[str] = frozenset()
        self._again: frozenset[str] = frozenset()
        self._anew = True
        self._parts = self._staged_anew()
        self._calls: Runnable = self._variants.runnable(self._bare(1).one_image)

    def plan(self) -> Plan:
        if self._blocking.spill is not None:
            spill_folder(Path(self._blocking.spill))
        budget = self._blocking.budget
        if budget is None:
            return self._made(self._rows())
        if self._limit is not None:  # what fits without work done twice comes first, in however short bands
            self._anew = False
            with suppress(InputError):
                return self._longest(budget)
            self._anew = True
        return self._longest(budget)

    def _longest(self, budget: int) -> Plan:
        """The plan with the longest bands that fit."""
        best, low, high = None, 0, len(BANDS)
        refused: InputError | None = None
        while low < high:
            middle = (low + high) // 2
            try:
                best, low = self._within(budget, BANDS[middle]), middle + 1
            except InputError as error:
                refused, high = error, middle
        if best is None:
            assert refused is not None
            raise refused
        return best

    def _within(self, budget: int, rows: int) -> Plan:
        made = self._made(rows)
        assert made.memory is not None
        assert made.passes is not None
        if made.memory.total > budget:
            raise InputError(
                f"no passes fit into {bytes_text(budget)}{self._limit_text()}: in bands of {rows} they take "
                f"{bytes_text(made.memory.total)}{needed_text(made.passes.stored)}"
            )
        return made

    def _limit_text(self) -> str:
        return "" if self._limit is None else f" and {bytes_text(self._limit)} of disk"

    # ---- options ------------------------------------------------------------------------------------------

    def _chosen_axis(self) -> str:
        wanted = self._blocking.stream_axis
        axes = list(self._analysis.axes)
        if wanted is not None and wanted not in axes:
            raise InputError(Argument("stream_axis", wanted), f": no such axis is cut here, only {', '.join(axes)}")
        return wanted or self._analysis.longest_axis

    def _rows(self) -> int:
        if self._blocking.block is None:
            return default_block(self._analysis.layouts.values(), band=True)
        given = self._blocking.block
        found = per_axis([self._axis], (given,) if isinstance(given, int) else given, "block")
        return found.get(self._axis, default_block(self._analysis.layouts.values(), band=True))

    # ---- one plan -----------------------------------------------------------------------------------------

    def _made(self, rows: int) -> Plan:
        bare = self._bare(rows)
        try:
            whole = self._variants.run_memory(tuple(bare.inputs.values()), self._dtype)
            stored, weight = self._weighed_stored(rows, bare, whole.weights)
        except TraceError as error:
            raise InputError(f"the memory of passes cannot be predicted: {error}") from error
        taken, disk = taken_with(stored, weight.taken), slots_of(stored).size
        if self._limit is not None and disk > self._limit:
            raise InputError(
                Argument("disk", self._blocking.disk),
                f": the passes store {bytes_text(disk)} on disk; allow that, or more memory",
            )
        each = tuple(self._described(stored, taken, taken_with(stored, weight.before), rows))
        images = 1 if self._one is None else self._one.count
        detail = PassesPlan(rows, each, tuple(stored), disk, self._blocking.spill, self._unparted, self._again, images)
        memories = Memory(max(taken), whole.weights), Memory(whole.peak, whole.weights)
        work = sum((one.work for one in each * images), Work())
        largest = max((one.work for one in each), key=lambda w: w.kernel_macs)
        return replace(bare, passes=detail, work=work, largest=largest, weigh=lambda _: memories)

    def _weighed_stored(self, rows: int, bare: Plan, weights: int) -> tuple[list[Stored], Weight]:
        """What is stored, and what each pass takes beside it; after a choice of what is computed anew instead."""
        if self._again:
            self._again = frozenset()
            self._parts = self._staged_anew()
        weight = self._weighed(rows, bare)
        budget = self._room if self._blocking.budget is None else self._blocking.budget - weights
        stored = list(all_stored(self._parts, self._calls, weight))
        held = kept(stored, weight, budget)
        if budget is None and self._limit is not None and slots_of(held).size > self._limit:
            return [replace(one, kept=True) for one in stored], weight
        if self._anew:
            self._again = Recompute(self._parts.net, held, weight.taken, budget, self._limit).chosen()
        if self._again:
            self._parts = self._staged_anew()
            weight = self._weighed(rows, bare)
            held = kept(list(all_stored(self._parts, self._calls, weight)), weight, budget)
        return kept_beyond(held, self._limit), weight

    def _staged_anew(self) -> PassNet:
        self.__dict__.pop("_work", None)
        return PassNet.of(self._variants.net, self._axis, self._unparted, self._again)

    def _weighed(self, rows: int, bare: Plan) -> Weight:
        """A call that turns out to have no way to run on a band runs whole, and the net is staged again. Raises
        NoSlabError for one that fails even so."""
        while True:
            try:
                return weighed_passes(self._calls, self._parts.net, self._parts.passes, rows, bare)
            except NoSlabError as error:
                if not error.node or error.node in self._unparted:
                    raise
                self._unparted |= {error.node}
                self._parts = self._staged_anew()

    def _bare(self, rows: int) -> Plan:
        strips, labels = {self._axis: self._strip(rows)}, dict(labels_by_dim(self._parts.net.net))
        if self._one is not None:
            strips = {BATCH: batch_strip(self._one), **strips}
            for name, d in self._one.dims.items():
                labels[name] = (*labels[name][:d], BATCH, *labels[name][d + 1 :])
        return Plan(
            schedule="passes",
            inputs=self._analysis.inputs,
            outputs=self._analysis.outputs,
            labels=Named(labels),
            strips=strips,
            work=Work(),
            largest=Work(),
            full=Costs(self._analysis.variants.net).of({}),
            dtype=self._dtype,
            fed=Fraction(1),
            leaves=self._analysis.variants.net.traced.leaves,
            fixed=self._analysis.fixed,
            stream_axis=self._axis,
            stored=self._stored,
        )

    def _strip(self, rows: int) -> Strip:
        """The bands of the outputs, of inputs the same share."""
        net, axis = self._parts.net.net, self._axis
        sizes = {shown: net.size(node, axis) for shown, node in net.graph.outputs}
        fed = {name: net.size(name, axis) for name in net.graph.inputs}
        count = max((-(-n // rows) for n in [*sizes.values(), *fed.values()] if n), default=1)
        slots = []
        for i in range(count):
            outputs, tiles = ({k: s for k, n in one.items() if n and (s := share(n, i, count))}
                              for one in (sizes, fed))  # fmt: skip
            slots.append(BlockSpan(Named(outputs), Named(tiles), Named(tiles), Named(outputs), 0, 0))
        return Strip(axis, rows, net.graph.inputs[0], tuple(slots))

    def _described(
        self, stored: Sequence[Stored], taken: Sequence[int], before: Sequence[int], rows: int
    ) -> Iterator[PassPlan]:
        net, names = self._parts.net, self._parts.net.net.names
        layers = {one.name: one.layer for one in stored}
        written, read = traffic(stored, readers(self._parts))

        def said(nodes: Sequence[str]) -> tuple[tuple[str, str], ...]:
            found = (net.barriers[name].node for name in nodes if name in net.barriers)
            return tuple((names.get(node.name) or node.layer or node.name, node.op) for node in found)

        for one in self._parts.passes:
            yield PassPlan(
                number=one.number,
                bands=max(len(list(one.bands(self._axis, rows))), 1),
                ends=said(one.takes),
                whole=said([name for name in one.before if name not in net.swept]),
                swept=said([name for name in one.before if name in net.swept]),
                reads=tuple(layers[name] for name in one.reads if name in layers),
                stores=tuple(layers[name] for name in (*one.before, *one.stores) if name in layers),
                again=tuple(dict.fromkeys(names.get(name) or name for name in one.again)),
                work=self._work[one.number],
                memory=taken[one.number],
                memory_whole=before[one.number] if one.before else 0,
                written=written.get(one.number, 0),
                read=read.get(one.number, 0),
            )

    @cached_property
    def _work(self) -> list[Work]:
        """That of each pass, with the operators that end it."""
        found = []
        for one in self._parts.passes:
            regions = {node.name: whole_region(one.net, node.name) for node in one.net.graph if node.op != "input"}
            found.append(Costs(one.net).on(regions))
        return found
