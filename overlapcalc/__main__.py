"""`python -m overlapcalc`."""

from .cli import entry

entry()
