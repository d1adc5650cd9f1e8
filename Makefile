# make report · make verify · make test · make proofs · make prepare · make lab · make docs
# Each installs what it needs into .venv, once. uv is used where it is there, pip where not.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STUDY  ?=
UV     := $(shell command -v uv 2>/dev/null)
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

.PHONY: report verify test proofs prepare lab docs clean
.DEFAULT_GOAL := report

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11 or newer."; exit 1; }
	$(if $(UV),$(UV) venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))

$(VENV)/.report: pyproject.toml | $(BIN)/python
	@echo "Installing agentlab_wb into $(VENV) …"
	@$(INSTALL) -e '.[report]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing agentlab_wb for development into $(VENV) …"
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.report

report: $(VENV)/.report          ## the main job: every report of every shipped study; with STUDY=path, of that one
	@$(BIN)/agentlab-wb $(if $(STUDY),report "$(STUDY)",reproduce)

verify: $(VENV)/.report          ## are the numbers still what they were? compares with results/expected
	@$(BIN)/agentlab-wb verify

test: $(VENV)/.dev               ## every check
	@$(BIN)/python tests/run_all.py

proofs: $(VENV)/.dev             ## coverage of intervals by long simulations: up to an hour
	@$(BIN)/python -m pytest -q -m proof

prepare: $(VENV)/.dev            ## export the library, clean the notebooks, write README.md
	@$(BIN)/python tests/in_step.py --write

lab: $(VENV)/.dev                ## JupyterLab on the notebooks; with STUDY=path, the explorer on those results
	@$(if $(STUDY),$(BIN)/agentlab-wb lab "$(STUDY)",$(BIN)/jupyter lab nbs)

docs: $(VENV)/.dev               ## the site; needs quarto on PATH
	@command -v quarto >/dev/null || { echo "The site is built by quarto, which is not on PATH. Install it from quarto.org, then run make docs again."; exit 1; }
	@$(BIN)/nbdev_docs

clean:                           ## what can be made again
	rm -rf $(VENV) _docs _proc results/reports .pytest_cache .hypothesis
