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
REPORT := $(BIN)/gdcli report -q --force
TYPESCRIPT := typescript@5.9.3
SHOT := $(BIN)/python docs/screenshots.py

.PHONY: run test quick soak check bench against same-bytes pictures docs fmt clean

run: $(RUNS)  ## print document 4's backpropagation through a 2-2-2 net
	$(BIN)/gdcli run experiments/backprop_2x2.yaml

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(STAMP)  ## in two minutes: the first and last case of each test that is not marked slow
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --cases 2

soak: $(STAMP)  ## the promises about crashes and bad input, with their full figures: an hour or more
	GDCLI_SOAK=1 $(BIN)/python -m pytest -n 2 tests/promises

check: $(STAMP)  ## lint, types and tests; the types of the scripts where there is npx
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/oxlint --deny-warnings gdcli/report/html
	@export npm_config_fetch_retries=0; \
	if npx --yes --package $(TYPESCRIPT) tsc --version >/dev/null 2>&1; \
	then npx --yes --package $(TYPESCRIPT) tsc -p .jsconfig.json; \
	else echo "The types of gdcli/report/html are not checked: npx with $(TYPESCRIPT) is not to be had here."; fi
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
	$(BIN)/gdcli run backprop_2x2 epochs=100 record.parameters=true -q -o $(MADE)/net > $(MADE)/text
	$(BIN)/gdcli run rosenbrock -q -o $(MADE)/objective > $(MADE)/text
	$(BIN)/gdcli run momentum_2x2 -q -o $(MADE)/several > $(MADE)/text
	$(BIN)/gdcli run adam_2x2 -q -o $(MADE)/several > $(MADE)/text
	$(BIN)/gdcli compare iris --optimizers sgd,adam,rmsprop --tune 5 --seeds 3 epochs=20 -q -o $(MADE)/tuned > $(MADE)/text
	$(BIN)/gdcli sweep mlp_digits --param lr=0.01,0.05,0.1,0.5 --param batch.size=16,64 --param seed=1,2 epochs=2 -q -o $(MADE)/axes > $(MADE)/text
	$(REPORT) $(MADE)/net/*/* -o $(MADE)/net.html
	$(REPORT) $(MADE)/objective/*/* -o $(MADE)/objective.html
	$(REPORT) $(MADE)/several/*/* -o $(MADE)/several.html
	$(REPORT) $(MADE)/tuned/*/* -o $(MADE)/tuned.html
	$(REPORT) $(MADE)/axes/*/* -o $(MADE)/axes.html
	$(SHOT) $(MADE)/net.html --at "#s3" --step 40 --choose w5 --height 840 $(PICTURES)/report_run.png
	$(SHOT) $(MADE)/objective.html --at "#s3" --step 60 --choose x --height 1120 $(PICTURES)/report_objective.png
	$(SHOT) $(MADE)/several.html --height 900 $(PICTURES)/report_several.png
	$(SHOT) $(MADE)/tuned.html --height 1180 $(PICTURES)/report_compare.png
	$(SHOT) $(MADE)/axes.html --at "h3:nth-of-type(3)" --height 860 $(PICTURES)/report_sweep.png
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
