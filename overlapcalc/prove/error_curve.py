"""The result of `overlapcalc.error_curve`: what a smaller overlap than the exact one would leave, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, log10
from typing import Any

from ..analysis.measures import Sides
from ..analysis.named import Named
from ..propagate.values import Obstacle

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SeamError:
    """One output by blocks against the same output as a whole. largest: the largest absolute difference. rms: the root
    of the mean square of all differences. extent: of the values of the whole, from the smallest to the largest.
    differing: the share of samples that differ by more than rounding.

    >>> round(SeamError(largest=0.5, rms=0.001, extent=1.0, differing=0.1).psnr)
    60
    """

    largest: float
    rms: float
    extent: float
    differing: float

    @property
    def psnr(self) -> float:
        """The peak signal-to-noise ratio in dB, with the extent as the peak.

        >>> SeamError(largest=0.0, rms=0.0, extent=1.0, differing=0.0).psnr
        inf
        """
        if not self.rms:
            return inf
        return 20 * log10(self.extent / self.rms) if 0 < self.extent < inf and self.rms < inf else -inf

    def to_dict(self) -> dict[str, float | None]:
        """Plain data for JSON, which has no infinity: None in its place."""
        found = {**asdict(self), "psnr": self.psnr}
        return {name: x if -inf < x < inf else None for name, x in found.items()}


@dataclass(frozen=True)
class ErrorPoint:
    """The error on tiles of one kind. tile: per axis that is cut, the samples before and after a block, but for the
    image's ends. errors: per output; none where the net fails on such a tile. failure: how.

    >>> point = oc.error_curve(nn.AvgPool1d(5, 1, 2), torch.ones(1, 1, 32), block=8).points[0]
    >>> point.tile["L"].total, round(point.errors["output"].rms, 3), point.errors["output"].differing
    (0, 0.194, 0.375)
    """

    tile: Mapping[str, Sides]
    errors: Named[SeamError]
    failure: str = ""

    @property
    def largest(self) -> float:
        """The largest error of all outputs; infinite where the net fails.

        >>> ErrorPoint({"L": Sides(1, 1)}, Named({}), "the net fails on a tile").largest
        inf
        """
        return inf if self.failure else max((error.largest for error in self.errors.values()), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "tile": {axis: sides.to_dict() for axis, sides in self.tile.items()},
            "outputs": {name: error.to_dict() for name, error in self.errors.items()},
            "failure": self.failure,
        }


@dataclass(frozen=True)
class ErrorCurve:
    """What shorter tiles than the exact ones leave at the seams of blocks: measured on one image with one set of
    weights, no bound for others.

    points: from tiles of the bare blocks to the exact ones, which come last. below: the error that is asked for. block,
    count: the length of blocks along the axes that are cut, and how many there are. inputs: shapes. drawn: names of the
    inputs that are random. whole: the exact tile is the whole image. obstacles: why, where operators are. local: how
    far the worst output reaches beside them. rounding: up to which differences are rounding. rest: by how many samples
    tiles are longer after a block than their `tile` says, on axes where that is any: they have the image's length
    modulo the step, or the net would be another one on them.

    >>> curve = oc.error_curve(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 32), block=8)
    >>> [tuple(point.tile["L"]) for point in curve.points], curve.consistent
    ([(0, 0), (1, 1), (2, 2)], True)
    """

    points: tuple[ErrorPoint, ...]
    below: float
    block: Mapping[str, int]
    count: int
    inputs: Named[tuple[int, ...]]
    drawn: tuple[str, ...]
    device: str
    whole: bool
    obstacles: tuple[Obstacle, ...]
    local: Mapping[str, Sides]
    rounding: float
    rest: Mapping[str, int]

    @property
    def consistent(self) -> bool:
        """Whether the exact tile leaves rounding alone. If not, the analysis is wrong about this net."""
        exact = self.points[-1]
        return not exact.failure and not any(error.differing for error in exact.errors.values())

    @property
    def enough(self) -> ErrorPoint | None:
        """The shortest tile from which on all longer ones that were tried leave less than `below`; None where not even
        the exact one does.

        >>> oc.error_curve(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 32), block=8, below=1e-9).enough.tile["L"]
        Sides(before=2, after=2)
        """
        found = None
        for point in reversed(self.points):
            if not point.largest < self.below:
                break
            found = point
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON.

        >>> curve = oc.error_curve(nn.Conv1d(1, 1, 5, padding=2), (1, 1, 32), block=8, below=1e-9)
        >>> curve.to_dict()["enough"]
        {'L': {'before': 2, 'after': 2, 'total': 4}}
        """
        enough = self.enough
        return {
            "schema_version": SCHEMA_VERSION,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "random_inputs": list(self.drawn),
            "device": self.device,
            "block": dict(self.block),
            "blocks": self.count,
            "whole": self.whole,
            "obstacles": [asdict(obstacle) for obstacle in self.obstacles],
            "local_reach": {axis: sides.to_dict() for axis, sides in self.local.items()},
            "rounding": self.rounding,
            "rest": dict(self.rest),
            "consistent": self.consistent,
            "below": self.below,
            "enough": None if enough is None else {axis: sides.to_dict() for axis, sides in enough.tile.items()},
            "points": [point.to_dict() for point in self.points],
        }
