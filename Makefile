# make setup   a .venv here with the known-good versions of constraints.txt
# make test    set up, then lint, types, import contracts and the test suite
# make demo    set up, then the main job offline on an embedded default: a table and an HTML report
# make check   lint, types and import contracts alone

PYTHON ?= python3
BIN := .venv/bin

# Where bytecode may not be kept, each process compiles torch and pandas again: about five seconds each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup test demo check clean

setup: .venv/.ready

# uv installs the same wheels as pip in a fifth of the time; pip remains the way if uv cannot be had.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
	  { echo "sam-iqa-harness needs Python >= 3.12; $(PYTHON) is $$($(PYTHON) --version 2>&1). Type: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]' || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: check
	$(BIN)/python -m pytest -q -n 2 --durations=10

demo: setup
	$(BIN)/harness demo

clean:
	rm -rf .venv build dist *.egg-info
