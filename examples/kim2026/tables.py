"""The tables of the paper: the overlap of every transform, and what the largest block costs at 4K.

    python -m examples.kim2026.tables [overlaps | costs]

Costs are predicted from the graph (`overlapcalc.plan`), for float32; nothing is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from statistics import fmean

from rich.console import Console

import overlapcalc as oc
from examples.lic.codec import Codec, Parts
from examples.lic.overlaps import HEADS, overlap_row
from examples.lic.sheet import Sheet, show

from . import nets
from .chains import CHAINS

CODECS: dict[str, Callable[[], Codec]] = {
    "MeanScaleHyperprior": nets.MeanScaleHyperprior,
    "JointCheckerboardHierarchicalPriors": nets.JointCheckerboardHierarchicalPriors,
    "Cheng2020AnchorCheckerboard": nets.Cheng2020AnchorCheckerboard,
    "Elic2022Official": nets.Elic2022Official,
}
"""With the published numbers of channels: N = 192, and M = 320 but for Cheng, whose latents have N."""

SHORT = {
    "MeanScaleHyperprior": "hyperprior",
    "JointCheckerboardHierarchicalPriors": "with checkerboard",
    "Cheng2020AnchorCheckerboard": "Cheng 2020",
    "Elic2022Official": "ELIC",
}

HEIGHT, WIDTH = 2160, 3840
SIZE = f"{WIDTH}x{HEIGHT}"
LATENT, HYPER = 16, 64
"""Samples of the picture to one latent, and to one of the hyper transform, to a multiple of which it is padded."""


@dataclass(frozen=True)
class Way:
    """A way of running by blocks. block: samples of the picture; of a stream, its band."""

    schedule: str
    block: int


WAYS = (Way("crop", 256), Way("crop", 512), Way("trim", 256), Way("trim", 512), Way("stream", 32))

SIDES = {"encoder": ("g_a", "h_a"), "decoder": ("h_s", "g_s")}
"""The transforms of each. Context models are not among them."""

PUBLISHED = {"encoder": (2.60, 13.94), "decoder": (1.24, 13.33)}
"""Kim et al.: computation and memory in percent, averages of four codecs at 256 and 512."""


@dataclass(frozen=True)
class Cost:
    """macs: of the largest block, and all: of all blocks; memory: bytes at the fullest, what is made and held, without
    weights. full: the same of the whole picture at once."""

    macs: int
    all_macs: int
    full_macs: int
    memory: int
    full_memory: int

    def computation(self) -> float:
        """Of the largest block, in percent."""
        return 100 * self.macs / self.full_macs

    def held(self) -> float:
        """Memory, in percent."""
        return 100 * self.memory / self.full_memory

    def work(self) -> float:
        """Of all blocks, over the whole."""
        return self.all_macs / self.full_macs

    def then(self, other: Cost) -> Cost:
        """Of one transform after the other; neither is held while the other runs."""
        return Cost(
            self.macs + other.macs,
            self.all_macs + other.all_macs,
            self.full_macs + other.full_macs,
            max(self.memory, other.memory),
            max(self.full_memory, other.full_memory),
        )


Costs = dict[tuple[str, str], list[Cost]]
"""By codec and side, each way."""

# ---- overlaps -------------------------------------------------------------------------------------------------------


def overlaps(codecs: Iterable[str] = CODECS) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name in codecs:
        parts = CODECS[name]().parts
        for transform, chain in CHAINS[name].items():
            found = overlap_row(getattr(parts, transform), _shape(parts, transform, 512, 512), chain)
            rows.append((SHORT[name], transform, *found))
        rows += [(SHORT[name], *row) for row in _context_rows(parts)]
    title = "Overlaps before and after a block, in samples of each transform's input"
    return Sheet("kim-overlaps", title, ("codec", "transform", *HEADS), tuple(rows))


def _context_rows(parts: Parts) -> Iterator[tuple[str, ...]]:
    last = parts.groups[-1]
    if last.context_prediction is not None:
        yield "checkerboard", *overlap_row(last.context_prediction, (1, last.channels, 32, 32), None)
    if last.channel_context is not None:
        before = sum(group.channels for group in parts.groups[:-1])
        yield "channel context", *overlap_row(last.channel_context, (1, before, 32, 32), None)


# ---- costs ----------------------------------------------------------------------------------------------------------


def costs(ways: Sequence[Way] = WAYS, codecs: Iterable[str] = CODECS) -> tuple[Sheet, ...]:
    """Of the largest block, computation and memory in percent of the whole picture's; their means beside the published;
    and the work of all blocks."""
    found: Costs = {}
    for name in codecs:
        parts = CODECS[name]().parts
        for side, transforms in SIDES.items():
            per_transform = [_of(parts, transform, ways) for transform in transforms]
            found[name, side] = [reduce(Cost.then, same_way) for same_way in zip(*per_transform, strict=True)]
    return (
        _means(ways, found),
        _sheet("kim-computation", f"Multiply-accumulates of the largest block, % of the whole {SIZE}", ways, found,
               Cost.computation),
        _sheet("kim-memory", f"Peak memory, % of the whole {SIZE}", ways, found, Cost.held),
        _sheet("kim-work", f"Multiply-accumulates of all blocks over those of the whole {SIZE}", ways, found,
               Cost.work),
    )  # fmt: skip


def _of(parts: Parts, transform: str, ways: Sequence[Way]) -> list[Cost]:
    """One transform, each way."""
    height, width = (-(-n // HYPER) * HYPER for n in (HEIGHT, WIDTH))
    analysis = oc.analyze(getattr(parts, transform), _shape(parts, transform, height, width))
    finer = 1 if transform.startswith("g") else LATENT
    found = []
    for way in ways:
        plan = oc.plan(analysis, block=way.block // finer, schedule=way.schedule)
        if plan.memory is None or plan.full_memory is None:
            raise ValueError(f"{transform}: its memory cannot be predicted")
        activations = plan.memory.activations, plan.full_memory.activations
        found.append(Cost(plan.largest.macs, plan.work.macs, plan.full.macs, *activations))
    return found


def _means(ways: Sequence[Way], found: Costs) -> Sheet:
    """Over codecs and sizes of blocks, as the published averages are."""
    schedules = tuple(dict.fromkeys(way.schedule for way in ways))
    rows = []
    for i, (what, figure) in enumerate((("computation", Cost.computation), ("memory", Cost.held))):
        for side in SIDES:
            lines = [line for (_, at), line in found.items() if at == side]
            means = [
                fmean(figure(cost) for line in lines for way, cost in zip(ways, line, strict=True) if way.schedule == s)
                for s in schedules
            ]
            rows.append((what, side, *_numbers(means), f"{PUBLISHED[side][i]:.2f}"))
    title = f"The largest block, % of the whole {SIZE}: means of the codecs and sizes below"
    return Sheet("kim-means", title, ("what", "side", *schedules, "published"), tuple(rows))


def _sheet(name: str, title: str, ways: Sequence[Way], found: Costs, figure: Callable[[Cost], float]) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for side in SIDES:
        lines = {codec: [figure(cost) for cost in line] for (codec, at), line in found.items() if at == side}
        rows += [(side, SHORT[codec], *_numbers(line)) for codec, line in lines.items()]
        rows.append((side, "mean", *_numbers(fmean(column) for column in zip(*lines.values(), strict=True))))
    heads = ("side", "codec", *(f"{way.schedule} {way.block}" for way in ways))
    return Sheet(name, title, heads, tuple(rows))


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


def _shape(parts: Parts, transform: str, height: int, width: int) -> tuple[int, ...]:
    """Of the transform's input, for a picture of that size."""
    latents = sum(group.channels for group in parts.groups)
    channels, per = {
        "g_a": (3, 1),
        "h_a": (latents, LATENT),
        "h_s": (parts.entropy_bottleneck.quantiles.shape[0], HYPER),
        "g_s": (latents, LATENT),
    }[transform]
    return 1, channels, height // per, width // per


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.kim2026.tables", description="The tables of Kim et al.")
    parser.add_argument("what", nargs="?", choices=("overlaps", "costs"), help="both when absent")
    options = parser.parse_args(argv)
    console = Console()
    if options.what != "costs":
        show(overlaps(), console)
    if options.what != "overlaps":
        for sheet in costs():
            show(sheet, console)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
