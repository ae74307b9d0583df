PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNS := $(VENV)/.runs
PEERS := $(VENV)/.peers
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PICTURES := docs/pictures
MADE := build/pictures
PLOT := $(BIN)/gdcli plot -q --force

.PHONY: run test quick soak check bench against same-bytes pictures docs fmt clean

run: $(RUNS)  ## print document 4's backpropagation through a 2-2-2 net
	$(BIN)/gdcli run experiments/backprop_2x2.yaml

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(STAMP)  ## in two minutes: the first and last case of each test that is not marked slow
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --cases 2

soak: $(STAMP)  ## the promises about crashes and bad input, with their full figures: an hour or more
	GDCLI_SOAK=1 $(BIN)/python -m pytest -n 2 tests/promises

check: $(STAMP)  ## lint, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

bench: $(STAMP) $(PEERS)  ## ratios against the loops one would write by hand, and other programs' sweeps
	$(BIN)/python benchmarks/bench.py

against: $(STAMP)  ## processor time against another version's: make against OLD=its checkout
	$(BIN)/python benchmarks/against.py $(OLD)

same-bytes: $(STAMP)  ## every byte of the bundled specs beside another version: make same-bytes OLD=its checkout
	$(BIN)/python benchmarks/same_bytes.py $(OLD)

pictures: $(STAMP)  ## the pictures of docs/, one of each kind
	rm -rf $(MADE) && mkdir -p $(MADE) $(PICTURES)
	$(BIN)/gdcli run linear_regression -q -o $(MADE) > $(MADE)/text
	$(BIN)/gdcli sweep linear_sweep --param w -q -o $(MADE) > $(MADE)/text
	$(BIN)/gdcli sweep rosenbrock --param x=-2:2:0.02 --param y=-1:3:0.02 --trajectory rosenbrock -q -o $(MADE) > $(MADE)/text
	$(BIN)/gdcli compare optimizers_2x2 -q -o $(MADE) > $(MADE)/text
	$(BIN)/gdcli sweep vanishing_gradient -q -o $(MADE) > $(MADE)/text
	$(BIN)/gdcli ema -q -o $(MADE)/ema.csv > $(MADE)/text
	cp $(MADE)/linear_regression/*/loss.png $(PICTURES)/loss.png
	cp $(MADE)/linear_sweep/*/sweep.png $(PICTURES)/sweep.png
	cp $(MADE)/rosenbrock/*/sweep.png $(PICTURES)/sweep_surface.png
	cp $(MADE)/optimizers_2x2/*/compare.png $(PICTURES)/compare.png
	cp $(MADE)/ema.png $(PICTURES)/ema.png
	$(PLOT) $(MADE)/vanishing_gradient/* --kind curves --smooth 0.9 -o $(PICTURES)/curves.png
	$(PLOT) vanishing_gradient --kind gradients -o $(PICTURES)/gradients.png
	$(PLOT) --kind losses -o $(PICTURES)/losses.png
	$(PLOT) --kind activations -o $(PICTURES)/activations.png
	$(PLOT) momentum_2x2 adam_2x2 rmsprop_2x2 adagrad_2x2 --kind surface -o $(PICTURES)/surface.png
	$(PLOT) backprop_2x2 --kind network -o $(PICTURES)/network.png
	$(PLOT) mlp data.dataset=null "data.generate={kind: moons, n: 200, noise: 0.2}" "layers=[2,16,16,2]" epochs=200 lr=0.2 --kind fit -o $(PICTURES)/fit.png
	$(PLOT) lenet_digits --kind confusion -o $(PICTURES)/confusion.png
	$(PLOT) lenet_digits --kind metrics -o $(PICTURES)/metrics.png
	$(PLOT) rosenbrock --kind surface --animate -o $(PICTURES)/animation.gif
	rm -rf $(MADE)

docs: $(STAMP)  ## build/site, the pages of docs/ as a site, and the man page build/gdcli.1
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python docs/generated.py build/gdcli.1
	@echo "the site: $(BIN)/python -m http.server --directory build/site; the manual: man -l build/gdcli.1"

fmt: $(STAMP)  ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build dist

# What running needs; the rest comes with the first target that tests. PyTorch is most of it.
$(RUNS): pyproject.toml constraints.txt
	@echo "Installing gdcli and what it needs into $(VENV); PyTorch is large: some minutes, this once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $(RUNS)

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing gdcli with all that its tests need into $(VENV): some minutes, this once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ".[dev]"
	@touch $(STAMP) $(RUNS)

$(PEERS): pyproject.toml constraints.txt $(STAMP)
	@echo "Installing the programs that sweeps are timed beside: a minute, this once."
	$(PIP) -e ".[bench]"
	$(PIP) "ray[tune]" || echo "Ray Tune does not install here: its rows say so."
	@touch $(PEERS)
