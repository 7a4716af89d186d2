"""A loop as the proofs run it: in float64, whole or by its steps, with hooks of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...engine.loop.loop import Loop
from ...engine.loop.program import Program
from ...engine.loop.stage import Cells, Stage
from ...engine.slab.frame import Frame
from ...trace.runnable import Constants
from ...trace.stand_in import of_type
from ..dependency import lively
from ..twin import PRIME, residues


@dataclass(frozen=True)
class LoopSubject:
    """A loop as the proofs run it: in float64, with hooks of their own, which mix all that a stage is given.

    The user's own hooks may be coders or draw at random; they are never called.
    """

    loop: Loop
    net: nn.Module
    livelier: nn.Module
    given: Mapping[str, Tensor]
    device: torch.device

    @staticmethod
    def of(loop: Loop, inputs: Sequence[Tensor] | None, device: torch.device) -> LoopSubject:
        wide = of_type(copy.deepcopy(loop.net).eval().to(device), torch.float64)
        examples = [noise(shape, kind, i) for i, (shape, kind) in enumerate(
            zip(loop.analysis.inputs.values(), loop.calls.types, strict=True))]  # fmt: skip
        own = Loop(wide, loop.stages, *examples, **loop.options)
        given = dict(zip(loop.analysis.inputs, examples, strict=True))
        for name, x in loop.named(inputs).items() if inputs is not None else ():
            given[name] = x.double() if x.is_floating_point() else x
        return LoopSubject(own, wide, lively(copy.deepcopy(wide)), {k: x.to(device) for k, x in given.items()}, device)

    def whole(self, net: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs that stages take, by name, of one whole run."""
        leaves = tree_leaves(net(*(x.clone() for x in inputs.values())))
        names = self.loop.analysis.variants.net.traced.leaves
        found = {name: leaf for name, leaf in zip(names, leaves, strict=True) if name}
        return {name: found[name] for stage in self.loop.stages for name in stage.outputs}


def noise(shape: Sequence[int], kind: torch.dtype, seed: int) -> Tensor:
    """Normal noise; of whole numbers and truths, zeros and ones, which are valid indices."""
    generator = torch.Generator().manual_seed(seed)
    if kind.is_floating_point:
        return torch.randn(tuple(shape), generator=generator, dtype=torch.float64, device="cpu")
    return torch.randint(0, 2, tuple(shape), generator=generator, device="cpu").to(kind)


def cells_of(program: Program, shown: str, y: Tensor) -> Tensor:
    """An output as (cells, samples, width)."""
    node = program.outputs[shown]
    form = program.form(node)
    return form.rows(y, form.sizes)[program.cell_samples[node].to(y.device)]


def every_cell(program: Program) -> tuple[tuple[int, ...], ...]:
    """All cells, in the order of `Program.cell_samples`."""
    return tuple(product(*map(range, program.order.cells)))


def frame_of(
    subject: LoopSubject, program: Program, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> Frame:
    """What is made of padding alone derives from `like`, which must count as data: so it is a part of an input."""
    like = next((x[:0] for x in inputs.values() if x.is_floating_point()), None)
    like = torch.empty(0, dtype=torch.float64, device=subject.device) if like is None else like
    return Frame(program.net, Constants(subject.loop.calls, state, subject.device), like, None)


def mixing(program: Program, stage: int, kind: torch.dtype = torch.float64) -> Stage:
    """The stage with a hook that mixes all of its outputs: a product with a matrix, and something of its own, so that
    zeros do not stay zeros. kind: the type of what it makes."""
    said_of = program.stages[stage]
    width = program.form(said_of.feeds).width * prod(program.cell_of(said_of.feeds))
    shape = program.cell_shape(said_of.feeds)

    def mix(cells: Cells) -> Tensor:
        x = torch.cat([cells[name].reshape(len(cells), -1).to(torch.float64) for name in said_of.outputs], 1)
        mixed = x @ residues((x.shape[1], width), 97 + stage, x.device) + residues((width,), 43 + stage, x.device)
        mixed = mixed.reshape(len(cells), *shape)
        return mixed < PRIME // 2 if kind == torch.bool else mixed.to(kind)

    return replace(said_of, hook=mix)
