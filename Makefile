# Everything works from a fresh clone: the first target that needs it makes the virtual environment.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
NBVAL := --nbval --nbval-current-env
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: report test lint lab data bench refresh clean
.DELETE_ON_ERROR:

report: $(READY)  ## execute and check the notebooks, render the report, print the table of claims
	$(PYTEST) $(NBVAL) notebooks
	$(BIN)/python -m sphinx -n -W --keep-going -q -b html notebooks build/html
	@$(BIN)/python -m mf_claims
	@echo "The report: $(CURDIR)/build/html/index.html"

test: $(READY) lint  ## every check: the modules, the notebooks' stored outputs, other parameters
	$(PYTEST) $(NBVAL) tests notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(READY)  ## explore
	cd notebooks && ../$(BIN)/jupyter lab 1.1-gradient-factorisation.ipynb

data: $(READY)  ## download the course's ratings and MovieLens's ml-latest-small
	$(BIN)/python -m mf_data

# Two peers that only the bench needs; one that does not install here is named as missing.
bench: $(READY)  ## speed and memory as ratios: build/bench.md
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check libmf==0.9.2
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check scikit-surprise==1.1.5
	$(BIN)/python tests/bench.py

refresh: $(READY)  ## execute the notebooks in place, and write the README's table anew
	$(BIN)/ruff check --fix -q notebooks; $(BIN)/ruff format -q notebooks
	$(BIN)/python notebooks/refresh.py

clean:
	rm -rf build .venv *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The pip list of environment.yml, without the index line: the one list of versions serves conda and this alike.
$(READY): environment.yml pyproject.toml
	$(PYTHON) -m venv .venv
	sed -n '/- pip:/,$$s/^      - \([^#]*\).*/\1/p' environment.yml | grep -v index-url > .venv/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r .venv/requirements.txt
	@touch $@
