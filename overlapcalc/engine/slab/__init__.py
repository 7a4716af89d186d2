"""A call on a slab: a region of its output, from the regions that it reads. See ops/slab.py for what families use."""
