# The commands of this repository. `make demo` and `make test` install what they need.

SWIFT_FLAGS := -c release
BIN := .build/release
GOLDEN_DIR ?= $(abspath ../shared/golden)
DATA_DIR ?= $(abspath ../shared/data)
export GOLDEN_DIR DATA_DIR

.PHONY: all build demo test test-fast test-neon bench bench-peers bench-backbone bench-int8 table-file ten-million quality equivalence golden recovery shares chaos chaos-loss partitions power-cut elastic durability restart loss move fuzz fuzz-onnx hostile dashboard serving security simulate test-docker test-docker-loss test-swarm test-monitoring validate-kubernetes validate-monitoring science science-page wheel test-python man format lint proto clean

all: build

build:
	@scripts/install-dependencies build
	swift build $(SWIFT_FLAGS)

# Trains on a local cluster of real processes. DATA=path trains on a rec folder or identity folder instead of glyphs.
demo:
	@scripts/install-dependencies $(if $(DATA),build,demo)
	swift build $(SWIFT_FLAGS)
	@BIN=$(BIN) scripts/demo $(DATA)

test:
	@scripts/install-dependencies build
	swift build $(SWIFT_FLAGS) --build-tests
	swift test $(SWIFT_FLAGS) --skip-build

# What starts no process and takes little: under a minute after the build.
test-fast:
	@scripts/install-dependencies build
	swift build $(SWIFT_FLAGS) --build-tests
	swift test $(SWIFT_FLAGS) --skip-build --skip "$$(scripts/suites --tagged cluster slow)"

# The head, row serving, sampling and clusters beside what this machine can do at most; RUNS=3: medians of three rounds.
bench: build .build-plots
	@$(BIN)/experiments bench $(if $(RUNS),--runs $(RUNS))
	@.build-plots/bin/python Benchmarks/Peers/plot.py bench/bench.json bench/bench.png

# The same step in PyTorch, and rows served as whole messages, beside this project in one run.
bench-peers: build .build-peers
	@.build-peers/bin/python Benchmarks/Peers/bench_peers.py --ours $(BIN)/experiments $(if $(RUNS),--runs $(RUNS))

# Backbones beside PyTorch (eager and compiled) and onnxruntime, in one run. NETWORKS, BATCHES and ROUNDS to shorten it; BF16=1: training in bf16 too.
bench-backbone: build .build-peers
	@.build-peers/bin/python Benchmarks/Peers/bench_backbone.py --ours $(BIN)/experiments $(if $(NETWORKS),--networks $(NETWORKS)) $(if $(BATCHES),--batches $(BATCHES)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BF16),--bf16)

# Networks in use beside onnxruntime and ncnn, in single precision and in integers: see docs/measurements.md.
bench-int8: build .build-peers
	@.build-peers/bin/python Benchmarks/Peers/bench_int8.py --ours $(BIN)/experiments $(if $(NETWORKS),--networks $(NETWORKS)) $(if $(BATCHES),--batches $(BATCHES)) $(if $(ROUNDS),--rounds $(ROUNDS))

.build-plots:
	@scripts/install-dependencies python
	@rm -rf $@.new && python3 -m venv $@.new && $@.new/bin/python -m pip install --quiet matplotlib && mv $@.new $@

.build-peers: Benchmarks/Peers/requirements.txt
	@scripts/install-dependencies python
	@rm -rf $@ $@.new && python3 -m venv $@.new && $@.new/bin/python -m pip install --quiet -r $< && mv $@.new $@ && touch $@

# 10,000,000 classes on a machine of 24 GiB: training, a checkpoint, kill -9, and on. DIRECTORY=where the state goes.
ten-million: build
	@$(BIN)/experiments ten-million $(if $(DIRECTORY),--directory $(DIRECTORY)) $(if $(CLASSES),--classes $(CLASSES))

# A table in files, with less memory than it is large (as root). DIRECTORY=where the files go.
table-file: build
	@$(BIN)/experiments table-file --bf16 $(if $(DIRECTORY),--directory $(DIRECTORY)) $(if $(CLASSES),--classes $(CLASSES))

# Loss and accuracy on the demo's data with rows and momentum in fewer bits. STEPS=600 for a shorter training.
quality: build
	@scripts/install-dependencies demo
	@$(BIN)/experiments quality $(if $(STEPS),--steps $(STEPS))
	@$(BIN)/experiments small-updates

# The experiments of docs/science.md, one after the other, as far as they have no result yet; goes on after any interruption. RUN=the
# beginning of names: those alone; RUN=a whole name: that one again. `python3 scripts/science list` shows all, with hours.
science: build
	@scripts/install-dependencies science
	@nice -n 10 python3 scripts/science --binaries $(BIN) run $(RUN)

# docs/science.md and its plots again, from the results in docs/science.
science-page:
	@python3 scripts/science page

# The kernels of inference for AArch64 against a plain loop, under qemu.
test-neon:
	@scripts/test-neon

# 300 steps with 1-4 shards, 1-3 workers, 1-2 threads: the same losses and hashes, bit for bit.
equivalence: build
	@$(BIN)/experiments equivalence

# The golden cases through real processes, as a table of errors.
golden: build
	@$(BIN)/experiments golden

# Kills a worker in the middle of a training: no gap, the same losses and hashes.
recovery: build
	@$(BIN)/experiments recovery

# Two workers, one of them stopped for half of the time: steps per second with equal and with measured shares.
shares: build
	@$(BIN)/experiments shares

# Kills (-9), stops, restarts, adds and drains random processes of a training: the same losses and hashes. FAULTS=40 by default.
chaos: build
	@$(BIN)/experiments chaos $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

# From the loss of one of two large shards to the next committed step, and to two copies of everything.
loss: build
	@$(BIN)/experiments loss

# Takes random shards of a training away for ever, with their directories: the same losses and hashes. LOSSES=20, SHARDS=3 by default.
chaos-loss: build
	@$(BIN)/experiments chaos-loss $(if $(SEED),--seed $(SEED)) $(if $(LOSSES),--losses $(LOSSES)) $(if $(SHARDS),--shards $(SHARDS))

# Cuts every kind of link in one direction, for 2, 5 and 15 seconds (in network namespaces, as root): the same losses and hashes. ONLY=part of a name.
partitions: build
	@$(BIN)/experiments partitions $(if $(ONLY),--only "$(ONLY)")

# Cuts the power of a cluster's disk (ext4 and XFS in a file, as root): what is lost, and the same losses and hashes. ROUNDS=20.
power-cut: build
	@$(BIN)/experiments power-cut $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

# 1, then 3, then 2 shards and workers: the same losses and hashes.
elastic: build
	@$(BIN)/experiments elastic

# Bytes logged per step, and steps per second with and without a log. GLYPHS=file of `worker glyphs`: on the demo's data too.
durability: build
	@$(BIN)/experiments durability $(if $(GLYPHS),--glyphs $(GLYPHS))

# From kill -9 of a shard with 500,000 x 512 rows to the next committed step.
restart: build
	@$(BIN)/experiments restart

# 1,000,000 x 512 rows move from two shards to three while they train.
move: build
	@$(BIN)/experiments move

# 100,000 random and mutated messages at a coordinator and at a shard server while they train.
fuzz: build
	@$(BIN)/experiments fuzz

# 200,000 changed copies of the ONNX files in Tests/Golden/onnx and in CORPUS=directory: each is read or refused.
fuzz-onnx: build
	@$(BIN)/experiments fuzz-onnx --corpus Tests/Golden/onnx $(CORPUS) $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT))

# Everything that any peer can do to the servers of a training cluster: steps go on, memory comes back. Under five minutes.
hostile: build
	@$(BIN)/experiments hostile

# A small training, its dashboard in headless Chromium at two widths, light and dark: checks, and screenshots in dashboard/.
dashboard: build
	@scripts/install-dependencies dashboard
	@BIN=$(BIN) scripts/dashboard-screenshots

# Rows per second over loopback TCP, pulled and pushed, as f32 and as bf16.
serving: build
	@$(BIN)/experiments serving

# What keys cost: row serving and steps per second without keys, with only control encrypted, and with everything. ROUNDS=5.
security: build
	@$(BIN)/experiments security $(if $(ROUNDS),--rounds $(ROUNDS))

# Random schedules of the state machines: SEEDS=100000 of them, or one with SEED=n, which prints every message.
simulate: SEEDS ?= 100000
simulate:
	@scripts/install-dependencies build
	@SIMULATION_SEEDS=$(SEEDS) $(if $(SEED),SIMULATION_SEED=$(SEED)) \
		swift test $(SWIFT_FLAGS) --filter SimulationTests/everyScheduleEndsLikeTheUndisturbedRun

# docker compose: builds, trains, scales 2 -> 4 -> 1 -> 2 shards and 1 -> 3 -> 1 workers, kills each role; the same losses and hashes.
test-docker:
	@scripts/test-docker

# docker compose: the container of each shard server is removed with its volume while it trains; the same losses and hashes.
test-docker-loss:
	@scripts/test-docker-loss

# docker stack deploy, on a swarm of one node: the same, and every container replaced by one of another image.
test-swarm:
	@scripts/test-swarm

# docker compose --profile monitoring: Prometheus finds every container, and every query of Grafana's dashboard gives figures.
test-monitoring:
	@scripts/test-monitoring

# Scrape configuration, alerts and their tests, and the dashboard, with Prometheus' own tool. Needs no engine and no cluster.
validate-monitoring: .build-monitoring
	@scripts/validate-monitoring

# Taken out of Debian's package, which as a whole would be a server that runs.
.build-monitoring:
	@rm -rf $@.new && mkdir $@.new
	@cd $@.new && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb
	@mv $@.new $@

# Renders docker/kubernetes with kubectl and holds every document against Kubernetes' schemas. Needs no cluster.
validate-kubernetes: .build-kubernetes
	@.build-kubernetes/bin/python scripts/validate-kubernetes

.build-kubernetes: docker/kubernetes/requirements.txt
	@scripts/install-dependencies kubernetes
	@rm -rf $@ $@.new && python3 -m venv $@.new && $@.new/bin/python -m pip install --quiet -r $< && mv $@.new $@ && touch $@

# Manual pages of the three programs, from what they say of themselves: `man -M .build/man coordinator` shows one.
man: build
	@scripts/install-dependencies python
	@scripts/man-pages $(BIN) .build/man

# The Python package, with the version of the programs: python/partialfc/dist/partialfc-VERSION-py3-none-any.whl
wheel:
	@scripts/install-dependencies wheel
	@version=$$(sed -n 's/.*programVersion = "\(.*\)"/\1/p' Sources/Core/ProcessSupport/ProgramVersion.swift); \
		sed -i "s/^__version__ = .*/__version__ = \"$$version\"/" python/partialfc/src/partialfc/_version.py
	@rm -rf python/partialfc/dist
	@cd python/partialfc && /usr/bin/python3 -m hatchling build -t wheel -d dist >/dev/null
	@ls python/partialfc/dist/*.whl

# The Python package: formatter, linter, types, and tests with the programs in BIN. PYTHON=an interpreter that has all of it; PYTEST=arguments.
test-python: PYTHON ?= $(abspath .build-pytorch)/bin/python
test-python: $(if $(PYTHON),,.build-pytorch)
	@cd python/partialfc && if $(PYTHON) -c 'import ruff, mypy' 2>/dev/null; then \
		$(PYTHON) -m ruff format --check . && $(PYTHON) -m ruff check . && $(PYTHON) -m mypy; \
		else echo "ruff and mypy are not there: no lint"; fi
	@cd python/partialfc && PYTHONPATH=src PARTIALFC_PROGRAMS=$${PARTIALFC_PROGRAMS:-$(abspath $(BIN))} $(PYTHON) -m pytest -p no:cacheprovider $(PYTEST)

.build-pytorch: python/partialfc/requirements.txt
	@scripts/install-dependencies python
	@rm -rf $@ $@.new && python3 -m venv $@.new && $@.new/bin/python -m pip install --quiet -r $< && mv $@.new $@ && touch $@

format:
	swift format --in-place --recursive Sources Tests Benchmarks Package.swift

lint:
	swift format lint --strict --recursive Sources Tests Benchmarks Package.swift
	scripts/check-architecture
	scripts/suites --check
	python3 -m unittest discover --quiet -s scripts/science

# Regenerates the protobuf-c code from Sources/C/CWire/wire.proto and Sources/C/COnnx/onnx.proto.
proto:
	@command -v protoc-c >/dev/null || { echo "protoc-c is missing: apt-get install protobuf-c-compiler" >&2; exit 69; }
	cd Sources/C/CWire && protoc-c --c_out=. wire.proto && mv wire.pb-c.h include/
	cd Sources/C/COnnx && protoc-c --c_out=. onnx.proto && mv onnx.pb-c.h include/

clean:
	rm -rf .build run demo
