"""Hypothesis strategies: random nets, image sizes for them, block sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from hypothesis import strategies as st
from torch import nn

from ..errors import InputError
from .layer_recipes import obstacle
from .nets import Net
from .recipes import FAMILIES, Kinds, sequence, up_to, with_all, yours

LEAST = {1: 32, 2: 16, 3: 8}
"""For each number of axes, the samples a side on which every drawn net runs."""
LARGER = {1: 40, 2: 16, 3: 6}
"""For each number of axes, how much larger the drawn sizes are."""
SEEDS = 1000


@st.composite
def cnns(
    draw: st.DrawFn,
    *,
    families: Collection[str] = FAMILIES,
    depth: int = 4,
    axes: str | Sequence[str] = "HW",
    strides: Sequence[int] = (1, 2, 3),
    skips: bool = True,
    obstacles: bool = False,
    extra: Sequence[Callable[[int], nn.Module]] = (),
    least: int | None = None,
) -> Net:
    """Random CNNs as `Net` values, which print as the few lines that build them.

    families: the kinds of operators, from FAMILIES. depth: the most layers in a row. axes: "L", "HW" or "DHW", or a
    list to draw from. strides: those of convolutions and pools. skips: also residual, multiplied and concatenated
    branches, and U-Nets. obstacles: one layer of each net is an obstacle (group norm, circular padding, a global
    mean...); otherwise every net is blocking-free. extra: modules of yours, each called with the number of channels of
    its input; one of them is in every net. least: every net runs on images with this many samples a side, and on larger
    ones.

    Raises InputError for unknown names.
    """
    found = _checked(families, depth, axes, strides, least)
    for module in extra:
        if not callable(module):
            raise InputError(
                f"cnns: extra holds {module!r}; expected modules' classes, called with a number of channels"
            )
    letters = draw(st.sampled_from(found))
    n = len(letters)
    kinds = Kinds(n, [f for f in FAMILIES if f in families], sorted(set(strides)), skips)
    side = LEAST[n] if least is None else least
    recipes = draw(up_to(depth, kinds.layer(), least=0 if extra or obstacles else 1))
    fixed = []
    if obstacles:
        fixed.append(draw(obstacle(n)))
    if extra:
        fixed.append(draw(st.sampled_from(list(extra)).map(yours)))
    for recipe in fixed:
        recipes.insert(draw(st.integers(0, len(recipes))), recipe)
    channels = draw(st.integers(1, 3))
    calls = with_all(recipes, (1, channels, *(side,) * n), fixed)
    return Net(sequence(calls), channels, letters, draw(st.integers(0, SEEDS)))


@st.composite
def sizes(
    draw: st.DrawFn,
    net: Net | None = None,
    *,
    axes: str | None = None,
    least: int | Sequence[int] | None = None,
    most: int | Sequence[int] | None = None,
    multiple: int = 1,
) -> tuple[int, ...]:
    """Image sizes, one number per axis: of images that `net` runs on, or for a net of yours from `least` to `most`.

    Hypothesis shrinks to small ones, where an image is all border. multiple: sizes are multiples of it, for a net that
    runs on no others. Raises InputError where there are none.
    """
    if net is None and (axes is None or least is None):
        raise InputError("sizes: give a net that was drawn, or axes and the least size, as in axes='HW', least=16")
    if net is not None and axes is not None and axes != net.axes:
        raise InputError(f"sizes: axes={axes!r}, but the net has {net.axes!r}; leave the axes away")
    n = len(net.axes) if net is not None else len(axes or "")
    low = _per_axis(least, n, "least") if least is not None else (1,) * n
    if net is not None:
        low = tuple(map(max, low, net.least))
    high = _per_axis(most, n, "most") if most is not None else tuple(a + LARGER[n] for a in low)
    (step,) = _per_axis(multiple, 1, "multiple")
    counts = [(-(-a // step), b // step) for a, b in zip(low, high, strict=True)]
    if any(first > last for first, last in counts):
        raise InputError(f"sizes: from {low} to {high} there is no multiple of {step}; give a larger most")
    return tuple(step * draw(st.integers(first, last)) for first, last in counts)


@st.composite
def block_grids(draw: st.DrawFn, axes: str = "HW", *, least: int = 1, most: int = 16) -> int | Mapping[str, int]:
    """Block sizes for the argument `block`: one for all axes, or one per axis; an axis that is left out stays whole."""
    for what, number in (("least", least), ("most", most)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"block_grids: {what}={number!r}: expected a whole number, at least 1")
    if not axes or most < least:
        wrong = f"axes={axes!r} names none" if not axes else f"most={most} is less than least={least}"
        raise InputError(f"block_grids: {wrong}")
    sides = st.integers(least, most)
    if draw(st.booleans()):
        named = draw(st.lists(st.sampled_from(list(axes)), min_size=1, unique=True))
        return {axis: draw(sides) for axis in axes if axis in named}
    return draw(sides)


def _checked(
    families: Collection[str], depth: int, axes: str | Sequence[str], strides: Sequence[int], least: int | None
) -> list[str]:
    """The axes to draw from. Raises InputError."""
    found = [axes] if isinstance(axes, str) else list(axes)
    if not found or any(one not in ("L", "HW", "DHW") for one in found):
        raise InputError(f"cnns: axes={axes!r}: expected 'L', 'HW' or 'DHW', or a list of them")
    if isinstance(families, str) or not families or any(f not in FAMILIES for f in families):
        raise InputError(f"cnns: families={families!r}: expected some of {', '.join(FAMILIES)}, in a list")
    if set(families) == {"shuffle"} and found != ["HW"]:
        raise InputError(f"cnns: families={families!r}: pixel shuffles have the axes H and W only; add others")
    numbers = [("depth", depth), ("least", 1 if least is None else least), *(("strides", s) for s in strides)]
    for what, number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise InputError(f"cnns: {what}={number!r}: expected a whole number, at least 1")
    if not strides:
        raise InputError("cnns: strides is empty; (1,) is for nets without any")
    return found


def _per_axis(value: int | Sequence[int], n: int, what: str) -> tuple[int, ...]:
    found = (value,) * n if isinstance(value, int) else tuple(value)
    if len(found) != n or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in found):
        raise InputError(f"sizes: {what}={value!r}: expected a number, or one for each of {n} axes, at least 1")
    return found
