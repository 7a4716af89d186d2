"""Continuous patch stitching (Zhang et al., arXiv 2502.16795): a codec without padding, coded patch by patch."""
