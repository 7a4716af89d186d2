# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
SHARD ?= 1/1
NETS ?= 3000
ZOO ?= benchmarks/zoo/nets.py
BENCH ?= $(RUN)
KAMISLI := OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/pictures $(RUN) -m examples.kamisli
BLOCKCNN := OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/pictures $(RUN) -m examples.blockcnn
RESULTS ?= docs/results/$(basename $(notdir $(ZOO)))

.PHONY: demo test test-thorough lint fuzz cuda clean papers pictures kamisli blockcnn bench-disk bench-guard bench-interior bench-lengths bench-looking bench-memory \
	bench-passes bench-passes-cost bench-speed bench-streaming bench-tiling bench-times bench-zoo

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt torch
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/overlapcalc analyze examples/codec.py:Codec.g_s --input 1x192x16x16

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal

# With the many nets, sizes and cases of which `make test` runs a few of each kind.
test-thorough: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal -m ""

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# All tables of the papers, into docs/papers.md; minutes.
papers: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m examples.papers --write docs/papers.md

# Photographs with a free licence, out of packages that are only read: their Python is another.
pictures: $(VENV)/pictures

$(VENV)/pictures: $(VENV)/installed
	rm -rf $@ $@.part
	$(RUN) -m pip install --quiet --no-deps --only-binary :all: --python-version 3.11 --target $@.part \
		scikit-image scikit-learn matplotlib "scipy==1.11.4"
	mv $@.part $@

# Kamisli's codec: trains its three checkpoints, then docs/kamisli.md; half an hour on two cores.
kamisli: $(VENV)/pictures
	for rate in 117.045 435.6675 845.325; do $(KAMISLI) train --rate $$rate || exit 1; done
	for table in training rd acl cone wavefront speed; do $(KAMISLI) tables $$table --write docs/kamisli.md || exit 1; done
	$(KAMISLI) draw docs/results/kamisli-acl.svg --overwrite

# BlockCNN: trains its removers and its predictor, then docs/blockcnn.md; half an hour on two cores.
blockcnn: $(VENV)/pictures
	for quality in 10 20 30 40; do $(BLOCKCNN) train --quality $$quality || exit 1; done
	$(BLOCKCNN) train-predictor
	for table in combinations removal overlaps agreement; do \
		$(BLOCKCNN) tables $$table --write docs/blockcnn.md || exit 1; done

# Random nets against brute force, all families: about 2 s a net. FAMILY=constants, SEED=12 for one of them.
fuzz: $(VENV)/installed
	OMP_NUM_THREADS=1 PYTHONPATH=. $(RUN) tests/fuzz.py --nets $(NETS) --shard $(SHARD) \
		$(if $(FAMILY),--family $(FAMILY)) $(if $(SEED),--seed $(SEED))

# A zoo that needs packages of its own: make bench-zoo ZOO=path/to/zoo.py BENCH=path/to/its/python
bench-zoo: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.zoo.survey --zoo $(ZOO) --check --out $(RESULTS)

# The same zoo by passes, at twice its size, one process of at most 240 s after another: an hour or more for a large one.
bench-passes: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.zoo.passes --zoo $(ZOO) --out docs/results/passes

# How long analyses take beside torch's export of the same models.
bench-times: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.zoo.times --zoo $(ZOO) --out docs/results/times

bench-passes-cost: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	$(BENCH) -m benchmarks.cost.passes --out docs/results/passes-cost.md

bench-speed: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.cost.speed --zoo $(ZOO) --out $(RESULTS)-speed.md

# Beside other tools, where BENCH is a Python that has them (benchmarks/tiling/peers.txt); without them it says so.
bench-tiling: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.tiling.compare --out docs/results/tiling.md

bench-memory: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.cost.memory --out docs/results/memory.md

bench-streaming: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	$(BENCH) -m benchmarks.cost.streaming --out docs/results/streaming.md

bench-interior: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	$(BENCH) -m benchmarks.cost.interior --out docs/results/interior.md

bench-disk: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	$(BENCH) -m benchmarks.cost.disk --out docs/results/disk.md

bench-guard: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.cost.guarding --out docs/results/guarding.md

# Of chains of 100 to 3,000 layers: a quarter of an hour.
bench-lengths: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.cost.lengths --out docs/results/lengths.md

bench-looking: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	OMP_NUM_THREADS=1 $(BENCH) -m benchmarks.cost.looking --out docs/results/looking.md

# On a machine with CUDA: proofs, memory and time. Without, it says "skipped: no CUDA" and writes nothing. Where Python has
# torch and networkx already, with no network and no git: make cuda BENCH=python COMMIT=...
cuda: $(if $(filter $(RUN),$(BENCH)),$(VENV)/installed)
	$(BENCH) -m benchmarks.cost.cuda --out docs/results/cuda.md

clean:
	rm -rf $(VENV) *.egg-info build .pytest_cache .hypothesis .mypy_cache .ruff_cache
