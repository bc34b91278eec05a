# Every command of the project; `make` alone lists them. Needs GNU make, sh and Python 3.11 or newer.
# What is generated lies under var/ (data, caches) or $(VENV) (the environment), nowhere else.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# uv only computes the lock files; nothing else needs it.
UV := uv==0.13.8

RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
PYTEST := $(RUN) -m pytest
NOT_LONG := $(if $(LONG),,not long)
PERSISTENCE := (persistence or postgres or redis)$(if $(LONG),, and not long)

# A stamp carries its lock file's checksum in its name: an unchanged lock costs no Python start.
checksum = $(shell cksum < $(1) 2>/dev/null | tr ' ' -)
RUNTIME_STAMP := $(VENV)/.runtime-$(call checksum,requirements/base.lock)
DEV_STAMP := $(VENV)/.dev-$(call checksum,requirements/dev.lock)

export HYPOTHESIS_STORAGE_DIRECTORY ?= var/hypothesis

.DEFAULT_GOAL := help
.PHONY: help install up test test-long check format bench services services-stop lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(DEV_STAMP) ## make the environment with the development tools (VENV= elsewhere)

up: $(RUNTIME_STAMP) ## install, migrate, seed on first boot and serve (PORT=8000)
	@exec $(MANAGE) serve --quickstart --host 127.0.0.1 --port $(PORT)

# The services of `make services`, when they answer, or those of DATABASE_URL and REDIS_URL.
test: $(DEV_STAMP) ## run the tests, on PostgreSQL and Redis too where there are any (LONG=1: all)
	@if [ -z "$$DATABASE_URL$$REDIS_URL" ] && deploy/services status >/dev/null 2>&1; then \
	    set -a; . var/services.env; set +a; \
	fi; \
	$(PYTEST) -m "$(NOT_LONG)" || exit $$?; \
	case "$$DATABASE_URL" in postgres*) \
	    TOLLGATE_TEST_DATABASE=postgres $(PYTEST) -m "$(PERSISTENCE)" ;; \
	esac

test-long: ## run the tests with the long ones
	@$(MAKE) --no-print-directory test LONG=1

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

services: ## start throw-away PostgreSQL and Redis, named in var/services.env
	@deploy/services start

services-stop: ## end and remove them
	@deploy/services stop

# Keeps the pins that still fit; UPGRADE=1 takes the newest ones. Nothing younger than seven days.
lock: ## compute requirements/*.lock again from pyproject.toml (UPGRADE=1)
	@$(check-python)
	@rm -rf var/lock && $(PYTHON) -m venv var/lock && var/lock/bin/python -m pip install -qq $(UV)
	@cutoff=$$($(PYTHON) -c "from datetime import datetime as d, timedelta as t, timezone as z; \
	    print((d.now(z.utc) - t(days=7)).strftime('%Y-%m-%dT%H:%M:%SZ'))"); \
	compile() { \
	    var/lock/bin/uv --no-config pip compile pyproject.toml --quiet --universal \
	        --python-version 3.11 --generate-hashes --no-emit-index-url --exclude-newer "$$cutoff" \
	        $(if $(UPGRADE),--upgrade) --custom-compile-command "make lock (nothing after $$cutoff)" \
	        "$$@"; \
	}; \
	compile -o requirements/base.lock && \
	compile --group dev -c requirements/base.lock -o requirements/dev.lock
	@rm -rf var/lock

# Leaves the data in var/ alone: it may hold the only copy of a gateway's keys.
clean: ## remove the environment and the caches, not the data
	rm -rf .venv var/cache var/hypothesis var/lock
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

define install-lock
$(check-python); \
[ -x $(VENV)/bin/pip ] || $(PYTHON) -m venv $(VENV) || exit 1; \
echo "Installing $(1) into $(VENV) …"; \
$(RUN) -m pip install -qq --no-input --disable-pip-version-check --require-hashes -r $(1)
endef

# The development lock contains the runtime one: whoever has it needs nothing more.
$(RUNTIME_STAMP):
	@$(if $(wildcard $(DEV_STAMP)),:,$(call install-lock,requirements/base.lock))
	@touch $@

$(DEV_STAMP):
	@$(call install-lock,requirements/dev.lock)
	@touch $@
