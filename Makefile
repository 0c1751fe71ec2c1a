# Tools are taken from BIN where it is given, else from .venv/bin where there is one, else from PATH.
BIN ?= $(wildcard .venv/bin)
export PATH := $(if $(BIN),$(abspath $(BIN)):)$(PATH)

.PHONY: help check test slow nightly docs bench results reliability

help:
	@echo "make check   lint, format, types, import contracts, generated documents"
	@echo "make test    the tests that a change must pass"
	@echo "make slow    the tests that take minutes"
	@echo "make nightly those that need a browser, a quiet machine, or minutes of Inception or training"
	@echo "make docs    docs/cli.md, docs/checks.md and the README's result table, made anew"
	@echo "make results the zoo's own numbers, hours of training; goes on where it was left"
	@echo "make reliability  every promise of docs/reliability.md with its full count, half an hour"
	@echo "make bench   the speed of a train step, of every installed recipe"

check:
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python tools/cli_docs.py --check
	python tools/checks_docs.py --check
	python tools/api_snapshot.py --check
	python tools/results_table.py --check
	python tools/speed_table.py --check
	python tools/reliability.py --check

test:
	pytest

slow:
	pytest -m slow

nightly:
	pytest -m nightly

docs:
	python tools/cli_docs.py
	python tools/checks_docs.py
	python tools/api_snapshot.py
	python tools/results_table.py
	python tools/speed_table.py
	python tools/reliability.py --table

bench:
	mkdir -p .benchmarks
	pytest benchmarks -c benchmarks/pytest.ini --benchmark-json=.benchmarks/train_step.json

results:
	python tools/zoo_results.py

reliability:
	python tools/reliability.py
