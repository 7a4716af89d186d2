"""The public entry: a model and its input shapes -> an Analysis."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from ..errors import InputError, TraceError
from ..ops.graph import Graph, Shapes
from ..ops.layout import chosen
from ..propagate.forward import propagate
from ..propagate.values import Propagation
from ..stages import at_stage, noted, shapes_text
from ..trace.evaluating import evaluating
from ..trace.lowering import trace
from ..trace.peak_memory import run_memory
from ..trace.program import Program
from ..trace.run_memory import MemoryAt, RunMemory
from ..trace.runnable import Runnable
from ..trace.stand_in import of_type, stand_in
from .analysis import Analysis
from .called import Kwargs, followed
from .gc_pause import gc_paused
from .inputs import asked_axes, module_inputs, parsed, refuse_unbatched
from .labels import node_names
from .other_sizes import OtherSizes
from .trying import telling_sizes
from .variants import Variants

Inputs = Sequence[Any] | torch.Tensor | Mapping[str, Any]
"""A shape, tensors, or anything that forward takes: see called.py."""
TRACES_KEPT = 32
PROGRAMS_KEPT = 4
"""The number of runnable traces that are kept."""


def analyze(
    model: nn.Module | torch.export.ExportedProgram,
    inputs: Inputs | None = None,
    *,
    kwargs: Kwargs = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Analysis:
    """What `model` needs of its inputs, exactly, on each side of each axis.

    inputs: the arguments of forward, several in a tuple or list: shapes such as (1, 3, 256, 256), or example tensors
    (only shape and type are used), also in dictionaries, lists and tuples (called `batch.image` or `feats[0]` then);
    batch first, then channels, then one to three spatial axes, unless a layout says otherwise. Numbers, texts and None
    are part of the net (`Analysis.fixed`). A tuple of numbers is a shape, unless the annotation or the default of
    forward says that it takes numbers. kwargs: arguments by name. axes: those asked for ("W", or ["H", "W"]); all when
    absent. layout: one letter per dimension of an input, such as "NHWC"; a list where inputs differ. D, H, W and L are
    axes; N, C and any other letter are dimensions that are not.

    A copy of the model is traced in eval mode; its own mode and state stay as they are. No forward pass is run and no
    weight is read. A program of torch.export is taken as it is; without `inputs`, at the sizes that it was exported
    with; one of fixed size is compared with itself at no other (`size_verified` is False). Raises InputError,
    TraceError, UnknownOperatorError. A net with obstacles raises nothing: they are listed.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    >>> w = oc.analyze(net, (1, 3, 32, 32))["W"]
    >>> w.context, w.receptive_field, str(w.scale)
    (Sides(before=4, after=3), (9, 9), '2')
    >>> print(w.reads(4, 8), w.tile_span(4, 8))  # what outputs 4 to 7 read, and what the unmodified net must be fed
    [4, 19) [4, 20)
    """
    model, inputs = followed(model, inputs, kwargs)
    if isinstance(model, torch.export.ExportedProgram):
        program = Program(model)
        shapes = _program_inputs(program, inputs)
        layouts = chosen(layout, shapes)
        tracer = _Tracer(lambda at: program.graph(at, layouts), _no_memory, _no_runnable)
    else:
        tracer, shapes, layouts = _of_inputs(model, inputs, layout)
    wanted = asked_axes(axes, shapes, layouts)
    with telling_sizes(model, inputs, layout):
        noted("analysis", Analysis.of(tracer.variants(shapes, alone=True)[0], wanted, None))
        variants, verified_at = tracer.variants(shapes)
    return noted("analysis", Analysis.of(variants, wanted, verified_at))


def analyze_here(
    model: nn.Module,
    inputs: Inputs | None,
    *,
    kwargs: Kwargs = None,
    axes: Sequence[str] | str | None = None,
    layout: str | Sequence[str | None] | None = None,
) -> Analysis:
    """The same at this size alone: compared with no other, for what runs at no other."""
    tracer, shapes, layouts = _of_inputs(*followed(model, inputs, kwargs), layout)
    wanted = asked_axes(axes, shapes, layouts)
    return Analysis.of(tracer.variants(shapes, alone=True)[0], wanted, None)


def _of_inputs(
    model: nn.Module, inputs: Inputs | None, layout: str | Sequence[str | None] | None
) -> tuple[_Tracer, Shapes, tuple[str, ...]]:
    """The tracer of a module, its input shapes and their layouts."""
    shapes, dtypes = module_inputs(model, inputs)
    layouts = chosen(layout, shapes)
    more = partial(_typed, weakref.ref(model), dtypes, layouts)
    return _Tracer(*_of_module(model, dtypes, layouts), more), shapes, layouts


def _typed(
    model: Callable[[], nn.Module | None], dtypes: Sequence[torch.dtype], layouts: Sequence[str], name: str
) -> _Tracer:
    """The tracer of a net with its weights and its floating inputs in another type. Raises TraceError."""
    found = model()
    if found is None:
        raise TraceError("the model is gone; keep it as long as it is traced")
    dtype = getattr(torch, name)
    other = [dtype if t.is_floating_point else t for t in dtypes]
    return _Tracer(*_of_module(found, other, layouts, dtype))


def _of_module(
    model: nn.Module, dtypes: Sequence[torch.dtype], layouts: Sequence[str], weights_as: torch.dtype | None = None
) -> tuple[Callable[[Shapes], Graph], MemoryAt, Callable[[Shapes], Runnable]]:
    """For given input shapes: the graph of a copy of `model`, the memory that it takes, and its calls."""
    try:
        with gc_paused():
            copied = stand_in(model)
            if weights_as is not None:
                copied = of_type(copied, weights_as)
    except Exception as error:  # deepcopy raises whatever a module's own __deepcopy__ raises
        raise TraceError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); overlapcalc traces a "
            "copy, so that your model stays as it is. Analyse a submodule, or give the class a __deepcopy__"
        ) from error
    original = weakref.ref(model)
    weights = frozenset(p.data_ptr() for p in model.parameters() if p.numel())

    first: dict[Shapes, tuple[Graph, Runnable]] = {}  # the size that was asked about, which is run, too
    latest: dict[Shapes, tuple[Graph, Runnable]] = {}  # one image of it, say

    def traced(shapes: Shapes) -> tuple[Graph, Runnable]:
        for known in (first, latest):
            if shapes in known:
                return known[shapes]
        with evaluating(original()):
            found = trace(copied, shapes, dtypes, weights, layouts)
        kept = latest if first else first
        kept.clear()
        kept[shapes] = found
        return found

    def held(shapes: Shapes, dtype: str | None) -> RunMemory:
        with evaluating(original()):
            return run_memory(stand_in(copied), shapes, dtypes, None if dtype is None else getattr(torch, dtype))

    return lambda shapes: traced(shapes)[0], held, lambda shapes: traced(shapes)[1]


def _told(words: str, memory: MemoryAt) -> MemoryAt:
    """The same, which says that it begins."""

    def told(shapes: Shapes, dtype: str | None) -> RunMemory:
        at_stage(f"{words} {shapes_text(shapes)}")
        return memory(shapes, dtype)

    return told


def _no_runnable(shapes: Shapes) -> Runnable:
    raise TraceError("a saved program is not run call by call; use the module it was made of")


def _no_memory(shapes: Shapes, dtype: str | None) -> RunMemory:
    raise TraceError("the memory of a saved program is not predicted; plan for the module it was made of")


def _program_inputs(program: Program, inputs: Inputs | None) -> Shapes:
    if inputs is None:
        return program.shapes()
    shapes, dtypes = parsed(inputs)
    names = program.inputs
    if len(shapes) != len(names):
        raise InputError(f"the program takes {len(names)} inputs ({', '.join(names)}), {len(shapes)} given")
    for name, own, given in zip(names, program.dtypes, dtypes, strict=True):
        if given is not None and given != own:
            raise InputError(f"input {name} is {own} in the program, {given} given")
    return shapes


class _Tracer:
    """Traces one net at several sizes, each at most once.

    lower: input shapes -> its graph at these. in_type: the tracer of the same net in another floating type, by its
    name.
    """

    def __init__(
        self,
        lower: Callable[[Shapes], Graph],
        run_memory: MemoryAt,
        runnable: Callable[[Shapes], Runnable],
        in_type: Callable[[str], _Tracer] | None = None,
    ) -> None:
        self._lower, self._in_type, self._carried = lower, in_type, False
        self._run_memory = lru_cache(maxsize=None)(_told("weighing a run at", run_memory))
        self.runnable = lru_cache(maxsize=PROGRAMS_KEPT)(runnable)
        self._failed: dict[Shapes, TraceError] = {}
        self._whole: tuple[Shapes, Propagation, Shapes] | None = None  # of a first part: the whole, and where verified
        self._keep(self._graph)
        self.names = lru_cache(maxsize=TRACES_KEPT)(lambda at: node_names(self.graph(at)))

    def _keep(self, graph: Callable[[Shapes], Graph]) -> None:
        self.graph = lru_cache(maxsize=TRACES_KEPT)(graph)
        self.plain = lru_cache(maxsize=TRACES_KEPT)(self._plain)
        self.verified = lru_cache(maxsize=TRACES_KEPT)(self._verified)

    def variants(self, shapes: Shapes, *, alone: bool = False) -> tuple[Variants, Shapes | None]:
        """The net at this size and access to other sizes, with the shapes at which it was verified. alone: at none."""
        net, verified_at = (self.plain(shapes), None) if alone else self.verified(shapes)

        def retrace(at: Shapes, verified: bool) -> Propagation:
            return self.verified(at)[0] if verified else self.plain(at)

        def cut(outputs: tuple[tuple[str, str], ...]) -> tuple[Variants, Shapes | None]:
            part = self._up_to(outputs, net.traced)
            if verified_at is not None:
                part._whole = shapes, net, verified_at
            return part.variants(shapes)

        found = Variants(
            net, retrace, moved=self.variants, cut=cut, run_memory=self._run_memory, runnable=self.runnable,
            carrying=lambda: self._carrying().variants(shapes, alone=alone)[0], graph=self.graph,
        )  # fmt: skip
        if self._in_type is not None:
            found = replace(found, typed=partial(self._typed, found, shapes))
        return found, verified_at

    def _typed(self, own: Variants, shapes: Shapes, name: str, calls: Runnable) -> Variants:
        """The net in another floating type. Raises TraceError where it does not run in it.

        calls: those in its own type; where the calls in the other type are the same, the net holds as it is.
        """
        assert self._in_type is not None
        tracer = self._in_type(name)
        there = tracer.runnable(shapes)
        if not there.resamples and [(n, c.target) for n, c in there.calls.items()] == [
            (n, c.target) for n, c in calls.calls.items()
        ]:
            return replace(own, runnable=tracer.runnable)
        return tracer.variants(shapes)[0]

    def _carrying(self) -> _Tracer:
        """The tracer of the same net, followed by how far ahead it reads; it uses the same traces."""
        part = copy.copy(self)
        part._carried = True
        part._keep(self.graph)
        return part

    def _up_to(self, outputs: tuple[tuple[str, str], ...], like: Graph) -> _Tracer:
        """The tracer of the same net up to other outputs: it traces the whole, drops the rest and keeps all names."""
        part, whole = copy.copy(self), self.graph
        part._in_type = None  # it would be the whole net again

        def graph(shapes: Shapes) -> Graph:
            found = whole(shapes).up_to(outputs, like)
            if found is None:
                raise TraceError("the net runs other operators at this image size")
            return found

        part._keep(graph)
        return part

    def _graph(self, shapes: Shapes) -> Graph:
        if shapes in self._failed:
            raise self._failed[shapes]
        at_stage(f"tracing at {shapes_text(shapes)}")
        try:
            graph = self._lower(shapes)
        except TraceError as error:
            self._failed[shapes] = TraceError(f"at input {shapes_text(shapes)}: {error}")
            raise self._failed[shapes] from error
        refuse_unbatched(graph)
        return graph

    def _plain(self, shapes: Shapes) -> Propagation:
        """The net as it is at this size, whatever it does at others."""
        graph = self.graph(shapes)
        at_stage(f"following what is read at {shapes_text(shapes)}")
        with gc_paused():
            return propagate(graph, names=self.names(shapes), carried=self._carried)

    def _verified(self, shapes: Shapes) -> tuple[Propagation, Shapes | None]:
        """The net at this size, with obstacles wherever another size differs, and the shapes of that size."""
        known = self._whole is not None and self._whole[0] == shapes and not self._carried
        whole = self._whole[1:] if self._whole is not None and known else None
        return OtherSizes(self.plain, self.graph, whole, carried=self._carried).settled(self.plain(shapes))
