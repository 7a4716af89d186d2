"""The longest chain of layers in each transform, which the recurrences of the paper take."""

from __future__ import annotations

from examples.lic.recurrences import Chain, conv, shuffle, tconv

_RESIDUAL = conv(3) + conv(3)
_DOWN = conv(3, 2) + conv(3)
_UP = conv(3) + shuffle() + conv(3)
_BOTTLENECKS = 3 * conv(3)
_ATTENTION = 3 * conv(3)
_DEEPER = 2 * conv(5, 2)

_MINNEN: dict[str, Chain] = {
    "g_a": 4 * conv(5, 2),
    "h_a": conv(3) + _DEEPER,
    "h_s": 2 * tconv(5) + conv(3),
    "g_s": 4 * tconv(5),
}

CHAINS: dict[str, dict[str, Chain]] = {
    "MeanScaleHyperprior": _MINNEN,
    "JointCheckerboardHierarchicalPriors": _MINNEN,
    "Cheng2020AnchorCheckerboard": {
        "g_a": 3 * (_DOWN + _RESIDUAL) + conv(3, 2),
        "h_a": conv(3) + conv(3) + conv(3, 2) + conv(3) + conv(3, 2),
        "h_s": 2 * (conv(3) + conv(3) + shuffle()) + conv(3),
        "g_s": 3 * (_RESIDUAL + _UP) + _RESIDUAL + conv(3) + shuffle(),
    },
    "Elic2022Official": {
        "g_a": conv(5, 2) + _BOTTLENECKS + conv(5, 2) + _BOTTLENECKS + _ATTENTION
        + conv(5, 2) + _BOTTLENECKS + conv(5, 2) + _ATTENTION,
        "h_a": conv(3) + _DEEPER,
        "h_s": 2 * tconv(5) + tconv(3, 1),
        "g_s": _ATTENTION + tconv(5) + _BOTTLENECKS + tconv(5) + _ATTENTION + _BOTTLENECKS
        + tconv(5) + _BOTTLENECKS + tconv(5),
    },
}  # fmt: skip
