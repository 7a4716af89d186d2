"""Layouts: which dimension of an input is the batch, the channels, an axis. `NCHW`, `NHWC`, `CHW`, `NTCHW`.

One letter per dimension: D, H, W and L are axes, N is the batch, C the channels, and any other capital letter a
dimension that is not an axis either (T for time, say). Such dimensions are followed index by index, as channels are.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Argument, InputError

AXES = ("D", "H", "W", "L")
"""The letters of axes, in the order of reports."""
DEFAULTS = ("", "N", "NC", "NCL", "NCHW", "NCDHW")
"""The layout of an input that was given none, by its number of dimensions."""

BATCH = "N"
"""The letter of the batch."""

NO_AXES = "XYZ"
"""Letters for dimensions that stand where axes usually do, but are not axes."""


def default_layout(ndim: int) -> str:
    """Batch, channels, then one to three axes. Raises InputError for more dimensions than that.

    >>> default_layout(4)
    'NCHW'
    """
    if ndim >= len(DEFAULTS):
        raise InputError(
            f"an input of {ndim} dimensions: batch, channels and at most three spatial axes are understood; for more, "
            "say what they are, as in ",
            Argument("layout", "NTCHW"),
        )
    return DEFAULTS[ndim]


def axes_in(layout: str) -> tuple[str, ...]:
    """The axes of a layout in the order of reports.

    >>> axes_in("NWHC")
    ('H', 'W')
    """
    return tuple(axis for axis in AXES if axis in layout)


def checked(layout: str, shape: Sequence[object]) -> str:
    """The layout, if it fits an input of this shape. Raises InputError where it does not."""
    given = Argument("layout", layout)
    if not isinstance(layout, str) or not layout.isascii() or not layout.isalpha() or not layout.isupper():
        raise InputError(given, ": expected a capital letter per dimension, such as NHWC")
    twice = sorted({letter for letter in layout if layout.count(letter) > 1})
    if twice:
        raise InputError(given, f": {', '.join(twice)} stands there more than once; each dimension has its own letter")
    if len(layout) != len(shape):
        size = "x".join(map(str, shape))
        raise InputError(given, f" has {len(layout)} letters, but the input {size} has {len(shape)} dimensions")
    return layout


def with_axes(layouts: Sequence[str]) -> Sequence[str]:
    """The layouts of all inputs, if at least one has an axis. Raises InputError where none has."""
    if not any(map(axes_in, layouts)):
        given = layouts[0] if len(layouts) == 1 else [*layouts]
        raise InputError(Argument("layout", given), " has no spatial axis; D, H, W and L are axes")
    return layouts


def chosen(layout: str | Sequence[str | None] | None, shapes: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """The layout of every input, "" where none is given. A single layout is for all inputs. Raises InputError.

    An input of one sample beside an image has no axis: a gain per channel, (1, C, 1, 1), is read whole by every block.

    >>> chosen(None, [(1, 3, 64, 64), (1, 3, 1, 1)])
    ('', 'NCXY')
    """
    if layout is None or isinstance(layout, str):
        given: list[str | None] = [layout] * len(shapes)
    elif isinstance(layout, (list, tuple)):
        given = [*layout] * (len(shapes) if len(layout) == 1 else 1)
    else:
        raise InputError(
            Argument("layout", layout), ": expected letters such as NHWC, or a list of them, one per input"
        )
    if len(given) != len(shapes):
        raise InputError(f"{len(given)} layouts for {len(shapes)} inputs; give one per input, or one for all of them")
    for one, shape in zip(given, shapes, strict=True):
        if one is None:
            default_layout(len(shape))
        else:
            checked(one, shape)
    found = tuple(one or "" for one in given)
    letters = [one or default_layout(len(shape)) for one, shape in zip(found, shapes, strict=True)]
    if any(found):
        with_axes(letters)
    small = [not one and set(shape[2:]) == {1} for one, shape in zip(found, shapes, strict=True)]
    if all(small):
        return found
    return tuple(
        said[:2] + NO_AXES[: len(said) - 2] if one_sample else one
        for one, said, one_sample in zip(found, letters, small, strict=True)
    )
