# Every verb of the house; `make` alone lists them. Only Python 3.11+, git and make are needed.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
# Flat package names: never import from whatever folder happens to be the current one.
export PYTHONSAFEPATH := 1
# The detector's matrices are small: BLAS threads would only wait for each other.
export OPENBLAS_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most tests wait for something: four at a time keep two processors busy. In their own order, so that
# journeys, which are long, are not left for the end.
JOBS ?= -n 4 --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test check fix docs dashboards bench pictures bench-models secrets constraints clean

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Farfix needs Python 3.11 or newer; '$(PYTHON)' is none. Install it, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; takes a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)  ## run the whole product in front of you; options: make demo ARGS="--headless --seed 7"
	@$(BIN)/farfix demo $(ARGS)

test: $(READY)  ## run the tests; options: make test ARGS="-k broker"
	@$(BIN)/pytest -q $(JOBS) $(ARGS)

check: $(READY)  ## run every gate: lint, format, types, import rules, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q $(JOBS) $(ARGS)

fix: $(READY)  ## repair what the linter and the formatter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY)  ## write the generated reference pages anew
	$(BIN)/python -m farfix.reference

dashboards: $(READY)  ## write Grafana's dashboards and alert rules anew
	$(BIN)/python -m dashboards.build

# gmqtt lives in a folder of its own: it ships a package `tests`, which would hide ours.
bench: $(READY)  ## measure the telemetry path beside others: make bench ARGS="--quick --outage 3600"
	@test -d var/bench/clients/gmqtt || \
		$(BIN)/python -m pip install --quiet --no-deps --target var/bench/clients gmqtt==0.8.0 || \
		echo "gmqtt cannot be installed and is not compared" >&2
	@$(BIN)/python tests/bench/bench_path.py $(ARGS)

pictures: $(READY)  ## make the documentation's screenshots anew (docs/images), in a real browser
	PICTURES=$(CURDIR)/docs/images $(BIN)/pytest -q -n 0 tests/web/test_pictures.py

bench-models: $(READY)  ## measure the models: make bench-models ARGS="--data DIR --quick"
	@$(BIN)/python tests/bench/bench_models.py $(ARGS)

secrets: $(READY)  ## make the passwords and keys that docker-compose.yml needs (var/secrets)
	@$(BIN)/farfix secrets var/secrets

constraints: $(READY)  ## take the newest versions and pin them in constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev]'
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:  ## remove what runs leave behind (keeps .venv)
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
