"""All schedules side by side: what each would take for the same image, and which one is taken where none is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..analysis.analysis import Analysis
from ..errors import OverlapcalcError
from ..planning.obstacles import schedule_for
from ..planning.options import AUTO, PASSES, SCHEDULES, Blocking
from ..planning.plan import Plan
from .plan import plan_of


@dataclass(frozen=True)
class Alternative:
    """A schedule for an image. plan: how it would go; None where it does not, and `why`. recommended: it is what "auto"
    means, and so what the command `run` takes where none is named."""

    schedule: str
    plan: Plan | None
    why: str = ""
    recommended: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The figures by which schedules are compared."""
        if self.plan is None:
            return {"schedule": self.schedule, "refused": self.why}
        memory, passes = self.plan.memory, self.plan.passes
        return {
            "schedule": self.schedule,
            "refused": None,
            "kernel_macs": self.plan.work.kernel_macs,
            "memory": None if memory is None else memory.total,
            "disk": 0 if passes is None else passes.disk,
            "passes": 1 if passes is None else len(passes.each),
            "blocks": self.plan.count,
        }


def alternatives(
    analysis: Analysis, blocking: Blocking, *, stored: bool = False, dtype: torch.dtype | str | None = None
) -> Iterator[Alternative]:
    """Every schedule with the same blocks, budget and places, as far as they apply to it."""
    best = schedule_for(analysis, replace(blocking, schedule=AUTO, fixed_tile=None))
    for schedule in SCHEDULES:
        along = blocking.stream_axis if schedule in ("stream", PASSES) else None
        disk, spill = (blocking.disk, blocking.spill) if schedule == PASSES else (None, None)
        try:
            fixed = blocking.fixed_tile if schedule == "crop" else None
            asked = replace(blocking, schedule=schedule, stream_axis=along, disk=disk, spill=spill, fixed_tile=fixed)
            made = plan_of(analysis, asked, stored=stored, dtype=dtype)
            yield Alternative(schedule, made, recommended=schedule == best)
        except OverlapcalcError as error:
            yield Alternative(schedule, None, str(error).splitlines()[0])
