"""The layer graph, and what each operator reads, how it runs and what it costs. Never imports torch.

Names are imported when they are first used, so that whoever needs only a layout does not load every rule.
"""

from typing import TYPE_CHECKING

from ..lazy import names_from

if TYPE_CHECKING:
    from .call import Call
    from .facts import describe, kind_of, plain_name, short_name, word_of
    from .kind import Kind, Masking
    from .overloads import full_name
    from .registry import find, known_of, op_name, rule, steps_before, unregister

__all__ = [
    "Call",
    "Kind",
    "Masking",
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
    ".kind": ("Kind", "Masking"),
    ".overloads": ("full_name",),
    ".registry": ("find", "known_of", "op_name", "rule", "steps_before", "unregister"),
}
"""Module -> the names that it defines."""

__getattr__ = names_from(__name__, _HOMES)
