"""The ways to run a net by blocks (docs/mathematics.md)."""

from __future__ import annotations

SCHEDULES = ("crop", "trim", "stream")
