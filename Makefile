# The two commands: `make demo` runs a whole emulated ward; `make test` passes the whole suite. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# an editable install that is up to date is told by these
PROJECT := pyproject.toml
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# the system's certificates: hospitals have proxies with an authority of their own
export UV_SYSTEM_CERTS := 1
unexport VIRTUAL_ENV

.PHONY: demo test soak lint types unit hil browser packages lock clean help

help:
	@echo "make demo    a whole ward on this machine: tags, gateway, cloud, page (no root needed)"
	@echo "make test    set up and pass every check and test"
	@echo "make soak    the long tests that CI leaves out"
	@echo "make lock    make requirements/*.txt anew from pyproject.toml"
	@echo "make clean   remove what the targets made"

demo: $(VENV)/.demo
	@$(BIN)/wardtwin demo $(DEMO_FLAGS)

test: packages $(VENV)/.test
	@$(MAKE) --no-print-directory lint types unit hil browser

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.test
	$(BIN)/mypy
	$(BIN)/pyright -p firmware --typeshedpath "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

unit: $(VENV)/.test
	$(BIN)/python -m pytest firmware edge cloud_agent models tools -m "not soak and not browser"

hil: $(VENV)/.test
	$(BIN)/python -m pytest hil_tests -m "not soak"

browser: $(VENV)/.test
	$(BIN)/python -m pytest cloud_agent edge -m browser

soak: packages $(VENV)/.test
	$(BIN)/python -m pytest firmware edge cloud_agent models tools hil_tests -m soak --timeout=3600

packages:
	@tools/debian-packages.sh

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wardtwin needs Python 3.11 or newer; $(PYTHON) is older. Install it and run: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python has no venv module here. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv==$(UV_VERSION)

$(VENV)/.demo: requirements/demo.txt $(PROJECT) | $(BIN)/uv
	@test -e $(VENV)/.test || $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/demo.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.test: requirements/test.txt $(PROJECT) | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/test.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@ $(VENV)/.demo

lock: | $(BIN)/uv
	for extra in demo test; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --extra $$extra -c requirements/demo.txt -o requirements/$$extra.txt; done

clean:
	rm -rf $(VENV) var build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
