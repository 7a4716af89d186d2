"""The size of an image -> the shapes of the inputs. The image is the finer of input and output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from ..analysis.analysis import Analysis
from ..analysis.variants import shapes_at
from ..errors import Argument, InputError
from ..ops.graph import Shapes
from ..propagate.grid import Grid
from .strips import Cutter


def shapes_for_image(analysis: Analysis, image: Sequence[int]) -> Shapes:
    """Input shapes such that the finer of input and output is this image: width, height, depth, or one length.

    Raises InputError where no input does, with the nearest sizes for which one does.

    >>> a = oc.analyze(nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1), (1, 3, 16, 16))
    >>> shapes_for_image(a, (64, 48))  # the output is the finer one
    ((1, 3, 24, 32),)
    """
    net = analysis.variants.net
    axes = [axis for axis in ("W", "H", "D", "L") if any(net.size(name, axis) for name in net.graph.inputs)]
    if len(axes) != len(image):
        order = "x".join({"W": "WIDTH", "H": "HEIGHT", "D": "DEPTH", "L": "LENGTH"}[axis] for axis in axes)
        raise InputError(Argument("image", "x".join(map(str, image))), f": this net takes {order}")
    shapes = [list(net.graph[name].shape) for name in net.graph.inputs]
    for axis, size in zip(axes, image, strict=True):
        at, length = _input_length(analysis, axis, size)
        for shape, there, name in zip(shapes, shapes_at(net, at, {axis: length}), net.graph.inputs, strict=True):
            d = net.values[name].part_of(axis)
            if d is not None:
                shape[d] = there[d]
    return tuple(map(tuple, shapes))


def _input_length(analysis: Analysis, axis: str, size: int) -> tuple[str, int]:
    """An input, and its length along an axis for an image of this size."""
    net = analysis.variants.net
    grid = Grid(net, axis)
    inputs = {name: grid.per_step(name) for name in net.graph.inputs if net.size(name, axis) is not None}
    finest = max(inputs, key=lambda name: inputs[name])
    outputs = _outputs(analysis, axis)
    finer = max(outputs, key=lambda node: grid.per_step(node), default=finest)
    if not outputs or grid.per_step(finer) <= inputs[finest] or not grid.same(finer, finest):
        return finest, size
    here, there = net.size(finest, axis), net.size(finer, axis)
    assert here is not None
    assert there is not None
    exact = here + Fraction((size - there) * inputs[finest], grid.per_step(finer))
    if exact.denominator != 1 or exact < 1:
        scale = Fraction(grid.per_step(finer), inputs[finest])
        near = [there + (n - here) * scale for n in (floor(exact), ceil(exact)) if n >= 1]
        raise InputError(
            f"no input gives an output of {size} along {axis}; the nearest are {' and '.join(str(n) for n in near)}"
        )
    return finest, int(exact)


def _outputs(analysis: Analysis, axis: str) -> Mapping[str, str]:
    try:
        return {node: shown for shown, node in Cutter(analysis.variants.net, axis).outputs.items()}
    except InputError:
        return {}
