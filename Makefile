# make train ARGS="--episodes 500"    make test    make tensorboard
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test tensorboard
train: .venv/installed
	@$(BIN)/python train.py $(ARGS)

tensorboard: .venv/installed
	@$(BIN)/tensorboard --logdir logs $(ARGS)

test: .venv/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

.venv/installed: requirements.txt
	@$(PYTHON) -m console.python_version
	@echo "installing the requirements into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements-extra.txt .venv/installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
