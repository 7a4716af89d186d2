"""Kamisli's block-based codec: each block is coded with what was decoded of the blocks above and to the left."""
