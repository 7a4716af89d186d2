"""The four codecs of Kim et al. (CVPR 2026), coded block by block."""
