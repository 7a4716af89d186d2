"""Do answers and refusals hold for real models? Checked by running the models, without overlapcalc's mathematics.

`python -m benchmarks.zoo.survey` analyses and checks every model of a zoo; `python -m benchmarks.zoo.running` runs
its local models by blocks. What a zoo is: `zoofile`. The checks themselves: `answers` and `refusals`.
"""
