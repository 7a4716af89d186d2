"""A call on a slab, as its family asks for it (see ops/slab.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..algebra.index_map import Span
from ..algebra.reshape import Factoring
from ..errors import OverlapcalcError
from ..ops import Call, find
from ..ops.graph import Constant, Data, Node
from ..ops.place import At, place_of
from ..ops.positions import Rounding, double, single
from ..ops.slab import Phase, Windows, run_of
from ..propagate.values import Propagation, TensorReads
from ..trace.runnable import Constants, Fixed, Invocation

Region = Mapping[str, Span]


Gathering = Sequence[tuple[Tensor, "Tensor | None"]]
"""Per tap, which sample each output takes and with what weight; None where all are 1."""


class NoSlabError(OverlapcalcError):
    """An operator for which nothing says how it runs on a slab."""


@dataclass(frozen=True)
class SlabTensor:
    """A tensor that holds a region of a node's output; `region` has all its axes."""

    tensor: Tensor
    region: Region


@dataclass(frozen=True)
class Frame:
    """What all calls of one run share.

    like: an input without samples, for its type and device. poison: what stands for samples of the image that no slab
    holds, NaN say; None where it is an error to want one. taps: of resampling, kernels: of phases, each found once.
    """

    net: Propagation
    constants: Constants
    like: Tensor
    poison: float | None
    taps: dict[Any, Gathering] = field(default_factory=dict, repr=False)
    kernels: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def value(self, node: str) -> TensorReads:
        return self.net.values[node]


class SlabCall:
    """See ops/slab.py."""

    def __init__(
        self,
        frame: Frame,
        node: Node,
        invocation: Invocation | None,
        region: Region,
        operands: Mapping[str, SlabTensor],
    ) -> None:
        self.frame, self.node, self.invocation, self.region = frame, node, invocation, region
        self._operands = operands
        self.layout = frame.value(node.name).layout
        self.call = Call(node, tuple(_dims(frame.value(name).layout) for name in node.operands))

    # ---- what families ask for ----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return extents(self.layout, self.region)

    def span(self, dim: int) -> Span | None:
        places = self.layout.places(dim)
        label = self.layout.labels[places[0]] if len(places) == 1 else ""
        return self.region.get(label)

    def fetch(self, operand: int = 0, spans: Mapping[int, Span] | None = None, *, fill: float | str = 0.0) -> Tensor:
        name = self.node.operands[operand]
        held, layout = self._held(name), self.frame.value(name).layout
        asked = {_label(layout, dim): span for dim, span in (spans or {}).items()}
        parts = held.tensor.reshape([_extent(layout, i, held.region) for i in range(len(layout.parts))])
        region = dict(held.region)
        for i, label in enumerate(layout.labels):
            if label in region and label in self.region:
                read = self._read(name, label)
                region[label] = asked.get(label, read)
                parts = self._along(parts, i, held.region[label], region[label], read, layout.sizes[i], fill)
        return parts.reshape(extents(layout, region))

    def nothing(self, operand: int, dim: int) -> Tensor:
        return self.fetch(operand).narrow(dim, 0, 0)

    def constant(self, argument: str, item: int | None = None, spans: Mapping[int, Span] | None = None) -> Tensor:
        assert self.invocation is not None
        template = self.invocation.values[argument]
        value: Tensor = self.frame.constants.value((template if item is None else template[item]).node)
        for d, span in (spans or {}).items():
            value = value.narrow(d, span.start, span.length)
        n = len(self.layout.widths)
        return self._sliced(value, {s: n - value.dim() + s for s in range(value.dim()) if s not in (spans or {})})

    def is_whole(self, operand: int, dim: int) -> bool:
        name = self.node.operands[operand]
        layout = self.frame.value(name).layout
        label, size = _label(layout, dim), _dims(layout)[dim]
        held = self._held(name).region.get(label)
        out = self.frame.net.size(self.node.name, label)
        return held == Span(0, size) and out is not None and self.region.get(label) == Span(0, out)

    def begins(self, operand: int, dim: int) -> int:
        name = self.node.operands[operand]
        return self._read(name, _label(self.frame.value(name).layout, dim)).start

    def run(self, /, **changes: Any) -> Tensor:
        if self.invocation is None:
            raise self.none("is a step of another operator")
        values = {}
        taken = iter(range(len(self.node.operands)))
        for name, template in self.invocation.values.items():
            values[name] = self._filled((name, None), self.node.args.get(name), template, taken, name in changes)
        if values.get("device") is not None:
            values["device"] = self.frame.constants.device
        return self.invocation({**values, **changes})

    def typed(self, x: Tensor) -> Tensor:
        assert self.invocation is not None
        traced, wanted = self.frame.constants.runnable.types, self.invocation.dtype
        own = wanted in traced and wanted.is_floating_point and self.frame.like.is_floating_point()
        return x.to(self.frame.like.dtype if own else wanted)  # a net may run in another type than it was traced in

    def by_phases(self, x: Tensor, begins: Sequence[int], phases: Sequence[Sequence[Phase]]) -> Tensor:
        n, first = len(phases), x.dim() - len(phases)
        strides = [len(dim) for dim in phases]
        starts, counts = [], []  # the periods that the region touches
        for d, s in enumerate(strides, first):
            span = self.span(d)
            assert span is not None
            starts.append(span.start // s)
            counts.append(-(-span.stop // s) - span.start // s)
        made: Tensor | None = None
        for rs in product(*map(range, strides)):
            part, chosen = x, [dim[r] for dim, r in zip(phases, rs, strict=True)]
            for i, phase in enumerate(chosen):
                reach = phase.dilation * (len(phase.taps) - 1)
                part = part.narrow(first + i, starts[i] + phase.begins - begins[i], counts[i] + reach)
            y = self._convolved(part, rs, chosen)
            if made is None:
                made = y.new_empty(*y.shape[:first], *(c * s for c, s in zip(counts, strides, strict=True)))
            every = tuple(slice(r, None, s) for r, s in zip(rs, strides, strict=True))
            made[(slice(None),) * first + every] = y
            del y
        assert made is not None
        for i in range(n):
            made = self.kept(made, first + i, starts[i] * strides[i])
        return made

    def kept(self, result: Tensor, dim: int, begins: int) -> Tensor:
        span = self.span(dim)
        assert span is not None
        return result.narrow(dim, span.start - begins, span.length)

    def rounding(self, x: Tensor) -> Rounding:
        return double if x.dtype == torch.float64 else single

    def resampled(self, x: Tensor, dim: int, begins: int, taps: Callable[[int], Mapping[int, float]]) -> Tensor:
        span = self.span(dim)
        if span is None:
            raise self.none("resamples a dimension that is no axis")
        key = self.node.name, dim, span, begins, x.dtype
        if key not in self.frame.taps:
            self.frame.taps[key] = _gathering(taps, span, begins)
        y: Tensor | None = None
        for index, weights in self.frame.taps[key]:
            one = x.index_select(dim, index.to(x.device))
            if weights is not None:
                if not x.is_floating_point():
                    raise self.none("weighs whole numbers, in a way of its own")
                one = one * weights.to(x).reshape([-1 if d == dim else 1 for d in range(x.dim())])
            y = one if y is None else y + one
        assert y is not None
        return y

    def in_windows(self, positions: Tensor, windows: Windows) -> Tensor:
        places = _places(windows)
        table = positions.new_zeros(max(places) + 1)
        table[places] = torch.arange(len(places), device=table.device)
        return table.take(positions - _corners(windows, positions))

    def in_rows(self, places: Tensor, windows: Windows) -> Tensor:
        places = places.to(torch.int64)  # what stands for what nothing is read of may be no number of a place
        return torch.tensor(_places(windows), device=places.device).take(places) + _corners(windows, places)

    def every(self, x: Tensor, dim: int, step: int) -> Tensor:
        return x[(slice(None),) * dim + (slice(None, None, step),)]

    def scaled(self, x: Tensor, dim: int, factors: Sequence[float]) -> Tensor:
        column = torch.tensor(factors, dtype=x.dtype, device=x.device)
        return x * column.reshape([-1 if d == dim else 1 for d in range(x.dim())])

    def none(self, why: str) -> NoSlabError:
        where = self.frame.net.names.get(self.node.name) or self.node.layer or self.node.name
        return NoSlabError(
            f"{where}: {self.node.called} {why}, so it cannot be run on a slab; the schedule crop runs the net as it is"
        )

    # ---- inside -------------------------------------------------------------------------------------------

    def _convolved(self, x: Tensor, rs: tuple[int, ...], chosen: Sequence[Phase]) -> Tensor:
        """One phase of a transposed convolution."""
        assert self.invocation is not None
        n, groups = len(chosen), int(self.call["groups"] or 1)
        weight, bias = (self._own(self.invocation.values[name]) for name in ("weight", "bias"))
        key = self.node.name, rs
        if key not in self.frame.kernels:
            self.frame.kernels[key] = _phase_kernel(weight, [phase.taps for phase in chosen], groups)
        kernel, dilation = self.frame.kernels[key], [phase.dilation for phase in chosen]
        found: Tensor = torch.ops.aten.convolution.default(
            x, kernel, bias, [1] * n, [0] * n, dilation, False, [0] * n, groups
        )
        return found

    def _own(self, template: Any) -> Tensor | None:
        """An argument that is a constant, whole."""
        return None if template is None else self.frame.constants.value(template.node)

    def _read(self, operand: str, label: str) -> Span:
        """The hull of what the region reads of an operand along an axis, beyond its ends too."""
        found: Span | None = None
        for path in self.frame.value(self.node.name).paths:
            if path.operand != operand:
                continue
            if label in path.blocked:  # an axis that is not cut
                return self._held(operand).region[label]
            if label not in path.steps:
                continue
            hull = path.steps[label].reads.reads(*self.region[label])
            if hull is not None:
                found = hull if found is None else Span(min(found.start, hull.start), max(found.stop, hull.stop))
        if found is None:  # nothing: any sample will do
            start = self._held(operand).region[label].start
            return Span(start, start + 1)
        return found

    def _held(self, operand: str) -> SlabTensor:
        """What there is of an operand. One of which nothing is read at all stands far beyond the image."""
        held = self._operands.get(operand)
        if held is not None:
            return held
        layout = self.frame.value(operand).layout
        region = {part.label: Span(FAR, FAR + 1) for part in layout.parts if part.is_axis}
        nothing = self.frame.like.sum()  # zero, and data
        return SlabTensor(nothing.expand(extents(layout, region)), region)

    def _along(self, x: Tensor, d: int, has: Span, wanted: Span, read: Span, size: int, fill: float | str) -> Tensor:
        """`x`, which holds [has) along d, as [wanted): cut, filled beyond the image, NaN where it holds nothing."""
        if wanted == has:
            return x
        if has.start == FAR:  # none of it is read along some axis: what is made here reads only the fill
            made = _full(x, d, wanted.length, 0.0 if isinstance(fill, str) else fill)
            return torch.cat([x.narrow(d, 0, 0), made], d)
        pieces, at = [], wanted.start
        while at < wanted.stop:
            if at < 0 or at >= size:
                stop = min(wanted.stop, 0) if at < 0 else wanted.stop
                if isinstance(fill, str):
                    pieces.append(self._mirrored(x, d, has, [_folded(i, size, fill) for i in range(at, stop)]))
                else:
                    pieces.append(_full(x, d, stop - at, fill))
            elif has.start <= at < has.stop:
                stop = min(wanted.stop, has.stop)
                pieces.append(x.narrow(d, at - has.start, stop - at))
            else:
                edges = (0, size, has.start, has.stop, read.start, read.stop, wanted.stop)
                stop = min(edge for edge in edges if edge > at)
                pieces.append(_full(x, d, stop - at, self._missing(x, read, at)))
            at = stop
        if len(pieces) == 1 and not has.start <= wanted.start < has.stop:
            pieces.insert(0, x.narrow(d, 0, 0))  # what is made of padding alone counts as data too: its twin must know
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, d)

    def _mirrored(self, x: Tensor, d: int, has: Span, places: list[int]) -> Tensor:
        """Samples of the image that stand beyond its end, one by one."""
        inside = [i in has for i in places]
        index = torch.tensor([i - has.start if here else 0 for i, here in zip(places, inside, strict=True)])
        y = x.index_select(d, index.to(x.device))
        for i, here in enumerate(inside):
            if not here:
                y.narrow(d, i, 1).fill_(self._missing(x, Span(places[i], places[i] + 1), places[i]))
        return y

    def _missing(self, x: Tensor, read: Span, position: int) -> float:
        """What stands for a sample of the image that the slab does not hold; 0 where it is not read at all."""
        if position not in read:
            return 0.0
        poison = self.frame.poison
        if poison is None:
            raise AssertionError(f"{self.node.name} reads {position}, which its operand's slab does not hold")
        if x.is_floating_point() or x.is_complex():
            return poison
        if poison != poison:
            raise self.none("reads whole numbers across an artificial border")
        return int(poison > 0)

    def _filled(self, at: At, argument: Any, template: Any, taken: Any, changed: bool) -> Any:
        if isinstance(argument, Data):
            operand = next(taken)
            return None if changed else self.fetch(operand)
        if isinstance(template, Fixed):
            if changed:
                return None
            value = self.frame.constants.value(template.node)
            placed = isinstance(argument, Constant) and isinstance(value, Tensor)
            return self._laid(value, at) if placed else value
        if isinstance(template, (list, tuple)) and isinstance(argument, (list, tuple)):
            items = enumerate(zip(argument, template, strict=True))
            return [self._filled((at[0], i), a, t, taken, changed) for i, (a, t) in items]
        return template

    def _laid(self, value: Tensor, at: At) -> Tensor:
        """The region of a constant operand, by where its rule says that it lies."""
        place = place_of(self.frame.value(self.node.name).law, at)
        return value if place is None else self._sliced(value, dict(place.targets))

    def _sliced(self, value: Tensor, targets: Mapping[int, int]) -> Tensor:
        """A constant whose dimension s lies along dimension `targets[s]` of the output: its region."""
        for s, d in targets.items():
            places = self.layout.places(d)
            cut = [i for i in places if self.layout.labels[i] in self.region]
            whole = prod(self.layout.sizes[i] for i in places)
            if not cut or value.shape[s] == 1:
                continue
            if value.shape[s] != whole:
                raise self.none("has a constant that is longer or shorter than its axis")
            shape = value.shape
            parts = value.reshape(*shape[:s], *(self.layout.sizes[i] for i in places), *shape[s + 1 :])
            for k, i in enumerate(places):
                if i in cut:
                    span = self.region[self.layout.labels[i]]
                    parts = parts.narrow(s + k, span.start, span.length)
            value = parts.reshape(*shape[:s], prod(parts.shape[s : s + len(places)]), *shape[s + 1 :])
        return value

    def plain(self) -> Tensor:
        """The operator as it stands, where it reads index by index along every axis."""
        rule = find(self.node.op)
        if rule is not None and rule.sizes:
            raise self.none("has arguments that are sizes")
        value = self.frame.value(self.node.name)
        for path in value.paths:
            for label, step in path.steps.items():
                if label in self.region and not _is_identity(step.reads):
                    raise self.none(f"moves samples along {label}")
        return self.run()

    def result(self) -> Tensor:
        """The region of the output. Raises NoSlabError."""
        function = run_of(self.node.op)
        try:
            found: Tensor = self.plain() if function is None else function(self)
        except (torch.OutOfMemoryError, MemoryError, OverlapcalcError, AssertionError):
            raise
        except Exception as error:
            raise self.none(
                f"fails on a part of the image ({(str(error).splitlines() or [type(error).__name__])[0]})"
            ) from error
        if tuple(found.shape) != self.shape:
            raise self.none(f"gives {tuple(found.shape)} on a part of the image where {self.shape} is wanted")
        return found


FAR = 1 << 40
"""A position beyond every image."""


def extents(layout: Factoring, region: Region) -> tuple[int, ...]:
    """The sizes of the dimensions of a region of a tensor."""
    return tuple(prod(_extent(layout, i, region) for i in layout.places(d)) for d in range(len(layout.widths)))


def _extent(layout: Factoring, part: int, region: Region) -> int:
    span = region.get(layout.labels[part])
    return layout.sizes[part] if span is None else span.length


def _gathering(taps: Callable[[int], Mapping[int, float]], span: Span, begins: int) -> Gathering:
    found = [list(taps(o).items()) for o in range(*span)]
    out = []
    for t in range(max(map(len, found))):
        # where an output has fewer taps, its first one again with no weight: finite where the others are
        chosen = [f[t] if t < len(f) else (f[0][0], 0.0) for f in found]
        index = torch.tensor([i - begins for i, _ in chosen])
        plain = all(weight == 1 for _, weight in chosen)
        out.append((index, None if plain else torch.tensor([w for _, w in chosen], dtype=torch.float64)))
    return out


def _phase_kernel(weight: Tensor | None, taps: Sequence[tuple[int, ...]], groups: int) -> Tensor:
    """Of a transposed convolution's weight, (in, out / groups, ...), these taps as a convolution has them."""
    assert weight is not None
    for d, chosen in enumerate(taps, 2):
        weight = weight.index_select(d, torch.tensor(chosen, device=weight.device))
    weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
    return weight.reshape(-1, *weight.shape[2:])


def _rows(sizes: Sequence[int]) -> list[int]:
    """How far apart neighbours along each dimension stand, row by row."""
    return [prod(sizes[i + 1 :]) for i in range(len(sizes))]


def _places(windows: Windows) -> list[int]:
    """Where the samples of a window stand from its first one on."""
    rows = _rows(windows.sizes)
    every = product(*(range(k) for k in windows.kernels))
    return [sum(t * row for t, row in zip(at, rows, strict=True)) for at in every]


def _corners(windows: Windows, like: Tensor) -> Tensor:
    """Where the first sample of each window stands."""
    found, n = torch.zeros((), dtype=torch.int64, device=like.device), len(windows.sizes)
    for i, row in enumerate(_rows(windows.sizes)):
        count = like.shape[like.dim() - n + i]
        along = torch.arange(count, device=like.device) * windows.strides[i] + windows.begins[i]
        found = found + (along * row).reshape([-1 if j == i else 1 for j in range(n)])
    return found


def _dims(layout: Factoring) -> tuple[int, ...]:
    return extents(layout, {})


def _label(layout: Factoring, dim: int) -> str:
    places = layout.places(dim)
    return layout.labels[places[0]] if len(places) == 1 else ""


def _full(x: Tensor, d: int, length: int, fill: float) -> Tensor:
    shape = list(x.shape)
    shape[d] = length
    return x.new_full(shape, fill)


def _folded(i: int, size: int, how: str) -> int:
    """The sample that stands at position i beyond the ends of `[0, size)`."""
    if how == "replicate":
        return min(max(i, 0), size - 1)
    i = -i if i < 0 else i
    return 2 * (size - 1) - i if i >= size else i


def _is_identity(reads: Any) -> bool:
    return bool(reads.period == 1 and reads.advance == 1 and reads.phases[0].parts == ((0, 1),))
