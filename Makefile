# Everything runs in .venv with the versions of docker/constraints.txt.
PYTHON ?= python3
WORKERS ?= 2
# Each has servers of its own, and waits most of the time for processes that it started.
TEST_PROCESSES ?= 3
# For example PIP_FLAGS="--extra-index-url …" where torch should come as a CPU build.
PIP_FLAGS ?=
# Of a soak: how long faults strike, and what decides which.
SECONDS ?= 240
SEED ?= 1
PROMPT ?= green coast with turquoise shallows and blue sea

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
# Installs Debian packages; where that is not allowed, says what to run instead.
install = { $(APT) update && $(APT) install --yes --no-install-recommends $(1); } \
	|| { echo "$(1) must be installed, run: $(strip $(SUDO) apt-get install $(1))" >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint sure up down status logs bench soak clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install what is missing: Python packages in .venv

$(STAMP): pyproject.toml docker/constraints.txt
	@echo "setup: Python 3.11 or newer with venv"
	@$(PYTHON) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null \
		|| $(call install,python3 python3-venv)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@echo "setup: packages into $(VENV), the first time takes minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint docker/constraints.txt \
		--editable '.[worker,cluster,dev]'
	@touch $@

# The servers of the local cluster and of the tests; the demo needs none.
system: setup
	@$(BIN)/python -m app.cluster install
	@command -v prometheus >/dev/null \
		|| $(call install,prometheus)

demo: setup ## Render a picture in this process: demo.png and a timeline of its tiles
	@$(BIN)/tilechord render "$(PROMPT)" --size 1024x768 --upscale 2 --seed 1 --nsr 2.3 \
		--timeline -o demo.png

test: system ## Run all tests, those with real servers included
	@$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: setup ## Check format, style, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

sure: lint test ## Everything CI runs

up: system ## Start the local cluster: servers, WORKERS=2 workers, Flower
	@$(BIN)/python -m app.cluster up --workers $(WORKERS)

down: ## Stop the local cluster
	@$(BIN)/python -m app.cluster down

status: ## List the cluster's processes
	@$(BIN)/python -m app.cluster status

logs: ## Show the ends of the cluster's logs
	@$(BIN)/python -m app.cluster logs

bench: system ## Run the benchmarks
	@for name in $(basename $(notdir $(wildcard tests/benchmarks/bench_*.py))); do \
		echo "== $$name"; $(BIN)/python -m tests.benchmarks.$$name || exit 1; done

soak: system ## Break servers and workers for SECONDS=240, then judge what is left
	@$(BIN)/python -m tests.faults.soak --seconds $(SECONDS) --seed $(SEED)

clean: ## Remove .venv, caches and the demo picture; cluster and pictures in .tilechord stay
	rm -rf $(VENV) build dist *.egg-info demo.png
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
