"""A net at one size, compared with itself at others: along which axes it is the same there, and on which grid.

Tiles are images of other sizes. One other size is enough where nothing differs, if it is far away: about twice and
three times as long, by prime numbers of steps, so that a size that is divided and rounded, or taken modulo something,
gives another number there. Where something differs, each axis is tried separately.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import log, prod

from ..errors import OverlapcalcError, TraceError
from ..ops.graph import Graph, Shapes
from ..propagate.compare import Differing, differences, views_of
from ..propagate.forward import propagate
from ..propagate.grid import Grid
from ..propagate.scaling import grow, samples, skewed, steps_to, stretch
from ..propagate.values import Propagation
from ..stages import at_stage, shapes_text
from .comparison import Comparison
from .far_sizes import MOST_VALUES, far, most_values, shapes_of
from .gc_pause import gc_paused
from .loops import inside, outside
from .unrolled import unrolled_axes
from .windows import windowed

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""How many steps a net grows at a time; the next one is tried where it does not run at the first."""
PERIODS = (13440, 960, 64, 8)
"""How many steps larger to trace a net that differs one step larger, to see whether it is periodic after all."""
MOST_SAMPLES = 1 << 24
"""No trace larger than this to find a period: constants computed from the size are really evaluated."""
MOST_SIGHTS = 3
"""How many times a larger image may show that a net's views are not what its own size suggests."""


class OtherSizes:
    """Compares a net with itself at other sizes. plain, graph: input shapes -> the net at these shapes; may raise
    TraceError. whole: a net of which this one is the first part, and the shapes at which that was the same. carried: as
    `plain` propagates."""

    def __init__(
        self,
        plain: Callable[[Shapes], Propagation],
        graph: Callable[[Shapes], Graph],
        whole: tuple[Propagation, Shapes] | None = None,
        *,
        carried: bool = False,
    ) -> None:
        self._plain, self._graph, self._whole = plain, graph, whole
        self._propagate, self._carried = partial(propagate, carried=carried), carried
        self._seen: dict[tuple[int, Shapes], tuple[Propagation, Comparison]] = {}  # by the identity of the net

    def settled(self, net: Propagation) -> tuple[Propagation, Shapes | None]:
        """The net with obstacles where other sizes give another net, or with the law that it has as a whole; and the
        shapes that showed it."""
        found, there = self._settled(net)
        if self._carried:
            return found, there
        law, shown = windowed(found, self._graph)
        return law, shown or there

    def _settled(self, net: Propagation, sights: int = MOST_SIGHTS) -> tuple[Propagation, Shapes | None]:
        """The net with obstacles where (along which axes) other sizes give another net, and the shapes that showed it.

        Where it runs, or is the same, only at multiples of several steps (it pads to a multiple of 8, say), that is no
        obstacle but a coarser grid.
        """
        again = partial(self._propagate, net.traced, names=net.names, views=views_of(net, net.traced))
        early = self._by_the_whole(net) or self._unrolled(net)
        if early is not None:
            return early
        for multiple in MULTIPLES:
            near = dict.fromkeys(_axes(net), multiple)
            seen = self._looked(net, near)
            if seen.net is not net and sights:
                return self._settled(seen.net, sights - 1)
            if seen.found is None or (multiple > 1 and not seen.found and not self._repeats(net, near)):
                continue
            if not seen.found:
                return (again(coarser=near) if multiple > 1 else net), seen.larger
            differing = self._blamed(net, seen)
            if not differing:
                return (again(coarser=near) if multiple > 1 else net), seen.larger
            periodic = self._period(net, near, {axis for at in differing.values() for axis in at}, seen)
            if isinstance(periodic, Propagation) and sights:
                return self._settled(periodic, sights - 1)
            if isinstance(periodic, dict):
                return again(coarser=periodic), seen.larger
            return again(differing=differing), seen.larger
        return again(sizes_verified=False), None

    def _by_the_whole(self, net: Propagation) -> tuple[Propagation, Shapes] | None:
        """A first part of a net that differs on its own grid may be the same on that of the whole, which was compared
        with itself already: both pad to a multiple, say."""
        if self._whole is None:
            return None
        whole, there = self._whole
        near = dict.fromkeys(_axes(net), 1)
        away, steps = far(net, near), steps_to(net, there)
        if steps is None or (away and self._compared(net, away).found == {}):
            return None
        coarser = {a: Grid(whole, a).per_step(i) // Grid(net, a).per_step(i) for i, a in net.slots}
        seen = self._compared(net, steps)
        if seen.found != {} or seen.net is not net or any(steps[a] % n for a, n in coarser.items()):
            return None
        found = self._reduced(net, coarser, set(coarser))
        return self._propagate(net.traced, names=net.names, views=views_of(net, net.traced), coarser=found), there

    def _unrolled(self, net: Propagation) -> tuple[Propagation, Shapes | None] | None:
        """The net with one obstacle on each axis whose samples forward takes one after another, if there are any."""
        near = dict.fromkeys(_axes(net), 1)
        away = far(net, near)
        small = inside(net, self._graph)
        settled = small.settled(net, away, self._graph, self._compared, self._propagate) if small else None
        if settled is not None:
            return settled
        there = self._compared(net, away) if away else None
        if there is None or not there.found or len(self._graph(there.larger).order) <= len(net.traced.order):
            return None
        large = outside(net, self._graph, away)
        settled = large.settled(net, away, self._graph, self._compared, self._propagate) if large else None
        if settled is not None:
            return settled
        looped = unrolled_axes(net, self._graph, away)
        if not looped:
            return None
        others = {axis: n for axis, n in away.items() if axis not in looped}
        seen = self._compared(net, others) if others else None
        if seen is not None and seen.found is None:
            return None  # it does not run there, so nothing tells about the other axes
        differing: Differing = {name: dict.fromkeys(looped, "") for _, name in net.graph.outputs}
        for name, texts in (seen.found or {}).items() if seen is not None else ():
            differing[name] = {**differing.get(name, {}), **texts}
        found = self._propagate(
            net.traced, names=net.names, views=views_of(net, net.traced), differing=differing, looped=looped
        )
        return found, there.larger if seen is None else seen.larger

    def _looked(self, net: Propagation, near: Mapping[str, int]) -> Comparison:
        """The net at a size far away; near by, where it does not run there, or where it differs only beyond the image:
        tiles are no larger than the image, so at half the size it must be the same."""
        away = far(net, near)
        there = self._compared(net, away) if away else None
        if there is not None and there.found is not None and (not there.found or there.net is not net):
            return there
        here = self._compared(net, skewed(near))
        if there is None or there.found is None:
            return here
        if here.found == {} and here.net is net and self._smaller(net, near):
            return here
        return there

    def _smaller(self, net: Propagation, near: Mapping[str, int]) -> bool:
        """Whether the net runs, and is the same, at about half and a third of its size."""
        less = {axis: -n for axis, n in far(net, near, shrink=True).items()}
        if not all(less.values()):
            return False
        return self._compared(net, less).found == {}

    def _compared(self, net: Propagation, times: Mapping[str, int]) -> Comparison:
        """The net against itself at a size larger by these numbers of steps along each axis.

        If only the understanding of views differs, the larger image is right about them (see algebra/reshape.Reshape).
        """
        larger, moved = grow(net, times)
        known = self._seen.get((id(net), larger))
        if known is None:
            known = self._seen[id(net), larger] = net, self._compare(net, times, larger, moved)
        return known[1]

    def _compare(
        self, net: Propagation, times: Mapping[str, int], larger: Shapes, moved: Mapping[str, Mapping[str, int]]
    ) -> Comparison:
        try:
            large = self._plain(larger)
        except OverlapcalcError:
            return Comparison(times, larger, None, net)
        at_stage(f"comparing with {shapes_text(larger)}")
        with gc_paused():
            found = differences(net, large, moved)
        views = views_of(large, net.traced) if found else {}
        if any(net.values[name].view != view for name, view in views.items()):
            seen = self._propagate(net.traced, names=net.names, views=views)
            there = stretch(seen, larger)
            if there is not None and not differences(seen, large, there):
                return Comparison(times, larger, {}, seen)
        return Comparison(times, larger, found, net)

    def _blamed(self, net: Propagation, seen: Comparison) -> Differing:
        """What differs when each axis grows alone, and when it grows on top of all the others.

        Alone is not enough: a net that looks at the smaller side differs only where both grow.
        """
        assert seen.found is not None
        axes = _axes(net)
        found = {axis for at in seen.found.values() for axis in at}
        if len(axes) == 1:
            return seen.found
        away = seen.times
        out: Differing = {}
        for axis in axes:
            if axis not in found:
                continue
            alone = self._compared(net, {axis: away[axis]}).found
            if alone == {}:
                alone = self._on_top(net, axis, away)
            if alone is None:  # it does not run then, or differs only then: what differs counts against this axis too
                alone = {name: {axis: at[axis]} for name, at in seen.found.items() if axis in at}
            for name, texts in alone.items():
                out.setdefault(name, {}).update(texts)
        return out

    def _on_top(self, net: Propagation, axis: str, away: Mapping[str, int]) -> Differing | None:
        """Nothing, if the net is also the same where an axis grows on top of all the others; else None."""
        others = {a: n for a, n in away.items() if a != axis}
        try:
            base = self._plain(grow(net, others)[0])
        except OverlapcalcError:
            return None
        return {} if self._compared(base, {axis: away[axis]}).found == {} else None

    def _repeats(self, net: Propagation, times: Mapping[str, int]) -> bool:
        """Whether the net is the same at once, twice and three times as many steps larger.

        Once is not enough: a branch on `width % 3 == 0` takes the same side at many sizes that are no multiples.
        """
        for k in (1, 2, 3):
            further = {axis: k * steps for axis, steps in times.items()}
            for grown in (skewed(further), further):
                seen = self._compared(net, grown)
                if seen.found != {} or seen.net is not net:
                    return False
        return True

    def _grows(self, net: Propagation, seen: Comparison) -> bool:
        """Whether the net has more operators on a larger image: a loop over samples, which is never periodic."""
        counts = [len(net.graph.order)]
        for k in (1, 2):
            larger, _ = grow(net, {axis: k * steps for axis, steps in seen.times.items()})
            try:
                counts.append(len(self._graph(larger).order))
            except TraceError:
                return False
            if counts[-1] <= counts[-2]:
                return False
        return True

    def _too_large(self, net: Propagation, seen: Comparison, shapes: Shapes) -> bool:
        """Whether the net, or a constant that it makes, would be too large there if it keeps growing as it did."""
        here, there, then = (prod(samples(net.graph, s)) for s in (shapes_of(net), seen.larger, shapes))
        if then > MOST_SAMPLES:
            return True
        try:
            small, large = most_values(net.graph), most_values(self._graph(seen.larger))
        except TraceError:
            return False
        power = log(large / small) / log(there / here) if 0 < small < large and here < there else 0.0
        return bool(large * (then / there) ** power > MOST_VALUES)

    def _period(
        self, net: Propagation, times: Mapping[str, int], axes: set[str], met: Comparison
    ) -> dict[str, int] | Propagation | None:
        """The smallest numbers of steps along `axes` after which the net is the same, if there are any; or the net
        with its views understood differently, which has another grid."""
        if self._grows(net, met):
            return None
        for most in PERIODS:
            found = {**times, **dict.fromkeys(axes, most)}
            larger, _ = grow(net, skewed(found))
            if self._too_large(net, met, larger):
                continue
            first = self._compared(net, skewed(found))
            if first.found != {} or self._compared(net, found).found != {}:
                return None
            if first.net is not net:
                return first.net
            return self._reduced(net, found, axes)
        return None

    def _reduced(self, net: Propagation, found: dict[str, int], axes: set[str]) -> dict[str, int]:
        """The fewest of these numbers of steps along `axes`, divided alike, after which the net is still the same."""
        for prime in (2, 3, 5, 7):
            while all(found[a] % prime == 0 for a in axes):
                fewer = {**found, **{a: found[a] // prime for a in axes}}
                if not self._repeats(net, fewer):
                    break
                found = fewer
        return found


def _axes(net: Propagation) -> list[str]:
    return sorted({axis for _, axis in net.slots})
