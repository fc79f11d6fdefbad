# Everything is installed into .venv, once: again only when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help app lab test soak lint docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

app: $(VENV)/.app  ## the app in a browser; on another port: make app PORT=7861
	$(if $(PORT),GRADIO_SERVER_PORT=$(PORT) )$(BIN)/python apps/app.py

lab: $(VENV)/.dev  ## the notebooks in JupyterLab
	$(BIN)/jupyter-lab notebooks

# Two processes of one thread each: torch's threads wait for one another by spinning, so two of two are slower.
test: $(VENV)/.dev  ## all tests; some of them: make test ARGS="-k slerp"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not weights and not gpu" $(ARGS)

soak: $(VENV)/.dev  ## faults and attacks, counted; longer: make soak ARGS="--minutes 30"
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py $(ARGS)

lint: $(VENV)/.dev  ## ruff's rules and format, and mypy's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## the documentation as a site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove caches and build leftovers; .venv stays
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.app: EXTRAS := app
$(VENV)/.dev: EXTRAS := app,mcp,notebooks,train,dev,docs
$(VENV)/.app $(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing latentlab[$(EXTRAS)] into $(VENV): some minutes and gigabytes the first time, mostly torch."
	$(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $(VENV)/.app $@ # either install serves the app

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "latentlab needs Python 3.11 or newer, which '$(PYTHON)' is not: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
