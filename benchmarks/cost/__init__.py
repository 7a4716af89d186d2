"""Time and memory: of the analysis, of runs by blocks and as streams, of the guard, on a CPU and on CUDA.

A command a file, a page a command: `speed`, `guarding`, `memory`, `interior`, `kernels`, `streaming`, `disk`, `cuda`.
"""
