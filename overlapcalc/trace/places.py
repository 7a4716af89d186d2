"""The place in the model that a node of an exported program comes from: its layer, and the user's source line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from torch.fx import Node as FxNode

from ..errors import OverlapcalcError, TraceError
from .naming import operator_name


@contextlib.contextmanager
def located(fx: FxNode) -> Iterator[None]:
    """Turns whatever torch raises while a node is processed into one TraceError that says where."""
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
    """The path of a module as in `named_modules`, without the prefixes of tracers."""
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


# ---- what torch says --------------------------------------------------------------------------------------------


def reason(error: BaseException, doing: str = "", *, own_line: bool = True) -> str:
    """The first meaningful line of torch's message, with the user's own source line if there is one.

    doing: what failed, if not the export. own_line=False: leave the source line to the caller.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    skip = ("from user code", "Set TORCH", "Traceback", "File ", "The following call", "To print", "For more")
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(skip) and set(line) - set("^~ ")]
    who = "forward" if _where(error) else "torch.export"  # the last frame says whose code it was
    doing = doing or f"{who} fails with {type(error).__name__}"
    first = str(error) if isinstance(error, OverlapcalcError) else f"{doing}: {kept[0] if kept else ''}"
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
        return True  # a saved program has file names of the machine that saved it
    return "/lib/python" in name and "/site-packages/" not in name
