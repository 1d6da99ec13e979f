# The course's commands on Linux and macOS; `make` alone lists them. Each does what course.py does, which runs anywhere:
# `make lab` is `python3 course.py lab`.

PYTHON = python3
VENV = .venv
# Which PyTorch the set-up installs: cpu, cuda, or auto, which is cuda on Linux with an NVIDIA GPU.
TORCH = auto
# Further options for the program that a command runs, as in: make lab ARGS=--no-browser
ARGS =

COMMANDS = setup lab test test-all notebooks pictures weights site slides bench lines
.PHONY: help clean $(COMMANDS)

help:  # list these commands
	@$(PYTHON) course.py --help

$(COMMANDS):
	@command -v "$(PYTHON)" >/dev/null || { echo "error: there is no $(PYTHON). Install Python 3.11 or newer," \
	    "or name yours: make PYTHON=python3.13 $@" >&2; exit 1; }
	@"$(PYTHON)" course.py $@ --venv "$(VENV)" --torch "$(TORCH)" $(ARGS)

clean:  # remove the environment and what tools leave behind
	@if test -e "$(VENV)/pyvenv.cfg" || test -e "$(VENV)/.course-unfinished"; then rm -rf "$(VENV)"; fi
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find mnistlib notebooks tests tools benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
