# Amanah. On a fresh machine with Python 3.11 or newer, make and git, two commands do it all:
#   make run    a demonstration ledger on http://127.0.0.1:8000
#   make test   the test suite
# Both set up .venv by themselves and are quick the second time.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
AMANAH_DATABASE ?= var/demo/amanah.db
# loadgroup: tests of one group, such as those of the image, stay in one process.
PYTEST_ARGS ?= -n auto --dist loadgroup
SEED ?= 1
COUNT ?= 100000
SECONDS ?= 300
CLIENTS ?= 2500
FOREIGN := .venv-foreign

BIN := $(VENV)/bin
# --no-input: never wait for a password of a private index.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Wheels alone: building a source package would fetch build tools that no hash here covers.
# Elsewhere than on Linux and macOS: make run WHEELS=
WHEELS ?= --only-binary=:all:
INSTALL := $(PIP) install $(WHEELS) --require-hashes
# No build isolation: the backend is already there, hashed, and nothing else is downloaded.
# The project stays editable, so a change in the code needs no new install.
INSTALL_SELF := $(PIP) install --no-deps --no-build-isolation --editable .

.PHONY: help run test foreign coverage mutants bench surge fuzz fuzz-parsers lint format sbom requirements clean
.DEFAULT_GOAL := help

help:
	@sed -n '2,4s/^# \{0,1\}//p' Makefile
	@echo "Also: make foreign | coverage | mutants | bench | surge | fuzz | fuzz-parsers | lint | format | sbom | requirements | clean"
	@echo "Variables: PYTHON=$(PYTHON) PORT=$(PORT) AMANAH_DATABASE=$(AMANAH_DATABASE) PYTEST_ARGS='$(PYTEST_ARGS)'"

run: $(VENV)/.runtime
	@mkdir -p var/demo
	AMANAH_DATABASE='$(AMANAH_DATABASE)' $(BIN)/amanah demo --serve --host 127.0.0.1 --port $(PORT)

test: $(VENV)/.dev $(wildcard $(FOREIGN)/.ready)
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

# The judges that are not ours, and their tests. Once they are set up, `make test` runs those too.
foreign: $(VENV)/.dev $(FOREIGN)/.ready
	$(BIN)/python -m pytest -q $(PYTEST_ARGS) tests/foreign

# Of every process that the tests start: workers of pytest, commands, servers and their workers.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	GUNICORN_CMD_ARGS='--config $(CURDIR)/tests/coverage_hooks.py' \
	  $(BIN)/coverage run -m pytest -q $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

# Do the tests notice when a hash, a proof or a sum is wrong?
mutants: $(VENV)/.deep
	rm -rf mutants
	$(BIN)/python -m mutmut run --max-children $$(nproc)
	$(BIN)/python -m mutmut results

# Parsers, fed for FUZZ_S seconds; what was found worth keeping stays in var/.
FUZZ_S ?= 120
fuzz-parsers: $(VENV)/.deep
	@mkdir -p var/fuzz
	$(BIN)/python -m tests.fuzz_parsers -max_total_time=$(FUZZ_S) -max_len=4096 \
	  -artifact_prefix=var/fuzz/ var/fuzz/corpus

# BENCH_ARGS=--full grows to five million entries; DOCS=1 puts the result into the docs.
bench: $(VENV)/.dev
	$(BIN)/python -m bench $(BENCH_ARGS)
	$(if $(DOCS),$(BIN)/python docs/make_performance.py var/bench/performance.json)

# Far more clients than can be served: nothing that was acknowledged may be lost.
surge: $(VENV)/.dev
	$(BIN)/python -m bench.surge --seconds $(SECONDS) --clients $(CLIENTS)

fuzz: $(VENV)/.dev
	$(BIN)/python -m fuzz --seed $(SEED) --count $(COUNT)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What the image consists of, with versions and licences: dist/sbom.json.
sbom: $(VENV)/.dev
	$(BIN)/python docs/make_sbom.py

# Each stamp is written last, so an interrupted set-up is taken up again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Amanah needs Python 3.11 or newer; name one: make PYTHON=python3.13 ...' >&2; exit 1; }
	@echo "Setting up $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: pyproject.toml requirements.txt requirements-build.txt | $(VENV)/.created
	@$(INSTALL) -r requirements.txt -r requirements-build.txt
	@$(INSTALL_SELF)
	@touch $@

# requirements-dev.txt holds everything in the other two as well.
$(VENV)/.dev: pyproject.toml requirements-dev.txt | $(VENV)/.created
	@$(INSTALL) -r requirements-dev.txt
	@$(INSTALL_SELF)
	@touch $(VENV)/.runtime $@

$(VENV)/.deep: requirements-deep.txt | $(VENV)/.dev
	@$(INSTALL) -r requirements-deep.txt
	@touch $@

$(FOREIGN)/.ready: $(addprefix tests/foreign/,set_up requirements.txt go/go.mod go/main.go)
	@echo "Setting up $(FOREIGN) (once; it takes some 100 MB of downloads)" >&2
	@PYTHON='$(PYTHON)' UV_VERSION=$(UV_VERSION) tests/foreign/set_up $(FOREIGN)
	@touch $@

# Lock again from the public index alone: --no-config and --default-index keep the mirrors and
# paths of this machine out of the files. Everything moves to the newest version allowed;
# for one package: make requirements UPGRADE='--upgrade-package flask'.
UPGRADE ?= --upgrade
UV_VERSION := 0.13.9
LOCK = .venv-lock/bin/uv pip compile --quiet --no-config --default-index https://pypi.org/simple \
  --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
  --custom-compile-command 'make requirements'

requirements:
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock \
	  && .venv-lock/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION); }
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) --group pyproject.toml:build -o requirements-build.txt
	$(LOCK) bench/requirements-peers.in -o bench/requirements-peers.txt
	$(LOCK) pyproject.toml --group pyproject.toml:dev -c requirements.txt -o requirements-dev.txt
	$(LOCK) --group pyproject.toml:deep -c requirements-dev.txt -o requirements-deep.txt
	$(LOCK) --group pyproject.toml:foreign -o tests/foreign/requirements.txt

clean:
	rm -rf $(VENV) .venv-lock $(FOREIGN) build dist *.egg-info .coverage htmlcov mutants
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find amanah bench fuzz ledger openapi schemas tests -name __pycache__ -type d -prune -exec rm -rf {} +
