PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test check bench fmt clean

run: $(STAMP)  ## print document 4's backpropagation through a 2-2-2 net
	$(BIN)/gdcli run experiments/backprop_2x2.yaml

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2

check: $(STAMP)  ## lint, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

bench: $(STAMP)  ## ratios against the loops one would write by hand
	$(BIN)/python benchmarks/bench.py

fmt: $(STAMP)  ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build dist

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)
