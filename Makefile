# Every task of the project, one line each. `make demo` and `make test` work in a clean clone.
PYTHON ?= python3
BIN := .venv/bin
QUICK := not slow and not memory
BENCH := --set blobs,audience --rows 5e6 --repeats 3 --timeout 200 --budget 840

.PHONY: demo test lint types bench bench-engines bench-quality bench-scale docs-check test-limits test-latest clean

demo: .venv/run.stamp  ## segment the real ledger in examples/data, write out/retail/report.html
	$(BIN)/daskseg rfm examples/data/online_retail.parquet --out out/retail

test: .venv/test.stamp  ## the test suite (PYTEST_ARGS adds options)
	$(BIN)/python -m pytest -m "$(QUICK)" $(PYTEST_ARGS)

lint: .venv/lint.stamp  ## style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/lint.stamp  ## types of the package
	$(BIN)/mypy

bench: .venv/run.stamp  ## the README's tables: k-means beside its peers, in 15 minutes (BENCH_ARGS adds options)
	$(BIN)/python -m benchmarks.compare.kmeans $(BENCH) $(BENCH_ARGS)

bench-engines: .venv/bench.stamp  ## install the other engines that `make bench` can compare

bench-quality: .venv/run.stamp  ## cost and passes of default fits on every set, 20 seeds (QUALITY_ARGS adds options)
	$(BIN)/python -m benchmarks.quality $(QUALITY_ARGS)

bench-scale: .venv/run.stamp  ## more rows than memory, more rows, more workers: an hour, 24 GB of disk (SCALE_ARGS adds options)
	$(BIN)/python -m benchmarks.scale.run $(SCALE_ARGS)

docs-check: .venv/test.stamp  ## every public name is documented; what README and docstrings show is run
	$(BIN)/python -m pytest tests/contract/test_readme.py tests/contract/test_public_names.py daskseg

test-limits: .venv/test.stamp  ## memory, crashes, clusters: what is too slow for `make test`
	$(BIN)/python -m pytest -m "slow or memory" --timeout 3600 $(PYTEST_ARGS) || [ $$? -eq 5 ]

test-latest: .venv-latest/bin/python  ## the test suite on the newest versions of everything
	.venv-latest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[maps]' --group test
	.venv-latest/bin/python -m pytest -m "$(QUICK)" $(PYTEST_ARGS)

clean:  ## all that make made
	rm -rf .venv .venv-latest out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find daskseg -name "*.nb[ci]" -delete

# ── environments ─────────────────────────────────────────────────────────────
# The pip of older Pythons does not know --group, so it is renewed first.
.venv/bin/python .venv-latest/bin/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "make: '$(PYTHON)' was not found. daskseg needs Python 3.11 or newer: install it, or name it with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). daskseg needs Python 3.11 or newer: install it, or name it with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "make: '$(PYTHON)' has no venv module. Install it (on Debian and Ubuntu: apt-get install python3-venv), or name another Python with 'make PYTHON=/path/to/python3.11 ...'." >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(@:/bin/python=)
	$@ -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip || { rm -rf $(@:/bin/python=); exit 1; }

.venv/run.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# Tests cover the extras as well.
.venv/test.stamp: EXTRAS := --editable '.[maps]'
.venv/bench.stamp: EXTRAS := --editable '.[maps]'
.venv/bench.stamp .venv/lint.stamp .venv/test.stamp: .venv/%.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EXTRAS) --group $*
	@touch $@
