"""A net and a plan, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..algebra.spans import Span
from ..analysis.variants import Variants
from ..ops.layout import BATCH
from ..planning.passes.net import PassNet
from ..planning.plan import Plan
from ..trace.runnable import Constants, Runnable
from .block import Block
from .images import images, of_image, placed
from .schedules.crop import cropped
from .schedules.passes import PassRun
from .schedules.split import streamed_here, trimmed_here
from .schedules.stream import streamed
from .schedules.trim import trimmed
from .slab.frame import Frame
from .spill.stores import Stores
from .store import Image, floating_first, type_of


class Machine:
    """Runs `model` by a plan, with its weights at the time of the run."""

    def __init__(self, model: nn.Module | None, variants: Variants, plan: Plan) -> None:
        self._model, self.plan = model, plan
        if BATCH in plan.strips:  # the images of a batch run one after another
            assert variants.one_image is not None
            variants = variants.one_image.variants
        self.variants = variants if plan.schedule in ("crop", "passes") else variants.here
        self.at_size = any(along.picks for v in self.variants.net.values.values() for p in v.paths
                           for along in p.axes.values())  # fmt: skip
        self._structure: Any = None
        self.covered: Mapping[str, tuple[int, list[Span]]] = {}  # of the last run of passes: see PassRun

    @property
    def model(self) -> nn.Module:
        """The net itself. Without it, only calls can be run, with given weights."""
        assert self._model is not None
        return self._model

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @cached_property
    def calls(self) -> Runnable:
        """The net call by call, at the size of the plan; from the trace that the analysis made."""
        found: Runnable = self.variants.runnable(self.plan.one_image)
        return found

    def blocks(
        self,
        inputs: Mapping[str, Image],
        *,
        poison: float | None = None,
        state: Mapping[str, Tensor] | None = None,
        plan: Plan | None = None,
        after_band: Callable[[], object] | None = None,
    ) -> Iterator[Block]:
        """Every block, in order. poison: see `Frame`; state: weights instead of the model's. Crop uses neither.

        plan: a plan of only some of the blocks. after_band: called after every band of every pass, if there are passes.
        """
        plan = plan or self.plan
        if plan.schedule == "crop":
            return cropped(self._noted, plan, inputs, self.device, watched=self.model)
        if plan.schedule == "passes":
            return self._by_passes(plan, inputs, poison, state, after_band)
        frame = self.frame(inputs, poison, state)
        if self.at_size:
            return self._blocks_here(frame, plan, inputs)
        if plan.schedule == "trim":
            return trimmed(frame, self.calls, plan, inputs)
        assert plan.stream_axis is not None
        return streamed(frame, self.calls, plan, inputs, plan.stream_axis)

    @cached_property
    def in_passes(self) -> PassNet:
        """The net in passes along the axis of the plan."""
        assert self.plan.stream_axis is not None
        assert self.plan.passes is not None
        return PassNet.of(self.variants.net, self.plan.stream_axis, self.plan.passes.unparted, self.plan.passes.again)

    def _by_passes(
        self,
        plan: Plan,
        inputs: Mapping[str, Image],
        poison: float | None,
        state: Mapping[str, Tensor] | None,
        after: Callable[[], object] | None,
    ) -> Iterator[Block]:
        assert plan.passes is not None
        net, rows = self.in_passes, plan.passes.rows
        frame = replace(self.frame(inputs, poison, state), net=net.net.net)
        covered: dict[str, tuple[int, list[Span]]] = {}
        with Stores(plan.passes, frame.like, fill=poison) as stores:
            for image, own in images(plan, inputs):
                run = PassRun(frame, self.calls, net.net, net.passes, rows, own, stores.rows, after=after)
                yield from (block if image is None else placed(block, image) for block in run.blocks())
                covered |= {f"{of_image(image)}{what}": bands for what, bands in run.covered.items()}
                del run
        self.covered = covered

    def _blocks_here(self, frame: Frame, plan: Plan, inputs: Mapping[str, Image]) -> Iterator[Block]:
        if plan.schedule == "trim":
            return trimmed_here(frame, self.calls, plan, inputs)
        assert plan.stream_axis is not None
        return streamed_here(frame, self.calls, plan, inputs, plan.stream_axis)

    def frame(
        self, inputs: Mapping[str, Image], poison: float | None = None, state: Mapping[str, Tensor] | None = None
    ) -> Frame:
        """What the calls of one run share."""
        if state is None:
            state = {
                **dict(self.model.named_parameters(remove_duplicate=False)),
                **dict(self.model.named_buffers(remove_duplicate=False)),
            }
        first = floating_first(inputs.values())
        here = next((t.device for t in state.values()), torch.device("cpu"))
        like = first[:0] if isinstance(first, Tensor) else torch.empty(0, dtype=type_of(first), device=here)
        return Frame(self.variants.net, Constants(self.calls, state, like.device), like, poison)

    def structured(self, outputs: Mapping[str, Tensor]) -> Any:
        """The outputs in the structure that the net returns. For crop, only after a block was run."""
        structure = self._structure if self.plan.schedule == "crop" else self.calls.structure
        return tree_unflatten([outputs[name] if name else None for name in self.plan.leaves], structure)

    def _noted(self, *tiles: Tensor) -> Any:
        result = self.model(*tiles)
        if self._structure is None:
            self._structure = tree_flatten(result)[1]
        return result
