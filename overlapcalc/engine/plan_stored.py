"""What passes store, for their plan: by whom it is written and read, and whether it is kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..ops import Call
from ..ops.scans import sweep_of
from ..planning.byte_size import bytes_text
from ..planning.passes.net import PassNet
from ..planning.passes.stored import Stored, kept_within
from ..trace.runnable import Runnable
from .schedules.sweep import between, giver
from .spill.stores import slots_of
from .weigh_passes import Weight


def all_stored(parts: PassNet, calls: Runnable, weight: Weight) -> Iterator[Stored]:
    """What is stored in bands, at its type, not yet kept."""
    net, passes = parts.net, parts.passes
    written = {name: one.number for one in passes for name in (*one.stores, *one.before)}
    last = {name: one.number for one in passes for name in one.last}
    whole = set(net.whole.values()) | {node for one in passes for _, node in one.ended}
    for name, form in weight.forms.items():
        node = name if name in net.net.graph.nodes else giver(name)
        yield Stored(
            name=name,
            layer=net.net.names.get(node) or net.net.graph[node].layer or node,
            sizes=form.shape,
            at=form.at,
            dtype=str(form.dtype).removeprefix("torch."),
            own=form.dtype.is_floating_point and _follows(calls, node),
            nbytes=form.nbytes,
            first=written[node],
            last=max(last.get(name, written[node]), written[node]),
            kept=False,
            whole=name in whole,
        )


def _follows(calls: Runnable, name: str) -> bool:
    """Whether a tensor has the type of an input, and so another one where that has: see SlabCall.typed."""
    call = calls.calls.get(name)
    return call is None or call.dtype in calls.types


def readers(parts: PassNet) -> Iterator[tuple[int, str]]:
    """Passes and what they read, as often as they do: in their course, and to and fro before they begin."""
    net = parts.net
    for one in parts.passes:
        yield from ((one.number, name) for name in one.reads)
        for barrier in (net.barriers[name] for name in one.before if name in net.barriers):
            how, node = sweep_of(barrier.node.op), barrier.node
            if barrier.swept and how is not None:
                shapes = tuple(net.net.graph[operand].shape for operand in node.operands)
                for way in how.ways(Call(node, shapes)):
                    names = (between(node.name, j) if j else node.operands[0] for j in way.reads)
                    yield from ((one.number, name) for name in names)


def kept(stored: Sequence[Stored], weight: Weight, budget: int | None) -> list[Stored]:
    """The same, with what is kept in memory. budget: see `kept_within`."""
    names = kept_within(stored, weight.taken, budget)
    return [replace(one, kept=one.name in names) for one in stored]


def kept_beyond(stored: Sequence[Stored], limit: int | None) -> list[Stored]:
    """The same, with as much more in memory as a limit of the disk demands: what is read to and fro is not computed
    anew. The largest come first."""
    found = list(stored)
    for i in sorted(range(len(found)), key=lambda i: -found[i].nbytes):
        if limit is None or slots_of(found).size <= limit:
            break
        found[i] = replace(found[i], kept=True)
    return found


def taken_with(stored: Sequence[Stored], beside: Sequence[int]) -> list[int]:
    """What each pass takes with what is kept for it. beside: without."""
    in_memory = [one for one in stored if one.kept]
    return [n + sum(t.nbytes for t in in_memory if t.first <= p <= t.last) for p, n in enumerate(beside)]


def needed_text(stored: Sequence[Stored]) -> str:
    """What operators that run whole need in memory, as the end of a message."""
    whole = sorted((one for one in stored if one.whole), key=lambda one: -one.nbytes)
    if not whole:
        return ""
    layers = ", ".join(dict.fromkeys(one.layer for one in whole))
    return f"; of what is needed whole ({layers}) the largest tensor takes {bytes_text(whole[0].nbytes)}"
