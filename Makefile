# make demo   set everything up and turn a scan made by code into a mesh
# make test   set everything up, then ruff, mypy and pytest
# make lint   ruff and mypy alone
# make viewer build the script of the page of `lpdif view` again, after a change in viewer/ (needs Node.js and npm)
#
# TORCH says which torch to install first; pip then leaves it alone. PYTHON says which Python to use.

TORCH ?= torch==2.13.0
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint viewer clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/lpdif demo --overwrite -o demo-scan.ply
	$(BIN)/lpdif reconstruct demo-scan.ply -o demo-mesh.ply --overwrite
	@echo "The mesh is $(CURDIR)/demo-mesh.ply: open it in any 3D viewer."

test: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

viewer: viewer/node_modules
	cd viewer && npm run --silent build

viewer/node_modules: viewer/package.json viewer/package-lock.json
	cd viewer && npm ci
	@touch $@

$(VENV)/.torch:
	@test -n "$(PYTHON)" || { echo "error: lpdif needs Python 3.11 or newer with venv"; echo "  hint: make PYTHON=/path/to/python3.14"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "$(TORCH)"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(PIP) install --editable ".[dev,las,e57,cluster]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) viewer/node_modules build dist demo-scan.ply demo-mesh.ply
