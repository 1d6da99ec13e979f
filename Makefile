# The course's commands on Linux and macOS (GNU make 3.81 or newer); `make` alone lists them.
# On Windows the README's pip commands do the same. What needs an environment first makes VENV.

PYTHON = python3
VENV = .venv
# Further options for lab, test, notebooks, site and bench, as in: make lab ARGS=--no-browser
ARGS =

# Paths are relative, and modules are run with `python -m`: so the folder's name may hold spaces.
RUN = $(VENV)/bin/python
READY = $(VENV)/.course-ready
UNFINISHED = $(VENV)/.course-unfinished
USABLE = import sys, pip; sys.exit(sys.version_info < (3, 11))

export PIP_DISABLE_PIP_VERSION_CHECK = 1

ifeq ($(OS),Windows_NT)
$(error This Makefile is for Linux and macOS. On Windows use the pip commands in README.md)
endif
ifneq ($(words $(VENV)),1)
$(error VENV must be one folder name without spaces, not "$(VENV)")
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup lab test notebooks pictures weights site bench clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

lab: setup  ## set up, then open JupyterLab on the course
	$(RUN) -m jupyterlab $(ARGS) notebooks

test: setup  ## set up, then run the unit tests and every notebook, and compare all outputs
	$(RUN) -m ruff check
	$(RUN) -m pytest --nbval $(ARGS)

notebooks: setup  ## execute the notebooks without a browser and store their outputs
	$(RUN) tools/notebooks.py execute $(ARGS)

pictures: setup  ## draw every picture of the course again
	$(RUN) -m mnistlib pictures

weights: setup  ## train the LeNet-5 that comes with the course again
	$(RUN) -m mnistlib train --network lenet5 --epochs 10 --seed 0 --device cpu --save mnistlib/weights/lenet5.pt

site: setup  ## build the website in build/site from the stored notebooks, and check its pages
	$(RUN) -m pip install --quiet -r site/requirements.txt
	$(RUN) tools/website.py $(ARGS)

bench: setup  ## measure how fast the course is, against other ways and against the machine; ten minutes
	$(RUN) benchmarks/bench.py $(ARGS)

clean:  ## remove the environment and what tools leave behind
	@if test -e $(VENV)/pyvenv.cfg || test -e $(UNFINISHED); then rm -rf $(VENV); fi
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find mnistlib notebooks tests tools benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

setup: $(READY)

# The stamp holds this folder's path. When the folder has moved, or the environment's Python has
# gone, the stamp counts for nothing: the editable installation would point to the old place.
ifneq ($(shell test -x $(RUN) && test "$$(cat $(READY) 2>&1)" = "$$(pwd -P)" && echo good),good)
.PHONY: $(READY)
endif

# UNFINISHED stands in an environment while make is at work on it. Found there at the start, it means
# that a set-up was interrupted, and pip may have left half a package: then begin anew. An environment
# that somebody made by other means is used as it is and never removed here.
$(READY): requirements.txt pyproject.toml
	@if test -e $(UNFINISHED) || { test -e $(READY) && ! $(RUN) -c "$(USABLE)" 2>/dev/null; }; then \
	    echo "The last set-up was interrupted, or its Python has gone: beginning anew."; rm -rf $(VENV); fi
	@if ! test -e $(VENV); then \
	    command -v "$(PYTHON)" >/dev/null || { echo "error: there is no $(PYTHON)." \
	        "Install Python 3.11 or newer, or name yours: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }; \
	    "$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "error: $(PYTHON) is" \
	        "$$("$(PYTHON)" --version 2>&1); the course needs 3.11 or newer. If you have one, name it:" \
	        "make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }; \
	    "$(PYTHON)" -c "import venv, ensurepip" 2>/dev/null || { echo "error: $(PYTHON) has no venv." \
	        "On Debian and Ubuntu install it: sudo apt install python3-venv" >&2; exit 1; }; \
	    mkdir -p $(VENV) && touch $(UNFINISHED) && "$(PYTHON)" -m venv $(VENV); fi
	@$(RUN) -c "$(USABLE)" 2>/dev/null || { echo "error: $(VENV) is no environment with pip and Python 3.11" \
	    "or newer. Move it away, or choose another: make VENV=.venv2 $(MAKECMDGOALS)" >&2; exit 1; }
	@if test -e $(READY); then mv $(READY) $(UNFINISHED); fi
	$(RUN) -m pip install -r requirements.txt
	$(RUN) -m pip install --no-deps -e .
	@pwd -P > $(READY) && rm -f $(UNFINISHED)
