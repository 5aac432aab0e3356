# Every target sets up what it needs: Python 3.11 or newer is enough. Windows, or no make: README.md, "Install".
PYTHON ?= python3
BIN := .venv/bin
PYTEST ?= $(BIN)/pytest
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt --editable

.PHONY: demo test lint bench fuzz gpu-check

demo: .venv/.base
	$(BIN)/ps3d-rt demo --overwrite

# Apart: a training crashed (SIGSEGV) in processes that had run the tests of the export. CONTRIBUTING.md says what is known.
test: lint
	$(PYTEST) --ignore=tests/export
	$(PYTEST) tests/export

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/ps3d-rt bench accuracy --cache work/bench --out benchmarks/results/accuracy.json

# make fuzz SECONDS=600: so long over damaged scans, and as long over texts and requests; what fails stays in fuzz-findings.
SECONDS ?= 60
fuzz: .venv/.dev
	$(BIN)/python benchmarks/fuzz_readers.py $(SECONDS) --keep fuzz-findings/readers
	$(BIN)/python benchmarks/fuzz_texts.py $(SECONDS) --keep fuzz-findings/texts

# On a machine with an NVIDIA card; docs/gpu-check.md.
gpu-check: .venv/.dev
	$(BIN)/python benchmarks/gpu_check.py

.venv/.base: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) .
	touch $@

.venv/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) '.[bench,dev,train]'
	touch $@ .venv/.base

$(BIN)/pip:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv
