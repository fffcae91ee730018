# Everything a newcomer needs: `make demo` shows podwire at work, `make test` proves it. Both install what is missing themselves.

PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo test check bench format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## three nodes, six pods, VXLAN: a table of all pairs, one packet traced, everything removed again
	@scripts/setup run
	@$(PY) -m podwire lab demo

test: ## all tests: unit, property, real kernel, real etcd and the Go plugins as oracle
	@scripts/setup dev
	@$(PY) -m pytest tests/unit tests/property tests/netns tests/interop

check: ## ruff, mypy --strict, import contracts
	@scripts/setup dev
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench: ## our parts beside their peers, in turn, as ratios
	@scripts/setup dev
	@status=0; for part in dataplane cni flanneld; do $(PY) -m bench.$$part || status=1; done; exit $$status

format: ## rewrite the code as `make check` wants it
	@scripts/setup dev
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## remove labs (namespaces, devices, processes, state), the virtual environment and caches
	@scripts/clean
