"""The layer graph, and what each operator reads, runs and costs. Never torch.

Names are imported when they are asked for, so that whoever needs a layout alone does not load every rule.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call
    from .overloads import full_name
    from .registry import find, op_name, rule, steps_before, unregister

__all__ = ["Call", "find", "full_name", "op_name", "rule", "steps_before", "unregister"]

_HOMES = {"Call": ".call", "full_name": ".overloads"}
"""Name -> the module that defines it; all other names are the registry's."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, ".registry"), __name__), name)
