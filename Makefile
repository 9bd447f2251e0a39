# Everything works from a fresh clone: the first target that needs it makes the virtual environment.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
READY := .venv/ready-$(VERSION)
CPU_INDEX := https://download.pytorch.org/whl/cpu
BUILD := build
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
# One thread in each of the two processes: more would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SPHINX := $(BIN)/python -m sphinx -c report -n -W --keep-going -q -d $(BUILD)/doctrees
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
CHROMIUM := $(firstword $(foreach name,$(BROWSERS),$(shell command -v $(name) 2>/dev/null)))
PRINT := $(CHROMIUM) --headless --no-sandbox --disable-gpu --virtual-time-budget=15000 --no-pdf-header-footer \
	--generate-pdf-document-outline

.PHONY: report pages links test fuzz lint lab assignment mark data bench refresh clean
.DELETE_ON_ERROR:

report: $(READY) course  ## execute and check the notebooks, render the report, print the table of claims
	$(PYTEST) $(NBVAL) notebooks
	@$(MAKE) --no-print-directory source
	@$(BIN)/python -m mf_claims $(BUILD)/source
	@$(MAKE) --no-print-directory pages

# 4.1 on the course's ratings too, where they are at hand: in the folder that COURSE names, or from `make data`.
COURSE ?= $(if $(wildcard data/course/ratings.pt),$(if $(wildcard data/course/titles.csv),data/course))
.PHONY: course
course: $(READY)
	@rm -rf $(BUILD)/course
	@mkdir -p $(BUILD)/course
ifneq ($(COURSE),)
	@for file in ratings.pt titles.csv; do test -f "$(COURSE)/$$file" || { echo "COURSE=$(COURSE) has no $$file"; exit 1; }; done
	@echo "4.1 is executed on the ratings in $(COURSE)"
	@$(BIN)/python -m papermill notebooks/4.1-movie-rating.ipynb $(BUILD)/course-4.1.ipynb --cwd notebooks --kernel python3 \
		--parameters source course --parameters_raw path "$$(cd "$(COURSE)" && pwd)" --no-progress-bar 2>$(BUILD)/course.log || \
		{ tail -n 3 $(BUILD)/course.log; echo "4.1 fails on the ratings in $(COURSE); more in $(BUILD)/course.log"; exit 1; }
	@mv $(BUILD)/course-4.1.ipynb $(BUILD)/course
endif

# Sphinx takes one source folder: the pages of report/, the notebooks and the account of the data, side by side.
.PHONY: source
source:
	@rm -rf $(BUILD)/source
	@mkdir -p $(BUILD)/source
	@cp report/*.md report/bench.txt notebooks/*.md notebooks/*.ipynb $(BUILD)/source
	@cp data/README.md $(BUILD)/source/data.md
	@cp $(BUILD)/course/*.ipynb $(BUILD)/source 2>/dev/null || true  # if there is one

pages: $(READY) source  ## the report alone, from the stored outputs: HTML and, where there is Chromium, PDF
	@rm -f $(BUILD)/report.pdf $(BUILD)/answers.pdf
	$(SPHINX) -b html $(BUILD)/source $(BUILD)/html
	@find $(BUILD)/html -name "*.map" -delete  # for the theme's own developers: a quarter of the report
	@$(MAKE) --no-print-directory zip
	$(SPHINX) -b singlehtml -D exclude_patterns=course-4.1.ipynb $(BUILD)/source $(BUILD)/paper
ifdef CHROMIUM
	$(PRINT) --print-to-pdf=$(BUILD)/report.pdf $(BUILD)/paper/index.html 2>$(BUILD)/chromium.log
	@$(BIN)/python report/paper.py $(BUILD)/report.pdf $(BUILD)/paper/index.html  # the contents' page numbers; print again
	$(PRINT) --print-to-pdf=$(BUILD)/report.pdf $(BUILD)/paper/index.html 2>>$(BUILD)/chromium.log
	$(PRINT) --print-to-pdf=$(BUILD)/answers.pdf $(BUILD)/html/answers.html 2>>$(BUILD)/chromium.log
	@echo "The report is made:"; ls -1 $(abspath $(BUILD)/html/index.html $(BUILD)/report.pdf $(BUILD)/answers.pdf)
else
	@echo "The report is made:"; ls -1 $(abspath $(BUILD)/html/index.html)
	@echo "No Chromium here, hence no PDF: install the package chromium (or Google Chrome), and run: make pages"
endif

# What a reader takes along. The modules lie beside the notebooks, which import them uninstalled.
TAKEN := $(BUILD)/matrix-factorisation
.PHONY: zip
zip:
	@rm -rf $(TAKEN)
	@mkdir -p $(TAKEN)/notebooks/live $(TAKEN)/notebooks/mf_train $(TAKEN)/notebooks/data/movielens
	@cp CITATION.cff LICENSE* $(TAKEN)
	@for list in environment.yml requirements.txt; do grep -v -e "-e \.$$" $$list >$(TAKEN)/$$list; done
	@cp live/*.* $(TAKEN)/notebooks/live
	@cp notebooks/*.* mf_*.py $(TAKEN)/notebooks
	@cp mf_train/*.py $(TAKEN)/notebooks/mf_train
	@cp data/*.toml data/README.md $(TAKEN)/notebooks/data
	@cp data/movielens/*.csv data/movielens/README.txt $(TAKEN)/notebooks/data/movielens
	@$(BIN)/python -m zipfile -c $(BUILD)/html/matrix-factorisation.zip $(TAKEN)

links: $(READY) source  ## list and check the links that lead outside (needs the network)
	$(SPHINX) -b linkcheck $(BUILD)/source $(BUILD)/links

test: $(READY) lint  ## every check: the modules, the notebooks' stored outputs, other parameters
	$(PYTEST) $(NBVAL) notebooks/4.1* tests notebooks  # the longest first

FUZZ := 20
fuzz: $(READY)  ## the properties on FUZZ times as many random examples: make fuzz FUZZ=500
	@mkdir -p $(BUILD)
	FUZZ=$(FUZZ) $(PYTEST) -m hypothesis --timeout=0 --hypothesis-show-statistics tests >$(BUILD)/fuzz.txt; \
		status=$$?; grep -E "^tests/.*:$$|[0-9] passing|failed|passed" $(BUILD)/fuzz.txt; exit $$status

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(READY)  ## explore
	cd notebooks && ../$(BIN)/jupyter lab 1.1-gradient-factorisation.ipynb

assignment: $(READY)  ## the student edition, build/assignment; SEED=7 for other figures
	$(BIN)/python assignment/make_assignment.py --build $(BUILD) $(if $(SEED),--seed $(SEED))

mark: $(READY)  ## mark SUBMISSIONS=folder, one entry a student; the results are in MARKS=folder, or in a new one
	@$(if $(SUBMISSIONS),,echo "Name the folder of submissions: make mark SUBMISSIONS=folder"; exit 1)
	$(BIN)/python assignment/marking.py "$(SUBMISSIONS)" --build $(BUILD) $(if $(MARKS),--marks "$(MARKS)")

data: $(READY)  ## download the course's ratings, or a set of MovieLens: make data SET=ml-25m
	$(BIN)/python -m mf_data $(SET)

# Two peers that only the bench needs; one that does not install here is named as missing.
bench: $(READY)  ## speed as ratios: report/bench.txt; ML100K=folder adds the error on MovieLens 100K's folds
	-$(PIP) libmf==0.9.2
	-$(PIP) scikit-surprise==1.1.5
	ML100K="$(ML100K)" $(BIN)/python tools/bench.py

refresh: $(READY)  ## execute the notebooks in place, and write anew what is made
	$(BIN)/python tools/refresh.py lock
	@$(MAKE) --no-print-directory $(READY)  # which installs a new lock
	$(BIN)/ruff check --fix -q notebooks; $(BIN)/ruff format -q notebooks
	$(BIN)/python tools/refresh.py

clean:
	rm -rf build .venv *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch first, from PyTorch's index of CPU builds: elsewhere its Linux wheels bring several GB of CUDA. uv keeps it, and installs
# the rest in a third of pip's time. It does not read pip's configuration, so where that is needed pip takes over.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	$(PIP) --no-deps --retries 1 --index-url $(CPU_INDEX) $$(grep ^torch== requirements.txt) 2>.venv/cpu-index.log || \
		echo "$(CPU_INDEX) cannot be reached: torch comes from the default index"
	{ $(PIP) $$(grep ^uv== requirements.txt) && $(BIN)/uv pip install --quiet -p .venv -r requirements.txt; } || \
		{ echo "uv cannot install: pip does, which takes longer"; $(PIP) -r requirements.txt; }
	$(BIN)/python -c "import matplotlib.font_manager"  # which collects the fonts, with a message if it takes long
	@touch $@
