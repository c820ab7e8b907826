# `make` shows what there is. Every target makes what it needs; nothing outside this folder
# is touched.

VENV    := .venv
PYTHON  := $(VENV)/bin/python
PIP     := $(PYTHON) -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.requirements
DEV     := $(VENV)/.requirements-dev
PINS    := constraints.txt requirements.txt $(wildcard functions/*/requirements.txt)

# The newest of these on PATH; `make PYTHON3=/path/to/python3 ...` chooses another.
PYTHON3 := $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo up mail doctor preflight plan deploy destroy secrets test lint \
	conformance bench generate lock clean

help: ## this menu
	@echo "A sign-up on Google Cloud's parts, and the local cloud it runs on."
	@echo
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(PYTHON):
	@test -n "$(PYTHON3)" || { echo "error: Python 3.11 to 3.14 is needed and none of python3.14 ... python3 is one: https://www.python.org/downloads/" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV) with $$($(PYTHON3) --version)"
	@$(PYTHON3) -m venv $(VENV) || { echo "error: this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(RUNTIME): $(PINS) | $(PYTHON)
	@echo "installing the pinned requirements into $(VENV) (once; a minute at most)"
	@$(PIP) install -r requirements.txt
	@touch $@

$(DEV): $(PINS) requirements-dev.txt | $(PYTHON)
	@echo "installing the pinned requirements and the test tools into $(VENV) (once; a minute at most)"
	@$(PIP) install -r requirements-dev.txt
	@touch $@ $(RUNTIME)

setup: $(DEV) ## a virtual environment with everything pinned

demo: $(RUNTIME) ## sign one person up on a local cloud and show the mail
	@$(PYTHON) -m emulator demo $(ARGS)

up: $(RUNTIME) ## keep the local cloud running, for curl
	@$(PYTHON) -m emulator up $(ARGS)

mail: $(RUNTIME) ## the newest mail that `make up` caught
	@$(PYTHON) -m emulator mail show

doctor: $(RUNTIME) ## what is installed, what is missing, how to get it
	@$(PYTHON) -m emulator doctor

# Which terraform/environments/ENV.tfvars; not from the environment, where ENV is the shell's.
ENV := dev

preflight: $(RUNTIME) ## what a deployment needs, and how to mend what is missing; ENV=dev
	@$(PYTHON) -m deploy preflight --environment $(ENV) $(ARGS)

secrets: $(RUNTIME) ## make the secrets in Google Cloud, and the first version of each; ENV=dev
	@$(PYTHON) -m deploy secrets --environment $(ENV) $(ARGS)

plan: $(RUNTIME) ## what `make deploy` would change; ENV=dev
	@$(PYTHON) -m deploy plan --environment $(ENV) $(ARGS)

deploy: $(RUNTIME) ## show the plan, ask, and apply exactly that; ENV=dev
	@$(PYTHON) -m deploy apply --environment $(ENV) $(ARGS)

destroy: $(RUNTIME) ## remove a deployment, after a question; ENV=dev
	@$(PYTHON) -m deploy destroy --environment $(ENV) $(ARGS)

test: $(DEV) ## every test
	$(PYTHON) -m pytest $(ARGS)

lint: $(DEV) ## style and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

conformance: $(DEV) ## run the conformance suites and write docs/conformance.md
	$(PYTHON) -m tests.conformance.table

bench: $(DEV) ## measure both backends in one run
	$(PYTHON) -m bench.pubsub
	$(PYTHON) -m bench.firestore
	$(PYTHON) -m bench.sign_up

generate: $(RUNTIME) ## renew what is made from other files: the .proto's Python, the topology's schema
	$(PYTHON) -m grpc_tools.protoc -Ifunctions --python_out=functions --pyi_out=functions functions/shared/user_created.proto
	$(PYTHON) -c 'from emulator.topology import json_schema; print(json_schema(), end="")' > terraform/topology/schema.json

lock: $(DEV) ## renew constraints.txt from the requirements
	$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade -o constraints.txt requirements-dev.txt

clean: ## remove the virtual environment, every stack's folder, what Terraform downloaded
	rm -rf $(VENV) .emulator terraform/.build terraform/.terraform terraform/bootstrap/.terraform .mypy_cache .ruff_cache .pytest_cache .hypothesis
