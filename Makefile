# `make help` lists the targets. Needs Python 3.11 or newer, make and git; everything else is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help install demo test test-quick soak bench lint format secrets lock schema screens clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/runtime.stamp: requirements/runtime.txt requirements/embedded.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies into $(VENV) …"
	@.ci/retry $(PIP) install --quiet --require-hashes -r requirements/embedded.txt
	@.ci/retry $(PIP) install --quiet --require-hashes -r requirements/build.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/runtime.stamp requirements/test.txt
	@echo "installing what the tests need into $(VENV) …"
	@.ci/retry $(PIP) install --quiet --require-hashes -r requirements/test.txt
	@touch $@

install: $(VENV)/runtime.stamp ## the command gateway in .venv/bin
	@echo "installed: $(BIN)/gateway"

demo: $(VENV)/runtime.stamp ## Redis, a legacy backend and the gateway on http://127.0.0.1:8080 (ARGS="--port 9000")
	@exec $(BIN)/gateway demo $(ARGS)

test: lint ## everything: lint, then all tests (ARGS="-k name")
	$(BIN)/python -m pytest $(ARGS)

test-quick: $(VENV)/test.stamp ## the everyday part: no browser, no long tests
	$(BIN)/python -m pytest -m "not slow and not browser" $(ARGS)

soak: $(VENV)/test.stamp ## ten minutes between clients that vanish and backends that lie (ARGS="--seconds 60")
	$(BIN)/python -m tests.soak --seconds 600 $(ARGS)

bench: $(VENV)/runtime.stamp ## the gateway beside nginx, Traefik, Envoy and others (ARGS="--quick"; bench/setup installs them)
	$(BIN)/python -m bench.compare $(ARGS)

lint: $(VENV)/test.stamp ## ruff format check, ruff, mypy strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/test.stamp ## let ruff put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

secrets: $(VENV)/runtime.stamp ## the Redis password and the master key in ./secrets, if they are not there yet
	@$(BIN)/gateway secrets --dir secrets

schema: $(VENV)/runtime.stamp ## config/gateway.schema.json from the settings
	@$(BIN)/gateway schema --output config/gateway.schema.json

screens: $(VENV)/test.stamp ## docs/screens from the running pages (needs Chromium)
	$(BIN)/python -m tests.browser.screens docs/screens

lock: ## requirements/*.txt anew from pyproject.toml
	@test -x $(VENV)-lock/bin/uv || { $(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet uv==0.13.8; }
	@.ci/lock $(VENV)-lock/bin/uv

clean: ## remove .venv and what the tools left
	rm -rf $(VENV) $(VENV)-lock $(VENV)-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
