"""What passes hold at their fullest moments, and what they store: the same engine on shapes alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from ..algebra.spans import Span
from ..planning.passes.cut import Pass, telling
from ..planning.passes.timing import needed_whole
from ..planning.plan import Plan
from ..propagate.staged import Staged
from ..trace.peak_memory import MemoryMeter
from ..trace.quiet import quiet
from ..trace.runnable import Constants, Runnable
from .assemble import assemble
from .block import Block
from .images import images, placed
from .schedules.passes import PassRun
from .slab.frame import Frame
from .spill.form import RowsForm
from .spill.rows import Rows
from .weigh import StoredImage, fakes

FEW = 2
"""So many images of a batch show what each takes: the second runs beside outputs that are there already."""


@dataclass(frozen=True)
class Weight:
    """taken: for each pass, the bytes that it takes at its fullest moment, beside what is stored. before: the same for
    what runs whole before it. forms: of what is stored, by name."""

    taken: tuple[int, ...]
    before: tuple[int, ...]
    forms: Mapping[str, RowsForm]


def weighed_passes(calls: Runnable, net: Staged, passes: Sequence[Pass], rows: int, plan: Plan) -> Weight:
    """The weight of passes in bands of so many rows. plan: for the shapes and types of inputs and outputs, and whether
    these are stored elsewhere."""
    with quiet(), torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        state, inputs = fakes(calls, plan)
        meter = MemoryMeter([*state.values(), *inputs.values()], kernels=True)
        watch = _Taken(meter, passes, lambda one: telling(one, net.axis, rows))
        forms: dict[str, RowsForm] = {}
        whole, rooms = needed_whole(net), list[Tensor]()

        def storage(name: str, band: Tensor, sizes: tuple[int, ...], at: int) -> Rows:
            form = forms[name] = RowsForm(name, sizes, at, band.dtype, band.device)
            if name not in whole:
                return _Nowhere(form)
            with meter.not_counting():
                rooms.append(form.empty(form.rows))
            return _Kept(form, rooms[-1])

        given = {name: StoredImage(x) for name, x in inputs.items()} if plan.stored else inputs
        like = next((x for x in inputs.values() if x.is_floating_point()), next(iter(inputs.values())))[:0]
        frame = Frame(net.net, Constants(calls, state, like.device), like, None, shapes_only=True)

        def blocks() -> Iterator[Block]:
            for image, own in islice(images(plan, given), FEW):
                run = PassRun(frame, calls, net, tuple(passes), rows, own, storage, watch)
                yield from run.blocks() if image is None else (placed(one, image) for one in run.blocks())

        with meter:
            if plan.stored:
                deque(blocks(), maxlen=0)
            else:
                assemble(blocks(), plan)
        watch.note()
    code = sum(meter.code.values())
    before, by_bands = ([n + code for n in found] for found in (watch.before, watch.by_bands))
    return Weight(tuple(map(max, before, by_bands)), tuple(before), forms)


class _Taken:
    """Notes the most memory of every pass, before and in its course. telling: how many bands of a pass show that."""

    def __init__(self, meter: MemoryMeter, passes: Sequence[Pass], telling: Callable[[Pass], int]) -> None:
        self._meter, self._telling = meter, telling
        self.before, self.by_bands = ([0] * len(passes) for _ in range(2))
        self._list, self._now = self.before, 0

    def note(self) -> None:
        self._list[self._now] = max(self._list[self._now], self._meter.live + self._meter.panel)
        self._meter.live = 0

    def begins(self, one: Pass) -> int:
        self.note()
        self._list, self._now = self.before, one.number
        return self._telling(one)

    def goes_by_bands(self) -> None:
        self.note()
        self._list = self.by_bands


class _Kept:
    """Stays in memory, which is counted where it is known how long. What is read is a part of it."""

    new = False

    def __init__(self, form: RowsForm, room: Tensor) -> None:
        self.form, self.nbytes, self._room = form, form.nbytes, room

    def write(self, begins: int, band: Tensor) -> None:
        pass

    def read(self, span: Span) -> Tensor:
        return self.form.standing(self._room.narrow(0, span.start, span.length))

    def drop(self) -> None:
        pass


class _Nowhere:
    """Stores nothing: what is read is new memory, as from a file."""

    new = True

    def __init__(self, form: RowsForm) -> None:
        self.form, self.nbytes = form, form.nbytes

    def write(self, begins: int, band: Tensor) -> None:
        pass

    def read(self, span: Span) -> Tensor:
        return self.form.standing(self.form.empty(span.length))

    def drop(self) -> None:
        pass
