# `make help` lists the targets. All of them can be repeated: what is up to date is left alone.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo docs test containers installed man lint format bench clean

# Size of the recording that `make demo` makes, in MB.
SIZE ?= 350
# For `make installed`; without it those on PATH, and pyenv's.
export PYTHONS
# More arguments for pytest, for example ARGS="-k launch -x".
ARGS ?=

# Ranks are the unit of parallelism: a thread pool in each of them would only make them wait for each other.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

ENVIRONMENTS := tests/environments

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo:  ## Install from wheels, make a recording, convert and verify it in parallel (SIZE=350)
	@$(ENVIRONMENTS)/wheels.sh demo
	@.venv/bin/parnwb demo --megabytes $(SIZE)

docs:  ## Build the pages in docs/_build; tutorials run on MPI ranks, warnings and links to nothing are errors
	@$(ENVIRONMENTS)/wheels.sh docs
	@.venv/bin/python docs/build.py

test:  ## Run all tests with the PyPI wheels, and with h5py on parallel HDF5 (ARGS="-k name")
	@$(ENVIRONMENTS)/debian.sh
	@$(ENVIRONMENTS)/wheels.sh test
	@$(ENVIRONMENTS)/node.sh
	@$(ENVIRONMENTS)/browser.sh
	@$(ENVIRONMENTS)/cluster.sh
	@$(ENVIRONMENTS)/run_tests.sh $(ARGS)

containers:  ## Build the images of docker/ with podman and run them (minutes; needs root)
	@$(ENVIRONMENTS)/debian.sh
	@$(ENVIRONMENTS)/wheels.sh test
	@$(ENVIRONMENTS)/mpio.sh
	@$(ENVIRONMENTS)/cluster.sh
	@$(ENVIRONMENTS)/containers.sh $(ARGS)

installed:  ## Install the sdist with pip for each Python that is here, and run the demo there (minutes; PYTHONS="python3.12")
	@$(ENVIRONMENTS)/wheels.sh test
	@PARNWB_INSTALLED=1 .venv/bin/python -m pytest tests/installed $(ARGS)

man:  ## Write the manual pages, into build/man
	@$(ENVIRONMENTS)/wheels.sh test
	@.venv/bin/python packaging/man.py build/man

lint:  ## Check style, types and the layers
	@$(ENVIRONMENTS)/wheels.sh test
	@status=0; \
	.venv/bin/ruff check . || status=1; \
	.venv/bin/mypy || status=1; \
	.venv/bin/lint-imports --no-logo || status=1; \
	exit $$status

format:  ## Sort imports and mend what ruff can mend
	@$(ENVIRONMENTS)/wheels.sh test
	@.venv/bin/ruff check --fix .

bench:  ## Print the goals with what is reached and missed, beside all peers: an hour (ARGS="--megabytes 200")
	@$(ENVIRONMENTS)/wheels.sh test
	@.venv/bin/python benchmarks/run.py goals --megabytes 2000 $(ARGS)

clean:  ## Remove environments and build products (not the cached h5py wheel)
	rm -rf .venv .venv-mpio build dist docs/_build docs/gallery docs/reference/generated *.egg-info
	rm -rf tests/interop/node_modules tests/report/node_modules
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
