"""The public way to run a net whose outputs are fed back as its inputs, cell by cell: `Loop`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis.analysis import Analysis
from ...analysis.analyze import analyze_here
from ...analysis.axis import no_way
from ...analysis.called import Kwargs, followed_each
from ...analysis.cone import Cone, SizedCone, cone_of
from ...analysis.gc_pause import gc_paused
from ...analysis.named import Named
from ...errors import Argument, InputError, ObstacleError
from ...planning.loop_part import loop_part
from ...planning.stages import ORDERS, WAVEFRONT, Reading, StagedOrder, staged_order
from ...propagate.values import Propagation, reads_between
from ...trace.evaluating import evaluating
from ...trace.runnable import Constants, Runnable
from ..fingerprint import fingerprint
from ..slab.frame import Frame
from .cell_grid import CellGrid, cell_grid
from .demand import NEVER
from .given import fitting, in_order, run_type
from .longer import longer_order
from .machine import LoopMachine
from .program import Program
from .stage import Stage, check_stages


class Loop:
    """A net that makes some of its inputs itself: outputs go through a hook, and come back as an input, cell by cell.

    Codecs decode so, with quantising or decoding as the hook; autoregressive nets sample so. `net` is analysed at
    `inputs` and `kwargs`, shapes or tensors, as for `analyze`; a loop runs at that size. stages: in the order in which
    they run within a step; each makes one input. Cells that do not need one another are made at once. Every hidden
    sample is computed once, when it is first needed, and held while it is read; beyond the border lies what the net
    pads with.

    axes, layout: as for `analyze`. The net is left as it is. Each run takes its present weights, in eval mode; where
    anything else of it has changed, it is analysed anew.

    Raises InputError where stages do not fit the net, or where cells wait for each other; ObstacleError where an output
    depends on a whole image of what is made.

    >>> left = nn.Sequential(nn.ZeroPad2d((1, -1, 0, 0)), nn.Conv2d(1, 1, 1, bias=False))  # each column: the one before
    >>> _ = nn.init.ones_(left[1].weight)
    >>> count = oc.Loop(left, [oc.Stage(("output",), lambda cells: cells["output"] + 1, feeds="input")], (1, 1, 2, 4))
    >>> count.steps(), count.run()["input"][0, 0].tolist()
    (4, [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    """

    def __init__(
        self,
        net: nn.Module,
        stages: Sequence[Stage],
        *inputs: Any,
        kwargs: Kwargs = None,
        axes: Sequence[str] | str | None = None,
        layout: str | Sequence[str | None] | None = None,
    ) -> None:
        if not isinstance(net, nn.Module):
            raise InputError(Argument("net", net), ": expected a torch.nn.Module")
        if not isinstance(stages, (list, tuple)) or not all(isinstance(stage, Stage) for stage in stages):
            raise InputError(Argument("stages", stages), ": expected a list of Stage")
        self.stages = tuple(stages)
        self.options: dict[str, Any] = {"axes": axes, "layout": layout}
        self.net, given = followed_each(net, inputs, kwargs)
        self._inputs: Any = [x.to("meta") if isinstance(x, Tensor) else x for x in given] or None
        self._analyse()

    def _analyse(self) -> None:
        """Everything that follows from the net as it is now."""
        self._seen = None  # where what follows is refused, the next run looks again
        seen, types = fingerprint(self.net), [p.dtype for p in self.net.parameters()]
        self.analysis: Analysis = analyze_here(self.net, self._inputs, **self.options)
        for name in ("part", "grid", "calls"):
            self.__dict__.pop(name, None)
        self._programs: dict[str, Program] = {}
        check_stages(self.stages, self.analysis.inputs, self.analysis.outputs)
        self._readings = self._cones()
        self._orders = {WAVEFRONT: self._by_cones(WAVEFRONT)}  # cells that wait for each other are refused at once
        self._seen, self._types = seen, types

    def _look_again(self) -> None:
        """Analyses the net anew where anything but the values of its parameters has changed: a mask, a type."""
        now, types = fingerprint(self.net), [p.dtype for p in self.net.parameters()]
        if self._seen is None or now is None or not self._seen.same(now) or types != self._types:
            self._analyse()

    # ---- what it is ---------------------------------------------------------------------------------------

    @property
    def fed(self) -> tuple[str, ...]:
        """The inputs that are made."""
        return tuple(stage.feeds for stage in self.stages)

    @property
    def given(self) -> tuple[str, ...]:
        """The inputs that `run` takes."""
        return tuple(name for name in self.analysis.inputs if name not in self.fed)

    @property
    def exact(self) -> bool:
        """Whether cells read all that the order waits for. Otherwise it is right, but perhaps not the shortest."""
        return all(cone.cone.exact for cones in self._readings.values() for cone in cones)

    @property
    def cells(self) -> tuple[int, ...]:
        """How many cells there are along each axis."""
        return self.grid.cells

    def steps(self, order: str = WAVEFRONT) -> int:
        """How many steps an order takes; of a wavefront the fewest, where `exact`.

        Raises InputError where it reads what is not made yet.
        """
        return self.order(order).steps

    def order(self, order: str = WAVEFRONT) -> StagedOrder:
        """When each cell of each stage is made. order: "wavefront", the fewest steps, or "raster", a cell a step.

        Raises InputError where it reads what is not made yet.
        """
        return self.program(order).order

    def _by_cones(self, order: str) -> StagedOrder:
        if order not in ORDERS:
            raise InputError(Argument("order", order), f": expected {' or '.join(ORDERS)}")
        readings = [Reading(k, source, cone) for (k, source), cones in self._readings.items() for cone in cones]
        return staged_order(order, readings, self.cells, len(self.stages))

    def __repr__(self) -> str:
        cells = "x".join(map(str, self.cells))
        fewest = max(order.steps for order in self._orders.values())
        steps = self._programs[WAVEFRONT].order.steps if WAVEFRONT in self._programs else fewest
        return (
            f"Loop({type(self.net).__name__}, feeds {', '.join(self.fed)}, {cells} cells along "
            f"{' and '.join(self.grid.axes)}, {steps} steps)"
        )

    def named(self, inputs: Sequence[Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """The inputs of `given` by name. dtype: of those that are floating. Raises InputError where they do not fit."""
        types = dict(zip(self.analysis.inputs, self.calls.types, strict=True))
        return fitting(self.given, inputs, self.analysis.inputs, types, dtype)

    # ---- running ------------------------------------------------------------------------------------------

    def run(
        self, *inputs: Tensor, order: str = WAVEFRONT, dtype: torch.dtype | str | None = None, **named: Tensor
    ) -> Named[Tensor]:
        """All cells, in an order. inputs, named: those of `given`, whole, in their order or by their names. dtype: of
        what is made, which must be that of the net's weights; as analysed if absent.

        Either order gives the same in exact arithmetic. Floats of many cells at once may round otherwise than those of
        one, and a hook may make much of the last bit. So both sides of a codec must run one order on one machine, or
        nets whose sums are exact.

        Returns the inputs that were made, by name. Hooks run in the order of steps, stage by stage. Raises InputError
        for inputs that do not fit, and where a hook returns something else than its cells; NoSlabError where an
        operator cannot run so.
        """
        self._look_again()
        program, kind = self.program(order), run_type(self.net, dtype)
        given = self.named(in_order(self.given, inputs, named), kind)
        with torch.no_grad(), evaluating(self.net):
            state = {
                **dict(self.net.named_parameters(remove_duplicate=False)),
                **dict(self.net.named_buffers(remove_duplicate=False)),
            }
            machine = self.machine(program, state, given, kind)
            machine.run()
            return Named({name: machine.fed(name) for name in self.fed})

    def machine(
        self, program: Program, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor], dtype: torch.dtype | None
    ) -> LoopMachine:
        """What runs a program once, with these weights."""
        here = next((t.device for t in [*inputs.values(), *state.values()]), torch.device("cpu"))
        own = dtype or next((t for t in self.calls.types if t.is_floating_point), torch.get_default_dtype())
        like = torch.empty(0, dtype=own, device=here)
        with torch.device("cpu"):
            frame = Frame(program.net, Constants(self.calls, state, here), like, None)
            return LoopMachine(program, frame, self.calls, inputs, dtype)

    @cached_property
    def calls(self) -> Runnable:
        """The net call by call."""
        found: Runnable = self.analysis.variants.runnable(tuple(self.analysis.inputs.values()))
        return found

    def program(self, order: str = WAVEFRONT) -> Program:
        """What a run in this order does. Raises InputError."""
        if order not in self._programs:
            with gc_paused(), torch.device("cpu"):  # where a user's default is another
                found = self._program(self._orders.get(order) or self._by_cones(order))
                if _reads_early(found):
                    longer = longer_order(found) if order == WAVEFRONT else None
                    if longer is None:
                        raise InputError(self._too_early(order))
                    found = self._program(longer)
                self._programs[order] = found
        return self._programs[order]

    def _too_early(self, order: str) -> str:
        text = (
            f"in {order} order, {', '.join(self.fed)} would be read before it is made: hidden samples are made with "
            "all their channels, and some of these read later cells; feed groups of channels as inputs of their own"
        )
        return text if order == WAVEFRONT else f"{text}, or take the order {WAVEFRONT}"

    def _program(self, order: StagedOrder) -> Program:
        outputs = dict(self.part.graph.outputs)
        return Program(self.part, self.analysis.variants.net, self.grid, self.stages, order, outputs)

    # ---- what it goes through -------------------------------------------------------------------------------

    def _cones(self) -> dict[tuple[int, int], list[SizedCone]]:
        """For a stage and the stage that makes what it reads: the cones of the outputs that read it."""
        found: dict[tuple[int, int], list[SizedCone]] = {}
        for k, stage in enumerate(self.stages):
            for source, name in enumerate(self.fed):
                lengths = [self.part.size(name, axis) or 1 for axis in self.grid.axes]
                reading = [output for output in stage.outputs if self._reads(output, name)]
                found[k, source] = [self._cone(output, name).at(lengths) for output in reading]
        return found

    def _reads(self, output: str, name: str) -> bool:
        node = self.analysis.variants.output_node(output)
        return name == node or name in self.part.graph.inputs_of(node)

    def _cone(self, output: str, name: str) -> Cone:
        """What a cell of an output reads of an input that is made."""
        return cone_of(replace(self.analysis.variants, net=self.part), output, name, self.grid.axes)

    @cached_property
    def part(self) -> Propagation:
        """The part of the net that the loop goes through (see planning/loop_part.py)."""
        shown = dict.fromkeys(output for stage in self.stages for output in stage.outputs)
        variants = self.analysis.variants
        with gc_paused():
            return loop_part(variants.net, self.fed, [(name, variants.output_node(name)) for name in shown])

    @cached_property
    def grid(self) -> CellGrid:
        """The cells. Raises ObstacleError where an output needs a whole axis of what is made."""
        outputs = dict(self.part.graph.outputs)
        axes = self.analysis.between(next(iter(outputs)), self.fed[0]).axes
        for output, node in outputs.items():
            for name in filter(partial(self._reads, output), self.fed):
                for axis in axes:
                    obstacles = reads_between(self.part, node, name, axis).via
                    if obstacles:
                        raise ObstacleError(no_way(output, name, axis, sorted(obstacles)))
        return cell_grid(self.part, axes, self.fed, outputs)


def _reads_early(program: Program) -> bool:
    """Whether a sample of a fed input is read before it is made: a hidden one may read more than outputs need of it."""
    for k, stage in enumerate(program.stages):
        samples, needed = program.cell_samples[stage.feeds], program.demand.made[stage.feeds]
        made = torch.zeros_like(needed)
        made[samples.flatten()] = program.times(k)[:, None].expand_as(samples).flatten()
        if bool(((needed <= made) & (needed < NEVER)).any()):
            return True
    return False
