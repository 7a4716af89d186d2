"""The layer graph, and what each operator reads, runs and costs. Never torch. Importing it registers all rules."""

from . import rules, view_steps
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
    "rules",
    "short_name",
    "steps_before",
    "unregister",
    "view_steps",
    "word_of",
]
