# Needs make, git and Python 3.11 or newer. Everything else is installed into .venv, and installed
# again only when pyproject.toml or constraints.txt has changed.

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$name && break; done)
BIN := .venv/bin
CYCLES ?= 60
MINUTES ?= 30
PARTITIONS ?= 20
MUTANTS ?= app.jobs.admission.* app.*.repository.* models.planning.recipe.* \
	models.evaluation.comparison.*
PORT ?= 8000
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable ./client --editable

.PHONY: demo serve setup test test-slow test-all test-gpu check openapi-examples audit bench \
	chaos partitions mutants programs clean
.NOTPARALLEL:

demo: .venv/worker.stamp  ## a CSV becomes a cross-validated model that prices three houses
	@$(BIN)/python examples/demo.py

serve: .venv/worker.stamp  ## the service on http://127.0.0.1:8000, everything in ./foldhouse-data, or PORT=… DATA=…
	@$(BIN)/foldhouse serve --port $(PORT) $(if $(DATA),--data-dir "$(DATA)")

setup: .venv/dev.stamp  ## the environment with all tools of a developer

test: .venv/dev.stamp programs
	$(BIN)/python -m pytest -m "not slow and not again and not gpu"

test-slow: .venv/dev.stamp  ## the longest acceptance tests: real processes, killed, starved and frozen
	$(BIN)/python -m pytest -m "slow or again" tests/acceptance

check: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test-all: .venv/dev.stamp programs  ## both in one run: what waits in one test, another computes in
	$(BIN)/python -m pytest -m "not again and not gpu"

test-gpu: .venv/dev.stamp  ## on a machine with a CUDA device and build of torch
	$(BIN)/python -m pytest -m gpu -n 0

openapi-examples: .venv/dev.stamp  ## record what each operation answers, for Swagger UI
	$(BIN)/python tests/app/record_openapi_examples.py

audit: .venv/dev.stamp  ## known vulnerabilities of the pinned versions; asks the internet
	$(INSTALL) . pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

bench: .venv/bench.stamp
	$(BIN)/python -m benchmarks

chaos: .venv/dev.stamp  ## kill random processes at random moments, and count what is lost
	PYTHONPATH=.:tests:tests/acceptance $(BIN)/python tests/acceptance/chaos.py --cycles $(CYCLES)

partitions: .venv/dev.stamp  ## cut machines off from each other, and count what is lost; needs root
	PYTHONPATH=.:tests:tests/acceptance $(BIN)/python tests/acceptance/partitions.py \
		--partitions $(PARTITIONS)

# With MUTANTS= it takes all, and goes on where the time was up: exit status 124.
mutants: .venv/mutants.stamp  ## faults put in one at a time, and which of them no test notices
	timeout --signal=INT $(MINUTES)m $(BIN)/mutmut run $(foreach name,$(MUTANTS),'$(name)') || \
		[ $$? = 124 ]
	$(BIN)/mutmut results

clean:
	rm -rf .venv demo-data

.venv/bin/pip:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/worker.stamp: pyproject.toml client/pyproject.toml constraints.txt | .venv/bin/pip
	@echo "Installing the service and the worker into .venv; this takes a minute or two."
	$(INSTALL) '.[worker]'
	@touch $@

.venv/dev.stamp: pyproject.toml client/pyproject.toml constraints.txt | .venv/bin/pip
	@echo "Installing the service, the worker and the developer's tools into .venv."
	$(INSTALL) '.[worker,dev]'
	@touch .venv/worker.stamp $@

.venv/bench.stamp: pyproject.toml client/pyproject.toml constraints.txt | .venv/bin/pip
	@echo "Installing the benchmarks' rivals into .venv."
	$(INSTALL) '.[worker,dev,bench]'
	@touch .venv/worker.stamp .venv/dev.stamp $@

.venv/mutants.stamp: pyproject.toml client/pyproject.toml constraints.txt | .venv/bin/pip
	@echo "Installing what looks for faults that no test notices into .venv."
	$(INSTALL) '.[worker,dev,mutants]'
	@touch .venv/worker.stamp .venv/dev.stamp $@

# Tests click through pages in chromium, and put nginx in front of the service. Where a program is
# not there and cannot be installed, its tests say so.
programs:
	@export PATH="$$PATH:/usr/sbin"; for name in chromium nginx openssl; do \
		command -v $$name >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$name; } || \
		echo "$$name is missing: install it to run its tests"; \
	done
