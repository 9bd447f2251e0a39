# Everything works from a fresh clone: the first target that needs it makes the virtual environment.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
BUILD := build
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SPHINX := $(BIN)/python -m sphinx -n -W --keep-going -q -d $(BUILD)/doctrees
CHROMIUM := $(firstword $(shell command -v chromium chromium-browser google-chrome))
PRINT := $(CHROMIUM) --headless --no-sandbox --disable-gpu --virtual-time-budget=15000 --no-pdf-header-footer \
	--generate-pdf-document-outline

.PHONY: report pages links test lint lab data bench refresh clean
.DELETE_ON_ERROR:

report: $(READY)  ## execute and check the notebooks, render the report, print the table of claims
	$(PYTEST) $(NBVAL) --junitxml=$(BUILD)/times.xml notebooks
	@$(MAKE) --no-print-directory pages
	@$(BIN)/python -m mf_claims
	@echo "The report: $(CURDIR)/$(BUILD)/html/index.html, and report.pdf and answers.pdf in $(BUILD)"

pages: $(READY)  ## the report alone, from the stored outputs: HTML and, where there is Chromium, PDF
	$(SPHINX) -b html notebooks $(BUILD)/html
	$(SPHINX) -b singlehtml notebooks $(BUILD)/paper
ifdef CHROMIUM
	$(PRINT) --print-to-pdf=$(BUILD)/report.pdf $(BUILD)/paper/index.html 2>$(BUILD)/chromium.log
	$(PRINT) --print-to-pdf=$(BUILD)/answers.pdf $(BUILD)/html/answers.html 2>$(BUILD)/chromium.log
else
	@echo "No Chromium here, hence no PDF."
endif

links: $(READY)  ## list and check the links that lead outside (needs the network)
	$(SPHINX) -b linkcheck notebooks $(BUILD)/links

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
