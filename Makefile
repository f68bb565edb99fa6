# make run      install, then audit one submission (about a minute on two CPU cores)
# make check    install, then lint and the tests that train nothing and open no box (about two minutes)
# make test     install, then lint and the tests; they look at reports in Chromium
# make more     install, then further seeds and kinds of what the tests show (about twenty minutes)
# make lint     install, then lint, types and the contracts on imports
# make reports  run every submission, keep its record and report in reports/, and build the leaderboard
# make chromium install Debian's Chromium where there is none
# make clean    remove what these made

PYTHON ?= python3
SUBMISSION ?= submissions/causal_slot
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Rooms whose tests need no more than seconds each; what trains or opens a box among them is marked.
QUICK := tests/audit tests/cli tests/corpus tests/gate tests/papers tests/referee tests/report tests/source \
	tests/test_containers.py tests/test_contributing.py tests/test_documents.py tests/test_files.py \
	tests/test_folder.py tests/test_imports.py tests/test_paths.py tests/test_progress.py tests/test_record.py \
	tests/test_rules.py tests/test_scaffold.py tests/test_text.py tests/test_verdict.py

.PHONY: install run check test more lint reports chromium clean
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
	$(BIN)/lint-imports --no-logo

reports: $(STAMP)
	$(BIN)/python reports/make.py

chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing chromium, which the tests of reports look at them with"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo "error: the tests of reports need Chromium; install it, for instance with: sudo apt-get install chromium" >&2; exit 2; \
	fi

check: lint
	$(BIN)/python -m pytest -n 2 -q -m "not slow and not box" $(QUICK) --ignore tests/report/test_browser.py

test: lint chromium
	$(BIN)/python -m pytest -n 2 -q -m "not more" --durations 40 --durations-min 5

more: $(STAMP)
	$(BIN)/python -m pytest -n 2 -q -m more

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find harness tests submissions benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
