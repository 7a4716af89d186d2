"""What overlapcalc says and costs, measured from outside. Each figure has a command, and each command writes one page.

    zoo/      do answers and refusals hold for real models?
    tiling/   the same nets by blocks with other tools
    cost/     time and memory

The three share the files of this folder: `page` (how results are written), `subjects` (the nets that are measured),
`process` and `highwater` (one measurement in a process of its own), `exporting` (torch's own share). They import
`overlapcalc` and `examples`, and neither of these imports them; of each other they import `zoo.zoofile` alone.

Commands run in the repository's folder: `python -m benchmarks.cost.memory --out page.md`. See docs/benchmarks.md.
"""
