# One way to run things: people and CI call the same targets.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS = server,postgres,mlflow,notebook,dashboard,dev
# pytest's arguments, e.g. make test ARGS="-k asha"
ARGS ?=
# packages are installed without byte code: unless Python may keep it, each process compiles PyTorch and Ray anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-unit test-cluster test-deep soak lint format wheel clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(VENV)/.ready  ## make .venv with everything that demo and test need

# --no-compile: byte-compiling 2 GB of packages takes longer than installing them
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Toprung needs Python 3.11 or newer; set PYTHON=python3.11, say")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

demo: setup      ## run the main job: a sweep over a small CNN, live, and its best trials
	$(BIN)/toprung demo

# two at a time, a file each: much of a test's time it waits for processes to start. Nearly as nice as training makes
# itself (tuning/niceness.py): else the trials of the one wait for the processes of the other
test: setup      ## all tests but the deep ones and the soak; a few that fail are tried again alone
	tests/postgres.sh
	nice -n 13 $(BIN)/python -m tests.again -n 2 --dist loadfile $(ARGS)

test-unit: setup ## the tests without Ray, in seconds
	$(BIN)/python -m pytest tests/unit $(ARGS)

test-cluster: setup  ## the tests between machines in namespaces and of clusters, the long ones too; as root
	$(BIN)/python -m pytest -m "deep or not deep" --log-cli-level=INFO tests/cluster $(ARGS)

test-deep: setup ## the tests of a real service that take a minute or more each
	$(BIN)/python -m pytest -m deep $(ARGS)

soak: setup      ## kill what can be killed while sweeps run, for many minutes
	$(BIN)/python -m pytest -m soak --log-cli-level=INFO tests/soak $(ARGS)

lint: setup      ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

format: setup    ## let ruff write
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: setup     ## dist/toprung-*.whl, made from the sdist
	rm -rf dist build
	$(BIN)/python -m build --outdir dist

clean:           ## remove what the targets made
	rm -rf $(VENV) dist build .toprung best-model
