"""torch.export, kept quiet: one graph of functional ATen operators, or one message."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..errors import ChangingStateError, SharedMemoryError, TraceError
from ..ops import find
from .composites import decomposed
from .constants import looked_at
from .functionalize import made_functional, made_open, with_shapes, without_dropout, without_empty_pieces
from .fx import were_parameters
from .naming import operator_name
from .numbers import KnownNumbers
from .on_shapes import asks_for_values
from .places import reason
from .quiet import quiet
from .recurrent_shapes import at_once
from .stand_in import shared_tensors, stand_in, unmask
from .written_constants import WrittenConstants

ExportedProgram = Any
NUMBERS = (torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default)


def export(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[ExportedProgram, nn.Module]:
    """The model's exported program, functional, and the copy of the model that it was made from. Raises TraceError.

    Non-strict first. A net that writes to its weights through `.data` is exported with these writes made visible:
    some versions of torch export it as it is, and lose what was written. Others that fail are tried in strict mode. The
    empty decomposition rewrites in-place operators and composite ones; it costs as much as the export, and a program
    that has neither stays as it is. A net that reads numbers out of tensors is exported once more with those known
    that come from constants alone. Every attempt has a copy of its own, because a failed one leaves traces in it. The
    model remembers which attempt succeeded: at another size that one alone is made, and that with numbers.
    """
    known = getattr(model, "_overlapcalc_attempt", None)
    watch = _NoData()
    with quiet(), torch.no_grad(), at_once():
        first: Exception | None = None
        reading: tuple[ExportedProgram, nn.Module] | None = None
        for attempt in (_plain, _known_numbers, _functional_weights, _strict):
            if attempt is _strict and watch.met:
                break
            if attempt is _known_numbers:
                asked = reading is not None or asks_for_values(first)
            else:
                asked = known is None or watch.met
            if not asked and known != attempt.__name__:
                continue
            copy = stand_in(model)
            try:
                program = functional(attempt(copy, inputs, watch))
                refuse_shared_state(program, shared_tensors(copy))
                if not _reads_numbers(program) or attempt is not _plain:
                    model._overlapcalc_attempt = attempt.__name__  # type: ignore[assignment]
                    return program, copy
                reading = program, copy
            except (SharedMemoryError, ChangingStateError):
                raise
            except Exception as error:  # torch raises many unrelated types here
                # where `.data` stopped the first attempt, sizes that do not fit are what stops the net itself
                first = error if first is None or (watch.met and _of_sizes(error)) else first
                if reading is not None:
                    return reading  # which says where the number comes from
        assert first is not None
        raise TraceError(reason(first)) from first


def _reads_numbers(program: ExportedProgram) -> bool:
    """Whether a number that is known only at run time is left in a program."""
    return any(node.target in NUMBERS for node in program.graph.nodes)


def _of_sizes(error: Exception) -> bool:
    """Whether torch says that sizes do not fit."""
    said = re.search(r"\b(sizes?|shapes?|channels)\b", str(error).partition("\n")[0], re.IGNORECASE)
    return said is not None and isinstance(error, (RuntimeError, ValueError))


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators, and without composite ones that have no rule."""
    modules = [m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)]
    for module in modules:
        without_dropout(module.graph)
        with_shapes(module.graph)
        without_empty_pieces(module.graph)
    apart = made_open([module.graph for module in modules])
    written = WrittenConstants(program)
    if not apart and _functional(program, written.nodes):
        written.replace()
        program.graph_module._overlapcalc_written = written.values
        return program  # its graph is read, and its code never run
    for module in modules:
        module.recompile()
    return decomposed(program, apart)


def refuse_shared_state(program: ExportedProgram, shared: Iterable[Collection[str]]) -> None:
    """A program has a separate input for each parameter and buffer, and misses writes to one through another. shared:
    the names of those that lie in the same memory. Raises TraceError where one of them is written to."""
    signature = program.graph_signature
    written = set(signature.buffers_to_mutate.values())
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    read = {targets[node.name] for node in program.graph.nodes if node.name in targets and node.users}
    for names in shared:
        met = sorted((read | written) & set(names))
        if written & set(names) and len(met) > 1:
            raise SharedMemoryError(
                f"the net writes in place to memory that it has under several names, {' and '.join(met)}; "
                "keep one of them, and take views of it inside forward"
            )


def _plain(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    with watch, _without_code():
        return torch.export.export(model, inputs, strict=False)


def _known_numbers(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    names = {name for name, _ in model.named_parameters()} | set(were_parameters(model))
    with KnownNumbers(model, names).watching():
        return _plain(model, inputs, watch)


def _strict(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    return torch.export.export(model, inputs, strict=True)


def _functional_weights(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    with _DataAsAlias(), _without_code():
        return torch.export.export(unmask(model), inputs, strict=False)


def _without_code() -> contextlib.AbstractContextManager[object]:
    """Torch writes and compiles Python for each graph that it makes on the way: a tenth of the time of an export.
    Inside, it does so only for what is run, where this version of torch can."""
    switch = getattr(getattr(torch.fx, "_lazy_graph_module", None), "_use_lazy_graph_module", None)
    return contextlib.nullcontext() if switch is None else switch(True)


def _functional(program: ExportedProgram, but: Collection[torch.fx.Node]) -> bool:
    """Whether every operator is known as it is and writes to none of its operands, or can be rewritten that way; `but`
    some that will be replaced."""
    if not made_functional(program.graph, but):
        return False
    signature = program.graph_signature
    made = {*signature.inputs_to_buffers, *signature.inputs_to_lifted_tensor_constants}  # of no input and no parameter
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op == "call_function" and node.target is operator.getitem and node.args[0].name in made:
            made.add(node.name)
        if node.op != "call_function" or node.target is operator.getitem or node in but:
            continue
        if schema is None or schema.is_mutable:
            return False
        if all(n.name in made for n in looked_at(node)):
            made.add(node.name)
            continue  # a constant needs no rule
        if not node.users and node.meta.get("val") is None:
            continue  # nor does an assertion
        if find(operator_name(node.target)) is None and torch.Tag.pointwise not in node.target.tags:
            return False
    return True


DROPOUTS = frozenset(
    {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
    | {torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout}
)
"""Functions of torch that run before any operator does."""

DATA = frozenset({torch.Tensor.data.__get__, torch.Tensor.data.__set__})  # type: ignore[attr-defined]


class _NoData(TorchFunctionMode):
    """Stops at `.data`. Dropout in eval mode returns its operand itself (see functionalize.without_dropout)."""

    met = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in DATA:
            self.met = True
            raise TraceError("forward uses .data, which cannot be followed")
        if func in DROPOUTS and args:  # older versions of torch rewrite in-place operators
            given = dict(zip(("input", "p", "training"), args, strict=False)) | (kwargs or {})
            if given.get("training", given.get("train")) is False or given.get("p") == 0:
                return args[0]
        return func(*args, **(kwargs or {}))


class _DataAsAlias(TorchFunctionMode):
    """`w.data` becomes a detached alias, and `w.data = v` a write of v into w: torch can trace both."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            args[0].detach().copy_(args[1])
            return None
        return func(*args, **(kwargs or {}))
