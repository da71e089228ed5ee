# Everything starts here, on a machine with make and Python 3.11 or newer and nothing else. Each target sets up
# what it needs in .venv the first time, and again when pyproject.toml changes; `make clean` forgets all of it.

BIN := .venv/bin
# Three stamps: the demo needs only what users need, the package; the tools develop it; the peers are measured beside it.
RUNTIME := .venv/.runtime-is-set-up
TOOLS := .venv/.tools-are-set-up
PEERS := .venv/.peers-are-set-up

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check format compiled bench soak clean

help:
	@echo 'make demo     two agents, one invitation, three jobs, over a real encrypted link (under 20 s)'
	@echo 'make test     format, lint, types and all tests; what .ci/run runs'
	@echo 'make check    format, lint and types only'
	@echo 'make format   let ruff put the source in order'
	@echo 'make compiled the engine compiled to C, under build/compiled (a minute; needs a C compiler)'
	@echo 'make bench    throughput and latency on this machine, beside Celery, NATS and others (10 minutes)'
	@echo 'make soak     the suites that play chance, a hundred times over; goes on where it stopped; SUITES="pure kills"'
	@echo 'make clean    remove .venv, caches and built files'
	@echo 'PYTHON=...    chooses the interpreter that .venv is made from; TESTS="..." what make test gives pytest'
	@echo 'ONLY=a,b      what make bench measures: $(MEASURED); SERVERS=install, as root, brings Redis and NATS'

demo: $(RUNTIME)
	@$(BIN)/mesh demo

# All steps run, so that one call shows all there is to mend; the last line is pytest's own.
TESTS ?= tests
test: $(TOOLS)
	@$(CHECKS); \
	$(BIN)/python -m pytest -q -n auto --dist loadfile $(TESTS) || failed="$$failed tests"; \
	$(VERDICT)

check: $(TOOLS)
	@$(CHECKS); $(VERDICT)

format: $(TOOLS)
	@$(BIN)/ruff check --quiet --fix .; $(BIN)/ruff format --quiet .

compiled: $(TOOLS)
	@$(BIN)/python -m tests.compiled

# Whatever peer is not there is left out, visibly, and so is the compiled engine without a C compiler. BENCH_QUICK=1 shows in three minutes whether all of it works.
bench: $(TOOLS) $(PEERS)
	@$(SERVERS_$(SERVERS))
	@BENCH_COMMAND='make bench$(if $(ONLY), ONLY=$(ONLY))' \
	    $(BIN)/python -m pytest -q -s -o python_files='bench_*.py' $(BENCHMARKS)

comma := ,
MEASURED := $(patsubst tests/benchmarks/bench_%.py,%,$(wildcard tests/benchmarks/bench_*.py))
BENCHMARKS = $(if $(ONLY),$(patsubst %,tests/benchmarks/bench_%.py,$(subst $(comma), ,$(ONLY))),tests/benchmarks)

define SERVERS_install
if [ "$$(id -u)" != 0 ]; then echo 'SERVERS=install needs root' >&2; exit 1; fi; \
{ apt-get update && apt-get install --yes redis-server nats-server; } >/dev/null
endef

# In turns, with new seeds each; Ctrl-C ends it, and the next one goes on from there (tests/soak.py).
soak: $(TOOLS)
	@$(BIN)/python -m tests.soak $(SUITES)

clean:
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .soak
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the steps of check and test: one line each when all is well, the tool's own words when not ---

define CHECKS
failed=; \
step() { \
    name=$$1; shift; \
    if said=$$("$$@" 2>&1); then echo "$$name: ok"; \
    else failed="$$failed $$name"; echo "$$name: failed"; echo "$$said"; fi; \
}; \
step format $(BIN)/ruff format --check .; \
step lint $(BIN)/ruff check .; \
step types $(BIN)/mypy --strict
endef

VERDICT = if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

# --- setting up ---

# pip 25.1 is the first that reads dependency groups, and newer than what any Debian stable brings.
$(TOOLS): $(RUNTIME)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(PEERS): $(TOOLS)
	@if $(BIN)/python -m pip install --quiet --group bench; then touch $@; \
	else echo 'The peers could not be installed; those that are missing are left out' >&2; fi

$(RUNTIME): pyproject.toml
	@$(MAKE_VENV)
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# Finds an interpreter by running it: a name on the PATH may be a stub for a version that is not installed.
# Debian's python3 comes without ensurepip, and `python3 -m venv` would leave half a .venv behind.
define MAKE_VENV
set -e; \
new='import sys; sys.exit(sys.version_info < (3, 11))'; \
if $(BIN)/python -c "$$new" 2>/dev/null; then exit 0; fi; \
python=; \
for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14); do \
    if "$$name" -c "$$new" 2>/dev/null; then python=$$name; break; fi; \
done; \
if [ -z "$$python" ]; then \
    echo 'Python 3.11 or newer was not found. Install it (Debian: apt-get install python3 python3-venv),' >&2; \
    echo 'or name it: make PYTHON=/path/to/python3' >&2; \
    exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
    package=$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
        echo "Installing the Debian package $$package, which $$python needs to make .venv" >&2; \
        { apt-get update && apt-get install --yes "$$package"; } >/dev/null || true; \
    fi; \
    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
        echo "$$python cannot make a virtual environment: the Debian package $$package is missing." >&2; \
        echo "Install it and try again: sudo apt-get install $$package" >&2; \
        exit 1; \
    fi; \
fi; \
echo "Setting up .venv with $$("$$python" --version), once; this takes a minute" >&2; \
rm -rf .venv; \
"$$python" -m venv .venv
endef
