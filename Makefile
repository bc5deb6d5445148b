# Everything that a fresh clone needs: Python 3.11 or later, git and make.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell command -v $(name) >/dev/null 2>&1 && \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: browser crash quick check test lint bench peers clean

crash: $(STAMP)  ## Find the brk crash of July 2022, then run the fixed brk.
	@$(BIN)/sugarbush run brk-false-vma; status=$$?; test $$status -eq 1 || \
		{ echo "expected to find the crash (exit status 1), got $$status" >&2; exit 1; }
	@$(BIN)/sugarbush run brk-standard

check: $(STAMP) lint test  ## Every check: linters, types, import contracts, tests.

ROOM ?= concurrency/locks
quick: $(STAMP)  ## What matters for one room, within 20 seconds: make quick ROOM=concurrency/locks
	@$(BIN)/python tests/quick.py $(ROOM)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP) browser
	$(BIN)/pytest -n 2 --dist worksteal

browser:  ## Chromium for the tests of the page, where this user may install it; they are skipped without.
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		{ apt-get install -y -qq chromium chromium-driver >/dev/null 2>&1 || \
		{ apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq chromium chromium-driver >/dev/null 2>&1; }; }; } || \
		echo "no Chromium here: the tests of the page in a browser are skipped"

bench: $(STAMP)  ## Every benchmark; on a machine with nothing else to do.
	$(BIN)/python benchmarks/switch_point.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/brk.py
	$(BIN)/python benchmarks/brk_cost.py
	$(BIN)/python benchmarks/dpor_cost.py
	$(BIN)/python benchmarks/parallel.py --out sugarbush-out
	$(BIN)/python benchmarks/strategies.py --out sugarbush-out
	$(BIN)/python benchmarks/catalogue.py --jobs 2 --out sugarbush-out
	$(BIN)/python benchmarks/page.py --out sugarbush-out
	$(BIN)/python benchmarks/lockdep_validator.py
	$(BIN)/python benchmarks/tree_speed.py --out sugarbush-out
	$(BIN)/python benchmarks/tree_cache.py --out sugarbush-out

peers: $(STAMP)  ## Beside the other explorers, installed into throw-away environments.
	$(BIN)/python benchmarks/peers.py --out sugarbush-out

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Sugarbush needs Python 3.11 or later" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)

clean:
	rm -rf .venv build *.egg-info sugarbush-out
