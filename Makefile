# What one types here. `make help` lists it; every target makes its environment first: .venv from requirements/lock.txt,
# or with STACK=name .venv-name, from requirements/name.txt laid over the lock.

PYTHON ?= python3
STACK :=
VENV := .venv$(addprefix -,$(STACK))
PINS := $(patsubst %,requirements/%.txt,$(STACK)) requirements/lock.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTEST_ARGS ?=
JOBS ?= 2
BENCH ?= $(filter-out common,$(basename $(notdir $(wildcard benchmarks/[a-z]*.py studies/[a-z]*.py))))
BENCH_ARGS ?= --quick
GPU_ARGS ?=
MODULES ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types imports wheel docs pytest test-nightly test-oldest mutants bench gpu-check clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## make .venv with the pinned packages and this one (PYTHON= picks a Python, STACK= other pins)

# Pins are installed whole and the package without its dependencies, so that nothing but the pins is ever fetched. The
# first file that names a package decides; a name without a version is left out. The stamp comes last: an install that
# was cut off starts over.
$(STAMP): pyproject.toml $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is not Python 3.11 or later; give one with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "make: '$(PYTHON) -m venv' failed (on Debian: apt-get install python3-venv)" >&2; exit 1; }
	@awk -F== '!/^#/ && !seen[tolower($$1)]++ && $$2' $(PINS) > $(VENV)/pins.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/pins.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@touch $@

demo: install ## run the whole pipeline on a synthetic city; ends with the skill table and runs/demo/report.html
	$(BIN)/hews demo --force --out runs/demo

# In this order so that what fails fast comes first and pytest's own summary is the last line.
test: lint types imports wheel docs pytest ## lint, types, import rules, the wheel, the documentation and the tests

lint: install ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy

imports: install ## the import direction between packages
	$(BIN)/lint-imports --no-logo

wheel: install ## build sdist and wheel, and look at the wheel from outside
	$(BIN)/python tests/tooling/check_wheel.py

docs: install ## build the documentation site into docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

# Files keep the order that tests/conftest.py gives them: the longest first, so that none is begun when all else is done.
RUN_TESTS := -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder

pytest: install ## the tests but for the nightly ones, a file at a time in JOBS processes; PYTEST_ARGS="-k word" picks some
	$(BIN)/python $(RUN_TESTS) -m "not nightly" $(PYTEST_ARGS)

test-nightly: install ## the tests that take long and are of what rarely changes
	$(BIN)/python $(RUN_TESTS) -m nightly $(PYTEST_ARGS)

# What says the same whatever versions of dask, numba, numpy, pandas and pyarrow are installed is left out: rules about
# files, SLURM, pages in a browser, processes that torch starts and tests kill, machine code on the interpreter (that all
# kernels compile is looked at), leaks that are planted. So is what is not in the package: benchmarks, studies, the pages.
OLDEST_NOT := tooling/test_rules_are_live.py slurm test_docs.py benchmarks studies kernels/test_ptx.py \
	training/test_distributed.py training/test_kills.py audit/test_planted.py

test-oldest: ## the tests of the package with the oldest supported versions, in .venv-oldest
	@$(MAKE) --no-print-directory pytest STACK=oldest \
		PYTEST_ARGS='$(OLDEST_NOT:%=--ignore=tests/%) -m "not (nightly or browser)" $(PYTEST_ARGS)'

mutants: install ## change one thing at a time where results are decided, and count what the tests see; MODULES="alarms ..."
	$(BIN)/python -m tests.tooling.mutants $(MODULES) --jobs $(JOBS)

bench: install ## run every benchmark; BENCH=raster picks one, BENCH_ARGS= runs it in full
	@set -e; for name in $(BENCH); do echo "$(BIN)/hews bench $$name $(BENCH_ARGS)"; $(BIN)/hews bench $$name $(BENCH_ARGS); done

gpu-check: ## what needs a GPU, in stages, into one JSON file; GPU_ARGS="--budget 240 --resume"; PYTHON= where no .venv is
	PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu.check $(GPU_ARGS)

clean: ## remove what was built; environments and runs stay
	rm -rf build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*/*' -prune -exec rm -rf {} +
