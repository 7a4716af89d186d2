"""Names and rows of the per-layer table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .errors import AmbiguousPair, InputError
from .graph import Constant, Graph, Node
from .index import IndexMap
from .lattice import Lattice
from .measure import Sides, context_of, reach_of_one, receptive_field
from .ops import find
from .propagator import Propagation, Reach, joined


@dataclass(frozen=True)
class RowAxis:
    """One layer along one axis, against one input.

    size: samples of this layer's output. scale: input samples per sample here. before, after: context so far, of a
    block on the joint grid. added: what this layer added to the largest of its operands. reach: of the worst single
    sample. obstacles: what lies between the input and here; then the figures are of what remains beside it.
    """

    size: int | None
    scale: Fraction | None
    receptive_field: tuple[int, int] | None
    before: int | None
    after: int | None
    added: Sides | None
    reach: Sides | None
    obstacles: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "scale": None if self.scale is None else str(self.scale),
            "receptive_field": None if self.receptive_field is None else list(self.receptive_field),
            "before": self.before,
            "after": self.after,
            "added": None if self.added is None else {"before": self.added.before, "after": self.added.after},
            "reach": None if self.reach is None else {"before": self.reach.before, "after": self.reach.after},
            "obstacles": list(self.obstacles),
        }


@dataclass(frozen=True)
class LayerRow:
    """One row of the table: an operator of the graph that does something in space or joins branches.

    name: module path, with the operator behind it for functional calls. inputs: the rows or inputs that feed it.
    detail: kernel, stride, ... by name. against: input -> axis -> RowAxis.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    detail: Mapping[str, Any]
    source: str
    against: Mapping[str, Mapping[str, RowAxis]]

    def __getitem__(self, axis: str) -> RowAxis:
        """Against the only input that this layer reads. Raises AmbiguousPair, InputError."""
        known = {name: axes[axis] for name, axes in self.against.items() if axis in axes}
        if len(known) == 1:
            return next(iter(known.values()))
        if not known:
            raise InputError(f"layer {self.name} has no axis {axis!r}")
        raise AmbiguousPair(f"layer {self.name} reads inputs {', '.join(known)}; use row.against[INPUT][{axis!r}]")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "op": self.op,
            "inputs": list(self.inputs),
            "detail": {k: list(v) if isinstance(v, tuple) else v for k, v in self.detail.items()},
            "source": self.source,
            "axes": {name: {a: row.to_dict() for a, row in axes.items()} for name, axes in self.against.items()},
        }


def layer_rows(net: Propagation, axes: tuple[str, ...]) -> tuple[LayerRow, ...]:
    """The rows of a net for some axes, in order of execution."""
    lattices = {axis: Lattice(net, axis) for axis in axes}
    shown = [node for node in net.graph if visible(net, node)]
    names = {node.name for node in shown}
    rows = []
    for node in shown:
        against: dict[str, dict[str, RowAxis]] = {}
        for (inp, axis), reach in zip(net.slots, joined(net, node.name), strict=True):
            if axis in lattices and reach:
                against.setdefault(inp, {})[axis] = _row_axis(net, lattices[axis], node, inp, axis, reach)
        rows.append(
            LayerRow(net.names[node.name], node.op, feeders(net, node, names), detail(node), node.source, against)
        )
    return tuple(rows)


def _row_axis(net: Propagation, lattice: Lattice, node: Node, inp: str, axis: str, reach: Reach) -> RowAxis:
    size = net.size(node.name, axis)
    via = tuple(o.layer for o in net.obstacles if o in reach.via)
    if reach.reads is None or size is None or not lattice.same(node.name, inp):
        return RowAxis(size, None, None, None, None, None, None, via)
    step, here = lattice.per_step(inp), lattice.per_step(node.name)
    context = context_of(reach.reads, step, here)
    assert context is not None
    slot = net.slots.index((inp, axis))
    before, after = [], []
    for path in net.values[node.name].paths:
        operand = joined(net, path.operand)[slot].reads
        if operand is not None and lattice.same(path.operand, inp):
            earlier = context_of(operand, step, lattice.per_step(path.operand))
            if earlier is not None:
                before.append(earlier.before)
                after.append(earlier.after)
    added = Sides(context.before - max(before), context.after - max(after)) if before else None
    return RowAxis(
        size,
        Fraction(step, here),
        receptive_field(reach.reads),
        context.before,
        context.after,
        added,
        reach_of_one(reach.reads),
        via,
    )


def node_names(graph: Graph) -> dict[str, str]:
    """What to call each node: its module path; with the operator behind it where a module has several.

    A convolution module is `g_a.0`; an addition in the forward of `block1` is `block1.add`; the second one
    `block1.add#2`. A module that is called again counts on the same way: `conv#2`.
    """
    plain: dict[str, str] = {}
    for node in graph:
        op = short_op(node)
        if node.op == "input":
            plain[node.name] = node.name
        elif node.leaf and node.layer:
            plain[node.name] = node.layer
        else:
            plain[node.name] = f"{node.layer}.{op}" if node.layer else op
    shared = {
        layer
        for layer in {n.layer for n in graph if n.leaf}
        if len({n.op for n in graph if n.layer == layer and n.leaf}) > 1
    }
    for node in graph:  # a leaf module with several operators, such as a convolution that pads by reflection
        if node.layer in shared and node.leaf and not _is_main(node):
            plain[node.name] = f"{node.layer}.{short_op(node)}"
    seen: Counter[str] = Counter()
    names = {}
    for node in sorted(graph, key=_unlikely_row):  # a stable sort: rows get the plain names, the rest count on
        name = plain[node.name]
        seen[name] += 1
        names[node.name] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return names


def _unlikely_row(node: Node) -> bool:
    rule = find(node.op)
    return len(set(node.operands)) < 2 and not (rule is not None and rule.shown)


def _is_main(node: Node) -> bool:
    return "conv" in node.op or "pool" in node.op or "norm" in node.op


def short_op(node: Node) -> str:
    """`conv2d` of `aten::conv2d`; leading underscores dropped."""
    return node.op.partition("::")[2].lstrip("_") or node.op


def visible(net: Propagation, node: Node) -> bool:
    """Whether a node is a row: it does something in space, joins branches, or is in the way."""
    if node.op == "input":
        return False
    rule = find(node.op)
    value = net.values[node.name]
    if not value.paths or not any(net.values[p.operand].rates for p in value.paths):
        return False
    if rule is not None and rule.shown:
        return True
    if any(o.layer == net.names.get(node.name) for o in net.obstacles):
        return True
    if any(step.reads != IndexMap.identity() for p in value.paths for step in p.steps.values()):
        return True
    return len({p.operand for p in value.paths}) > 1


def feeders(net: Propagation, node: Node, rows: set[str]) -> tuple[str, ...]:
    """Names of the rows and inputs that reach this node through operators that are not rows."""
    found: list[str] = []
    todo = list(reversed(node.operands))
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in rows or net.graph[name].op == "input":
            found.append(net.names[name])
        else:
            todo.extend(reversed(net.graph[name].operands))
    return tuple(dict.fromkeys(found))


SHOWN = {
    "kernel_size": "kernel",
    "stride": "stride",
    "padding": "padding",
    "output_padding": "output_padding",
    "dilation": "dilation",
    "groups": "groups",
    "pad": "pad",
    "mode": "mode",
    "upscale_factor": "factor",
    "downscale_factor": "factor",
    "scale_factors": "factor",
    "output_size": "size",
    "ceil_mode": "ceil_mode",
    "align_corners": "align_corners",
    "dim": "dim",
    "start": "start",
    "end": "end",
    "step": "step",
}
DEFAULTS: dict[str, Iterable[Any]] = {
    "padding": (0,),
    "output_padding": (0,),
    "dilation": (1,),
    "groups": (1,),
    "stride": (1, None),
    "ceil_mode": (False, None),
    "align_corners": (False, None),
    "mode": ("constant",),
    "step": (1,),
}
FAR = 1 << 62


def detail(node: Node) -> dict[str, Any]:
    """The figures of a call, under plain names; values that are torch's defaults are left out."""
    out: dict[str, Any] = {}
    weight = node.args.get("weight")
    if isinstance(weight, Constant) and "conv" in node.op:
        out["kernel"] = _short(weight.shape[2:])
        if weight.taps is not None:
            out["masked"] = True
    for name, shown in SHOWN.items():
        if name not in node.args:
            continue
        value = _short(node.args[name])
        if value is None or value == () or value in DEFAULTS.get(shown, ()):
            continue
        if shown == "end" and isinstance(value, int) and value >= FAR:
            continue
        out.setdefault(shown, value)
    if "kernel" not in out and "conv" not in node.op and "pool" not in node.op:
        out.pop("stride", None)
    return out


def _short(value: Any) -> Any:
    """One number for a list of equal ones."""
    if isinstance(value, tuple):
        if len(value) and all(isinstance(v, (int, float)) and v == value[0] for v in value):
            return value[0]
        return value
    return value if isinstance(value, (int, float, str, bool, type(None))) else None


WORDS = {
    "conv": "conv", "conv_transpose": "tconv", "max_pool": "max-pool", "avg_pool": "avg-pool",
    "adaptive_avg_pool": "adaptive avg-pool", "adaptive_max_pool": "adaptive max-pool", "upsample_nearest": "nearest",
    "upsample_nearest_exact": "nearest-exact", "upsample_linear": "linear", "upsample_bilinear": "bilinear",
    "upsample_trilinear": "trilinear", "upsample_bicubic": "bicubic", "pixel_shuffle": "pixel-shuffle",
    "pixel_unshuffle": "pixel-unshuffle", "constant_pad_nd": "pad", "reflection_pad": "reflect pad",
    "replication_pad": "replicate pad", "max_pool_with_indices": "max-pool", "group_norm": "group norm",
    "instance_norm": "instance norm",
}  # fmt: skip


def what(row: LayerRow) -> str:
    """What a row does, in few letters: `tconv k5 s2 p2 op1`."""
    op = re.sub(r"[123]d(?=_|$)", "", row.op.partition("::")[2].lstrip("_"))
    word = WORDS.get(op, op)
    figures = dict(row.detail)
    if word in ("cat", "stack"):
        figures.pop("dim", None)
    mode = figures.pop("mode", None)
    return " ".join(str(part) for part in (mode, word, detail_text(figures)) if part)


LETTERS: Mapping[str, str] = {
    "kernel": "k", "stride": "s", "padding": "p", "output_padding": "op", "dilation": "d", "groups": "g",
    "factor": "x",
}  # fmt: skip


def detail_text(figures: Mapping[str, Any]) -> str:
    """`k5 s2 p2`: a letter per figure, values per axis joined with x."""
    parts = []
    for name, value in figures.items():
        if name == "masked":
            parts.append("masked")
        elif value is True:
            parts.append(name)
        else:
            listed = isinstance(value, (tuple, list))
            text = ("," if name == "pad" else "x").join(map(_number, value)) if listed else _number(value)
            parts.append(text if name == "pad" else LETTERS[name] + text if name in LETTERS else f"{name} {text}")
    return " ".join(parts)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
