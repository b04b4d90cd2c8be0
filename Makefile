# The whole developer loop. Each target installs what it needs into .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-interop matrix check bench clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## chain, gateway, three leaves, then failures with their reasons
	$(BIN)/leafgate demo

test: $(STAMP)  ## all tests that need nothing but Python
	$(BIN)/python -m pytest -q -n 2 -m "not interop"

test-interop: $(STAMP)  ## real third-party programs: openssl, mosquitto_pub, Azure's SDKs of devices and services
	$(BIN)/python -m pytest -q -n 2 -m interop

matrix: $(STAMP)  ## every measured chain against every TLS stack on this machine
	$(BIN)/leafgate matrix all

check: $(STAMP)  ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## ratios to mosquitto, CPU of the server process
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
