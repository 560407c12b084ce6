# Every target works on a bare machine with Python 3.11 or later, Go and the rights of root; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CLUSTER ?= ascend-jobs
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH_VERSION := $(shell sed -n 's/^TORCH_VERSION=//p' hack/versions.env)
# Folders with a wheel of torch's CPU build, if there are any; else the package index decides which build it is.
TORCH_LINKS := $(addprefix --find-links ,$(wildcard $(TORCH_WHEELS) ../shared/wheels))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile
HACK_FILES := $(filter-out hack/proto.py hack/bench_%,$(wildcard hack/*.py)) hack/generators hack/cluster hack/demo/run.py

export OMP_NUM_THREADS ?= 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: $(VENV)/.cli ## From nothing to a fine-tuned model: cluster, images, chart, job, answers side by side
	@$(BIN)/python hack/demo/run.py

.PHONY: demo-serve
demo-serve: $(VENV)/.cli ## After the demo: the tuned model against its base on the same questions, and the report
	@$(BIN)/python hack/demo/run.py --serve

.PHONY: cluster
cluster: ## Make the kind cluster: one control plane, two workers with 8 emulated NPUs each
	@$(PYTHON) hack/cluster up --name $(CLUSTER)

.PHONY: cluster-delete
cluster-delete: ## Remove the cluster and all that was started for it; what was built stays cached
	@$(PYTHON) hack/cluster down --name $(CLUSTER)

.PHONY: images
images: ## Build the container images
	@$(PYTHON) hack/images.py build

.PHONY: deploy
deploy: cluster ## Build and load images, install or upgrade the chart in the kind cluster
	@$(PYTHON) hack/deploy.py --cluster $(CLUSTER)

.PHONY: run
run: $(VENV)/.cli ## Run the operator on this machine against the kind cluster
	@$(BIN)/ascendctl operator run --context kind-$(CLUSTER)

##@ Work on it

.PHONY: install
install: $(VENV)/.dev ## Make .venv with everything that work on this project needs

.PHONY: format
format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff check --quiet --fix . && $(BIN)/ruff format --quiet .

.PHONY: lint
lint: $(VENV)/.dev ## Check style and what may import what
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && echo "style: good"
	@$(BIN)/lint-imports

.PHONY: typecheck
typecheck: $(VENV)/.dev ## Check types (mypy --strict)
	@$(BIN)/mypy && MYPYPATH=operator:hack $(BIN)/mypy $(HACK_FILES)

.PHONY: generate
generate: $(VENV)/.cli ## Write CRDs, roles, chart values and API reference from the code
	@$(BIN)/python hack/generate.py

.PHONY: verify
verify: $(VENV)/.cli ## Fail if something generated is not as the code has it
	@$(BIN)/python hack/generate.py --check

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the dependencies anew (hack/locks)
	@$(BIN)/python hack/lock.py

.PHONY: golden
golden: $(VENV)/.dev ## Rewrite golden files; read the difference before you commit it
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q -m "not e2e and not apiserver" tests/unit tests/chart tests/emulator

##@ Test it

.PHONY: unit
unit: $(VENV)/.dev ## Run the tests that need nothing but Python
	@$(BIN)/pytest -m "not e2e and not apiserver" $(PYTEST_ARGS)

.PHONY: test
test: lint typecheck verify ## Check everything that needs no cluster; builds an API server for it once (about 10 minutes)
	@KUBEBUILDER_ASSETS="$$($(PYTHON) hack/cluster assets --with helm | tail -n 1)"; export KUBEBUILDER_ASSETS; \
	$(BIN)/pytest -m "not e2e" $(PYTEST_ARGS)

.PHONY: e2e
e2e: $(VENV)/.dev deploy ## Test in the kind cluster: the main job, a killed pod, a killed operator
	@$(BIN)/pytest -m e2e $(PYTEST_ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Measure the informer against the official client's, in the same run
	@$(BIN)/python hack/bench_informer.py

.PHONY: bench-ranktable
bench-ranktable: $(VENV)/.dev deploy ## Measure in kind how fast rank tables reach containers, with and without the touch
	@$(BIN)/python hack/bench_ranktable.py

.PHONY: bench-evaluate
bench-evaluate: $(VENV)/.dev ## Measure how true the performance measurement is; ARGS=--evalscope also against evalscope
	@$(BIN)/python hack/bench_evaluate.py $(ARGS)

.PHONY: bench-migrate
bench-migrate: $(VENV)/.dev ## Measure the analysis of yolov5 and timm on one core against parsing alone
	@$(BIN)/python hack/bench_migrate.py $(ARGS)

.PHONY: check-vllm
check-vllm: $(VENV)/.dev ## Hold what we generate for vLLM against a real one on CPU (3 to 6 GB the first time); ARGS=--record
	@$(BIN)/python hack/check_vllm.py $(ARGS)

# What ascendctl and the generator need.
$(VENV)/.cli: hack/locks/operator.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed: make PYTHON=...")'
	@echo "[make] install ascendctl in $(VENV) (usually half a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps --require-hashes -r hack/locks/operator.txt
	@$(PIP) --no-deps --editable .
	@touch $@

# What development and tests need. torch stands apart: which build of it fits depends on the machine.
$(VENV)/.dev: $(VENV)/.cli hack/locks/dev.txt hack/versions.env
	@echo "[make] install development tools and torch in $(VENV) (usually 1 minute; 3 where torch has no CPU build)"
	@$(PIP) --no-deps --require-hashes -r hack/locks/dev.txt
	@$(PIP) $(TORCH_LINKS) "torch==$(TORCH_VERSION)"
	@touch $@
