"""The paper's four combinations: JPEG, with removal, predictive coding, with removal; bits beside PSNR and SSIM."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from examples.lic.curves import Point, at_size, curve
from examples.lic.extra import extra
from examples.lic.pictures import Picture
from examples.lic.sheet import Sheet

from .checkpoint import FOLDER, load, load_predictor, path_of, trained
from .predictive import Predictive, decode, encode, predictive
from .remover import Remover
from .tables import Likeness, Sets, cleaned, mean, measure, photographs

OPTIONS: dict[str, Any] = {"format": "JPEG", "subsampling": 0, "optimize": True}
"""Of JPEG itself; the residuals are written with the same."""


class Way(NamedTuple):
    """bpp: bits per pixel of the file. plain, cleaned: as it is decoded, and with removal. over, over_cleaned: what
    these are above JPEG in as many bytes, in dB; None for JPEG itself."""

    bpp: float
    plain: Likeness
    cleaned: Likeness
    over: float | None
    over_cleaned: float


Ways = tuple[Way, Way]
"""JPEG, and predictive coding."""


def combinations(checkpoints: Path = FOLDER, predictor: Path | None = None, sets: Sets | None = None) -> Sheet:
    """Real files, decoded; every quality that removers were trained for."""
    own = predictive(load_predictor() if predictor is None else load_predictor(predictor))
    sets = photographs() if sets is None else sets
    qualities = trained(checkpoints)
    nets = {quality: load(path_of(quality, halved=False, folder=checkpoints)) for quality in qualities}
    found = {
        called: {name: _by_quality(own, nets, picture) for name, picture in pictures.items()}
        for called, pictures in sets.items()
    }
    rows = [
        (str(quality), *row)
        for quality in qualities
        for called, pictures in found.items()
        for row in _rows(called, {name: by_quality[quality] for name, by_quality in pictures.items()})
    ]
    heads = ("quality", "picture", "coding", "bpp", "dB", "+ removal, dB", "SSIM", "+ removal, SSIM",
             "over JPEG, dB", "+ removal, over JPEG, dB")  # fmt: skip
    return Sheet("combinations", "with and without prediction and removal", heads, tuple(rows), words=3)


def _by_quality(own: Predictive, nets: Mapping[int, Remover], picture: Picture) -> dict[int, Ways]:
    points = curve(picture, OPTIONS)
    return {quality: ways(own, net, picture, quality, points) for quality, net in nets.items()}


def ways(own: Predictive, net: Remover, picture: Picture, quality: int, points: Sequence[Point]) -> Ways:
    """points: of JPEG at many qualities."""
    file, image = io.BytesIO(), extra("PIL.Image")
    image.fromarray(picture).save(file, quality=quality, **OPTIONS)
    plain = _way(net, picture, np.array(image.open(file)), len(file.getvalue()), points)
    data = encode(own, picture, quality)
    return plain._replace(over=None), _way(net, picture, decode(own, data).picture, len(data), points)


def _way(net: Remover, original: Picture, decoded: Picture, size: int, points: Sequence[Point]) -> Way:
    plain, after = measure(original, decoded), measure(original, cleaned(net, decoded))
    base = at_size(points, size)
    bpp = 8 * size / (original.shape[0] * original.shape[1])
    return Way(bpp, plain, after, plain.decibels - base, after.decibels - base)


def _rows(called: str, found: Mapping[str, Ways]) -> Iterator[tuple[str, ...]]:
    """Those of a set, and their mean."""
    means = tuple(_mean(of) for of in zip(*found.values(), strict=True))
    for name, both in (*found.items(), (f"**mean, {called}**", means)):
        for coding, way in zip(("JPEG", "predictive"), both, strict=True):
            over = "" if way.over is None else f"{way.over:+.2f}"
            yield (name, coding, f"{way.bpp:.3f}", f"{way.plain.decibels:.2f}", f"{way.cleaned.decibels:.2f}",
                   f"{way.plain.similarity:.4f}", f"{way.cleaned.similarity:.4f}", over,
                   f"{way.over_cleaned:+.2f}")  # fmt: skip


def _mean(of: Sequence[Way]) -> Way:
    over = [way.over for way in of if way.over is not None]
    return Way(
        fmean(way.bpp for way in of),
        mean(way.plain for way in of),
        mean(way.cleaned for way in of),
        fmean(over) if over else None,
        fmean(way.over_cleaned for way in of),
    )
