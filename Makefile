# The two commands: `make demo` shows the suite, `make test` proves it. Each does all set-up by itself.
# README.md tells more; scripts/setup.bash tells what set-up does.

SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo demonstrations test nightly check bench clean

EPISODES ?= 3

ENV := set +u; source scripts/env.bash; set -u;

help: ## tell what the targets do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: ## make this machine able to build, test and run the suite
	@scripts/setup.bash

# Whatever the sentence holds, neither make nor the shell reads it: it travels in the environment.
unexport INSTRUCTION
demo: export VLA_DEMO_INSTRUCTION := $(value INSTRUCTION)
demo: setup ## a trained policy does what it is told, on a simulated table (INSTRUCTION="...", VIEW=1 opens a window)
	@$(ENV) python -m demo --instruction="$$VLA_DEMO_INSTRUCTION" $(if $(VIEW),--view) $(DEMO_ARGS)

demonstrations: setup ## the experts' bags in episodes/, and a dataset of them (EPISODES=3 of each task)
	@$(ENV) python -m vla_sim.demonstration_bags --out episodes --episodes $(EPISODES) --workers "$$(nproc)"
	# Exit status 2: all was done, and there is something to look at.
	python -m vla_training.bag_to_dataset episodes --robot episodes/robot.yaml --out datasets/demonstrations \
	    --translation-m 0.04 --rotation-rad 0.1 --validation-every 10 --workers "$$(nproc)" || [ $$? -eq 2 ]
	python -m vla_training.inspect_dataset datasets/demonstrations || [ $$? -eq 2 ]

test: setup ## all tests: colcon test for each package, then tests/
	@scripts/test.bash

nightly: setup ## what takes too long for every day: two million random sequences, thirty minutes of random faults
	@$(ENV) VLA_RANDOM_SEQUENCES=2000000 python -m pytest -q src/vla_core/test/test_random_sequences.py
	VLA_ENDURANCE_S=1800 python -m pytest -q -s src/vla_policy_node/test/test_endurance.py

check: setup ## lint, format, types, Dockerfiles and the direction of imports
	@$(ENV) ruff check .
	ruff format --check .
	MYPYPATH=src/vla_core:src/vla_training mypy -p vla_core -p vla_training
	if command -v hadolint >/dev/null; then hadolint docker/*.Dockerfile; fi
	python -m pytest -q tests/test_import_boundaries.py

bench: setup ## measure; benchmarks/RESULTS.md keeps what was measured
	@$(ENV) for benchmark in benchmarks/*.py; do echo; echo "== $$benchmark"; python "$$benchmark"; done

clean: ## remove everything that was built or installed here
	rm -rf .venv build install log demo_out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
