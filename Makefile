# flor-replay: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What pip is told of local wheels, uv is told too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# pytest's own temporary folders and caches stay out of the tree.
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help setup demo test test-slow test-callers setup-callers check format bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything in it (uv where it is there, else venv and pip)

$(STAMP): pyproject.toml requirements-dev.txt
	@if command -v uv >/dev/null 2>&1; then \
		test -x $(BIN)/python || uv venv --python '>=3.11' $(VENV); \
		uv pip install --python $(BIN)/python -c requirements-dev.txt -e . --group dev; \
	else \
		test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'; \
		$(BIN)/python -m pip install --quiet -c requirements-dev.txt -e . --group dev; \
	fi
	@touch $(STAMP)

demo: $(STAMP)  ## record a real training history, add three statements, fill and check their columns
	@$(BIN)/python examples/demo.py

test: $(STAMP)  ## the tests: under ten minutes on two cores
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(STAMP)  ## the tests that take longer
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

CALLERS ?= .callers
setup-callers:  ## environments with Airflow and MLflow, for test-callers (Slurm: apt-get install slurm-wlm munge)
	@for tool in apache-airflow mlflow; do \
		test -x $(CALLERS)/$$tool/bin/python || $(PYTHON) -m venv $(CALLERS)/$$tool; \
		$(CALLERS)/$$tool/bin/python -m pip install --quiet $$tool; \
	done

test-callers: $(STAMP)  ## the same pipeline under real make, Airflow, MLflow and Slurm, each where it is installed
	@CALLERS_AIRFLOW=$${CALLERS_AIRFLOW:-$(abspath $(CALLERS))/apache-airflow/bin} \
		CALLERS_MLFLOW=$${CALLERS_MLFLOW:-$(abspath $(CALLERS))/mlflow/bin} \
		$(BIN)/python -m pytest -rs tests/callers

check: $(STAMP)  ## lint, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## format the code
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

bench: $(STAMP)  ## the benchmarks, as ratios measured side by side
	@$(BIN)/python -m benchmarks

clean:  ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
