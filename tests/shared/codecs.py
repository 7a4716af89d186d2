"""The codecs of examples/ with few channels, and what the papers say of their transforms."""

from __future__ import annotations

from fractions import Fraction

from torch import nn

from examples.cps.nets import CPS
from examples.jpegai import nets as jpegai
from examples.kim2026 import nets

SMALL = {
    "MeanScaleHyperprior": {"N": 6, "M": 8},
    "JointCheckerboardHierarchicalPriors": {"N": 6, "M": 8},
    "Cheng2020AnchorCheckerboard": {"N": 6},
    "Elic2022Official": {"N": 6, "M": 12, "groups": [2, 4, 6]},
}


def of_codec(name: str, transform: str) -> nn.Module:
    return getattr(getattr(nets, name)(**SMALL[name]).parts, transform)


def of_cps(transform: str) -> nn.Module:
    return getattr(CPS(4).parts, transform)


# who, transform, what builds it, channels, samples along the axis, (context), (receptive field), scale
TRUTHS = [
    ("Minnen", "g_a", lambda: of_codec("MeanScaleHyperprior", "g_a"), 3, 112, (30, 15), (61, 61), 16),
    ("Minnen", "h_a", lambda: of_codec("MeanScaleHyperprior", "h_a"), 8, 32, (7, 4), (15, 15), 4),
    ("Minnen", "h_s", lambda: of_codec("MeanScaleHyperprior", "h_s"), 6, 8, (1, 2), (3, 4), Fraction(1, 4)),
    ("Minnen", "g_s", lambda: of_codec("MeanScaleHyperprior", "g_s"), 8, 8, (1, 2), (3, 4), Fraction(1, 16)),
    ("Cheng", "g_a", lambda: of_codec("Cheng2020AnchorCheckerboard", "g_a"), 3, 176, (57, 42), (115, 115), 16),
    ("Cheng", "h_a", lambda: of_codec("Cheng2020AnchorCheckerboard", "h_a"), 6, 32, (7, 4), (15, 15), 4),
    ("Cheng", "h_s", lambda: of_codec("Cheng2020AnchorCheckerboard", "h_s"), 6, 14, (4, 4), (7, 8), Fraction(1, 4)),
    ("Cheng", "g_s", lambda: of_codec("Cheng2020AnchorCheckerboard", "g_s"), 6, 18, (7, 7), (14, 14), Fraction(1, 16)),
    ("ELIC", "g_a", lambda: of_codec("Elic2022Official", "g_a"), 3, 320, (132, 117), (265, 265), 16),
    ("ELIC", "h_a", lambda: of_codec("Elic2022Official", "h_a"), 12, 32, (7, 4), (15, 15), 4),
    ("ELIC", "h_s", lambda: of_codec("Elic2022Official", "h_s"), 6, 8, (1, 2), (3, 4), Fraction(1, 4)),
    ("ELIC", "g_s", lambda: of_codec("Elic2022Official", "g_s"), 12, 22, (8, 9), (16, 17), Fraction(1, 16)),
    ("CPS", "g_a", lambda: of_cps("g_a"), 3, 112, (28, 28), (72, 72), 16),
    ("CPS", "h_a", lambda: of_cps("h_a"), 4, 16, (0, 0), (4, 4), 4),
    ("CPS", "h_s", lambda: of_cps("h_s"), 4, 6, (0, 0), (1, 1), Fraction(1, 4)),
    ("CPS", "g_s", lambda: of_cps("g_s"), 4, 8, (2, 2), (4, 5), Fraction(1, 16)),
    ("JPEG AI", "g_a", lambda: jpegai.analysis(16, 8), 1, 112, (29, 14), (59, 59), 16),
    ("JPEG AI", "g_s", lambda: jpegai.synthesis(8), 8, 10, (3, 3), (7, 7), Fraction(1, 16)),
]  # fmt: skip

PUBLISHED = {
    ("MeanScaleHyperprior", "g_a"): (30, 15),
    ("MeanScaleHyperprior", "g_s"): (2, 3),
    ("MeanScaleHyperprior", "h_s"): (2, 3),
    ("Cheng2020AnchorCheckerboard", "g_a"): (57, 42),
    ("Cheng2020AnchorCheckerboard", "g_s"): (7, 7),
}
