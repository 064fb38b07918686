PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES := tests/docs/test_code_blocks.py --long -k "python_blocks and (docs/trackers or docs/recipes)"
IN_PROCESSES := --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: demo test suite test-long test-integrations lint bench docs dist pictures clean

demo: $(VENV)/.installed
	$(BIN)/python -m reidhub demo

test: lint suite

suite: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(IN_PROCESSES)

test-long: $(VENV)/.installed-test $(VENV)/.installed-docs
	$(BIN)/python -m pytest --long $(IN_PROCESSES)
	$(MAKE) dist

test-integrations: $(VENV)-integrations/.installed
	$(VENV)-integrations/bin/python -m pytest tests/integrations
	$(VENV)-integrations/bin/python -m pytest $(PAGES)

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks

docs: $(VENV)/.installed-docs
	rm -rf build/site
	$(BIN)/python -m tools.build_docs build/site

dist: $(VENV)/.installed-dist
	$(BIN)/python -m tools.try_distributions

pictures: $(VENV)/.installed
	$(BIN)/python -m tools.make_pictures

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(VENV)-integrations build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "reidhub needs Python 3.11 or later; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-bench: setup.cfg setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: setup.cfg setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dist: setup.cfg setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dist]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-test: setup.cfg setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)-integrations/.installed: setup.cfg setup.py $(wildcard tests/integrations/requirements*.txt)
	$(PYTHON) -m venv $(VENV)-integrations
	$(VENV)-integrations/bin/python -m pip install --quiet --editable '.[test]' -r tests/integrations/requirements.txt
	$(VENV)-integrations/bin/python -m pip install --quiet --no-deps -r tests/integrations/requirements-alone.txt
	touch $@
