# Everything works from a fresh clone: the first target that needs it makes the virtual environment. Its folder is named after
# Python's version and the lock's content; .venv is a link to it.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(VERSION)-$(firstword $(shell cksum <requirements.txt))
READY := $(VENV)/ready
CPU_INDEX := https://download.pytorch.org/whl/cpu
BUILD := build
# Many a container sets it, and then each of some sixty processes would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE
NBVAL := -p tests.comparison --nbval --nbval-current-env --nbval-cell-timeout=100
PIP := $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check
# Three processes for two cores, since some wait for a browser; one thread in each. A worker that has died is not replaced: pytest-xdist
# 3.8 would then wait for ever.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart=0
SPHINX := $(BIN)/python -m sphinx -c report -n -W --keep-going -q -d $(BUILD)/doctrees
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CHROMIUM := $(shell for name in $(BROWSERS); do command -v "$$name" && break; done)
# A page as a PDF. Chromium may end well and have written nothing; then the PDF of before stays, and a sentence says so.
PRINT = { rm -f $(BUILD)/half.pdf; "$(CHROMIUM)" --headless --no-sandbox --disable-gpu --virtual-time-budget=15000 \
	--no-pdf-header-footer --generate-pdf-document-outline --print-to-pdf=$(BUILD)/half.pdf $(1) >$(BUILD)/chromium.log 2>&1; \
	test -s $(BUILD)/half.pdf && mv $(BUILD)/half.pdf $(2); }

.PHONY: report pages links test processors notebooks fuzz lint lab assignment mark data bench refresh clean
.DELETE_ON_ERROR:

report: $(READY)  ## execute and check the notebooks, render the report, print the table of claims
	@echo "Executing the notebooks, and comparing with what is stored: one to four minutes."
	@mkdir -p $(BUILD); rm -f $(DIFFERENCES); status=0; \
	$(MAKE) --no-print-directory READY= course || status=1; \
	DIFFERENCES=$(DIFFERENCES) $(PYTEST) --tb=no -r "" $(NBVAL) notebooks || status=1; \
	$(MAKE) --no-print-directory READY= source; \
	$(BIN)/python -m mf_claims $(BUILD)/source || status=1; \
	$(MAKE) --no-print-directory READY= pages || status=1; \
	if test $$status != 0; then cat $(DIFFERENCES); echo "Not all was found again: see above."; exit 1; fi 2>/dev/null
DIFFERENCES := $(BUILD)/differences.txt

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
	@cp report/*.md notebooks/*.md notebooks/*.ipynb $(BUILD)/source
	@cp data/README.md $(BUILD)/source/data.md
	@cp $(BUILD)/course/*.ipynb $(BUILD)/source 2>/dev/null || true  # if there is one

pages: $(READY) source  ## the report alone, from the stored outputs: HTML and, where there is Chromium, PDF
	@echo "Rendering the pages: half a minute."
	@$(SPHINX) -b html $(BUILD)/source $(BUILD)/html
	@find $(BUILD)/html -name "*.map" -delete  # for the theme's own developers: a quarter of the report
	@$(MAKE) --no-print-directory zip
	@$(SPHINX) -b singlehtml $(BUILD)/source $(BUILD)/paper
ifdef CHROMIUM
	@# Twice: the contents' page numbers are known from the first PDF.
	@{ $(call PRINT,$(BUILD)/paper/index.html,$(BUILD)/unnumbered.pdf) && \
		$(BIN)/python report/paper.py $(BUILD)/unnumbered.pdf $(BUILD)/paper/index.html && \
		$(call PRINT,$(BUILD)/paper/index.html,$(BUILD)/report.pdf) && rm $(BUILD)/unnumbered.pdf && \
		$(call PRINT,$(BUILD)/html/answers.html,$(BUILD)/answers.pdf); } || \
		echo "Chromium fails, hence no new PDF: $(BUILD)/chromium.log says why."
else
	@echo "No Chromium here, hence no PDF: install the package chromium (or Google Chrome), and run: make pages"
endif
	@cd $(BUILD); echo "The report is made:"; \
		for file in html/index.html report.pdf answers.pdf; do if test -f $$file; then echo "$$(pwd)/$$file"; fi; done

# What a reader takes along. The modules lie beside the notebooks, which import them uninstalled.
TAKEN := $(BUILD)/matrix-factorisation
.PHONY: zip
zip:
	@rm -rf $(TAKEN)
	@mkdir -p $(TAKEN)/notebooks/live $(TAKEN)/notebooks/mf_train $(TAKEN)/notebooks/data/movielens
	@cp CITATION.cff LICENSE* report/zip/README.md $(TAKEN)
	@for list in environment.yml requirements.txt; do grep -v -e "-e \.$$" $$list >$(TAKEN)/$$list; done
	@cp live/*.* $(TAKEN)/notebooks/live
	@cp notebooks/*.* mf_*.py $(TAKEN)/notebooks
	@cp mf_train/*.py $(TAKEN)/notebooks/mf_train
	@cp data/*.toml data/README.md $(TAKEN)/notebooks/data
	@cp data/movielens/*.csv data/movielens/README.txt $(TAKEN)/notebooks/data/movielens
	@$(BIN)/python -m zipfile -c $(BUILD)/html/matrix-factorisation.zip $(TAKEN)

links: $(READY) source  ## list and check the links that lead outside (needs the network)
	$(SPHINX) -b linkcheck $(BUILD)/source $(BUILD)/links

test: $(READY) lint  ## every check: the modules, the notebooks' stored outputs on an imitated processor, other parameters
	@echo "Checking everything that must hold: three to ten minutes. A line at the end names what was skipped, and why."
	@MF_NOISE=1 $(PYTEST) -rs $(NBVAL) tests notebooks

notebooks: $(READY)  ## the notebooks on this processor, and the algorithms
	@$(PYTEST) -rs $(NBVAL) notebooks tests/test_core.py tests/test_claims.py

# By environment variables, which have an effect where the processor can do more.
SSE4 := MKL_ENABLE_INSTRUCTIONS=SSE4_2 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=nehalem
AVX2 := MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell
ANY := MKL_CBWR=COMPATIBLE ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=generic
processors: $(READY)  ## the notebooks under three instruction sets
	@for set in "$(SSE4)" "$(AVX2)" "$(ANY)"; do echo "$$set"; \
		env $$set $(PYTEST) --tb=no -r "" $(NBVAL) notebooks || status=1; done; exit $${status:-0}

FUZZ := 20
fuzz: $(READY)  ## the properties on FUZZ times as many random examples: make fuzz FUZZ=500
	@mkdir -p $(BUILD)
	FUZZ=$(FUZZ) $(PYTEST) -m hypothesis --timeout=0 --hypothesis-show-statistics tests >$(BUILD)/fuzz.txt; \
		status=$$?; grep -E "^tests/.*:$$|[0-9] passing|failed|passed" $(BUILD)/fuzz.txt; exit $$status

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/oxlint --deny-warnings live report

lab: $(READY)  ## explore
	cd notebooks && ../$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) 1.1-gradient-factorisation.ipynb

assignment: $(READY)  ## the student edition, build/assignment; SEED=7 for another matrix and other inputs
	$(BIN)/python assignment/make_assignment.py --build $(BUILD) $(if $(SEED),--seed $(SEED))

mark: $(READY)  ## mark SUBMISSIONS=folder, one entry a student; the results are in MARKS=folder, or in a new one
	@$(if $(SUBMISSIONS),,echo "Name the folder of submissions: make mark SUBMISSIONS=folder"; exit 1)
	$(BIN)/python assignment/marking.py "$(SUBMISSIONS)" --build $(BUILD) $(if $(MARKS),--marks "$(MARKS)")

data: $(READY)  ## download the course's ratings, or a set of MovieLens: make data SET=ml-25m
	$(BIN)/python -m mf_data $(SET)

# Two peers that only the bench needs; one that does not install here is named as missing.
bench: $(READY)  ## speed as ratios, beside other programs: report/bench.md
	-$(PIP) libmf==0.9.2
	-$(PIP) scikit-surprise==1.1.5
	$(BIN)/python tools/bench.py

refresh: $(READY)  ## execute the notebooks in place, and write anew what is made
	$(BIN)/python tools/refresh.py lock
	@$(MAKE) --no-print-directory $(READY)  # which installs a new lock
	$(BIN)/ruff check --fix -q notebooks; $(BIN)/ruff format -q notebooks
	OMP_NUM_THREADS=1 $(BIN)/python tools/refresh.py

clean:
	rm -rf build .venv* .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch first, from PyTorch's index of CPU builds: elsewhere its Linux wheels bring several GB of CUDA. uv keeps it, and installs
# the rest in a third of pip's time. It does not read pip's configuration, so where that is needed pip takes over. The packages
# of before are replaced when the new ones are complete; without a network they go on.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.14 is needed, and $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % sys.version_info[:2] if not (3, 11) <= sys.version_info < (3, 15) else 0)'
	@echo "Installing the packages of requirements.txt, about 2 GB: half a minute to four minutes."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps --retries 1 --index-url $(CPU_INDEX) $$(grep ^torch== requirements.txt) 2>$(VENV)/cpu-index.log || \
		echo "$(CPU_INDEX) cannot be reached: torch comes from the default index"
	@test -w "$$HOME" || export UV_CACHE_DIR="$$(pwd)/$(BUILD)/uv"; \
	{ $(PIP) $$(grep ^uv== requirements.txt) && $(VENV)/bin/uv pip install --quiet -p $(VENV) -r requirements.txt; } || \
		{ echo "uv cannot install: pip does, which takes longer"; $(PIP) -r requirements.txt; } || \
		{ rm -rf $(VENV); test -x $(BIN)/python && echo "The new packages cannot be had, so the old ones are used."; exit; }; \
	$(VENV)/bin/python -c "import matplotlib.font_manager"; \
	touch $@; rm -rf .venv; ln -s $(VENV) .venv; \
	for old in .venv-*; do test "$$old" = "$(VENV)" || rm -rf "$$old"; done
