"""Several calls that together are another operator: padding spelled as a concatenation, say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .graph import Data, Node
from .registry import known_of, say


@dataclass(frozen=True)
class Together:
    """What a call amounts to with others before it. op: another operator. args: its arguments by name, all of them.
    before: the calls that are a part of it, and go where nobody else reads them. steps: calls that come before it then,
    with names of their own."""

    op: str
    args: Mapping[str, Any]
    before: frozenset[str]
    steps: tuple[Node, ...] = ()


Seen = Callable[[Node, Mapping[str, Node]], "Together | None"]


def together(*ops: str) -> Callable[[Seen], Seen]:
    """Register how to see what a call of these operators amounts to, given all nodes before it by name; None where it
    is only itself."""

    def register(function: Seen) -> Seen:
        say("together", ops, function)
        return function

    return register


def joined_calls(nodes: Iterable[Node], outputs: Iterable[str]) -> tuple[list[Node], dict[str, Together]]:
    """The nodes with such calls as what they amount to; and these, by the name of the node."""
    out, kept = list(nodes), set(outputs)
    known = {node.name: node for node in out}
    found: dict[str, Together] = {}
    for place, node in enumerate(out):
        see = known_of(node.op).together
        made = None if see is None else see(node, known)
        if made is not None:
            found[node.name] = made
            known |= {step.name: step for step in made.steps}
            out[place] = known[node.name] = replace(node, op=made.op, args=made.args)
    loose = {name for made in found.values() for name in made.before}
    out = [one for node in out for one in (*(found[node.name].steps if node.name in found else ()), node)]
    for node in reversed(out[:] if loose else []):
        if node.name in loose and node.name not in kept and not any(node.name in n.operands for n in out):
            out.remove(node)
    return out, found


def operand(node: Node, argument: str) -> str | None:
    """The node that an argument is; None where it is none."""
    value = node.args.get(argument)
    return value.node if isinstance(value, Data) else None
