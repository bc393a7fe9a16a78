# The development tasks. Each target installs its requirements into .venv if they are missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINS := pyproject.toml bundles/pyproject.toml constraints.txt
BUF_VERSION := 1.75.0
# The npm package of buf installs one more package per platform. That package contains the binary.
BUF_HOME := $(VENV)/buf-$(BUF_VERSION)
BUF := $(BUF_HOME)/buf
# checkov needs older versions of packages than ours, so it has an environment of its own.
CHECKOV := $(VENV)/checkov/bin/checkov
CHECKOV_PINS := tests/deploy/policy/requirements.txt

# The programs of Prometheus and of its Alertmanager, for the tests.
PROMETHEUS := $(VENV)/prometheus

PROMPT ?= What is in this picture? Then draw a penguin on a blue background, animate it growing, play a low note on a \
flute, and put the sound under the clip.

# The distributions of a release. The time of their files is the time of the commit, so every build has the same bytes.
DIST := dist
EPOCH = $(shell git log -1 --format=%ct)

# The locks of the images: the exact version of each distribution, and the sha256 of each of its files. Versions without a
# constraint stay as they are, except with `make lock LOCK_OPTIONS=--upgrade`. PyTorch's own index has torch for CPUs. With
# `make lock TORCH_CPU='--find-links FOLDER'`, the wheel is taken from a folder.
LOCKS := deploy/images/locks
LOCK_OPTIONS ?=
TORCH_CPU ?= --torch-backend cpu
LOCK = $(BIN)/uv pip compile --quiet --no-config --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
	--generate-hashes --no-annotate --custom-compile-command 'make lock' --constraint constraints.txt \
	--no-emit-package motet --no-emit-package motet-nano $(LOCK_OPTIONS) -

.PHONY: help demo test check protos docs lock images release lint types layers contract site policy

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.models ## Ask about an image, and request an image, its animation, audio and a film; the files go to demo/.
	@rm -rf demo
	$(BIN)/motet run "$(PROMPT)" --image examples/turtle.png --out demo --seed 1

test: $(VENV)/.dev $(VENV)/node/.installed $(PROMETHEUS)/.installed ## Run all tests (minutes; no GPU, no network).
	@$(BIN)/pytest -q -n 2 --dist loadfile

check: lint types layers contract site policy ## Check style, types, layers, the contract, the documentation and the chart.
	@echo "check: all good"

protos: $(VENV)/.dev ## Generate the Python code of the protos.
	@$(BIN)/python protos/contract.py generate

docs: $(VENV)/.dev ## Write the reference pages, and build the site into build/site.
	@$(BIN)/python docs/generate.py
	@$(BIN)/zensical build --strict --clean

lock: $(VENV)/.dev ## Write the locks of the images, after a change of pyproject.toml or constraints.txt.
	@printf '%s\n' hatchling cyclonedx-bom | $(LOCK) --output-file $(LOCKS)/build.txt
	@printf '%s\n' '.[serve,kubernetes,tracing]' | $(LOCK) --output-file $(LOCKS)/orchestrator.txt
	@printf '%s\n' '.[models,tracing]' ./bundles | $(LOCK) --output-file $(LOCKS)/worker-cuda.txt
	@printf '%s\n' '.[models,tracing]' ./bundles | $(LOCK) --output-file $(LOCKS)/worker-cpu.txt $(TORCH_CPU)
	@printf '%s\n' '.[ray,tracing]' ./bundles | $(LOCK) --output-file $(LOCKS)/ray-cuda.txt
	@printf '%s\n' '.[ray,tracing]' ./bundles | $(LOCK) --output-file $(LOCKS)/ray-cpu.txt $(TORCH_CPU)

images: $(VENV)/.dev ## Build the images in build/images, and run them (Debian with buildah, runc and mmdebstrap; root).
	@TEST_IMAGES=build/images $(BIN)/pytest -q tests/deploy/images

release: $(VENV)/.dev ## Build the wheels, the source archive and the archive of the protos into dist/, with SHA256SUMS.
	@rm -rf $(DIST)
	@SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/hatchling build -d $(DIST) >/dev/null
	@cd bundles && SOURCE_DATE_EPOCH=$(EPOCH) ../$(BIN)/hatchling build -t wheel -d ../$(DIST) >/dev/null
	@SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python protos/archive.py $(DIST)
	@cd $(DIST) && sha256sum *.whl *.tar.gz > SHA256SUMS && cat SHA256SUMS

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.dev
	@$(BIN)/mypy

layers: $(VENV)/.dev
	@$(BIN)/lint-imports --no-logo

contract: $(VENV)/.dev $(BUF)
	@BUF=$(BUF) $(BIN)/python protos/contract.py lint
	@BUF=$(BUF) $(BIN)/python protos/contract.py breaking
	@$(BIN)/python protos/contract.py drift
	@echo "contract: clean"

site: $(VENV)/.dev
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/zensical build --strict --clean
	@echo "site: no broken link"

policy: $(VENV)/.dev $(CHECKOV)
	@$(BIN)/python -m tests.deploy.policy.findings $(CHECKOV)

$(CHECKOV): $(CHECKOV_PINS) | $(BIN)/python
	@$(PYTHON) -m venv --clear $(VENV)/checkov
	@$(VENV)/checkov/bin/python -m pip --disable-pip-version-check --quiet install --requirement $(CHECKOV_PINS)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Motet needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)

# Install the pinned torch first. Otherwise another package could install an unpinned torch with several GB of CUDA.
$(VENV)/.models: $(PINS) | $(BIN)/python
	@echo "installing into $(VENV) (the first time takes minutes) ..."
	@$(PIP) install --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@$(PIP) install --constraint constraints.txt --editable '.[models]' ./bundles
	@touch $@

$(VENV)/.dev: $(VENV)/.models
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The packages of the client in examples/clients/node. Without npm, its test is skipped.
$(VENV)/node/.installed: examples/clients/node/package.json examples/clients/node/package-lock.json | $(BIN)/python
	@mkdir -p $(@D) && cp $^ $(@D)
	@if command -v npm >/dev/null && npm ci --silent --no-audit --no-fund --ignore-scripts --prefix $(@D); then touch $@; \
	else echo "the test of the Node client is skipped, because npm cannot install its packages"; fi

# Debian's packages are unpacked and not installed, so no service starts. Only Alertmanager's template has a fixed path.
ALERTMANAGER := /usr/share/prometheus/alertmanager
$(PROMETHEUS)/.installed: | $(BIN)/python
	@mkdir -p $(PROMETHEUS)
	@if command -v apt-get >/dev/null; then \
		cd $(PROMETHEUS); \
		download() { apt-get --quiet --quiet download prometheus prometheus-alertmanager 2>/dev/null; }; \
		download || { apt-get --quiet --quiet update && download; }; \
		for package in *.deb; do dpkg --extract $$package . && rm $$package; done; \
		test -e $(ALERTMANAGER) || { mkdir -p $(dir $(ALERTMANAGER)) && cp -r .$(ALERTMANAGER) $(ALERTMANAGER); } || \
			{ echo "make test needs Alertmanager: install prometheus-alertmanager" >&2; exit 1; }; \
	else \
		for program in prometheus promtool alertmanager; do command -v $$program >/dev/null || \
			{ echo "make test needs Prometheus and Alertmanager: install $$program" >&2; exit 1; }; done; \
	fi
	@touch $@

$(BUF): | $(BIN)/python
	@command -v npm >/dev/null || { echo "make check needs npm, to install buf: install Node.js" >&2; exit 1; }
	@npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(BUF_HOME) @bufbuild/buf@$(BUF_VERSION)
	@cp $(BUF_HOME)/node_modules/@bufbuild/buf-*/bin/buf $@
