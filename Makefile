# Two commands: `make bench` and `make test`. Both set up .venv when it is missing or pyproject.toml is newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := --numprocesses auto --dist worksteal

.PHONY: bench test check

bench: $(VENV)/installed
	$(BIN)/convbench run first-look
	$(BIN)/convbench report first-look

test: $(VENV)/installed
	$(BIN)/pytest $(PARALLEL)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	touch $@
