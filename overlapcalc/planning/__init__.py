"""Which blocks, on which tiles, at what cost: plans, without torch. Import names from the modules, not from here."""
