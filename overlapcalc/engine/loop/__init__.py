"""Nets whose outputs are fed back as inputs, cell by cell."""
