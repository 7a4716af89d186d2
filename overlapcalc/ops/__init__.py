"""The layer graph, and what each operator reads, how it runs and what it costs. Never imports torch.

Names are imported when they are asked for, so that whoever needs a layout alone does not load every rule.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call
    from .facts import describe, kind_of, plain_name, short_name, word_of
    from .kind import Kind
    from .overloads import full_name
    from .registry import find, known_of, op_name, rule, steps_before, unregister

__all__ = [
    "Call",
    "Kind",
    "describe",
    "find",
    "full_name",
    "kind_of",
    "known_of",
    "op_name",
    "plain_name",
    "rule",
    "short_name",
    "steps_before",
    "unregister",
    "word_of",
]

_HOMES = {
    ".call": ("Call",),
    ".facts": ("describe", "kind_of", "plain_name", "short_name", "word_of"),
    ".kind": ("Kind",),
    ".overloads": ("full_name",),
    ".registry": ("find", "known_of", "op_name", "rule", "steps_before", "unregister"),
}
"""Module -> the names that it defines."""
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOME_OF[name], __name__), name)
    globals()[name] = found
    return found
