# `make bench` and `make test` set up everything they need in $(VENV).
PYTHON ?= python3
VENV ?= .venv
# One build for everybody who runs the suite; TORCH=torch takes the newest.
TORCH ?= torch==2.13.0
# Extra arguments, such as BENCH_ARGS="-k rms_norm --dsbench-budget=50ms".
BENCH_ARGS ?=
TEST_ARGS ?=

.PHONY: bench test check speed clean

bench: $(VENV)/installed
	$(VENV)/bin/python -m pytest benches/ --benchmark-quiet $(BENCH_ARGS)

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest tests/ $(TEST_ARGS)

check: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# What the harness itself costs: collection, imports, time per case.
speed: $(VENV)/installed
	$(VENV)/bin/python benches/harness_speed.py
	$(VENV)/bin/python benches/search_speed.py

clean:
	rm -rf $(VENV) build dist

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("pytest-dsbench needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" --editable ".[torch,report,dev]"
	touch $@
