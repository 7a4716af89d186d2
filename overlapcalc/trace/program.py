"""A program of torch.export, perhaps loaded from a file -> layer graph, at every size that it allows."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.fx import Node as FxNode

from ..errors import InputError, SharedMemoryError, TraceError
from ..ops import Kind
from ..ops.graph import Graph
from .dynamic_sizes import Sizes
from .export import functional, refuse_shared_state
from .lowering import Lowering, Shapes
from .naming import facts_of
from .places import layer_of, plain_path, reason, source_of
from .quiet import quiet
from .stand_in import sharing


class Program:
    """One exported program. It is read, never run, and stays as it is. Raises InputError, TraceError."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        _refuse_training(program)
        try:
            with quiet(), torch.no_grad():
                self._program: Any = functional(_copied(program))
            refuse_shared_state(self._program, sharing([*program.state_dict.items(), *program.constants.items()]))
        except SharedMemoryError:
            raise
        except Exception as error:  # torch raises many unrelated types here
            raise TraceError(reason(error, f"rewriting the program fails with {type(error).__name__}")) from error
        names = [n for n in self._program.graph_signature.user_inputs if isinstance(n, str)]
        placeholders = {n.name: n for n in self._program.graph.nodes if n.op == "placeholder"}
        found = [placeholders[name] for name in names]
        self._inputs = [n for n in found if isinstance(n.meta.get("val"), torch.Tensor)]
        self._sizes = Sizes(program, {n.name: tuple(n.meta["val"].shape) for n in self._inputs})
        self._leaves = _leaves(self._program)
        if not self._inputs:
            raise InputError("the program has no tensor input")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the tensor inputs, in order."""
        return tuple(n.name for n in self._inputs)

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        return tuple(n.meta["val"].dtype for n in self._inputs)

    @property
    def fixed(self) -> bool:
        """Whether the program runs at one size only."""
        return self._sizes.fixed

    def shapes(self) -> Shapes:
        """The input shapes of the program: those it is fixed to, or those of the example it was exported with."""
        return self._sizes.examples()

    def graph(self, shapes: Shapes, layouts: Sequence[str] = ()) -> Graph:
        """The layer graph at these input shapes. Raises TraceError where the program does not allow them."""
        bound = self._sizes.bound(shapes)
        fx = self._program.graph if self.fixed else self._concrete(bound)
        return Lowering(self._program, fx, self._leaves).graph(layouts)

    def _concrete(self, bound: Any) -> torch.fx.Graph:
        """A copy of the graph with every size replaced by its number at this input."""
        graph = torch.fx.Graph()
        twins: dict[FxNode, Any] = {}
        for node in self._program.graph.nodes:
            value = self._sizes.concrete(node.meta.get("val"), bound)
            if node.op == "call_function" and isinstance(value, (int, float)):
                twins[node] = value
                continue
            twin = graph.node_copy(node, lambda n: twins[n])
            twin.args = self._sizes.concrete_arguments(twin.args, bound)
            twin.kwargs = {k: self._sizes.concrete_arguments(v, bound) for k, v in twin.kwargs.items()}
            twin.meta = {**node.meta, "val": value}
            twin.name = node.name  # the signature goes by it; an input may be called `input`, say
            twins[node] = twin
        return graph


def _copied(program: torch.export.ExportedProgram) -> Any:
    """A copy with a graph of its own, which may be rewritten; the weights are shared, and never read."""
    twin: Any = copy.copy(program)
    twin._graph_module = copy.deepcopy(program.graph_module)
    for old, new in zip(program.graph.nodes, twin._graph_module.graph.nodes, strict=True):
        new.name = old.name  # the signature goes by it; a copy calls `input` otherwise
    return twin


def _leaves(program: Any) -> dict[str, str]:
    """Path -> class of every module that does some work and has no module inside."""
    seen: dict[str, str] = {}
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            seen[plain_path(path)] = getattr(kind, "__name__", str(kind)).rpartition(".")[2]
    signature = program.graph_signature
    owners = {*signature.inputs_to_parameters.values(), *signature.inputs_to_buffers.values()}
    inside = set(seen) | {name.rpartition(".")[0] for name in owners}
    parents = {path[:i] for path in inside for i, letter in enumerate(path) if letter == "."}
    parents |= {""} if any(inside) else set()
    return {path: kind for path, kind in seen.items() if path not in parents}


# ---- training mode --------------------------------------------------------------------------------------------


def _refuse_training(program: torch.export.ExportedProgram) -> None:
    """Raises InputError for training mode: a program contains what that does, and cannot be put into eval mode."""
    for node in program.graph.nodes:
        what = _training(node)
        if what:
            where, at = layer_of(node) or "the net", source_of(node)
            raise InputError(
                f"the program was saved in training mode: {where} {what}{f' ({at})' if at else ''}; "
                "call model.eval() before torch.export.export"
            )


def _training(node: FxNode) -> str:
    """What an operator does only in training mode; "" where there is no difference."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return ""
    given = dict(_arguments(node, schema))
    on = given.get("train") is True or given.get("training") is True
    facts = facts_of(node.target)
    without_state = facts.kind is Kind.NORM and given.get("running_mean") is None
    if on and facts.training and not without_state and given.get("p") != 0:
        return facts.training
    if isinstance(given.get("dropout_p"), float) and given["dropout_p"] > 0:
        return "draws at random"
    return ""


def _arguments(node: FxNode, schema: Any) -> Iterator[tuple[str, Any]]:
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args):
            yield argument.name, node.args[i]
        elif argument.name in node.kwargs:
            yield argument.name, node.kwargs[argument.name]
        elif argument.has_default_value():
            yield argument.name, argument.default_value
