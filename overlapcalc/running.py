"""The public ways to run a net by blocks: `plan`, `run`, `blocks`, `tiled`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .amount import bytes_of
from .analysis import Analysis
from .analyze import Inputs, analyze, evaluating
from .asked import Blocks
from .engine import Block, Machine, NoSlabError
from .engine.block import within
from .engine.store import Image, check, check_out, type_of, write
from .engine.weigh import weighed
from .errors import InputError
from .inputs import own_type
from .plan import Plan
from .planner import SCHEDULES, make_plan


def plan(
    model: nn.Module | Analysis,
    inputs: Inputs | None = None,
    *,
    block: Blocks | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    schedule: str | None = None,
    stream_axis: str | None = None,
    dtype: torch.dtype | str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Plan:
    """How to run `model` by blocks on inputs of these shapes, and what that costs against running it whole.

    inputs, axes, layout: as for `analyze`; a model may be an Analysis instead. block: the length of a block in samples
    of the finer of input and output, rounded up to whole outputs (256 when nothing is asked for), for all axes or
    {"W": 256}, then the other axes stay whole. memory: a budget such as "2GiB" instead, weights included: the blocks
    with the least work that fit. fixed_tile: tiles of one length in samples of the input, those at the border moved
    inward. schedule: "crop", "trim" or "stream" (docs/mathematics.md); when absent crop, with a budget the one with the
    least work. stream_axis: along which a stream goes, the
    longest axis when absent. dtype: the floating type to predict memory for.

    No forward pass is run. Raises InputError, TraceError, UnknownOperatorError; ObstacleError where the net cannot be
    run by blocks along these axes.
    """
    if not isinstance(model, Analysis):
        model = analyze(model, inputs, axes=axes, layout=layout)
    floating = floating_type(dtype)
    budget = None if memory is None else bytes_of(memory)
    name = None if floating is None else str(floating).removeprefix("torch.")
    if schedule is None and budget is not None and block is None and fixed_tile is None:
        return _least_work(model, budget, stream_axis, dtype)
    schedule = schedule or ("crop" if stream_axis is None else "stream")
    if schedule == "crop":
        return make_plan(model, block=block, memory=budget, fixed_tile=fixed_tile, stream_axis=stream_axis, dtype=name)
    if budget is not None and block is not None:
        raise InputError("a block, a memory budget and a fixed tile exclude each other; give one of them")
    sizes: list[Blocks | None] = [block] if budget is None else [*reversed(BANDS)]
    for size in sizes:
        made = make_plan(
            model, block=size, fixed_tile=fixed_tile, schedule=schedule, stream_axis=stream_axis, dtype=name
        )
        made = weighed(model._source, made, floating)
        if budget is None or (made.memory is not None and made.memory.total <= budget):
            return made
    raise InputError(
        f"no block of this image fits into {memory} with the schedule {schedule}: the weights and the output of the "
        f"whole image are held throughout"
    )


def _least_work(analysis: Analysis, budget: int, stream_axis: str | None, dtype: torch.dtype | str | None) -> Plan:
    """Of all schedules that fit into a budget, the one with the least work. Raises InputError."""
    found: list[Plan] = []
    refused: list[str] = []
    for schedule in SCHEDULES if stream_axis is None else ("stream",):
        try:
            found.append(plan(analysis, memory=budget, schedule=schedule, stream_axis=stream_axis, dtype=dtype))
        except (InputError, NoSlabError) as error:
            refused.append(f"{schedule}: {error}")
    if not found:
        raise InputError("; ".join(refused))
    return min(found, key=lambda made: (made.work.kernel_macs, made.memory.total if made.memory else 0))


BANDS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Blocks that are tried for a budget, from the largest on."""


def run(
    model: nn.Module,
    *inputs: Image,
    out: Any = None,
    block: Blocks | None = None,
    schedule: str | None = None,
    stream_axis: str | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Any:
    """What `model(*inputs)` gives in eval mode, computed block by block.

    The options are those of `plan`. An input may be anything with shape, dtype and slicing instead of a tensor (numpy's
    memmap, a zarr array): only what a block needs is read. out: where to write, a tensor or such an array for a net
    with one output, a mapping by name for several; then `out` is returned.

    Returns what the model returns, tensors in the same structure. The model is as it was afterwards; weights are those
    that it has now. For many images of one size, `tiled` plans only once.
    Raises what `plan` raises: a net that cannot be run by blocks along these axes is never run.
    """
    net = tiled(
        model, block=block, schedule=schedule, stream_axis=stream_axis, memory=memory, fixed_tile=fixed_tile, axes=axes,
        layout=layout,
    )  # fmt: skip
    return net(*inputs, out=out)


def blocks(
    model: nn.Module,
    *inputs: Image,
    block: Blocks | None = None,
    schedule: str | None = None,
    stream_axis: str | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Iterator[Block]:
    """The blocks of `run` one by one: `block.regions["output"]["W"]` is a Span, `block.results["output"]` a tensor.

    Together the regions cover every output exactly once.
    """
    net = tiled(
        model, block=block, schedule=schedule, stream_axis=stream_axis, memory=memory, fixed_tile=fixed_tile, axes=axes,
        layout=layout,
    )  # fmt: skip
    return net.blocks(*inputs)


def tiled(model: nn.Module, *shapes: Sequence[int], **options: Any) -> Tiled:
    """`model` as a module that runs by blocks, planned for inputs of these shapes (see `Tiled`).

    options: those of `run`.
    """
    made = Tiled(model, **options)
    if shapes:
        made.plan(*shapes)
    return made


class Tiled(nn.Module):
    """A net that runs by blocks. For inference: it runs in eval mode and without gradients.

    A plan belongs to the shapes of the inputs, batch included. Other shapes get a plan of their own at the first call,
    which costs some traces; plans are kept. Types and devices are those of the wrapped `model` and of the inputs, and
    may change between calls (`.to(...)`, `load_state_dict` of the model), but a change of its layers needs a new
    Tiled.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        block: Blocks | None = None,
        schedule: str | None = None,
        stream_axis: str | None = None,
        memory: int | str | None = None,
        fixed_tile: Blocks | None = None,
        axes: Sequence[str] | str | None = None,
        layout: str | Sequence[str | None] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        super().__init__()
        self.model = model
        self._options: dict[str, Any] = {
            "block": block, "schedule": schedule, "stream_axis": stream_axis, "memory": memory,
            "fixed_tile": fixed_tile,
        }  # fmt: skip
        self._analysis: dict[str, Any] = {"axes": axes, "layout": layout}
        self._machines: dict[Signature, tuple[Structure, Machine]] = {}

    def plan(self, *shapes: Sequence[int]) -> Plan:
        """The plan for inputs of these shapes. Raises what `overlapcalc.plan` raises."""
        return self.machine(*shapes).plan

    def machine(self, *shapes: Sequence[int]) -> Machine:
        """What runs inputs of these shapes."""
        return self._machine_for(tuple((tuple(shape), own_type(self.model)) for shape in shapes))

    def _machine_for(self, signature: Signature) -> Machine:
        """The one that is kept, or a new one. None outlives the buffers that the model had: one may be a mask, and a
        mask decides what is read."""
        now = _structure(self.model)
        known = self._machines.pop(signature, None)
        found = known[1] if known is not None and _same(known[0], now) else self._made(signature)
        self._machines[signature] = now, found
        while len(self._machines) > PLANS_KEPT:
            del self._machines[next(iter(self._machines))]
        return found

    def forward(self, *inputs: Image, out: Any = None, after: Callable[[], object] | None = None) -> Any:
        """What the net gives on the whole, in the structure in which it gives it; or `out`, filled with it.

        after: called after every block.
        """
        machine, named = self._prepared(inputs)
        made = machine.plan
        outputs: dict[str, Any] = _named_out(out, made)
        with torch.no_grad(), evaluating(self.model):
            for block in machine.blocks(named):
                for name, result in block.results.items():
                    if made.count == 1 and out is None:
                        outputs[name] = result
                        continue
                    if name not in outputs:
                        outputs[name] = result.new_empty(made.outputs[name])
                    write(outputs[name], within(made.labels[name], block.regions[name]), result)
                del block, result
                if after is not None:
                    after()
        return machine.structured(outputs) if out is None else out

    def blocks(self, *inputs: Image) -> Iterator[Block]:
        """See `overlapcalc.blocks`."""
        machine, named = self._prepared(inputs)
        produced = machine.blocks(named)
        while True:
            with torch.no_grad(), evaluating(self.model):  # not while the caller looks at a block
                block = next(produced, None)
            if block is None:
                return
            yield block

    def _prepared(self, inputs: tuple[Image, ...]) -> tuple[Machine, Mapping[str, Image]]:
        self._check(inputs)
        machine = self._machine_for(tuple((tuple(x.shape), type_of(x)) for x in inputs))
        return machine, dict(zip(machine.plan.inputs, inputs, strict=True))

    def _check(self, inputs: tuple[Image, ...]) -> None:
        where = next((p.device for p in self.model.parameters()), None)
        for i, x in enumerate(inputs):
            check(x, f"input {i}")
            if where is not None and isinstance(x, Tensor) and x.device != where:
                raise InputError(f"input {i} is on {x.device}, the model on {where}; move one of them")

    def _made(self, shapes: Signature) -> Machine:
        given: Any = [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in shapes]
        analysis = analyze(self.model, given, **self._analysis)
        made = plan(analysis, **self._options)
        if any(name is None for name in made.leaves):
            raise InputError(
                f"the net returns {len(made.leaves)} values, of which "
                f"{sum(name is None for name in made.leaves)} depend on no input; return only what does"
            )
        return Machine(self.model, analysis._source, made)


PLANS_KEPT = 16
Signature = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""The shape and the type of every input."""
Structure = tuple[tuple["weakref.ref[Any]", int | None], ...]
"""The model and its buffers, each with the number of times that it was written to."""


def _structure(model: nn.Module) -> Structure:
    """A net that is traced in another type may cast otherwise, so parameters count by their type."""
    versions = [(b, None if b.is_inference() else b._version) for b in model.buffers()]
    return ((weakref.ref(model), hash(own_type(model))), *((weakref.ref(b), version) for b, version in versions))


def _same(a: Structure, b: Structure) -> bool:
    """Of the same things, none of them gone."""
    return len(a) == len(b) and all(
        x() is not None and x() is y() and m == n for (x, m), (y, n) in zip(a, b, strict=True)
    )


def _named_out(out: Any, made: Plan) -> dict[str, Any]:
    """Where to write each output. Raises InputError."""
    if out is None:
        return {}
    if not isinstance(out, Mapping):
        if len(made.outputs) > 1:
            raise InputError(
                f"out is one {type(out).__name__}; the net gives {', '.join(made.outputs)}: give a mapping"
            )
        out = {next(iter(made.outputs)): out}
    if set(out) != set(made.outputs):
        raise InputError(f"out has {', '.join(map(str, out))}; the net gives {', '.join(made.outputs)}")
    for name, store in out.items():
        check_out(store, name, made.outputs[name])
    return dict(out)


def floating_type(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A floating type of torch by its name. Raises InputError."""
    if dtype is None:
        return None
    found = getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={dtype!r}: expected a floating type such as float16")
    return found
