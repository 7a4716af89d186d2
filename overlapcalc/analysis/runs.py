"""What runs exactly, and what each operator that is in the way of tiles is, on each axis.

Classes of an operator on an axis (docs/mathematics.md, "Passes"):

- *local at a size*: it has a table of what each output reads at this size, but no law that holds at every size. Trim,
  stream and passes follow it.
- *reduction*: it takes the axis band by band, and what it gives has no axis; the next pass reads it.
- *scan*: it runs along the axis in one direction, with a state that a stream carries.
- *whole*: it runs once on operands that are stored whole; or follows bands, with some operands whole (attention).
- *impossible*: no two runs give the same.

Everything else is local.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from ..errors import ObstacleError
from ..ops.law import Cause
from ..ops.scans import CARRIED
from ..propagate.staged import Staged
from ..propagate.stager import staged
from ..propagate.values import Obstacle, Propagation


class OperatorClass(str, Enum):
    """How an operator runs along an axis. See the module's text."""

    AT_SIZE = "local at a size"
    REDUCTION = "reduction"
    SCAN = "scan"
    WHOLE = "whole"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Classed:
    """An operator that is not local on an axis. layer: its path. op. axis. kind: an `OperatorClass`.

    >>> net = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.GroupNorm(1, 2))
    >>> [(c.layer, c.kind) for c in oc.analyze(net, (1, 1, 32)).classes]
    [('1', 'reduction')]
    """

    layer: str
    op: str
    axis: str
    kind: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Runs:
    """What runs a net exactly along an axis. how: "tiles" of the unmodified net, so every schedule; "regions", by trim
    and stream at this size; "passes"; or "nothing". passes: how many. why: for nothing. state: the layers whose state
    one pass carries from band to band, where that is all that it takes and no output reads ahead without limit: the net
    is streamable with state.

    >>> oc.analyze(nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.GroupNorm(1, 2)), (1, 1, 32)).runs["L"]
    Runs(axis='L', how='passes', passes=2, why='', state=())
    """

    axis: str
    how: str
    passes: int = 1
    why: str = ""
    state: tuple[str, ...] = ()

    @property
    def streamable_with_state(self) -> bool:
        """Whether a state that is carried is all that it takes.

        >>> class Total(nn.Module):
        ...     def forward(self, x):
        ...         return x.cumsum(-1)
        >>> oc.analyze(Total(), (1, 1, 64)).runs["L"].streamable_with_state
        True
        """
        return bool(self.state)

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "state": list(self.state), "streamable_with_state": self.streamable_with_state}


def running(
    net: Propagation, axis: str, obstacles: Sequence[Obstacle], bounded_ahead: Callable[[str], bool]
) -> tuple[Runs, tuple[Classed, ...]]:
    """What runs along an axis, and the operators that are not local on it. obstacles: those of all axes. bounded_ahead:
    whether no output reads ahead without limit along an axis that has obstacles."""
    own = [o for o in obstacles if o.axis == axis]
    if not own:
        return Runs(axis, "tiles"), ()
    try:
        parts = staged(net, axis)
    except ObstacleError as error:
        kinds = {o: OperatorClass.IMPOSSIBLE if o.cause == Cause.RANDOM.value else OperatorClass.WHOLE for o in own}
        found = [Classed(o.layer, o.op, axis, kind.value) for o, kind in kinds.items()]
        return Runs(axis, "nothing", 0, str(error)), tuple(dict.fromkeys(found))
    said = dict(_said(parts))
    at_size = [(o.layer, o.op) for o in own if (o.layer, o.op) not in said]
    kinds_of = {**said, **dict.fromkeys(at_size, OperatorClass.AT_SIZE)}
    found = [Classed(layer, op, axis, kind.value) for (layer, op), kind in kinds_of.items()]
    if not said:
        return Runs(axis, "regions"), tuple(found)
    scans = {one.layer: None for one in found if one.kind == OperatorClass.SCAN.value}
    only_state = parts.passes == 1 and len(scans) == len({one.layer for one in found}) and bounded_ahead(axis)
    return Runs(axis, "passes", parts.passes, state=tuple(scans) if only_state else ()), tuple(found)


def _said(parts: Staged) -> Iterator[tuple[tuple[str, str], OperatorClass]]:
    """Layer and operator of what ends a stage, is carried, or is given something whole."""
    names = parts.net.names
    for barrier in parts.barriers.values():
        node = barrier.node
        by_bands = OperatorClass.SCAN if barrier.swept else OperatorClass.WHOLE
        kind = OperatorClass.REDUCTION if barrier.reduction else by_bands
        yield (names.get(node.name) or node.layer or node.name, node.called), kind
    for node in parts.net.graph:
        layer = names.get(node.name) or node.layer or node.name
        if node.args.get(CARRIED):
            yield (layer, node.called), OperatorClass.SCAN
        elif any(operand in parts.whole for operand in node.operands):
            yield (layer, node.called), OperatorClass.WHOLE
