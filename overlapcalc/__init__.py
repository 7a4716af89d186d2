"""overlapcalc: how much context each block of an image needs so that a CNN can run block by block, exactly.

Names are imported when they are first used: most need torch, while `--help` and a check that finds nothing changed
must not load it.

>>> w = oc.analyze(nn.Conv2d(3, 8, 5, padding=2), (1, 3, 32, 32))["W"]
>>> w.context, w.tile
(Sides(before=2, after=2), Sides(before=2, after=2))
"""

from typing import TYPE_CHECKING

from .lazy import names_from
from .version import __version__

if TYPE_CHECKING:
    from .algebra.index_map import IndexMap
    from .algebra.spans import Span
    from .analysis.analysis import Analysis, AxisGrid
    from .analysis.analyze import analyze
    from .analysis.axis import AxisAnalysis
    from .analysis.cone import Cone
    from .analysis.explain import Contribution, Explanation
    from .analysis.local import LocalAxis
    from .analysis.measures import Sides
    from .analysis.one_sided import OneSidedAxis
    from .analysis.pair import Pair
    from .analysis.sizes import Sizes
    from .analysis.trying import sizes
    from .engine import Block
    from .engine.loop.loop import Loop
    from .engine.loop.stage import Cells, Stage
    from .engine.plan import plan
    from .engine.run import Tiled, blocks, run, tiled
    from .errors import (
        AmbiguousPair,
        InputError,
        NoSlabError,
        ObstacleError,
        OverlapcalcError,
        RuleError,
        TraceError,
        UnforeseenError,
        UnknownOperatorError,
        WrongTileError,
    )
    from .guard import Check, Checked, check, lock
    from .ops import rule, unregister
    from .ops.parts import Reduction, in_parts
    from .planning.costs import Work
    from .planning.padding import Padding
    from .planning.plan import Memory, Plan
    from .planning.wavefront import Wavefront, wavefront
    from .propagate.values import Obstacle
    from .prove import Figures, Proof, Verification
    from .prove.error_curve import ErrorCurve, ErrorPoint, SeamError
    from .prove.loops.result import LoopVerification
    from .prove.seams import error_curve
    from .prove.verify import verify
    from .stages import telling

_HOMES = {
    ".algebra.index_map": ("IndexMap",),
    ".algebra.spans": ("Span",),
    ".analysis.analysis": ("Analysis", "AxisGrid"),
    ".analysis.cone": ("Cone",),
    ".analysis.analyze": ("analyze",),
    ".analysis.sizes": ("Sizes",),
    ".analysis.trying": ("sizes",),
    ".analysis.axis": ("AxisAnalysis",),
    ".analysis.explain": ("Contribution", "Explanation"),
    ".analysis.local": ("LocalAxis",),
    ".analysis.measures": ("Sides",),
    ".analysis.one_sided": ("OneSidedAxis",),
    ".analysis.pair": ("Pair",),
    ".engine": ("Block",),
    ".engine.loop.loop": ("Loop",),
    ".engine.loop.stage": ("Cells", "Stage"),
    ".engine.plan": ("plan",),
    ".engine.run": ("Tiled", "blocks", "run", "tiled"),
    ".errors": (
        "AmbiguousPair",
        "InputError",
        "NoSlabError",
        "ObstacleError",
        "OverlapcalcError",
        "RuleError",
        "TraceError",
        "UnforeseenError",
        "UnknownOperatorError",
        "WrongTileError",
    ),
    ".guard": ("Check", "Checked", "check", "lock"),
    ".ops": ("rule", "unregister"),
    ".ops.parts": ("Reduction", "in_parts"),
    ".planning.costs": ("Work",),
    ".planning.padding": ("Padding",),
    ".planning.plan": ("Memory", "Plan"),
    ".planning.wavefront": ("Wavefront", "wavefront"),
    ".propagate.values": ("Obstacle",),
    ".prove": ("Figures", "Proof", "Verification"),
    ".prove.error_curve": ("ErrorCurve", "ErrorPoint", "SeamError"),
    ".prove.loops.result": ("LoopVerification",),
    ".prove.seams": ("error_curve",),
    ".prove.verify": ("verify",),
    ".stages": ("telling",),
}
"""Module -> the public names that it defines."""

__all__ = [
    "AmbiguousPair",
    "Analysis",
    "AxisAnalysis",
    "AxisGrid",
    "Block",
    "Cells",
    "Check",
    "Checked",
    "Cone",
    "Contribution",
    "ErrorCurve",
    "ErrorPoint",
    "Explanation",
    "Figures",
    "IndexMap",
    "InputError",
    "LocalAxis",
    "Loop",
    "LoopVerification",
    "Memory",
    "NoSlabError",
    "Obstacle",
    "ObstacleError",
    "OneSidedAxis",
    "OverlapcalcError",
    "Padding",
    "Pair",
    "Plan",
    "Proof",
    "Reduction",
    "RuleError",
    "SeamError",
    "Sides",
    "Sizes",
    "Span",
    "Stage",
    "Tiled",
    "TraceError",
    "UnforeseenError",
    "UnknownOperatorError",
    "Verification",
    "Wavefront",
    "Work",
    "WrongTileError",
    "__version__",
    "analyze",
    "blocks",
    "check",
    "error_curve",
    "in_parts",
    "lock",
    "plan",
    "rule",
    "run",
    "sizes",
    "telling",
    "tiled",
    "unregister",
    "verify",
    "wavefront",
]

__getattr__ = names_from(__name__, _HOMES)


def __dir__() -> list[str]:
    """The public names; submodules are not part of the contract."""
    return sorted(__all__)
