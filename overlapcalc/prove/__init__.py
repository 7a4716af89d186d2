"""Proving by running: the claims of the analysis, and the results of a schedule, against runs of the net itself."""

from .result import Figures, Proof, Verification

__all__ = ["Figures", "Proof", "Verification"]
