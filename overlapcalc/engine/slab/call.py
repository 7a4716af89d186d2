"""A call on a slab, as its family uses it (see ops/slab.py)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ...algebra.index_map import IndexMap
from ...algebra.spans import Span
from ...errors import OverlapcalcError
from ...ops import find
from ...ops.parts import STATISTICS, reduction_of
from ...ops.positions import Rounding, double, single
from ...ops.scans import CARRIED, scan_of
from ...ops.slab import Phase, Windows, run_of
from .arguments import Arguments
from .frame import extents
from .masked import stays
from .phases import phase_kernel
from .taps import gathering
from .windows import corners, places_in

NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"
"""What torch says, in a plain RuntimeError, where the CPU has too little memory."""


FEW_PIECES = 3
"""So many equal pieces show what all of them hold."""


class SlabCall(Arguments):
    """See ops/slab.py. carried: for a scan, the state before the region, and afterwards the state behind it."""

    carried: Any = None

    # ---- what families use --------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return extents(self.layout, self.region)

    def span(self, dim: int) -> Span | None:
        places = self.layout.places(dim)
        label = self.layout.labels[places[0]] if len(places) == 1 else ""
        return self.region.get(label)

    def constant(self, argument: str, item: int | None = None, spans: Mapping[int, Span] | None = None) -> Tensor:
        assert self.invocation is not None
        template = self.invocation.values[argument]
        value: Tensor = self.frame.constants.value((template if item is None else template[item]).node)
        for d, span in (spans or {}).items():
            value = value.narrow(d, span.start, span.length)
        n = len(self.layout.widths)
        return self._sliced(value, {s: n - value.dim() + s for s in range(value.dim()) if s not in (spans or {})})

    def placed(self, argument: str) -> Tensor | None:
        assert self.invocation is not None
        template = self.invocation.values.get(argument)
        value = None if template is None else self.frame.constants.value(template.node)
        return None if value is None else self._laid(value, (argument, None))

    def run(self, /, **changes: Any) -> Tensor:
        return self._run(self.invocation, changes)

    def run_all(self, /, **changes: Any) -> tuple[Tensor, ...]:
        every = None if self.invocation is None else replace(self.invocation, result=None)
        found: Any = self._run(every, changes)
        return tuple(found)

    def typed(self, x: Tensor) -> Tensor:
        assert self.invocation is not None
        traced, wanted = self.frame.constants.runnable.types, self.invocation.dtype
        real, like = wanted.to_real() if wanted.is_complex else wanted, self.frame.like
        if real in traced and real.is_floating_point and like.is_floating_point():
            # a net may run in another type than it was traced in
            wanted = like.dtype.to_complex() if wanted.is_complex else like.dtype
        return x.to(wanted)

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
        span = self.span(dim) or Span(0, self.call.shape[dim])
        key = self.node.name, dim, span, begins, x.dtype
        if key not in self.frame.taps:
            self.frame.taps[key] = gathering(taps, span, begins)
        y: Tensor | None = None
        for places, weights in self.frame.taps[key]:
            one = places.of(x, dim)
            if weights is not None:
                if not x.is_floating_point():
                    raise self.none("weighs whole numbers, in a way of its own")
                one = one * weights.to(x).reshape([-1 if d == dim else 1 for d in range(x.dim())])
            y = one if y is None else y + one
        assert y is not None
        return y

    def over_windows(self, x: Tensor, dim: int, windows: Sequence[Span], begins: int, largest: bool) -> Tensor:
        parts = (x.narrow(dim, span.start - begins, span.length) for span in windows)
        return torch.cat([part.amax(dim, True) if largest else part.mean(dim, True) for part in parts], dim)

    def in_windows(self, positions: Tensor, windows: Windows) -> Tensor:
        places = places_in(windows)
        table = positions.new_zeros(max(places) + 1)
        table[places] = torch.arange(len(places), device=table.device)
        return table.take(positions - corners(windows, positions))

    def in_rows(self, places: Tensor, windows: Windows) -> Tensor:
        places = places.to(torch.int64)  # poison values are not valid offsets
        return torch.tensor(places_in(windows), device=places.device).take(places) + corners(windows, places)

    def positions(self, dim: int) -> Tensor:
        return self._sliced(self.counted(self.call.shape[dim]), {0: dim})

    def scaled_and_shifted(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return torch.addcmul(shift, x, scale, out=x)

    def pieces(self, size: int, step: int) -> Iterator[tuple[int, int]]:
        begins = range(0, size, step)
        if self.frame.shapes_only and len(begins) > FEW_PIECES:
            begins = range(0, FEW_PIECES * step, step)
        return ((i, min(step, size - i)) for i in begins)

    def counted(self, size: int) -> Tensor:
        return torch.arange(size, device=self.frame.constants.device)

    def joined(self, pieces: Sequence[Tensor], dim: int) -> Tensor:
        return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim)

    def every(self, x: Tensor, dim: int, step: int) -> Tensor:
        return x[(slice(None),) * dim + (slice(None, None, step),)]

    def scaled(self, x: Tensor, dim: int, factors: Sequence[float]) -> Tensor:
        column = torch.tensor(factors, dtype=x.dtype, device=x.device)
        return x * column.reshape([-1 if d == dim else 1 for d in range(x.dim())])

    # ---- inside -------------------------------------------------------------------------------------------

    def _convolved(self, x: Tensor, rs: tuple[int, ...], chosen: Sequence[Phase]) -> Tensor:
        """One phase of a transposed convolution."""
        assert self.invocation is not None
        n, groups = len(chosen), int(self.call["groups"] or 1)
        weight, bias = (self._own(self.invocation.values[name]) for name in ("weight", "bias"))
        key = self.node.name, rs
        if key not in self.frame.kernels:
            self.frame.kernels[key] = phase_kernel(weight, [phase.taps for phase in chosen], groups)
        kernel, dilation = self.frame.kernels[key], [phase.dilation for phase in chosen]
        found: Tensor = torch.ops.aten.convolution.default(
            x, kernel, bias, [1] * n, [0] * n, dilation, False, [0] * n, groups
        )
        return found

    def plain(self) -> Tensor:
        """The operator as it is, where it reads index by index along every axis."""
        rule = find(self.node.op)
        if rule is not None and rule.sizes:
            raise self.none("has arguments that are sizes")
        value = self.frame.value(self.node.name)
        masked = set[tuple[str, str]]()
        for path in value.paths:
            for label, along in path.axes.items():
                if label in self.region and along.reads not in (IndexMap.identity(), self._spread(path.operand, label)):
                    if not stays(along.reads):
                        raise self.none(f"moves samples along {label}")
                    masked.add((path.operand, label))
        changes = self._masked(masked) if masked else {}
        return self._run(self.invocation, changes, over=not changes)

    def _masked(self, masked: Collection[tuple[str, str]]) -> dict[str, Tensor]:
        """The operands by name, with the samples that a mask zeroes in their places, whatever they are."""
        found = {}
        for argument in self.node.args:
            k = self.call.position(argument)
            if k is None:
                continue
            name = self.node.operands[k]
            layout = self.frame.value(name).layout
            labels = {label: d for d in range(len(layout.widths)) for label in layout.axes_of(d)}
            spans = {labels[label]: self.region[label] for operand, label in masked if operand == name}
            found[argument] = self.fetch(k, spans)
        return found

    def _computed(self) -> Tensor:
        if self.call[CARRIED]:
            scan = scan_of(self.node.op)
            assert scan is not None
            made: Tensor
            made, self.carried = scan.run(self, self.carried)
            return made
        given = self.call[STATISTICS]
        if given is not None:
            how = reduction_of(self.node.op)
            assert how is not None
            assert how.apply is not None
            found: Tensor = how.apply(self, self._operands[given.node].tensor)
            return found
        function = run_of(self.node.op)
        found = self.plain() if function is None else function(self)
        return found

    def _spread(self, operand: str, label: str) -> IndexMap | None:
        """What is read along an axis on which an operand has a single sample: that, everywhere."""
        out = self.frame.net.size(self.node.name, label)
        return IndexMap.table([[0]] * out) if out and self.frame.net.size(operand, label) == 1 else None

    def result(self) -> Tensor:
        """The region of the output. Raises NoSlabError."""
        try:
            found = self._computed()
        except (torch.OutOfMemoryError, MemoryError, OverlapcalcError, AssertionError):
            raise
        except Exception as error:
            if NO_MEMORY in str(error):
                raise
            raise self.none(
                f"fails on a part of the image ({(str(error).splitlines() or [type(error).__name__])[0]})"
            ) from error
        if tuple(found.shape) != self.shape:
            raise self.none(f"gives {tuple(found.shape)} on a part of the image where {self.shape} is wanted")
        return found
