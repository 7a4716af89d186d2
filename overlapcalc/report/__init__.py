"""Reports: what answers look like. Nothing here computes."""

from .cone import Fronts, cones_json, fronts_json, render_cones, render_fronts
from .csv import to_csv
from .error_curve import error_curve_json, render_error_curve
from .explain import Explained, explained_json, render_explained
from .json import to_json
from .markdown import to_markdown
from .partial import analysis_json, partial_json, render_answers, render_points, render_proofs
from .plan import plan_json, render_plan
from .table import render
from .verification import render_verification, verification_json, verification_junit

__all__ = [
    "Explained",
    "Fronts",
    "analysis_json",
    "cones_json",
    "error_curve_json",
    "explained_json",
    "fronts_json",
    "partial_json",
    "plan_json",
    "render",
    "render_answers",
    "render_cones",
    "render_error_curve",
    "render_explained",
    "render_fronts",
    "render_plan",
    "render_points",
    "render_proofs",
    "render_verification",
    "to_csv",
    "to_json",
    "to_markdown",
    "verification_json",
    "verification_junit",
]
