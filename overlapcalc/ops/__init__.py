"""The layer graph, and what each operator reads, how it runs and what it costs. Never imports torch.

Importing this package registers all rules.
"""

from . import rules, view_steps
from .call import Call
from .overloads import full_name
from .registry import find, op_name, rule, steps_before, unregister

__all__ = ["Call", "find", "full_name", "op_name", "rule", "rules", "steps_before", "unregister", "view_steps"]
