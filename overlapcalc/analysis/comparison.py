"""A net held against itself at another size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..ops.graph import Shapes
from ..propagate.compare import Differing
from ..propagate.values import Propagation


class Comparison(NamedTuple):
    """A net against itself at another size: how many steps along each axis, its shapes there, what differs (None: it
    does not run there), and the net with its views as that size shows them."""

    times: Mapping[str, int]
    larger: Shapes
    found: Differing | None
    net: Propagation
