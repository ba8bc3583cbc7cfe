# Everything a newcomer needs, from a bare python3: `make demo` shows the platform, `make test` proves it.
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help demo test check lint docs bench chaos soak conformance vault-engines lock clean
help:
	@echo "make demo   set up, then land, load and model a simulated market (no key, no network)"
	@echo "make test   set up, then run every test"
	@echo "make check  ruff and mypy"
	@echo "make lint   the same, and the documentation checks"
	@echo "make docs   write the generated pages, the JSON Schema and prefect.yaml anew"
	@echo "make bench  the benchmarks, each against the plain tool"
	@echo "make chaos  the long kill sweeps"
	@echo "make soak   an hour of schedules on a real Prefect, with faults, kills and outages (MINUTES=60)"
	@echo "make conformance  every fault on every destination; writes docs/conformance.md"
	@echo "make vault-engines  every case of the vault on Snowflake's stand-in and on a real Trino (hours)"
	@echo "make lock   resolve the dependencies anew"

.venv/.ready: requirements.lock pyproject.toml deploy/bootstrap.py
	@python3 deploy/bootstrap.py

demo: .venv/.ready
	@$(BIN)/engine demo --no-app

test: .venv/.ready
	$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not chaos" --durations 40 --durations-min 10

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint: check
	$(BIN)/python -m pytest -q -p no:randomly tests/docs

docs: .venv/.ready
	@$(BIN)/engine schema --write
	@$(BIN)/engine deploy --write -p local
	@$(BIN)/python docs/generate.py

bench: .venv/.ready
	@missed=; for bench in tests/bench/bench_*.py; do \
	  name=$$(basename $$bench .py); echo "== $$name"; $(BIN)/python -m tests.bench.$$name || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "aims missed:$$missed"; exit 1; }

chaos: .venv/.ready
	$(BIN)/python -m pytest -m chaos --timeout 3600

soak: .venv/.ready
	$(BIN)/python -m tests.soak $(MINUTES)

conformance: .venv/.ready
	CI_REQUIRE_SERVERS=1 $(BIN)/python -m tests.conformance.matrix -n 2 --dist loadgroup

vault-engines: .venv/.ready
	for engine in snowflake trino; do TICKHOUSE_VAULT_WAREHOUSE=$$engine $(BIN)/python -m pytest -p no:randomly \
	  --timeout 3600 tests/vault/test_vault_engines.py tests/vault/test_vault_cases.py \
	  -k "as_on_duckdb and $$engine or of_the_contract or of_our_own" || failed=1; done; test -z "$$failed"

lock: .venv/.ready
	@python3 deploy/bootstrap.py lock

clean:
	rm -rf .venv .data .cache .mypy_cache .ruff_cache .pytest_cache
