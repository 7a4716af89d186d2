"""The same nets by blocks with overlapcalc and with other tools: samples fed, error, time, memory.

`python -m benchmarks.tiling.compare` measures and writes docs/results/tiling.md. The other tools: `peers.txt`.
"""
