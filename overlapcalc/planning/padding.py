"""Images that are padded at their far end until the net takes them, and what is cut off the outputs afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from ..analysis.analysis import Analysis
from ..analysis.named import Named
from ..errors import Argument, InputError
from ..ops.graph import Shapes
from ..propagate.grid import Grid
from ..propagate.values import reads_between

Shape = tuple[int, ...]

SOURCES: Mapping[str, Callable[[int, int], int]] = {
    "replicate": lambda n, at: n - 1,
    "reflect": lambda n, at: 2 * (n - 1) - at,
    "circular": lambda n, at: at - n,
}
"""The sample of an image of length n that stands at a place beyond its end; for "constant" there is none."""


TIMES = (2, 3, 5)
"""An output grows with the image if it does where the image is so many times as long."""


class Growth(NamedTuple):
    """An output grows by `scale` samples per sample of an input."""

    input: str
    scale: Fraction


@dataclass(frozen=True)
class Padding:
    """How an image was made to fit: what was padded, and what is left of the outputs.

    mode: one of `options.MODES`. given: the shapes of the inputs as they come. padded: as the net gets them. made: the
    shapes of the outputs that the net makes of that. kept: what is returned of them. Of an output, as many samples are
    cut off as padding added, over the scale, rounded down. rounded: the axes of each output along which that was no
    whole number, so that what is kept is rounded up. own: the shapes of the outputs that the net gives on the images
    as they come; none where it does not run on them.

    >>> net = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 16, 3, padding=1))  # it takes multiples of 4
    >>> found = oc.plan(net, (1, 1, 64, 63), pad_to_fit="replicate").padding
    >>> found.padded["input"], found.kept["output"], found.rounded["output"]  # 63 / 4, rounded up
    ((1, 1, 64, 64), (1, 16, 16, 16), ('W',))
    """

    mode: str
    given: Named[Shape]
    padded: Named[Shape]
    made: Named[Shape]
    kept: Named[Shape]
    rounded: Named[tuple[str, ...]]
    own: Named[Shape] = field(default_factory=lambda: Named({}))

    @property
    def any(self) -> bool:
        """Whether anything is padded at all.

        >>> oc.plan(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 64, 63), pad_to_fit="reflect").padding.any
        False
        """
        return self.given != self.padded

    def __str__(self) -> str:
        if not self.any:
            return f"nothing is padded ({self.mode}): the size fits as it is"
        cut = _changes(self.made, self.kept) or "nothing"
        up = [f"{name} along {' and '.join(axes)}" for name, axes in self.rounded.items() if axes]
        own = {name: self.own.get(name, shape) for name, shape in self.kept.items()}
        apart = _changes(self.kept, own)
        other = f", and the net itself gives another size on the image: {apart}" if apart else ""
        cut += f" (rounded up: {', '.join(up)})" if up else ""
        return (
            f"padded at the far end ({self.mode}): {_changes(self.given, self.padded)}; cut afterwards: {cut}; the "
            "result is what the whole net gives on the padded image, cut, not what it would give on the image itself"
            f"{other}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "mode": self.mode,
            "any": self.any,
            "inputs": {n: {"given": list(s), "padded": list(self.padded[n])} for n, s in self.given.items()},
            "outputs": {
                n: {
                    "made": list(s),
                    "kept": list(self.kept[n]),
                    "rounded_up": list(self.rounded[n]),
                    "own": list(self.own[n]) if n in self.own else None,
                }
                for n, s in self.made.items()
            },
        }


Results = Callable[[str, int], Mapping[str, Shape] | None]
"""An axis, and how many times as long along it -> the shapes of the outputs; None where the net does not run."""


def padding_of(
    analysis: Analysis, given: Shapes, mode: str, results: Results, own: Named[Shape] | None = None
) -> Padding:
    """The padding of inputs of these shapes to those of the analysis. results: of the net on longer inputs. own: see
    `Padding`.

    Raises InputError where there is too little to pad with, or where nothing says how much of an output to cut.
    """
    padded = analysis.inputs
    named = Named(dict(zip(padded, given, strict=True)))
    for name, shape in named.items():
        axes = analysis.variants.net.traced[name].axes
        for axis, n, m in zip(axes, shape, padded[name], strict=True):
            refuse_too_much(mode, n, m - n, f"{name} along {axis}")
    found = {shown: _kept(analysis, shown, named, results) for shown in analysis.outputs}
    kept = Named({shown: shape for shown, (shape, _) in found.items()})
    rounded = Named({shown: axes for shown, (_, axes) in found.items()})
    return Padding(mode, named, padded, analysis.outputs, kept, rounded, Named({}) if own is None else own)


def refuse_too_much(mode: str, n: int, more: int, what: str) -> None:
    """Raises InputError where n samples are too few to be padded by so many more."""
    most = {"reflect": n - 1, "circular": n}.get(mode, more)
    if more > most:
        raise InputError(
            Argument("pad_to_fit", mode),
            f": {what}: {n} samples can be padded by at most {most} in this way, and {more} are missing; take "
            "replicate or constant, or a larger image",
        )


def _kept(
    analysis: Analysis, shown: str, given: Mapping[str, Shape], results: Results
) -> tuple[Shape, tuple[str, ...]]:
    """The shape of what is kept of an output, and the axes along which it is rounded up. Raises InputError."""
    shape, rounded = list(analysis.outputs[shown]), []
    for axis, more in _more(analysis, given).items():
        d = _dimension(analysis, shown, axis)
        if d is None and not _stays(analysis, shown, axis, results):
            raise _unclear(analysis, shown, axis, "grows with the image, but not sample by sample")
        if d is None:
            continue
        cut, growth = _cut(analysis, shown, axis, more, shape[d])
        if cut and not _grows(analysis, shown, axis, d, growth, results):
            raise _unclear(analysis, shown, axis, "does not grow with the image")
        shape[d] -= cut
        rounded += [axis] if (more[growth.input] * growth.scale).denominator > 1 else []
    return tuple(shape), tuple(rounded)


def _more(analysis: Analysis, given: Mapping[str, Shape]) -> Mapping[str, Mapping[str, int]]:
    """Along each axis that is padded, by how much each input is."""
    found: dict[str, dict[str, int]] = {}
    for name, shape in given.items():
        axes = analysis.variants.net.traced[name].axes
        for axis, n, m in zip(axes, shape, analysis.inputs[name], strict=True):
            if axis and m != n:
                found.setdefault(axis, {})[name] = m - n
    return found


def _cut(analysis: Analysis, shown: str, axis: str, more: Mapping[str, int], length: int) -> tuple[int, Growth]:
    """How many samples to cut off an output of this length, and how it grows. more: by how much inputs are padded."""
    node, grid = analysis.variants.output_node(shown), Grid(analysis.variants.net, axis)
    moving = [name for name in more if grid.same(name, node)]
    if not moving:
        raise _unclear(analysis, shown, axis, "does not grow with the image")
    finest = max(moving, key=grid.per_step)
    scale = Fraction(grid.per_step(node), grid.per_step(finest))
    cut = int(more[finest] * scale)
    if cut >= length:
        raise InputError(
            Argument("pad_to_fit"),
            f": along {axis}, {more[finest]} samples are padded, and of the {length} of {shown} nothing would be left "
            "without those that they make; give a larger image",
        )
    return cut, Growth(finest, scale)


def _stays(analysis: Analysis, shown: str, axis: str, results: Results) -> bool:
    """Whether an output without an axis is as large for an image that is longer along it."""
    for times in TIMES if not _local(analysis, shown, axis) else ():
        found = results(axis, times)
        if found is not None:
            return found[shown] == analysis.outputs[shown]
    return True


def _local(analysis: Analysis, shown: str, axis: str) -> bool:
    """Whether the laws of an output are those of every size, as far as the net was tried."""
    net, node = analysis.variants.net, analysis.variants.output_node(shown)
    return not any(reads_between(net, node, name, axis).via for name in analysis.inputs)


def _grows(analysis: Analysis, shown: str, axis: str, d: int, growth: Growth, results: Results) -> bool:
    """Whether an output has the scale at other sizes, too. Where the net runs at no other, its operators tell."""
    local = _local(analysis, shown, axis)
    if local and analysis.size_verified:
        return True
    length = analysis.variants.net.size(growth.input, axis)
    assert length is not None
    for times in TIMES:
        found = results(axis, times)
        if found is not None:
            more = found[shown][d] - analysis.outputs[shown][d]
            return abs(more - (times - 1) * length * growth.scale) < 1
    return local


def _dimension(analysis: Analysis, shown: str, axis: str) -> int | None:
    """The dimension of an output that is this axis; None where it has none. Raises InputError where it is more."""
    layout = analysis.variants.net.values[analysis.variants.output_node(shown)].layout
    for d in range(len(layout.widths)):
        if axis in layout.axes_of(d):
            if layout.widths[d] > 1:
                raise _unclear(analysis, shown, axis, "has it in one dimension with something else")
            return d
    return None


def _unclear(analysis: Analysis, shown: str, axis: str, why: str) -> InputError:
    at = ", ".join(map(_text, analysis.inputs.values()))
    return InputError(
        Argument("pad_to_fit"),
        f": along {axis}, {shown} {why}, so nothing says how much to cut off it; pad the image yourself, to {at}",
    )


def _changes(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> str:
    changed = [name for name, shape in before.items() if tuple(after[name]) != tuple(shape)]
    return ", ".join(f"{name} {_text(before[name])} to {_text(after[name])}" for name in changed)


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
