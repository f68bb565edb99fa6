# make run    install, then audit one submission (about a minute on two CPU cores)
# make test   install, then lint, types and tests
# make lint   install, then lint and types
# make clean  remove what these made

PYTHON ?= python3
SUBMISSION ?= submissions/causal_slot
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install run test lint clean
.DELETE_ON_ERROR:

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "error: Python 3.11 or newer is needed; name one with: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11" >&2; exit 2; }
	@echo "installing into $(VENV) (torch alone takes some minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

run: $(STAMP)
	$(BIN)/harness run $(SUBMISSION)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 -q

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find harness tests submissions benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
