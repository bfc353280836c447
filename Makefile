# Short names for the scripts; `make` alone lists them.
.PHONY: help setup demo test lint format lock
help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile
setup: ## make .venv with all kernels
	scripts/setup --kernels
demo: ## run the training notebook
	scripts/demo
test: ## lint, check types, test everything
	scripts/test
lint: ## lint and check types only
	scripts/setup && .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy --strict
format: ## put the code in order
	scripts/setup && .venv/bin/ruff check --fix . && .venv/bin/ruff format .
lock: ## renew the pinned versions
	scripts/lock --upgrade
