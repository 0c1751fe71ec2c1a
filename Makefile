# Tools are taken from BIN if it is given, else from .venv/bin if it exists, else from PATH.
BIN ?= $(wildcard .venv/bin)
export PATH := $(if $(BIN),$(abspath $(BIN)):)$(PATH)

.PHONY: help check test slow nightly docs bench results reliability

help:
	@echo "make check        lint, formatting, types, import contracts, generated documents, retired words"
	@echo "make test         the fast tests, on two cores"
	@echo "make slow         the tests that take minutes, on two cores"
	@echo "make nightly      tests that need a browser, a quiet machine, or minutes of Inception or training, one at a time"
	@echo "make docs         regenerate docs/cli.md, docs/checks.md, docs/game.md, the API snapshot and the tables"
	@echo "make bench        benchmark the training step of every installed recipe"
	@echo "make results      measure the zoo's own results: hours of training; resumes if interrupted"
	@echo "make reliability  run every test of docs/reliability.md with its full count, half an hour"

check:
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python tools/cli_docs.py --check
	python tools/checks_docs.py --check
	python tools/game_docs.py --check
	python tools/api_snapshot.py --check
	python tools/results_table.py --check
	python tools/speed_table.py --check
	python tools/pix2pix_table.py --check
	python tools/reliability.py --check
	python tools/words.py

test:
	pytest

slow:
	pytest -m slow

# Times and counts are measured without a second worker (-n 0).
nightly:
	pytest -n 0 -m nightly

docs:
	python tools/cli_docs.py
	python tools/checks_docs.py
	python tools/game_docs.py
	python tools/api_snapshot.py
	python tools/results_table.py
	python tools/speed_table.py
	python tools/pix2pix_table.py
	python tools/reliability.py --table

bench:
	mkdir -p .benchmarks
	pytest benchmarks -c benchmarks/pytest.ini --benchmark-json=.benchmarks/train_step.json

results:
	python tools/zoo_results.py

reliability:
	PYTEST_ADDOPTS="-n 0" python tools/reliability.py
