"""Proofs of passes: that they cover every sample once, read what they say, and give the whole net's result."""
