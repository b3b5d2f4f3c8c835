# heistwatch: `make demo` and `make test` work on a fresh machine with nothing prepared.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := monitor chains alerts
ANVIL := .tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil

.PHONY: demo test lint bench scorecard soak parts pins clean help

help:
	@echo "make demo   see real thefts of history caught live, on this machine alone"
	@echo "make test   install what the tests need and run them all"
	@echo "make lint   ruff and mypy --strict"
	@echo "make bench  speed and memory, as ratios in one run"
	@echo "make scorecard  false alarms and thefts caught, in figures, to docs/scorecard.md; about 15 minutes"
	@echo "make soak   slow campaigns"

$(STAMP): requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/heistwatch demo

# Real servers that the tests use. What cannot be had is a skip with its reason (a failure with CI=true).
parts: $(STAMP)
	-@sh tests/parts.sh

# Two at a time, a file each: half of the time is waiting for servers.
test: $(STAMP) parts
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)

bench: $(STAMP)
	$(BIN)/python -m tests.bench

scorecard: $(STAMP)
	$(BIN)/python -m tests.scorecard

soak: $(STAMP) parts
	HEISTWATCH_EXAMPLES=20 $(BIN)/python -m pytest -m "soak or not soak" --timeout 3600 tests/properties tests/chains
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.soak deliver
	$(BIN)/python -m tests.soak decode
	$(BIN)/python -m tests.soak backtest

# New pins: no download address is written, only versions and hashes.
pins: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --no-header -q -o requirements/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --extra test --extra dev --generate-hashes --no-emit-index-url --no-header -q -o requirements/dev.txt

clean:
	rm -rf $(VENV) .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
