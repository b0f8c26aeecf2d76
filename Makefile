# One door for everything: `make` lists the targets. Nothing but `setup` touches the network.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m jomed matrix
TEST := JOMED_PROGRESS=0 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
STAMP := $(VENV)/.installed

# Two single-threaded jobs beat one job with two threads (see README).
export HF_HUB_OFFLINE ?= 1
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test lint evidence ablation retina-small notebooks clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 18

setup: $(STAMP) ## make .venv with the locked versions (once, needs the network)

$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(VENV)/bin/uv pip install --compile-bytecode \
		--python $(VENV)/bin/python \
		-c constraints.txt -e '.[dev]'
	touch $@

reproduce: $(STAMP) ## every notebook, table and figure of the phantom profile
	$(RUN) --profile phantom

test: $(STAMP) ## the walkthrough, all tests, and the notebooks against their committed outputs
	@echo "The first test runs the walkthrough, which takes minutes; the others run beside it."
	$(TEST) tests
	$(TEST) --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg notebooks

lint: $(STAMP) ## format, style and types, without changing a file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

evidence: $(STAMP) ## the phantom profile at three seeds, for the claims in the README
	$(RUN) --profile phantom_evidence

ablation: $(STAMP) ## losses, recipes and settings of stage 2 on the phantom, at three seeds
	$(RUN) --profile phantom --matrix phantom_ablation

retina-small: $(STAMP) ## tiny models on the real RetinaMNIST (set JOMED_DATA)
	$(RUN) --profile retina_small

notebooks: $(STAMP) ## execute the committed notebooks in place
	$(RUN) --profile phantom --matrix walkthrough
	JOMED_PROGRESS=0 $(BIN)/python -m nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False notebooks/*.ipynb

clean: ## remove caches; runs/ and .venv stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .snakemake build jomed.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
