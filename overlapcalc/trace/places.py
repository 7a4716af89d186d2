"""Where in the model a node of an exported program comes from: its layer, and the line of the user's source."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from torch.fx import Node as FxNode

from ..errors import OverlapcalcError, TraceError
from .export import foreign, reason
from .naming import operator_name


@contextlib.contextmanager
def located(fx: FxNode) -> Iterator[None]:
    """Whatever torch raises while a node is looked at ends as one TraceError that says where that was."""
    try:
        yield
    except OverlapcalcError:
        raise
    except Exception as error:  # torch raises many unrelated types here
        what = operator_name(fx.target) if fx.op == "call_function" else fx.name
        why = reason(error, f"following it fails with {type(error).__name__}", own_line=False)
        raise TraceError(f"{layer_of(fx) or 'the net'}: {what}: {why}{at(fx)}") from error


def layer_of(fx: FxNode) -> str:
    stack = fx.meta.get("nn_module_stack") or {}
    path = list(stack.values())[-1][0] if stack else ""
    return plain_path(path)


def plain_path(path: object) -> str:
    """The path of a module as `named_modules` gives it, without what tracers put before it."""
    return re.sub(r"^(L__self__|L\['\w+'\]|_orig_mod)\.?", "", str(path))


def source_of(fx: FxNode) -> str:
    """The last frame outside torch: "file:line"."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', fx.meta.get("stack_trace") or "")
    for file, line in reversed(frames):
        if not foreign(file):
            return f"{file}:{line}"
    return ""


def at(fx: FxNode) -> str:
    source = source_of(fx)
    return f" (at {source})" if source else ""
