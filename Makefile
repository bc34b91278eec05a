# Every command of the project; `make` alone lists them. Needs GNU make, sh and Python 3.11 or newer.
# What is generated lies under var/ (data, caches) or $(VENV) (the environment), nowhere else.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# uv only computes the lock files; nothing else needs it.
UV := uv==0.13.8

RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
PYTEST := $(RUN) -m pytest -n $(or $(JOBS),auto) --dist worksteal $(if $(LONG),--durations=40)
SELECTION := not client_programs$(if $(LONG),, and not long)
PERSISTENCE := persistence$(if $(LONG),, and not long)

# A stamp carries its lock file's checksum in its name: an unchanged lock costs no Python start.
checksum = $(shell cksum < $(1) 2>/dev/null | tr ' ' -)
RUNTIME_STAMP := $(VENV)/.runtime-$(call checksum,requirements/base.lock)
DEV_STAMP := $(VENV)/.dev-$(call checksum,requirements/dev.lock)

# Client programs share no environment with the gateway, and lie outside the tree that is checked.
CLIENTS := var/clients
NODE_PROJECT := tests/contract/js
PYTHON_CLIENTS := $(CLIENTS)/python/.ready-$(call checksum,requirements/clients.lock)
NODE_CLIENTS := $(CLIENTS)/node/.ready-$(call checksum,$(NODE_PROJECT)/package-lock.json)
NPM_FLAGS := --no-audit --no-fund --ignore-scripts --engine-strict=false --loglevel=error

export HYPOTHESIS_STORAGE_DIRECTORY ?= var/hypothesis

.DEFAULT_GOAL := help
.PHONY: help install up test test-long test-clients check format bench chaos soak services services-stop lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(DEV_STAMP) ## make the environment with the development tools (VENV= elsewhere)

up: $(RUNTIME_STAMP) ## install, migrate, seed on first boot and serve (PORT=8000)
	@exec $(MANAGE) serve --quickstart --host 127.0.0.1 --port $(PORT)

# The services of `make services`, when they answer, or those of DATABASE_URL and REDIS_URL.
test: $(DEV_STAMP) ## run the tests, on PostgreSQL and Redis too where there are any (LONG=1: all; JOBS=0: in one process)
	@if [ -z "$$DATABASE_URL$$REDIS_URL" ] && deploy/services status >/dev/null 2>&1; then \
	    set -a; . var/services.env; set +a; \
	fi; \
	$(PYTEST) -m "$(SELECTION)" || exit $$?; \
	case "$$DATABASE_URL" in postgres*) \
	    TOLLGATE_TEST_DATABASE=postgres $(PYTEST) -m "$(PERSISTENCE)" ;; \
	esac

test-long: ## run the tests with the long ones
	@$(MAKE) --no-print-directory test LONG=1

test-clients: $(DEV_STAMP) $(PYTHON_CLIENTS) $(NODE_CLIENTS) ## drive real clients: Codex, SDKs in Python and JavaScript
	$(PYTEST) -m clients

check: $(DEV_STAMP) ## formatting, lint, types, import arrows, migrations
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --cache-dir var/cache/import-linter
	$(MANAGE) makemigrations --check --dry-run
	$(MANAGE) check

format: $(DEV_STAMP) ## format and fix what can be fixed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(DEV_STAMP) ## measure the gateway (ARGS= for the bench's own options)
	@$(RUN) -m bench $(ARGS)

# With the services of `make services`, when they answer: two workers need Redis.
chaos: $(DEV_STAMP) ## kill workers and ingester under load and compare the books (SECONDS=100 DB=sqlite|postgres)
	@if [ -z "$$DATABASE_URL$$REDIS_URL" ] && deploy/services status >/dev/null 2>&1; then \
	    set -a; . var/services.env; set +a; \
	fi; \
	$(RUN) -m bench.chaos --seconds $(or $(SECONDS),100) --database $(or $(DB),sqlite) $(ARGS)

soak: $(DEV_STAMP) ## many calls, some left midway: memory and descriptors stay (ARGS="--requests 100000 --aborted 20")
	@$(RUN) -m bench.soak $(ARGS)

services: ## start throw-away PostgreSQL and Redis, named in var/services.env
	@deploy/services start

services-stop: ## end and remove them
	@deploy/services stop

# Keeps the pins that still fit; UPGRADE=1 takes the newest ones. Nothing younger than seven days.
lock: ## compute requirements/*.lock and the clients' package-lock.json again (UPGRADE=1)
	@$(check-python)
	@rm -rf var/lock && $(PYTHON) -m venv var/lock && var/lock/bin/python -m pip install -qq $(UV)
	@cutoff=$$($(PYTHON) -c "from datetime import datetime as d, timedelta as t, timezone as z; \
	    print((d.now(z.utc) - t(days=7)).strftime('%Y-%m-%dT%H:%M:%SZ'))"); \
	compile() { \
	    var/lock/bin/uv --no-config pip compile --quiet --universal \
	        --python-version 3.11 --generate-hashes --no-emit-index-url --exclude-newer "$$cutoff" \
	        $(if $(UPGRADE),--upgrade) --custom-compile-command "make lock (nothing after $$cutoff)" \
	        "$$@"; \
	}; \
	compile pyproject.toml -o requirements/base.lock && \
	compile pyproject.toml --group dev -c requirements/base.lock -o requirements/dev.lock && \
	compile --group clients -o requirements/clients.lock && \
	if command -v npm >/dev/null; then \
	    mkdir -p var/lock/node && cp $(NODE_PROJECT)/package*.json var/lock/node && \
	    npm install --prefix var/lock/node --package-lock-only --omit-lockfile-registry-resolved \
	        --before="$$cutoff" $(NPM_FLAGS) >/dev/null && \
	    cp var/lock/node/package-lock.json $(NODE_PROJECT); \
	else \
	    echo "npm was not found: $(NODE_PROJECT)/package-lock.json stays as it is."; \
	fi
	@rm -rf var/lock

# Leaves the data in var/ alone: it may hold the only copy of a gateway's keys.
clean: ## remove the environment and the caches, not the data
	rm -rf .venv var/cache var/clients var/hypothesis var/lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define check-python
command -v $(PYTHON) >/dev/null || { \
    echo "$(PYTHON) was not found: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)." >&2; \
    exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
    echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), but Tollgate needs 3.11 or newer; name one with PYTHON=." >&2; \
    exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
    echo "$(PYTHON) cannot make environments: install python3-venv (Debian: apt-get install python3-venv)." >&2; \
    exit 1; }
endef

# $(1): the lock file; $(2): the environment.
define install-lock
$(check-python); \
[ -x $(2)/bin/pip ] || $(PYTHON) -m venv $(2) || exit 1; \
echo "Installing $(1) into $(2) …"; \
$(2)/bin/python -m pip install -qq --no-input --disable-pip-version-check --require-hashes -r $(1)
endef

# The development lock contains the runtime one: whoever has it needs nothing more.
$(RUNTIME_STAMP):
	@$(if $(wildcard $(DEV_STAMP)),:,$(call install-lock,requirements/base.lock,$(VENV)))
	@touch $@

$(DEV_STAMP):
	@$(call install-lock,requirements/dev.lock,$(VENV))
	@touch $@

$(PYTHON_CLIENTS):
	@rm -rf $(@D)
	@$(call install-lock,requirements/clients.lock,$(@D))
	@touch $@

# Without Node its clients are skipped, saying so.
$(NODE_CLIENTS):
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	    echo "Installing $(NODE_PROJECT) into $(@D) …"; \
	    rm -rf $(@D) && mkdir -p $(@D) && cp $(NODE_PROJECT)/package*.json $(@D) && \
	    (cd $(@D) && npm ci $(NPM_FLAGS) >/dev/null) && touch $@; \
	else \
	    echo "Node.js and npm were not found: the clients that need them are skipped."; \
	fi
