"""The public entry: a model and its input shapes -> an Analysis."""

from __future__ import annotations

import contextlib
import copy
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn

from .analysis import Analysis
from .errors import InputError, TraceError
from .graph import Graph, spatial_axes
from .lattice import Lattice
from .named import Named
from .names import node_names
from .propagator import propagate
from .reach import Propagation
from .sizecheck import Differing, differences, views_of
from .source import Source
from .trace import Shapes, trace
from .trace.stand_in import stand_in

Inputs = Sequence[int] | torch.Tensor | Sequence[Sequence[int]] | Sequence[torch.Tensor]
LARGER = (1, 2, 4, 8, 16, 32, 64)
"""How many steps larger the second trace is; the next one where the net does not run at the first."""
PERIODS = (13440, 960, 64, 8)
"""How many steps larger a net that differs one step larger is traced, to see whether it is periodic after all."""
MOST_SAMPLES = 1 << 24
"""No larger trace than this: constants computed from the size are evaluated for real."""
TRACES_KEPT = 32
MOST_SIGHTS = 3
"""How many times a larger image may show that the views of a net are others than its own size suggests."""


def analyze(model: nn.Module, inputs: Inputs, *, axes: Sequence[str] | str | None = None) -> Analysis:
    """What `model` needs of its inputs, exactly, on each side of each axis.

    inputs: a shape such as (1, 3, 256, 256), a list of shapes, or example tensors (only shape and type are used);
    batch first, then channels, then one to three spatial axes. axes: the axes asked for ("W", or ["H", "W"]), all
    when absent. The model is traced in eval mode on a copy; its mode and state stay as they are. No forward pass is
    run and no weight is read.

    Raises InputError, TraceError, UnknownOperatorError. A net with obstacles raises nothing: it is described.
    """
    shapes, dtypes = _described(model, inputs)
    wanted = _axes(axes, shapes)
    tracer = _Tracer(model, dtypes)
    source, verified_at = tracer.source(shapes)
    graph = source.net.graph
    return Analysis(
        Named({name: graph[name].shape for name in graph.inputs}),
        Named({shown: graph[node].shape for shown, node in graph.outputs}),
        wanted,
        verified_at is not None,
        verified_at,
        source,
    )


class Comparison(NamedTuple):
    """A net against itself at a larger size: its shapes there, what differs (None: it does not run there), and the net
    with its views as the larger image shows them."""

    larger: Shapes
    found: Differing | None
    net: Propagation


class _Tracer:
    """Traces one model at several sizes, each at most once."""

    def __init__(self, model: nn.Module, dtypes: tuple[torch.dtype, ...]) -> None:
        try:
            self._model = stand_in(model)
        except Exception as error:  # deepcopy raises whatever a module's own __deepcopy__ raises
            raise TraceError(
                f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); overlapcalc traces a "
                "copy, so that your model stays as it is. Analyse a submodule, or give the class a __deepcopy__"
            ) from error
        self._dtypes = dtypes
        self._original = weakref.ref(model)
        self._weights = frozenset(p.data_ptr() for p in model.parameters() if p.numel())
        self._failed: dict[Shapes, TraceError] = {}
        self._keep(self._graph)
        self.names = lru_cache(maxsize=TRACES_KEPT)(lambda at: node_names(self.graph(at)))

    def _keep(self, graph: Callable[[Shapes], Graph]) -> None:
        self.graph = lru_cache(maxsize=TRACES_KEPT)(graph)
        self.plain = lru_cache(maxsize=TRACES_KEPT)(self._plain)
        self.verified = lru_cache(maxsize=TRACES_KEPT)(self._verified)

    def source(self, shapes: Shapes) -> tuple[Source, Shapes | None]:
        """The net at this size and the way to others, with the shapes at which it was verified."""
        net, verified_at = self.verified(shapes)

        def retrace(at: Shapes, verified: bool) -> Propagation:
            return self.verified(at)[0] if verified else self.plain(at)

        def cut(outputs: tuple[tuple[str, str], ...]) -> tuple[Source, Shapes | None]:
            return self._up_to(outputs, net.traced).source(shapes)

        return Source(net, retrace, cut), verified_at

    def _up_to(self, outputs: tuple[tuple[str, str], ...], like: Graph) -> _Tracer:
        """The tracer of the same net up to other outputs: the whole is traced, the rest dropped, names kept."""
        part, whole = copy.copy(self), self.graph

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
        with _evaluating(self._original()):
            try:
                return trace(self._model, shapes, self._dtypes, self._weights)
            except TraceError as error:
                at = ", ".join("x".join(map(str, shape)) for shape in shapes)
                self._failed[shapes] = TraceError(f"at input {at}: {error}")
                raise self._failed[shapes] from error

    def _plain(self, shapes: Shapes) -> Propagation:
        """The net as it is at this size, whatever it does at others."""
        return propagate(self.graph(shapes), names=self.names(shapes))

    def _verified(self, shapes: Shapes) -> tuple[Propagation, Shapes | None]:
        """The net at this size with obstacles wherever a larger trace differs, and the shapes of that trace.

        One step larger is enough for most nets. Where the net does not run there, 2, 4 and 8 steps are tried. Where
        it runs but differs, it may still mean the same every so many steps (it pads to a multiple of 8): then the
        grid is that much coarser, and no obstacle.
        """
        return self._settled(self.plain(shapes), MOST_SIGHTS)

    def _settled(self, net: Propagation, sights: int) -> tuple[Propagation, Shapes | None]:
        axes = sorted({axis for _, axis in net.slots})
        again = partial(propagate, net.traced, names=net.names, views=views_of(net, net.traced))
        for steps in LARGER:
            times = dict.fromkeys(axes, steps)
            larger, found, seen = self._compared(net, _skewed(times))
            if seen is not net and sights:
                return self._settled(seen, sights - 1)
            if found is None or (steps > 1 and not found and not self._repeats(net, times)):
                continue
            if found:
                differing = {axis for at in found.values() for axis in at}
                periodic = self._period(net, times, differing)
                if isinstance(periodic, Propagation) and sights:
                    return self._settled(periodic, sights - 1)
                if not isinstance(periodic, dict):
                    return again(differing=found), larger
                times = periodic
            if any(n > 1 for n in times.values()):
                net = again(coarser=times)
            return net, larger
        return again(sizes_verified=False), None

    def _compared(self, net: Propagation, times: Mapping[str, int]) -> Comparison:
        """The net against itself so many steps larger along each axis.

        If all that differs is how views are seen, the larger image shows them (see layout.View).
        """
        larger, moved = _grown(net, times)
        try:
            large = self.plain(larger)
        except TraceError:
            return Comparison(larger, None, net)
        found = differences(net, large, moved)
        views = views_of(large, net.traced) if found else {}
        if any(net.values[name].view != view for name, view in views.items()):
            seen = propagate(net.traced, names=net.names, views=views)
            there = _moved(seen, larger)
            if there is not None and not differences(seen, large, there):
                return Comparison(larger, {}, seen)
        return Comparison(larger, found, net)

    def _repeats(self, net: Propagation, times: Mapping[str, int]) -> bool:
        """Whether the net means the same once, twice and three times as many steps larger.

        Once is not enough: a branch on `width % 3 == 0` is the same branch at many sizes that are no multiples.
        """
        for k in (1, 2, 3):
            further = {axis: k * steps for axis, steps in times.items()}
            seen = [self._compared(net, grown) for grown in (_skewed(further), further)]
            if any(c.found != {} or c.net is not net for c in seen):
                return False
        return True

    def _unrolled(self, net: Propagation, times: Mapping[str, int]) -> bool:
        """Whether the net has the more operators the larger the image is: a loop over samples, never periodic."""
        counts = [len(net.graph.order)]
        for k in (1, 2):
            larger, _ = _grown(net, {axis: k * steps for axis, steps in _skewed(times).items()})
            try:
                counts.append(len(self.graph(larger).order))
            except TraceError:
                return False
        return counts[0] < counts[1] < counts[2]

    def _period(
        self, net: Propagation, times: Mapping[str, int], axes: set[str]
    ) -> dict[str, int] | Propagation | None:
        """The smallest numbers of steps along `axes` after which the net means the same, if there are any; or the net
        with its views seen otherwise, which has another grid."""
        if self._unrolled(net, times):
            return None
        for most in PERIODS:
            found = {**times, **dict.fromkeys(axes, most)}
            larger, _ = _grown(net, _skewed(found))
            if prod(prod(shape[2:]) for shape in larger) > MOST_SAMPLES:
                continue
            seen = [self._compared(net, grown) for grown in (_skewed(found), found)]
            if any(c.found != {} for c in seen):
                return None
            if seen[0].net is not net:
                return seen[0].net
            for prime in (2, 3, 5, 7):
                while all(found[a] % prime == 0 for a in axes):
                    fewer = {**found, **{a: found[a] // prime for a in axes}}
                    if not self._repeats(net, fewer):
                        break
                    found = fewer
            return found
        return None


def _skewed(times: Mapping[str, int]) -> dict[str, int]:
    """The second axis grows twice as much as the first, and so on: a net that looks at the difference or the ratio
    of two sides must not see the same again."""
    return {axis: steps * (1 + i) for i, (axis, steps) in enumerate(sorted(times.items()))}


@contextlib.contextmanager
def _evaluating(model: nn.Module | None) -> Iterator[None]:
    """The user's model in eval mode for a while: a closure in its copy may still call into it."""
    modules = list(model.modules()) if model is not None else []
    modes = [m.training for m in modules]
    try:
        for m in modules:
            m.training = False
        yield
    finally:
        for m, mode in zip(modules, modes, strict=True):
            m.training = mode


def _moved(net: Propagation, larger: Shapes) -> Mapping[str, Mapping[str, int]] | None:
    """How much longer each tensor gets when the inputs get these shapes; None where that is no whole step."""
    steps: dict[str, int] = {}
    for name, shape in zip(net.graph.inputs, larger, strict=True):
        for axis, n, m in zip(net.values[name].labels, net.graph[name].shape, shape, strict=True):
            if axis in net.values[name].rates:
                whole, rest = divmod(m - n, Lattice(net, axis).per_step(name))
                if rest or steps.setdefault(axis, whole) != whole:
                    return None
    grown, moved = _grown(net, steps)
    return moved if grown == larger else None


def _grown(net: Propagation, steps: Mapping[str, int]) -> tuple[Shapes, Mapping[str, Mapping[str, int]]]:
    """Input shapes so many steps larger along each axis, and how much longer that makes each tensor."""
    moved: dict[str, dict[str, int]] = {name: {} for name in net.values}
    for axis in steps:
        lattice = Lattice(net, axis)
        for name, value in net.values.items():
            if axis in value.rates:
                moved[name][axis] = steps[axis] * lattice.per_step(name)
    shapes = []
    for name in net.graph.inputs:
        labels = net.values[name].labels
        shapes.append(tuple(n + moved[name].get(a, 0) for n, a in zip(net.graph[name].shape, labels, strict=True)))
    return tuple(shapes), moved


# ---- the door -----------------------------------------------------------------------------------------------


def _described(model: Any, inputs: Any) -> tuple[Shapes, tuple[torch.dtype, ...]]:
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a torch.nn.Module, got {type(model).__name__}; give an instance, not a class")
    if isinstance(inputs, torch.Tensor):
        items: list[Any] = [inputs]
    elif isinstance(inputs, (list, tuple)) and inputs and all(_is_int(n) for n in inputs):
        items = [tuple(inputs)]
    elif isinstance(inputs, (list, tuple)) and inputs:
        items = list(inputs)
    else:
        raise InputError(f"inputs={inputs!r}: expected a shape such as (1, 3, 256, 256), a list of shapes, or tensors")
    shapes, dtypes = [], []
    default = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    for item in items:
        if isinstance(item, torch.Tensor):
            shapes.append(tuple(item.shape))
            dtypes.append(item.dtype)
        elif isinstance(item, (list, tuple)) and item and all(_is_int(n) and n >= 1 for n in item):
            shapes.append(tuple(int(n) for n in item))
            dtypes.append(default)
        else:
            raise InputError(f"input shape {item!r}: expected sizes of at least 1, such as (1, 3, 256, 256)")
        if len(shapes[-1]) > 5:
            raise InputError(f"input shape {shapes[-1]}: batch, channels and at most three spatial axes are understood")
    _check_count(model, len(shapes))
    return tuple(shapes), tuple(dtypes)


def _is_int(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool)


def _check_count(model: nn.Module, given: int) -> None:
    needed, most = forward_arity(model)
    if given < needed or (most is not None and given > most):
        wants = f"{needed}" if most == needed else f"{needed} to {most}" if most is not None else f"at least {needed}"
        raise InputError(
            f"{type(model).__name__}.forward takes {wants} input{'s' if wants != '1' else ''}, {given} given; "
            "give one shape per input tensor"
        )


def forward_arity(model: nn.Module) -> tuple[int, int | None]:
    """How many positional inputs the forward of a model needs, and takes at most (None: any number)."""
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return 1, None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return needed, None
    return needed, len(positional)


def _axes(axes: Sequence[str] | str | None, shapes: Shapes) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(a for s in shapes for a in spatial_axes(len(s))))
    if not known:
        raise InputError(f"input shape {shapes[0]} has no spatial axis; expected (N, C, ...) with one to three of them")
    if axes is None:
        return known
    if not isinstance(axes, (str, list, tuple, set, frozenset)):
        raise InputError(f"axes={axes!r}: expected names such as 'W' or ['H', 'W']")
    wanted = (axes,) if isinstance(axes, str) else tuple(axes)
    for axis in wanted:
        if axis not in known:
            raise InputError(f"axis {axis!r}: these inputs have {', '.join(known)}")
    return tuple(a for a in known if a in wanted)
