"""The public ways to run a net by blocks: `plan`, `run`, `blocks`, `tiled`."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from .amount import bytes_of
from .analysis import Analysis
from .analyze import Inputs, analyze, evaluating
from .engine import Block, cropped
from .engine.block import within
from .errors import InputError
from .inputs import own_type
from .plan import Plan
from .planner import Blocks, make_plan


def plan(
    model: nn.Module | Analysis,
    inputs: Inputs | None = None,
    *,
    block: Blocks | None = None,
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    schedule: str = "crop",
    dtype: torch.dtype | str | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Plan:
    """How to run `model` by blocks on inputs of these shapes, and what that costs against running it whole.

    inputs, axes, layout: as for `analyze`; a model may be an Analysis instead. block: the length of a block in samples
    of the finer of input and output, rounded up to whole outputs (256 when nothing is asked for), for all axes or
    {"W": 256}, then the other axes stay whole. memory: a budget such as "2GiB" instead, weights included: the blocks
    with the least work that fit. fixed_tile: tiles of one length in samples of the input, those at the border moved
    inward. dtype: the floating type to predict memory for.

    No forward pass is run. Raises InputError, TraceError, UnknownOperatorError; ObstacleError where the net cannot be
    run by blocks along these axes.
    """
    if not isinstance(model, Analysis):
        model = analyze(model, inputs, axes=axes, layout=layout)
    return make_plan(
        model,
        block=block,
        memory=None if memory is None else bytes_of(memory),
        fixed_tile=fixed_tile,
        schedule=schedule,
        dtype=None if dtype is None else str(floating_type(dtype)).removeprefix("torch."),
    )


def run(
    model: nn.Module,
    *inputs: Tensor,
    block: Blocks | None = None,
    schedule: str = "crop",
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Any:
    """What `model(*inputs)` gives in eval mode, computed block by block.

    The options are those of `plan`. Returns what the model returns, tensors in the same structure. The model is
    as it was afterwards; weights are those that it has now. For many images of one size, `tiled` plans only once.
    Raises what `plan` raises: a net that cannot be run by blocks along these axes is never run.
    """
    return tiled(model, block=block, schedule=schedule, memory=memory, fixed_tile=fixed_tile, axes=axes, layout=layout)(
        *inputs
    )


def blocks(
    model: nn.Module,
    *inputs: Tensor,
    block: Blocks | None = None,
    schedule: str = "crop",
    memory: int | str | None = None,
    fixed_tile: Blocks | None = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Iterator[Block]:
    """The blocks of `run` one by one: `block.regions["output"]["W"]` is a Span, `block.results["output"]` a tensor.

    Together the regions cover every output exactly once.
    """
    net = tiled(model, block=block, schedule=schedule, memory=memory, fixed_tile=fixed_tile, axes=axes, layout=layout)
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
        schedule: str = "crop",
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
            "block": block, "schedule": schedule, "memory": memory, "fixed_tile": fixed_tile,
        }  # fmt: skip
        self._analysis: dict[str, Any] = {"axes": axes, "layout": layout}
        self._plans: dict[Signature, tuple[Structure, Plan]] = {}

    def plan(self, *shapes: Sequence[int]) -> Plan:
        """The plan for inputs of these shapes. Raises what `overlapcalc.plan` raises."""
        return self._plan_for(tuple((tuple(shape), own_type(self.model)) for shape in shapes))

    def _plan_for(self, signature: Signature) -> Plan:
        """The plan that is kept, or a new one. No plan outlives the buffers that the model had: one may be a mask, and
        a mask decides what is read."""
        now = _structure(self.model)
        known = self._plans.pop(signature, None)
        made = known[1] if known is not None and _same(known[0], now) else self._planned(signature)
        self._plans[signature] = now, made
        while len(self._plans) > PLANS_KEPT:
            del self._plans[next(iter(self._plans))]
        return made

    def forward(self, *inputs: Tensor) -> Any:
        """What the net gives on the whole, in the structure in which it gives it."""
        made, named = self._prepared(inputs)
        outputs: dict[str, Tensor] = {}
        spec: list[Any] = []
        with torch.no_grad(), evaluating(self.model):
            for block in cropped(_noting_structure(self.model, spec), made, named, watched=self.model):
                for name, result in block.results.items():
                    if made.count == 1:
                        outputs[name] = result
                        continue
                    if name not in outputs:
                        outputs[name] = result.new_empty(made.outputs[name])
                    outputs[name][within(made.labels[name], block.regions[name])] = result
                del block, result
        leaves = [None if name is None else outputs[name] for name in made.leaves]
        return tree_unflatten(leaves, spec[0])

    def blocks(self, *inputs: Tensor) -> Iterator[Block]:
        """See `overlapcalc.blocks`."""
        made, named = self._prepared(inputs)
        produced = cropped(self.model, made, named, watched=self.model)
        while True:
            with torch.no_grad(), evaluating(self.model):  # not while the caller looks at a block
                block = next(produced, None)
            if block is None:
                return
            yield block

    def _prepared(self, inputs: tuple[Tensor, ...]) -> tuple[Plan, Mapping[str, Tensor]]:
        self._check(inputs)
        made = self._plan_for(tuple((tuple(x.shape), x.dtype) for x in inputs))
        return made, dict(zip(made.inputs, inputs, strict=True))

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        where = next((p.device for p in self.model.parameters()), None)
        for i, x in enumerate(inputs):
            if not isinstance(x, Tensor):
                raise InputError(f"input {i} is a {type(x).__name__}; expected a tensor")
            if where is not None and x.device != where:
                raise InputError(f"input {i} is on {x.device}, the model on {where}; move one of them")

    def _planned(self, shapes: Signature) -> Plan:
        given: Any = [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in shapes]
        made = plan(self.model, given, **self._options, **self._analysis)
        if any(name is None for name in made.leaves):
            raise InputError(
                f"the net returns {len(made.leaves)} values, of which "
                f"{sum(name is None for name in made.leaves)} depend on no input; return only what does"
            )
        return made


PLANS_KEPT = 16
Signature = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""The shape and the type of every input."""
Structure = tuple[tuple["weakref.ref[Any]", int | None], ...]
"""The model and its buffers, each with the number of times that it was written to."""


def _structure(model: nn.Module) -> Structure:
    versions = [(b, None if b.is_inference() else b._version) for b in model.buffers()]
    return ((weakref.ref(model), None), *((weakref.ref(b), version) for b, version in versions))


def _same(a: Structure, b: Structure) -> bool:
    """Of the same things, none of them gone."""
    return len(a) == len(b) and all(
        x() is not None and x() is y() and m == n for (x, m), (y, n) in zip(a, b, strict=True)
    )


def _noting_structure(net: nn.Module, spec: list[Any]) -> Any:
    """`net`, which also says once in what structure it returns its outputs."""

    def noted(*tiles: Tensor) -> Any:
        result = net(*tiles)
        if not spec:
            spec.append(tree_flatten(result)[1])
        return result

    return noted


def floating_type(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """A floating type of torch by its name. Raises InputError."""
    if dtype is None:
        return None
    found = getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(f"dtype={dtype!r}: expected a floating type such as float16")
    return found
