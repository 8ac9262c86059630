# What a person types here. Needs python3 (3.11 or later, with venv) and make; everything else is set up in .venv.
#
# requirements.txt holds what running, testing and measuring need, requirements-lint.txt what `make lint` needs on top;
# both are exact, with hashes. Another interpreter: make PYTHON=python3.13 test

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
LINTED := $(VENV)/.ready-lint
PLAIN  := build/plain
PIN    := build/pins/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
          --custom-compile-command 'make pins' $(if $(UPGRADE),--upgrade)
TESTS  ?=

# The type checker's own node comes with requirements-lint.txt: nothing on the machine is used or fetched for it.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test sweep bench lint format docs pins clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## .venv with everything that running and testing need

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'perdure needs Python 3.11 or later: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "this Python lacks venv or ensurepip: install your system's package for it" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(LINTED): $(READY) requirements-lint.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-lint.txt
	@touch $@

demo: $(READY)  ## a batch that is killed twice and loses nothing, against the simulator
	$(BIN)/perdure demo

test: $(READY)  ## all tests but the full fault sweeps; TESTS=tests/store for a part
	$(BIN)/python -m pytest -m 'not sweep' $(TESTS)

sweep: $(READY)  ## every crash point, every occurrence, every seed
	$(BIN)/python -m pytest -m sweep $(TESTS)

bench: $(READY)  ## each benchmark as a process of its own, one after the other
	@set -e; for script in benchmarks/[a-z]*.py; do \
	  [ -e "$$script" ] || { echo 'no benchmarks yet'; break; }; \
	  printf '\n== %s\n' "$$script"; $(BIN)/python -m "benchmarks.$$(basename "$$script" .py)"; done

lint: $(LINTED)  ## format, rules, types (two checkers), direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -p perdure
	$(BIN)/mypy tests tools $(if $(wildcard benchmarks/*.py),benchmarks)
	$(BIN)/python tools/tree.py plain $(PLAIN)
	cd $(PLAIN) && $(abspath $(BIN))/pyright --pythonpath $(abspath $(BIN))/python
	cd $(PLAIN) && $(abspath $(BIN))/lint-imports --no-cache

format: $(LINTED)  ## rewrites the files as `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## writes the generated pages anew
	@set -e; for script in tools/write_*.py; do $(BIN)/python "$$script"; done

pins:  ## resolves the requirements anew; UPGRADE=1 takes the newest versions
	$(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install --quiet uv
	$(PIN) --group build --group tests --group bench --output-file requirements.txt pyproject.toml
	$(PIN) --group typing --group lint --constraints requirements.txt --output-file requirements-lint.txt

clean:  ## removes what these targets made, .venv too
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
