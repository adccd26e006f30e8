# Every target does its own set-up; `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup test check format reproduce report bench status dashboard workspace sync docs clean

RUNS ?= runs

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  reproduce: PROFILE=smoke|quick|cpu|paper (auto: paper with a GPU, else quick)"
	@echo "             (the runs of profile lease: scripts/gpu_lease.py, docs/gpu.md)"
	@echo "             STUDY=tasks|perplexity|table1|price_of_stability|truncation_sweep|"
	@echo "                   weight_distance|all; atlas (cells with long memory), patterns"
	@echo "                   (own outputs, encoder and decoder), or a diagnostic alone:"
	@echo "                   contraction|gradient_horizon|truncation|ngram|linear_systems"
	@echo "             DATASET=embedded|wikitext2|wikitext103|ptb, or your own text:"
	@echo "                   text_folder OVERRIDES=\"dataset.path=F dataset.name=mine\""
	@echo "             OVERRIDES=\"tracking=none threads=1\" (further options of all runs)"
	@echo "             PUBLISH=1 (into results/ and README.md; else into runs/report)"
	@echo "             PLAN=1 (the plan with its estimate alone)"
	@echo "             CONFIRM=1 (start a plan of more than a day without a question)"
	@echo "  status:    RUNS=folder SWEEP=\"model=rnn seed=0,1\"; dashboard, sync: RUNS"
	@echo "  .venv/bin/stablernn lists the commands; each has a --help"

setup: $(READY)  ## virtual environment with the pinned packages

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

test: $(READY)  ## the tests (5 to 15 minutes; long: .venv/bin/pytest -m slow)
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

check: $(READY)  ## ruff, its formatter, pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: $(READY)  ## let ruff mend what it can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

reproduce: $(READY)  ## the plan, the runs, the tables, the page with the verdicts
	@$(BIN)/stablernn reproduce $(if $(STUDY),study=$(STUDY)) $(if $(PROFILE),profile=$(PROFILE)) $(if $(DATASET),dataset=$(DATASET)) $(if $(OVERRIDES),'overrides=$(OVERRIDES)') $(if $(PUBLISH),publish=true) $(if $(PLAN),plan_only=true) $(if $(CONFIRM),confirm=true)

report: $(READY)  ## tables, figures, page from the run records (SERVE=1 serves it)
	@$(BIN)/stablernn report $(if $(SERVE),serve=true)

bench: $(READY)  ## step time against the plain PyTorch loop
	@$(BIN)/stablernn bench

status: $(READY)  ## the runs of a sweep, live: done, running, to do, time left
	@$(BIN)/stablernn status runs=$(RUNS) $(if $(SWEEP),'sweep=$(SWEEP)')

dashboard: $(READY)  ## the curves of tracked runs in the terminal (Weights & Biases)
	@test -d $(RUNS)/wandb || { echo "No tracked runs in $(RUNS)/wandb yet: make reproduce, or $(BIN)/stablernn train (or RUNS=folder)"; exit 1; }
	@$(BIN)/wandb leet $(RUNS)/wandb

workspace: $(READY)  ## panels for the W&B project as JSON (PUSH=1 saves them there)
	@$(BIN)/stablernn wandb-workspace $(if $(PUSH),push=true)

sync: $(READY)  ## send the offline runs to Weights & Biases
	@$(BIN)/stablernn wandb-sync runs=$(RUNS)

docs: $(READY)  ## README and docs/ as a site in site/ (20 seconds)
	@$(BIN)/python -m sphinx --quiet --fail-on-warning -c docs -d site/doctrees . site/html
	@echo "The site: site/html/index.html"

clean:  ## remove the environment and caches (runs and results stay)
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis site src/*.egg-info
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
