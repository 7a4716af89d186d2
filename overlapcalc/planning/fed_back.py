"""The wavefront of a net at its size, from which of its outputs are fed back as which of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..analysis.analysis import Analysis
from ..analysis.axis import no_way
from ..analysis.cone import Cone, cone_of
from ..analysis.gc_pause import gc_paused
from ..analysis.variants import Variants
from ..errors import InputError, ObstacleError
from ..ops.graph import Shapes
from ..propagate.values import Propagation, reads_between
from .loop_part import loop_part
from .wavefront import Order, Wavefront, text_of, wavefront


def fed_back(analysis: Analysis, makers: Mapping[str, Iterable[str]]) -> tuple[Wavefront, Order]:
    """The wavefront, and its shortest order for the analysed image.

    makers: the inputs that are made, in the order in which they are made, each with the outputs that it is made of;
    every output that reads one waits for it. Where other inputs are given, what depends on these alone is made before,
    so its size has no say in how large a cell is. Raises InputError and ObstacleError.
    """
    part = _goes_through_part(analysis, list(makers))
    cones = _cones_of_part(analysis, list(makers)) if part else _cones(analysis, list(makers))
    stages = {output: k for k, outputs in enumerate(makers.values()) for output in outputs}
    number = {name: k for k, name in enumerate(makers)}
    later = [stages.get(cone.output, 0) > number[cone.input] for cone in cones]  # may read its own cell
    front = wavefront(
        *(cone for cone, own in zip(cones, later, strict=True) if not own),
        within=[cone for cone, own in zip(cones, later, strict=True) if own],
    )
    first = cones[0]
    net = first.variants.net
    sizes = [net.size(first.input, axis) or 1 for axis in first.axes]
    if part:
        for cone in cones:
            _check_whole(net, cone)
    return front, front.order(first.at(sizes).cells)


def _goes_through_part(analysis: Analysis, fed: list[str]) -> bool:
    """Where other inputs are given, or where a law of all sizes has obstacles: one size may have none."""
    pairs = [analysis.between(output, name) for name in fed for output in analysis.outputs]
    blocked = any(pair.obstacles(axis) for pair in pairs for axis in pair.axes)
    return blocked or any(name not in fed for name in analysis.inputs)


def _cones(analysis: Analysis, fed: list[str]) -> list[Cone]:
    return [analysis.cone(output, name) for name in fed for output in analysis.outputs]


def _cones_of_part(analysis: Analysis, fed: list[str]) -> list[Cone]:
    """The cones of the part of the net that depends on what is made, between what reads and what is read."""
    variants = analysis.variants
    outputs = [(shown, variants.output_node(shown)) for shown in analysis.outputs]
    reading = [(shown, node) for shown, node in outputs if _reads(variants.net, node, fed)]
    if not reading:
        raise InputError(f"no output reads {', '.join(fed)}: all cells can be made at once")
    with gc_paused():
        part = loop_part(variants.net, fed, reading)
    own = replace(variants, net=part, retrace=_refuse)
    found = []
    for name in fed:
        for shown, node in reading:
            if _reads(part, node, [name]):
                found.append(_cone(own, shown, node, name, analysis.between(shown, name).axes))
    return found


def _cone(variants: Variants, shown: str, node: str, name: str, axes: tuple[str, ...]) -> Cone:
    for axis in axes:
        obstacles = reads_between(variants.net, node, name, axis).via
        if obstacles:
            raise ObstacleError(no_way(shown, name, axis, [o for o in variants.net.obstacles if o in obstacles]))
    with gc_paused():
        return cone_of(variants, shown, name, axes)


def _reads(net: Propagation, node: str, names: Iterable[str]) -> bool:
    return any(name == node or name in net.graph.inputs_of(node) for name in names)


def _check_whole(net: Propagation, cone: Cone) -> None:
    """Raises InputError where an image is no whole number of cells: the part of a net is known at its size alone."""
    for axis, step in zip(cone.axes, cone.step, strict=True):
        size = net.size(cone.input, axis) or 1
        if size % step:
            raise InputError(
                f"{cone.input} has {size} samples along {axis}, which is no whole number of cells of "
                f"{text_of(cone.step)}; pad or cut the image"
            )


def _refuse(shapes: Shapes, _: bool) -> Propagation:
    raise InputError(f"{', '.join(map(str, shapes))}: what is fed back must be as large as what it is fed to")
