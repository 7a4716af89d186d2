"""What a claim is: a key of the configuration, its allowed values, and its judgement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ...planning.options import Blocking
from ..judgement import Failure, Judgement

if TYPE_CHECKING:  # a check that finds nothing changed reads claims, and judges none
    from ...analysis.analysis import Analysis
    from ...analysis.explain import Contribution
    from ...analysis.pair import Pair
    from ...planning.plan import Plan
    from ...propagate.values import Obstacle


class WrongValue(Exception):  # noqa: N818 - never leaves the configuration's reader
    """A value in the configuration is not allowed there. The message says which are."""


@dataclass(frozen=True)
class Setting:
    """What claims of cost refer to: an image, its blocks and how they are run.

    image: None for the analysed sizes. rates: samples per second, of axes in time.
    """

    image: tuple[int, ...] | None = None
    rates: Mapping[str, Fraction] = field(default_factory=dict)
    blocking: Blocking = field(default_factory=Blocking)


class Subject:
    """A net under judgement: the model, its analysis, and the setting of its costs."""

    def __init__(self, model: Any, analysis: Analysis, setting: Setting) -> None:
        self.model, self.analysis, self.setting = model, analysis, setting

    @cached_property
    def at_image(self) -> Analysis:
        """The analysis at the size of the image that claims of cost refer to."""
        from ...planning.image_shapes import shapes_for_image

        image = self.setting.image
        return self.analysis if image is None else self.analysis.at(*shapes_for_image(self.analysis, image))

    @cached_property
    def plan(self) -> Plan:
        """How that image is run by blocks: one plan for all claims of cost."""
        from ...engine.plan import plan_of  # loads torch

        return plan_of(self.at_image, self.setting.blocking)

    def places(self) -> Iterator[tuple[Pair, str]]:
        """Every output against every input along each of its axes."""
        return ((pair, axis) for pair in self.analysis.pairs for axis in pair.axes)

    def where(self, pair: Pair, axis: str, side: str = "") -> str:
        """`W, before`; the pair is named if there are several."""
        named = f"{pair.output} against {pair.input}" if len(self.analysis.pairs) > 1 else ""
        return ", ".join(part for part in (named, axis, side) if part)

    def source(self, layer: str) -> str:
        """The "file:line" of a layer, "" where it is not a row of the table."""
        return self._sources.get(layer, "")

    @cached_property
    def _sources(self) -> Mapping[str, str]:
        return {row.name: row.source for row in self.analysis.layers}


@dataclass(frozen=True)
class Claim(ABC):
    """Frozen: `key` as configured, `limit` in words."""

    key: str
    limit: str

    @property
    def timed(self) -> bool:
        """Whether a limit is a time, which needs a rate."""
        return False

    @abstractmethod
    def judge(self, subject: Subject) -> Judgement:
        """Raises OverlapcalcError where the claim cannot be judged."""


ReadFunction = Callable[[str, Any], Claim]
R = TypeVar("R", bound=ReadFunction)


@dataclass(frozen=True)
class ClaimKind:
    """A key, its allowed values in words, and the function that reads it; `costs`: it needs an image."""

    read: ReadFunction
    allowed: str
    costs: bool


KINDS: dict[str, ClaimKind] = {}


def claim(key: str, allowed: str, *, costs: bool = False) -> Callable[[R], R]:
    """Register the reader of a claim. It raises WrongValue."""

    def register(read: R) -> R:
        assert key not in KINDS, f"{key} has a reader already"
        KINDS[key] = ClaimKind(read, allowed, costs)
        return read

    return register


def in_the_way(subject: Subject, pair: Pair, axis: str) -> tuple[Failure, ...]:
    """The obstacles between a pair along an axis, as failures."""
    blames = pair.explain(axis).obstacles if pair.obstacles(axis) else ()
    return tuple(obstructed(b.obstacle, subject.where(pair, axis), b.way) for b in blames)


def obstructed(obstacle: Obstacle, where: str, way: tuple[str, ...]) -> Failure:
    why = f"{obstacle.op.partition('::')[2]}: {obstacle.message}"
    return Failure(where, "an obstacle stands in the way", obstacle.layer, why, obstacle.source, way, obstacle.help)


def adding(contributions: tuple[Contribution, ...]) -> list[Contribution]:
    """The layers that add something, from the output back; the block itself is not one."""
    from ...analysis.explain import BLOCK

    return [c for c in contributions if c.adds and c.op != BLOCK]


def steps_of(contributions: list[Contribution]) -> tuple[str, ...]:
    """`g_a.6 (+2)` per layer."""
    return tuple(f"{c.layer} ({'+' if c.adds > 0 else ''}{c.adds})" for c in contributions)
