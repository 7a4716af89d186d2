"""The least size at which a net runs, against a search by hand; and inputs that grow together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overlapcalc.analysis.fitting import Inputs, fitted
from overlapcalc.errors import InputError
from overlapcalc.ops.graph import Shapes

ACCEPTS: list[Callable[[int, int], bool]] = [
    lambda h, w: True,
    lambda h, w: h % 16 == 0 and w % 4 == 0,
    lambda h, w: h % 8 == 1 and w % 8 == 0,
    lambda h, w: h % 24 == 0 and w % 14 in (0, 3),
    lambda h, w: h >= 50 and w > 40,
    lambda h, w: (h, w) == (112, 96),
]


@pytest.mark.parametrize("accepts", ACCEPTS)
@pytest.mark.parametrize("given", [(33, 40), (1, 2), (48, 96)])
def test_the_least_size(accepts: Callable[[int, int], bool], given: tuple[int, int]) -> None:
    sizes = [(h, w) for h in range(given[0], 120) for w in range(given[1], 120) if accepts(h, w)]
    found = fitted(lambda shapes: accepts(*shapes[0][2:]), Inputs(((1, 3, *given),), [""]))
    assert found[0][2:] == min(sizes, key=sum)


def test_a_net_that_compares_its_sides_gets_some_size() -> None:
    (found,) = fitted(lambda shapes: shapes[0][2] == shapes[0][3], Inputs(((1, 1, 20, 27),), [""]))
    assert found[2] == found[3] >= 27


TOGETHER: list[tuple[Shapes, dict[str, int], Shapes]] = [
    (((1, 1, 1001), (1, 1, 501)), {"L": 1008}, ((1, 1, 1008), (1, 1, 504))),
    (((1, 1, 63), (1, 1, 1001)), {"L": 1008}, ((1, 1, 63), (1, 1, 1008))),
    (((1, 1, 9, 9), (1, 1, 1, 9)), {"H": 16, "W": 12}, ((1, 1, 16, 12), (1, 1, 1, 12))),
    (((1, 1, 1),), {"L": 8}, ((1, 1, 8),)),
]


@pytest.mark.parametrize(("given", "lengths", "wanted"), TOGETHER)
def test_inputs_grow_together(given: Shapes, lengths: dict[str, int], wanted: Shapes) -> None:
    assert Inputs(given, [""] * len(given)).at(lengths) == wanted


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(InputError, match="9 samples along L leave no whole size for input 1 of shape 1x1x4, which has"):
        Inputs(((1, 1, 8), (1, 1, 4)), ["", ""]).at({"L": 9})
    two = Inputs(((1, 1, 1), (1, 1, 1)), ["", ""])
    assert fitted(lambda shapes: True, two) == two.shapes
    with pytest.raises(InputError, match="every input has one sample along L"):
        fitted(lambda shapes: shapes[0][2] % 2 == 0, two)
    with pytest.raises(InputError, match="no larger size than 1x1x9 was found"):
        fitted(lambda shapes: shapes[0][2] < 9, Inputs(((1, 1, 9),), [""]))
