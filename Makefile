# Four targets. The virtual environment is built once and again only when the dependencies change.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
# --no-compile: byte code is written at first import, for the modules that are really used.
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: quickstart test test-all check

quickstart: $(VENV)/installed
	$(PY) -m zoo.run recipe=quickstart
	@echo "Rows again: $(PY) -m zoo leaderboard   Page with curves and videos: runs/leaderboard.html"

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal

test-all: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist worksteal -m "slow or not slow"

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) (a few minutes, once)"
	$(PIP) -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV), with what the tests need (a few minutes, once)"
	$(PIP) -e ".[dev]"
	@touch $(VENV)/installed $@
