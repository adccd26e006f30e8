# Every target does its own set-up; `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup test check format reproduce report bench status dashboard workspace sync clean

RUNS ?= runs

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  options: STUDY=perplexity|table1|price_of_stability|truncation_sweep|weight_distance|all  PROFILE=smoke|quick|cpu|paper  DATASET=embedded|wikitext2|ptb"
	@echo "  diagnostics alone: STUDY=gradient_horizon|contraction|truncation|ngram|linear_systems"
	@echo "  options of all runs: OVERRIDES=\"tracking=none threads=1\""
	@echo "  watching: RUNS=folder (status, dashboard, sync)  SWEEP=\"experiment=...\" (status)  SERVE=1 (report)"

setup: $(READY)  ## virtual environment with the pinned packages

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

test: $(READY)  ## the tests, a core each (under 5 minutes; the long ones: .venv/bin/pytest -m slow)
	@$(BIN)/python -m pytest --numprocesses=auto

check: $(READY)  ## ruff, its formatter, pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: $(READY)  ## let ruff mend what it can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

reproduce: $(READY)  ## the plan, the runs, the tables, the page with the verdicts
	@$(BIN)/python scripts/reproduce.py $(if $(STUDY),study=$(STUDY)) $(if $(PROFILE),profile=$(PROFILE)) $(if $(DATASET),dataset=$(DATASET)) $(if $(OVERRIDES),'overrides=$(OVERRIDES)')

report: $(READY)  ## tables, figures and results/report/index.html from the committed run records; SERVE=1 serves it
	@$(BIN)/python scripts/report.py $(if $(SERVE),serve=true)

bench: $(READY)  ## step time against the plain PyTorch loop
	@$(BIN)/python scripts/bench.py

status: $(READY)  ## the runs of a sweep, live: done, running, stopped, to do, and when all will be done
	@$(BIN)/python scripts/status.py runs=$(RUNS) $(if $(SWEEP),'sweep=$(SWEEP)')

dashboard: $(READY)  ## browse the offline Weights & Biases runs in the terminal
	@test -d $(RUNS)/wandb || { echo "No tracked runs in $(RUNS)/wandb yet: make reproduce, or python scripts/train.py (or RUNS=folder)"; exit 1; }
	@$(BIN)/wandb leet $(RUNS)/wandb

workspace: $(READY)  ## the W&B project's workspace and report as JSON (PUSH=1: save them with W&B)
	@$(BIN)/python scripts/wandb_workspace.py $(if $(PUSH),push=true)

sync: $(READY)  ## send the offline Weights & Biases runs to the server
	@$(BIN)/python scripts/wandb_sync.py runs=$(RUNS)

clean:  ## remove the environment and caches (runs and results stay)
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
