# Needs Python 3.11 or newer and make; everything else is installed into .venv by the verbs below.
# Another interpreter: make test PYTHON=python3.12. More for pytest: make test ARGS="tests/unit -k rows".

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && exit; done; echo python3)
VENV ?= .venv
WORKERS ?= 2
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Azure's Blob Storage for the tests; without npm they skip what needs it.
AZURITE_VERSION := 3.37.0
AZURITE_FOLDER := build/azurite/$(AZURITE_VERSION)
AZURITE := $(AZURITE_FOLDER)/node_modules/.bin/azurite-blob
# Where it is not there yet, and npm has no network, tests do not wait for that.
FETCH_AZURITE = test -x $(AZURITE) || ! command -v npm >/dev/null || \
	$(MAKE) --no-print-directory azurite NPM_ARGS="--fetch-retries=0 --fetch-timeout=20000" || true
# What an installed environment depends on: a change of either installs again.
PINS := setup.cfg pyproject.toml

export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench docs azurite clean

help: ## list these verbs
	@echo "make VERB, where VERB is"
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r verb text; do \
		printf '  %-10s %s\n' "$$verb" "$$text"; done

demo: $(VENV)/.demo ## a year of real flights: apply, materialize, train, read online features
	@$(BIN)/python -m feature_repo_example.demo $(ARGS)

test: $(VENV)/.dev ## every test but the slow ones
	@$(FETCH_AZURITE)
	@echo "== pytest, without the slow tests"
	@$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

# 5 is pytest's "nothing was collected": no failure while a checkout has no slow test.
test-slow: $(VENV)/.dev ## the slow tests alone
	@$(FETCH_AZURITE)
	@echo "== pytest, the slow tests"
	@$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile --timeout 1800 $(ARGS) || { code=$$?; test $$code -eq 5; }

check: $(VENV)/.dev ## format, lint, types and the architecture test
	@echo "== ruff format"
	@$(BIN)/ruff format --check .
	@echo "== ruff check"
	@$(BIN)/ruff check .
	@echo "== mypy"
	@$(BIN)/mypy
	@echo "== architecture"
	@$(BIN)/python -m pytest -q tests/unit/test_architecture.py

bench: $(VENV)/.dev ## side by side with Feast's own stores; prints a figure only for a right answer
	@$(BIN)/python benchmarks/offline.py $(ARGS)
	@$(BIN)/python benchmarks/materialize.py $(ARGS)
	@$(BIN)/python benchmarks/online.py $(ARGS)
	@$(BIN)/python benchmarks/features.py $(ARGS)
	@$(BIN)/python benchmarks/models.py $(ARGS)

docs: $(VENV)/.dev ## run what README and docs/ claim: commands, code, configurations, links
	@$(BIN)/python -m pytest -q tests/unit/test_docs.py $(ARGS)

azurite: $(AZURITE) ## fetch azurite for the tests (half a minute, once; needs Node and npm)

$(AZURITE):
	@echo "== fetching azurite $(AZURITE_VERSION)"
	@npm install $(NPM_ARGS) --prefix $(AZURITE_FOLDER) --no-save --no-audit --no-fund --loglevel=error azurite@$(AZURITE_VERSION)

clean: ## remove the environment, caches and builds (data of the example stays)
	test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: '$(PYTHON)' is missing or older than Python 3.11; name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "== creating $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv "$(VENV)" || \
		{ rm -rf "$(VENV)"; echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: $(PINS) | $(BIN)/python
	@echo "== installing yummy-feast[demo] into $(VENV) (a minute or two, once)"
	@$(PIP) install --editable '.[demo]'
	@touch $@

# dev holds all of demo, so its stamp counts for both.
$(VENV)/.dev: $(PINS) | $(BIN)/python
	@echo "== installing yummy-feast[dev] into $(VENV) (a minute or two, once)"
	@$(PIP) install --editable '.[dev]'
	@touch $(VENV)/.demo $@
