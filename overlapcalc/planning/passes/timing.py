"""The passes in which each tensor of a staged net is made and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...propagate.staged import Staged
from .order import ordered


@dataclass(frozen=True)
class Timing:
    """made: node -> the passes in which it is computed; for what a barrier gives, and for an input, the first that may
    read it. read: node -> the passes that read it; what is made before a pass reads in that pass."""

    made: Mapping[str, frozenset[int]]
    read: Mapping[str, frozenset[int]]

    @staticmethod
    def of(net: Staged, again: frozenset[str] = frozenset(), when: Mapping[str, int] | None = None) -> Timing:
        """again: nodes that are computed in every pass that reads them, and so need not be stored. What a pass reads
        before it begins is stored all the same. when: what `ordered` gives."""
        graph, when = net.net.graph, ordered(net) if when is None else when
        takers = _takers(net)
        again -= needed_whole(net) | {o for b in net.barriers.values() if b.swept for o in b.node.operands}
        again -= set(net.stored.values())
        made: dict[str, frozenset[int]] = {}
        read: dict[str, frozenset[int]] = {}
        ends = {node for _, node in graph.outputs}
        for name in reversed(graph.order):
            found = {number for reader in graph.readers(name) for number in made[reader]} | takers.get(name, set())
            found.update(*(read[alias] for alias, of in net.stored.items() if of == name))
            first = frozenset({when[name]})
            read[name] = frozenset(found)
            made[name] = (read[name] | (first if name in ends else set()) or first) if name in again else first
        return Timing(made, read)

    def stored(self, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Those of these nodes that a pass reads without making them: the passes that write them, and that read them
        last."""
        found = {}
        for name in names:
            lacking = self.read[name] - self.made[name]
            if lacking and max(lacking) > min(self.made[name]):
                found[name] = (min(self.made[name]), max(lacking))
        return found


def needed_whole(net: Staged) -> set[str]:
    """What is read before a pass begins, by operators that run whole."""
    whole = {o for b in net.barriers.values() if not b.reduction and not b.swept for o in b.node.operands}
    return whole | set(net.whole.values())


def _takers(net: Staged) -> dict[str, set[int]]:
    """What barriers, and copies that are given whole, read: operand -> passes."""
    found: dict[str, set[int]] = {}
    for barrier in net.barriers.values():
        for operand in barrier.node.operands:
            found.setdefault(operand, set()).add(barrier.stage - 1 if barrier.reduction else barrier.stage)
    for alias, of in net.whole.items():
        found.setdefault(of, set()).add(net.stages[alias])
    return found
