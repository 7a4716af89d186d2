"""Which blocks, on which tiles, at what cost: plans, without torch. Names are imported from its modules."""
