# make asset PROMPT="a red mushroom with white dots"   a textured 3D asset in outputs/
# make test                                            style, types and tests; MARK= includes the slow tests
# make test-gpu                                        all CUDA tests on this machine's GPU, plain and under compute-sanitizer
# make bench                                           measures this machine; fails if an asset misses its limits
# make clean                                           removes .venv and build products, but not outputs/

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= asset
ARGS ?=
MARK ?= not slow
TORCH := torch==2.13.0
PROMPT ?= a red mushroom with white dots

# The prompt is data: make must not expand it, and the shell sees it only inside a quoted variable.
override PROMPT := $(value PROMPT)
export PROMPT

bin := $(VENV)/bin
pip := $(bin)/python -m pip --disable-pip-version-check
sources := requirements.txt pyproject.toml $(wildcard setup.py)

.PHONY: asset test test-gpu bench clean

asset: $(VENV)/.installed
	@$(bin)/sds3d generate --config $(CONFIG) $(ARGS) -- "$$PROMPT"

test: $(VENV)/.installed-dev
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/python -m pytest -m "$(MARK)"

test-gpu: $(VENV)/.installed-dev
	$(bin)/python tests/tools/gpu_suite.py --write docs/benchmarks.md

bench: $(VENV)/.installed
	$(bin)/python -m benchmarks.rasterizer
	$(bin)/python -m benchmarks.asset

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: sds3d needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; name another one with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(sources) | $(VENV)/bin/python
	$(pip) install -q $(TORCH)
	$(pip) install -q -r requirements.txt
	$(pip) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(pip) install -q -r requirements-dev.txt
	@touch $@
