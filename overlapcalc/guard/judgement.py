"""The outcome of a claim: it holds; it does not, and this is to blame; or it cannot be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One place where a claim does not hold.

    where: the pair, the axis and the side, "" for the net as a whole. value: what was found. layer: the one to blame,
    "" where no single layer is; why: what it does; source: its "file:line" or "". path: the layers that make up the
    value, from the output back to the input. help: what would change it, "" where only another layer would.
    """

    where: str
    value: str
    layer: str = ""
    why: str = ""
    source: str = ""
    path: tuple[str, ...] = ()
    help: str = ""

    @property
    def blame(self) -> str:
        """The layer and what it does: "`up1`: adds 2 of the context of 3"; "" where neither is known."""
        return ": ".join(text for text in (f"`{self.layer}`" if self.layer else "", self.why) if text)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        change = f"to change that: {self.help}" if self.help else ""
        return place + "; ".join(text for text in (self.value, self.blame, change) if text)


def merged(failures: Iterable[Failure]) -> list[Failure]:
    """Equal failures in several places as one: `H, before and W, before`."""
    places: dict[Failure, list[str]] = {}
    for failure in failures:
        places.setdefault(replace(failure, where=""), []).append(failure.where)
    return [replace(failure, where=" and ".join(filter(None, where))) for failure, where in places.items()]


@dataclass(frozen=True)
class Judgement:
    """A claim about a net: `holds` if nothing fails and nothing kept it from being judged.

    claim, limit: as configured. value: what was found, in a few words. error: why it cannot be judged, "" otherwise.
    """

    claim: str
    limit: str
    value: str
    failures: tuple[Failure, ...] = ()
    error: str = ""

    @property
    def holds(self) -> bool:
        return not self.failures and not self.error

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        failures = [{**asdict(failure), "path": list(failure.path)} for failure in self.failures]
        return {
            "claim": self.claim,
            "limit": self.limit,
            "holds": self.holds,
            "value": self.value,
            "failures": failures,
            "error": self.error,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Judgement:
        """The inverse of `to_dict`."""
        failures = tuple(Failure(**{**failure, "path": tuple(failure["path"])}) for failure in data["failures"])
        return Judgement(data["claim"], data["limit"], data["value"], failures, data["error"])
