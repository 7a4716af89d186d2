"""nn.Module -> layer graph, through torch.export."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import Node as FxNode

from ..errors import TraceError
from ..ops import Kind, known_of
from ..ops.graph import Data, Graph, Node, Shapes
from ..ops.kind import CONVOLUTIONS
from ..ops.together import joined_calls
from ..stages import at_stage
from .arguments import Arguments, arguments_of
from .constants import Folder, looked_at
from .examples import default_on_cpu, examples
from .export import export
from .fx import (
    PLAIN,
    arguments_by_name,
    live_parameters,
    lying_of,
    on_cpu,
    shape_of,
    state_of,
    were_parameters,
)
from .naming import facts_of, operator_name
from .places import at, layer_of, located, source_of
from .runnable import Fixed, Invocation, Runnable, joined
from .unpool import paired


def trace(
    model: nn.Module,
    shapes: Shapes,
    dtypes: Sequence[torch.dtype],
    weights: frozenset[int] = frozenset(),
    layouts: Sequence[str] = (),
) -> tuple[Graph, Runnable]:
    """The layer graph of a stand-in (see stand_in.py) at these input shapes, and the same program to be run call by
    call, with the names of the graph.

    No forward pass runs and no weight is read: torch.export works on shapes alone, and the example inputs are
    memory that is never read. weights: addresses of the original's parameters, which a closure in the model may still
    hold; they are not constants either. layouts: one per input, "" where none was given. Raises TraceError.
    """
    with default_on_cpu():
        inputs = examples(shapes, dtypes)
        program, copy = export(model, inputs)
        at_stage("making the graph of layers")
        leaves = {name: type(m).__name__ for name, m in copy.named_modules() if not list(m.children())}
        kept = {name for name, _ in copy.named_parameters()} | set(were_parameters(copy))
        lowering = Lowering(program, program.graph, leaves, kept, weights, arguments_of(model))
        return lowering.graph_and_calls(layouts)


KEPT_OUTSIDE = (
    "the net keeps a tensor outside of the module (in a cache, a global) that was made while it was traced and holds "
    "nothing; empty that cache and call the net once on an image before it is analysed"
)


class Lowering:
    """One exported program on its way to a Graph.

    fx: its graph, every size a number. modules: path -> class of the modules without children. weights: names of
    buffers that stand for parameters. originals: addresses of parameters that constants may be. arguments: how the net
    is called, where it takes more than tensors.
    """

    def __init__(
        self,
        program: Any,
        fx: torch.fx.Graph,
        modules: Mapping[str, str],
        weights: Collection[str] = (),
        originals: frozenset[int] = frozenset(),
        arguments: Arguments | None = None,
    ) -> None:
        self.program, self.fx, self.modules, self.arguments = program, fx, modules, arguments
        signature = program.graph_signature
        self.user_inputs = [n for n in signature.user_inputs if isinstance(n, str)]
        named = zip(self.user_inputs, arguments.names if arguments else (), strict=bool(arguments))
        self.labels = {own: said for own, said in named if not said.isidentifier()}
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        parameters = set(signature.inputs_to_parameters)
        tensors: dict[str, torch.Tensor] = {}
        for name, target in signature.inputs_to_buffers.items():
            if target in weights:
                parameters.add(name)
            else:
                tensors[name] = state_of(program, target)
        lifted = signature.inputs_to_lifted_tensor_constants
        known = originals | live_parameters() if lifted else originals
        for name, target in lifted.items():
            value = program.constants[target]
            if isinstance(value, FakeTensor):
                raise TraceError(KEPT_OUTSIDE)
            if isinstance(value, torch.Tensor) and value.numel() and value.data_ptr() in known:
                parameters.add(name)
                names[name] = name
            else:
                tensors[name] = on_cpu(value)
        made = getattr(program.graph_module, "_overlapcalc_written", {})
        tensors.update(made)
        changed = set(signature.buffers_to_mutate.values())
        state = {name for name, target in signature.inputs_to_buffers.items() if target in changed} - parameters
        self.folder = Folder(tensors, parameters, names, state)
        self.data: set[FxNode] = set()
        self.same: dict[FxNode, FxNode] = {}
        self.calls: dict[str, Invocation] = {}
        self.places: dict[str, str | torch.Tensor] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **{name: program.constants[target] for name, target in lifted.items()},
            **made,
        }

    def graph_and_calls(self, layouts: Sequence[str] = ()) -> tuple[Graph, Runnable]:
        """The layer graph, and its calls to be run one by one."""
        return self.graph(layouts), self._runnable()

    def graph(self, layouts: Sequence[str] = ()) -> Graph:
        said = iter(layouts)
        nodes: list[Node] = []
        outputs: list[tuple[str, str]] = []
        leaves: tuple[str | None, ...] = ()
        for fx in self.fx.nodes:
            with located(fx):
                if fx.op == "placeholder":
                    self._input(fx, nodes, said)
                elif fx.op == "output":
                    outputs, leaves = self._outputs(fx)
                elif fx.op == "call_function":
                    self._call(fx, nodes)
        if not outputs:
            raise TraceError("no output of the net depends on its input; is this the right module?")
        shown = [node for _, node in outputs]
        given = {node.name: node for node in nodes}
        nodes, seen = joined_calls(nodes, shown)
        for name, made in seen.items():
            self.calls |= joined(given[name], made, self.calls[name])
        return replace(Graph.of(paired(nodes, shown), outputs), leaves=leaves, arguments=self.arguments)

    def _input(self, fx: FxNode, nodes: list[Node], layouts: Iterator[str]) -> None:
        if fx.name in self.user_inputs and isinstance(fx.meta.get("val"), torch.Tensor):
            self.data.add(fx)
            name = self._name(fx)
            nodes.append(Node(name, "input", {}, shape_of(fx), layer=name, layout=next(layouts, "")))

    def _name(self, fx: FxNode) -> str:
        """The name in the layer graph of the tensor that a node is."""
        found = self.same.get(fx, fx).name
        return self.labels.get(found, found)

    def _outputs(self, fx: FxNode) -> tuple[list[tuple[str, str]], tuple[str | None, ...]]:
        """The outputs that depend on the input, named by their position; and everything that the net returns. An input
        of that name keeps it, and the output gets a prime."""
        from torch.export.graph_signature import OutputKind

        flat = list(fx.args[0]) if isinstance(fx.args[0], (list, tuple)) else [fx.args[0]]
        specs = self.program.graph_signature.output_specs
        given = [value for value, spec in zip(flat, specs, strict=True) if spec.kind is OutputKind.USER_OUTPUT]
        found = [isinstance(value, FxNode) and value in self.data for value in given]
        positions = ["output"] if sum(found) == 1 else [f"output{i}" for i in range(sum(found))]
        inputs = {self._name(node) for node in self.data if node.op == "placeholder"}
        names = iter([f"{name}'" if name in inputs else name for name in positions])
        leaves = tuple(
            next(names) if is_data else "" if value is None else None
            for value, is_data in zip(given, found, strict=True)
        )
        outputs = [
            (shown, self._name(value))
            for shown, value in zip(leaves, given, strict=True)
            if shown and isinstance(value, FxNode)
        ]
        return outputs, leaves

    def _call(self, fx: FxNode, nodes: list[Node]) -> None:
        if not any(n in self.data for n in fx.all_input_nodes):
            return
        call, result = fx, 0
        if fx.target is operator.getitem:
            assert isinstance(fx.args[0], FxNode)
            call, result = fx.args[0], int(fx.args[1])  # type: ignore[arg-type]
        elif not any(n in self.data for n in looked_at(fx)) or fx.meta.get("val") is None:
            return  # a constant of the same shape; an assertion
        self.data.add(fx)
        if fx.op == "call_function" and _copies(fx.target) and fx.args[0] in self.data:
            operand = fx.args[0]  # whether torch needs a copy for a view depends on the size of the image
            assert isinstance(operand, FxNode)
            self.same[fx] = self.same.get(operand, operand)
        elif isinstance(fx.meta["val"], torch.Tensor):
            nodes.append(self._node(call, fx, result))
            if getattr(call.target, "_schema", None) is not None:
                self.calls[fx.name] = self._invocation(call, None if call is fx else result, fx.meta["val"].dtype)

    def _runnable(self) -> Runnable:
        """The calls that were met on the way to the graph."""
        fakes = {fx.name: fx.meta["val"] for fx in self.fx.nodes if fx.op == "placeholder"}
        weights = {
            place: (tuple(fakes[name].shape), fakes[name].dtype)
            for name, place in self.places.items()
            if isinstance(place, str)
        }
        types = [fakes[name].dtype for name in self.user_inputs if isinstance(fakes[name], torch.Tensor)]
        return Runnable(self.calls, self.places, self.program.call_spec.out_spec, weights, types)

    def _invocation(self, call: FxNode, result: int | None, dtype: torch.dtype) -> Invocation:
        """One call. Operands that are data are None: the layer graph says what they are."""

        def value(v: Any) -> Any:
            if isinstance(v, FxNode):
                return None if v in self.data else Fixed(v)
            return [value(one) for one in v] if isinstance(v, (list, tuple)) else v

        strides = lying_of(call) if facts_of(call.target).reads_memory else None
        return Invocation(call.target, {name: value(v) for name, v in arguments_by_name(call)}, result, dtype, strides)

    def _node(self, call: FxNode, fx: FxNode, result: int) -> Node:
        layer, name = layer_of(call), operator_name(call.target)
        tags = getattr(call.target, "tags", ())
        aten = name.startswith(("aten::", "prims::"))
        return Node(
            name=fx.name,
            op=name,
            args=self._arguments(call, name),
            shape=shape_of(fx),
            result=result,
            layer=layer,
            leaf=self.modules.get(layer, "") if layer else "",
            source=source_of(call),
            pointwise=aten and torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags,
            truth=fx.meta["val"].dtype is torch.bool,
        )

    def _arguments(self, call: FxNode, name: str) -> dict[str, Any]:
        """Arguments by name, trailing defaults filled in from the schema, tensors as Data or Constant."""
        schema = getattr(call.target, "_schema", None)
        if schema is None:  # a higher-order operator, for which there is no rule
            return {
                str(i): Data(self._name(n)) for i, n in enumerate(n for n in call.all_input_nodes if n in self.data)
            }
        kind = known_of(name).kind
        return {argument: self._argument(value, _role(argument, kind)) for argument, value in arguments_by_name(call)}

    def _argument(self, value: Any, role: str) -> Any:
        if isinstance(value, FxNode):
            fake = value.meta.get("val")
            if value in self.data:
                if not isinstance(fake, torch.Tensor):
                    reads = "the net reads a number out of its data, by item() for example"
                    raise TraceError(f"{reads}{at(value)}; keep it a tensor")
                return Data(self._name(value))
            if not isinstance(fake, torch.Tensor):
                raise TraceError(f"{value.name} is a size that is known only at run time{at(value)}")
            return self.folder.constant(value, role)
        if isinstance(value, (list, tuple)):
            return tuple(self._argument(v, role) for v in value)
        if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            return str(value)
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            raise TraceError(f"{value} is a size that is known only at run time")
        return value


def _copies(target: Any) -> bool:
    return known_of(operator_name(target)).kind is Kind.COPY


def _role(argument: str, kind: Kind | None) -> str:
    """The role of a constant operand (see Folder.constant)."""
    if kind in CONVOLUTIONS and argument == "weight":
        return "weight"
    if kind is Kind.MATRIX_PRODUCT:
        return "matrix"
    return "plain" if argument in PLAIN else "operand"
