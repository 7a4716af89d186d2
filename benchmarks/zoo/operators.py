"""Is each operator in the way really in the way? Looked at one module at a time.

A classifier's global pooling hides whatever was refused before it. So the smallest module around each obstacle is
run by itself on what it got in a run of the whole net, with the first place along the axis replaced: a module that
is not local changes its output at the other end too. Which dimensions are the axis is seen from three runs of the net
at different sizes. Only for operators that mix places; those that depend on the size are left to `refusals.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import overlapcalc as oc

from .runs import along, changed, fill, tensors
from .shapes import Shapes, example, runs
from .weights import noise

MIXING = frozenset(
    {"global", "reshape", "reorder", "axes-mixed", "concatenation", "circular-padding", "data-dependent-indexing"}
)
MOST_MODULES = 120
Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Seen:
    """What a module got and gave in one run."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[torch.Tensor, ...]


def inspect_operators(model: nn.Module, inputs: Inputs, obstacles: Iterable[oc.Obstacle]) -> list[dict[str, Any]]:
    """Per module, cause, operator and axis, whether the module is seen to mix far places: "far", "local" or why not."""
    modules = dict(model.named_modules())
    groups: dict[tuple[str, str, str, str], oc.Obstacle] = {}
    for o in obstacles:
        if o.cause in MIXING:
            groups.setdefault((_owner(o.layer, modules), o.cause, o.op, o.axis), o)
    wanted = list(dict.fromkeys(key[0] for key in groups))[:MOST_MODULES]
    wanted = [name for name in wanted if name]
    axes = {a: p for p, a in enumerate(("L",) if inputs[0].dim() == 3 else "HW" if inputs[0].dim() == 4 else "DHW")}
    plain = captured(model, noise(inputs), wanted)
    grown = {a: _grown(model, inputs, wanted, place) for a, place in axes.items()}
    out = []
    for (module, cause, op, axis), o in groups.items():
        if module in plain and grown.get(axis):
            verdict = far_or_local(modules[module], plain[module], grown, axis, module)
        else:
            verdict = "not tried: no module of its own, or the net runs at one size only"
        out.append({"module": module, "layer": o.layer, "cause": cause, "op": op, "axis": axis, "verdict": verdict})
    return out


def _owner(layer: str, modules: dict[str, nn.Module]) -> str:
    """The innermost module that a layer's name lies in."""
    parts = layer.partition("#")[0].split(".")
    while parts and ".".join(parts) not in modules:
        parts.pop()
    return ".".join(parts)


def captured(model: nn.Module, inputs: Inputs, wanted: list[str]) -> dict[str, Seen]:
    """What the modules of these names got and gave, the first time each was called."""
    seen: dict[str, Seen] = {}
    with torch.no_grad(), _hooked(model, wanted, seen):
        model(*inputs)
    return seen


@contextlib.contextmanager
def _hooked(model: nn.Module, wanted: list[str], seen: dict[str, Seen]) -> Iterator[None]:
    modules = dict(model.named_modules())

    def hook(name: str) -> Any:
        def store(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if name not in seen:
                seen[name] = Seen(_copied(args), dict(kwargs), tuple(tensors(output)))

        return store

    handles = [modules[name].register_forward_hook(hook(name), with_kwargs=True) for name in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """In-place operators must not spoil what is run again."""
    return tuple(a.clone() if isinstance(a, torch.Tensor) else a for a in args)


def _grown(model: nn.Module, inputs: Inputs, wanted: list[str], place: int) -> dict[str, Seen]:
    """The same on an image longer along one axis; nothing where the net does not run there."""
    for times in (2, 3):
        shapes: Shapes = tuple(
            (*x.shape[: 2 + place], x.shape[2 + place] * times, *x.shape[3 + place :]) for x in inputs
        )
        if runs(model, shapes, inputs):
            return captured(model, example(inputs, shapes), wanted)
    return {}


def far_or_local(module: nn.Module, seen: Seen, grown: dict[str, dict[str, Seen]], axis: str, name: str) -> str:
    """Whether replacing the first (and the last) places along the axis changes what the module gives far away."""
    longer = {a: by_name[name] for a, by_name in grown.items() if name in by_name}
    verdicts = []
    for k, x in enumerate(seen.args):
        if not isinstance(x, torch.Tensor) or not x.is_floating_point():
            continue
        dims = {a: _differing(x, s.args[k]) for a, s in longer.items()}
        mine = dims.get(axis, [])
        if len(mine) != 1 or x.shape[mine[0]] < 4:
            continue
        outs = [_differing(y, longer[axis].outputs[i]) for i, y in enumerate(seen.outputs)]
        verdicts.append(_spread(module, seen, k, mine[0], outs))
    if not verdicts:
        return "not tried: the module's inputs do not show the axis"
    return "far" if "far" in verdicts else "local"


def _differing(a: Any, b: Any) -> list[int]:
    if not isinstance(b, torch.Tensor) or a.dim() != b.dim():
        return []
    return [d for d in range(a.dim()) if a.shape[d] != b.shape[d]]


def _spread(module: nn.Module, seen: Seen, k: int, d: int, outs: list[list[int]]) -> str:
    ends = []
    for index in (0, seen.args[k].shape[d] - 1):
        x = seen.args[k].clone()
        part = x.narrow(d, index, 1)
        part.copy_(fill(part, 900.0))
        args = (*_copied(seen.args[:k]), x, *_copied(seen.args[k + 1 :]))
        with torch.no_grad():
            plain = tensors(module(*_copied(seen.args), **seen.kwargs))
            ends.append([changed(a, b) for a, b in zip(plain, tensors(module(*args, **seen.kwargs)), strict=True)])
    for first, last, dims in zip(ends[0], ends[1], outs, strict=True):
        if not dims:
            if bool((first & last).any()):
                return "far"
            continue
        a, b = along(first, dims[0]), along(last, dims[0])
        quarter = max(1, len(a) // 4)
        if bool(a[-quarter:].any()) and bool(b[:quarter].any()):
            return "far"
    return "local"
