# make help lists what there is
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train help play tensorboard test clean
train: .venv/installed
	@$(BIN)/python train.py $(ARGS)

help:
	@echo 'make train        set up .venv and train on Blob; ARGS="--episodes 2000" passes flags'
	@echo 'make play         watch the newest model'
	@echo 'make tensorboard  show the curves'
	@echo 'make test         check the code and run all tests'
	@echo 'make clean        delete .venv; runs and models stay'

play: .venv/installed
	@$(BIN)/python play.py $(ARGS)

tensorboard: .venv/installed
	@$(BIN)/tensorboard --logdir logs $(ARGS)

test: .venv/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

.venv/installed: requirements.txt
	@$(PYTHON) -m console.python_version
	@echo "installing the requirements into .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt requirements-extra.txt requirements-ray.txt .venv/installed
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv
