"""Proving by running: what the analysis claims, and what a schedule does, against runs of the net itself."""

from .result import Figures, Proof, Verification

__all__ = ["Figures", "Proof", "Verification"]
