"""torch.export, kept quiet: one graph of functional ATen operators, or one message."""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import TraceError
from ..ops import find
from .inplace import made_functional, without_dropout
from .naming import operator_name
from .stand_in import stand_in, unmask

ExportedProgram = Any


def export(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[ExportedProgram, nn.Module]:
    """The model's exported program, functional, and the copy of the model that it was made of. Raises TraceError.

    Non-strict first. A net that writes to its weights through `.data` is tried with the writes followed (law 12):
    some versions of torch export it as it is, and lose what was written. Others that fail are tried strictly. The
    empty decomposition rewrites in-place operators and composite ones; it costs as much as the export, and a program
    that has neither stays as it is. Every attempt has a copy of its own, for a failed one leaves traces in it.
    """
    watch = _NoData()
    with quiet(), torch.no_grad():
        first: Exception | None = None
        for attempt in (_plain, _functional_weights, _strict):
            if attempt is _strict and watch.met:
                break
            copy = stand_in(model)
            try:
                return functional(attempt(copy, inputs, watch)), copy
            except Exception as error:  # torch raises many unrelated types here
                first = first or error
        assert first is not None
        raise TraceError(reason(first)) from first


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operators, and without composite ones that have no rule."""
    return program if _functional(program) else program.run_decompositions(_composites(program))


def _plain(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    with watch:
        return torch.export.export(model, inputs, strict=False)


def _strict(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    return torch.export.export(model, inputs, strict=True)


def _functional_weights(model: nn.Module, inputs: tuple[torch.Tensor, ...], watch: _NoData) -> ExportedProgram:
    with _DataAsAlias():
        return torch.export.export(unmask(model), inputs, strict=False)


def _functional(program: ExportedProgram) -> bool:
    """Whether every operator is known as it stands and writes to none of its operands, or can be written so."""
    without_dropout(program.graph)
    rewritten = made_functional(program.graph)
    program.graph_module.recompile()
    if not rewritten:
        return False
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        if schema is None or schema.is_mutable:
            return False
        if find(operator_name(node.target)) is None and torch.Tag.pointwise not in node.target.tags:
            return False
    return True


def _composites(program: ExportedProgram) -> dict[Any, Any]:
    """How to take apart the composite operators that have no rule (einsum, say); those that have one stay whole."""
    unknown = {
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload) and find(operator_name(node.target)) is None
    }
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    made: Any = getattr(torch.export, "default_decompositions", dict)()
    return {
        op: made[op]
        for op in unknown
        if op.has_kernel_for_dispatch_key(key) and op in made and not op._schema.name.startswith("aten::linalg_")
    }


DROPOUTS = (
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "feature_alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
)


class _NoData(TorchFunctionMode):
    """Stops at `.data`. Dropout in eval mode gives back its very operand (see inplace.without_dropout)."""

    met = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.data.__get__, torch.Tensor.data.__set__):  # type: ignore[attr-defined]
            self.met = True
            raise TraceError("forward uses .data, which cannot be followed")
        if getattr(func, "__name__", "") in DROPOUTS and args:  # older versions of torch rewrite in-place operators
            train = (kwargs or {}).get("training", args[2] if len(args) > 2 else True)
            if train is False:
                return args[0]
        return func(*args, **(kwargs or {}))


class _DataAsAlias(TorchFunctionMode):
    """`w.data` reads as a detached alias, and `w.data = v` as writing v into w: both can be followed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if func == torch.Tensor.data.__set__:  # type: ignore[attr-defined]
            args[0].detach().copy_(args[1])
            return None
        return func(*args, **(kwargs or {}))


LOGGERS = ("torch", "torch.export", "torch._dynamo", "torch.fx", "torch._export", "torch.__trace")
"""The last one logs every tensor that is traced, at a level of its own, and pytest would show it of a failing test."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Export logs tracebacks and warns about everything; what matters comes back as one TraceError."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [log.level for log in loggers]
    sink = io.StringIO()
    try:
        for log in loggers:
            log.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


def reason(error: BaseException, doing: str = "", *, own_line: bool = True) -> str:
    """The first line of torch's message that says something, with the user's own source line where there is one.

    doing: what failed, if not the export. own_line=False: leave the source line to the caller.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    skip = ("from user code", "Set TORCH", "Traceback", "File ", "The following call", "To print", "For more")
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(skip) and set(line) - set("^~ ")]
    doing = doing or f"torch.export fails with {type(error).__name__}"
    first = f"{doing}: {kept[0] if kept else ''}"
    if "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__:
        first = "an `if` or a shape depends on the data; analyse the submodule before it, or write it as torch.where"
    return f"{first[:400]}{_where(error) if own_line else ''}"


def _where(error: BaseException) -> str:
    """The last frame outside torch and this package."""
    found = ""
    tb = error.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if not foreign(file):
            found = f" (at {file}:{tb.tb_lineno})"
        tb = tb.tb_next
    return found


_OWN = __file__.replace("\\", "/").rsplit("/trace/", 1)[0] + "/"
_TORCH = torch.__file__.replace("\\", "/").rsplit("/", 1)[0] + "/"


def foreign(file: str) -> bool:
    """Whether a source file is torch's, Python's own or this package's, rather than the user's."""
    name = file.replace("\\", "/")
    if name.startswith((_TORCH, _OWN, "<")) or "/site-packages/torch/" in name or "/dist-packages/torch/" in name:
        return True  # a saved program names the files of the machine that saved it
    return "/lib/python" in name and "/site-packages/" not in name
