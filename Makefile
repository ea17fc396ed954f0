# Mini Video Factory. `make` lists the commands. Everything is installed into .venv beside this file; nothing needs root.

# The Python that makes .venv: 3.11 or newer.
PYTHON ?= python3
# The recording to process, and the folder for the result; ARGS goes to the command as it stands.
IN ?=
OUT ?= out/
ARGS ?=
# PyTorch on Linux: "cpu" takes the CPU build from TORCH_INDEX, "cuda" lets pip choose (gigabytes of CUDA).
# A PyTorch that is there already stays: to change it, remove .venv first.
TORCH ?= cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install --no-warn-conflicts -q
SAMPLE := build/sample-talk.mp4
# A stamp is named after the content of its requirements, so only a change of that content installs again.
hash = $(firstword $(shell cksum < $(1)))
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-$(call hash,requirements.txt)
DEV := $(VENV)/.dev-$(call hash,requirements-dev.txt)
torch := $(shell grep -o '^torch==[^ ]*' requirements.txt)
whisper := $(shell grep -o '^openai-whisper==[^ ]*' requirements.txt)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup packages run worker migrate bucket sweep reconcile export import reset-link weights auto-editor video test test-slow test-saboteurs bench screens lint clean

help: ## List the commands
	@echo 'Mini Video Factory: raw talking video in, tight captioned video out.'
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'The first command sets everything up (about 700 MB to download, some minutes); after that no network is needed.'

setup: weights ## Install everything into .venv and get the speech weights

packages: $(RUNTIME) ## Install what the product needs into .venv, without weights

run: weights ## Start the product: it says where to open it; Ctrl-C stops all of it
	@$(PY) -m jobs.supervisor

worker: weights ## Start one more worker beside a running product
	@$(PY) -m jobs.worker

migrate: $(RUNTIME) ## Bring the PostgreSQL below Supabase up to date, and say what was done [ARGS=--dry-run]
	@$(PY) -m jobs.upkeep migrate $(ARGS)

bucket: $(RUNTIME) ## Make the S3 bucket if it is missing, and let browsers upload to it [ARGS=--dry-run]
	@$(PY) -m jobs.upkeep bucket $(ARGS)

sweep: $(RUNTIME) ## Remove unfinished uploads, files no row needs, videos past their time [ARGS=--dry-run]
	@$(PY) -m jobs.upkeep sweep $(ARGS)

reconcile: $(RUNTIME) ## Compare what the database says is stored with what is, and show differences
	@$(PY) -m jobs.upkeep reconcile $(ARGS)

export: $(RUNTIME) ## Write everything into a folder, to move it or as a back-up: OUT=folder [ARGS=--copy]
	@$(PY) -m jobs.upkeep export $(if $(filter-out file,$(origin OUT)),"$$VIDEO_OUT") $(ARGS)

import: $(RUNTIME) ## Read such a folder into the empty stores that the settings name: IN=folder [ARGS="--verify --keep"]
	@$(PY) -m jobs.upkeep import $(if $(value IN),"$$VIDEO_IN") $(ARGS)

reset-link: $(RUNTIME) ## Print a link to set a new password with, also for a lone administrator: NAME=ada
	@$(PY) -m jobs.upkeep reset-link $(if $(value NAME),"$$PERSON_NAME")

weights: $(RUNTIME) ## Get the speech weights, if they are not there yet
	@$(PY) -m pipeline.weights

# PyPI's auto-editor is a stub that downloads the program at its first run. It is no requirement, so that no set-up puts
# it there; only this command installs it and lets it download.
auto-editor: $(RUNTIME) ## Get the real auto-editor as second cut engine, where the network allows
	@$(PY) -m pipeline.autoeditor "$$AUTO_EDITOR_BINARY"

# Handed over by the environment, so that a file name may hold spaces, quotes or dollar signs.
export VIDEO_IN := $(or $(value IN),$(SAMPLE))
export VIDEO_OUT := $(value OUT)
export PERSON_NAME := $(value NAME)

video: weights $(if $(value IN),,$(SAMPLE)) ## Process a recording: IN=talk.mp4 [OUT=out/] [ARGS="--captions burned"]; without IN a sample
	@$(PY) -m pipeline "$$VIDEO_IN" -o "$$VIDEO_OUT" $(ARGS)

$(SAMPLE): pipeline/sample.py | $(RUNTIME)
	@mkdir -p $(@D)
	@$(PY) -m pipeline.sample $@

test: $(DEV) weights ## Run the tests
	@$(PY) -m pytest -m 'not slow' $(ARGS)

test-slow: $(DEV) weights ## Run the tests that take minutes
	@$(PY) -m pytest -m slow $(ARGS)

test-saboteurs: $(DEV) weights ## Put faults into a copy of the code, one by one: a test must notice each [ARGS="fade"]
	@$(PY) -m tests.saboteurs $(ARGS)

bench: $(DEV) weights ## Measure the speed (40 minutes): ARGS="--minutes 1 --only a,b", or ARGS=--sessions for the pages
	@$(PY) -m tests.bench $(ARGS)

screens: $(DEV) weights ## Render every screen into docs/screens (needs Chromium)
	@$(PY) -m tests.screens $(ARGS)

lint: $(DEV) ## Check style and types
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

clean: ## Remove what the commands made, but for .venv, results and weights
	@rm -rf build .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# --- setting up: each step is finished by its stamp, so an interrupted set-up goes on where it stopped ---

$(MADE):
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo 'There is no $(PYTHON) here: install Python 3.11 or newer, or name it with PYTHON=/path/to/python3.' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$("$(PYTHON)" -V 2>&1) is too old: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo '$(PYTHON) lacks its venv module: install it (Debian and Ubuntu: apt install python3-venv), then try again.' >&2; exit 1; }
	@echo 'Making $(VENV) ...'
	@"$(PYTHON)" -m venv $(VENV) && $(PY) -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@$(INSTALL) 'pip>=23.2'  # older ones download a whole wheel only to read its metadata
	@touch $@

# torch: on Linux the registry's build carries gigabytes of CUDA, so the CPU build is installed first; where its index is
# out of reach, the registry's build is taken only if a dry run shows that it brings no nvidia-* package.
# openai-whisper: asks for triton, which only CUDA uses and CUDA's torch brings itself (1 GB on disk). So it is installed
# without its dependencies; requirements.txt names the others.
$(RUNTIME): | $(MADE)
ifeq ($(TORCH)-$(shell uname -s),cpu-Linux)
	@echo 'Installing PyTorch (CPU build, about 200 MB) ...'
	@$(PY) -m pip show torch 2> /dev/null | grep -q '^Version: $(torch:torch==%=%)' \
	  || $(INSTALL) --retries 1 --timeout 15 --no-deps --index-url '$(TORCH_INDEX)' $(torch)+cpu > $(VENV)/torch.log 2>&1 \
	  || $(INSTALL) --dry-run --report - $(torch) 2> /dev/null | $(PY) -c "$$BRINGS_NO_CUDA" 2> /dev/null \
	  || { echo 'The CPU build of PyTorch is not to be had from $(TORCH_INDEX) (see $(VENV)/torch.log):' \
	            'name another index with TORCH_INDEX=URL, or accept gigabytes of CUDA with TORCH=cuda.' >&2; exit 1; }
endif
	@echo 'Installing packages (about 300 MB) ...'
	@grep -v '^openai-whisper' requirements.txt | $(INSTALL) -r /dev/stdin
	@$(INSTALL) --no-deps $(whisper)
	@rm -f $(VENV)/.runtime-* && touch $@

define BRINGS_NO_CUDA
import json, sys
sys.exit(any(i["metadata"]["name"].startswith("nvidia-") for i in json.load(sys.stdin)["install"]))
endef
export BRINGS_NO_CUDA

$(DEV): | $(RUNTIME)
	@echo 'Installing what the tests need ...'
	@grep -v '^-r' requirements-dev.txt | $(INSTALL) -r /dev/stdin
	@rm -f $(VENV)/.dev-* && touch $@
