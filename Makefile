# Every command of the project; `make` alone lists them. Needs GNU make, sh and Python 3.11 or newer.
# What is generated lies under var/ (data, caches) or $(VENV) (the environment), nowhere else.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000

RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
# The tier of a run says how much of each proof it takes: `default` (make test), `ci` (make test-all), `proof`.
TIER := $(or $(TOLLGATE_TIER),$(if $(LONG),ci,default))
# Without bytecode each process of a run would compile all tests again: ten seconds of processor time.
PYTEST = PYTHONDONTWRITEBYTECODE= TOLLGATE_TIER=$(TIER) $(RUN) -m pytest -n $(or $(JOBS),auto) --dist worksteal $(if $(filter default,$(TIER)),,--costs=40)
LEFT_OUT := $(if $(filter default,$(TIER)), and not long) $(if $(filter proof,$(TIER)),, and not proof)
SELECTION := not client_programs and not deploy_tools and not e2e$(LEFT_OUT)
PERSISTENCE := persistence$(LEFT_OUT)
# The others need not be imported to find that none of their tests is marked so.
PERSISTENT_FILES = $(shell grep -rl --include='test_*.py' mark.persistence tests)

# A stamp carries its lock file's checksum in its name: an unchanged lock costs no Python start.
checksum = $(shell cksum < $(1) 2>/dev/null | tr ' ' -)
RUNTIME_STAMP := $(VENV)/.runtime-$(call checksum,requirements/base.lock)
DEV_STAMP := $(VENV)/.dev-$(call checksum,requirements/dev.lock)

# Linters and validators of what is deployed, and what lists its parts: they share no environment with the gateway.
DEPLOY_TOOLS := var/deploy
DEPLOY_STAMP := $(DEPLOY_TOOLS)/.ready-$(call checksum,requirements/deploy.lock)

# Client programs share no environment with the gateway, and lie outside the tree that is checked.
CLIENTS := var/clients
NODE_PROJECT := tests/contract/js
PYTHON_CLIENTS := $(CLIENTS)/python/.ready-$(call checksum,requirements/clients.lock)
NODE_CLIENTS := $(CLIENTS)/node/.ready-$(call checksum,$(NODE_PROJECT)/package-lock.json)
NPM_FLAGS := --no-audit --no-fund --ignore-scripts --engine-strict=false --loglevel=error

export HYPOTHESIS_STORAGE_DIRECTORY ?= var/hypothesis

.DEFAULT_GOAL := help
.PHONY: help install install-others up schema commands test test-sqlite test-persistence test-all test-long proof clients test-clients e2e check check-types check-rest check-deploy image-test sbom licences format bench chaos soak services services-stop lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(DEV_STAMP) ## make the environment with the development tools (VENV= elsewhere)

# What else `.ci/run` needs: it waits for the network most of the time, so with -j all at the same time.
install-others: $(DEPLOY_STAMP) $(PYTHON_CLIENTS) $(NODE_CLIENTS)

up: $(RUNTIME_STAMP) ## install, migrate, seed on first boot and serve (PORT=8000)
	@exec $(MANAGE) serve --quickstart --host 127.0.0.1 --port $(PORT)

# The services of `make services`, when they answer, or those of DATABASE_URL and REDIS_URL.
SERVICES = if [ -z "$$DATABASE_URL$$REDIS_URL" ] && deploy/services status >/dev/null 2>&1; then \
	set -a; . var/services.env; set +a; fi

test: test-sqlite ## run the tests, on PostgreSQL and Redis too where there are any (JOBS=0: in one process)
	@$(MAKE) --no-print-directory test-persistence

test-sqlite: $(DEV_STAMP)
	@$(SERVICES); $(PYTEST) -m "$(SELECTION)"

test-persistence: $(DEV_STAMP)
	@$(SERVICES); \
	case "$$DATABASE_URL" in postgres*) \
	    TOLLGATE_TEST_DATABASE=postgres $(PYTEST) -m "$(PERSISTENCE)" $(PERSISTENT_FILES) ;; \
	esac

test-all: ## run the long tests too, and more of each proof, as CI does (TOLLGATE_SEED= chooses the samples)
	@$(MAKE) --no-print-directory test TOLLGATE_TIER=ci

test-long: test-all

# Once per piece of work, on PostgreSQL and Redis: what it finds goes to docs/performance.md and docs/ledger.md.
proof: ## run everything at full size: every case, kill loops, soak, ten million rows (hours; TOLLGATE_PROOF_ROWS=)
	@$(MAKE) --no-print-directory test TOLLGATE_TIER=proof
	@$(MAKE) --no-print-directory e2e TOLLGATE_TIER=proof
	@$(MAKE) --no-print-directory chaos SECONDS=100 DB=sqlite
	@$(MAKE) --no-print-directory chaos SECONDS=100 DB=postgres
	@$(MAKE) --no-print-directory chaos SECONDS=20 DB=sqlite ARGS="--budget 0.2"
	@$(MAKE) --no-print-directory chaos SECONDS=60 ARGS="--crash-database off --least-pause 4 --most-pause 8"
	@$(MAKE) --no-print-directory chaos SECONDS=60 ARGS="--crash-database on --least-pause 4 --most-pause 8"
	@$(MAKE) --no-print-directory chaos SECONDS=10 DB=sqlite ARGS="--control --expect-loss"
	@$(MAKE) --no-print-directory soak
	@$(SERVICES); $(if $(wildcard bench/ledger.py),$(RUN) -m bench.ledger)

clients: $(PYTHON_CLIENTS) $(NODE_CLIENTS) ## install the client programs that `make test-clients` drives

# Each client over each protocol; CI takes some of them (TOLLGATE_TIER=ci).
test-clients: TIER = $(or $(TOLLGATE_TIER),proof)
test-clients: $(DEV_STAMP) $(PYTHON_CLIENTS) $(NODE_CLIENTS) ## drive real clients: Codex, SDKs in Python and JavaScript (ONLY=client_programs)
	$(PYTEST) -m $(or $(ONLY),clients) $(if $(ONLY),tests/contract)

e2e: $(DEV_STAMP) ## drive the console in Chromium against a real server; screenshots go to var/e2e
	$(PYTEST) -m e2e tests/e2e

# Types take longer than all the rest together: beside it, where there are two cores.
check: $(DEV_STAMP) ## formatting, lint, types, import arrows, migrations
	@$(MAKE) --no-print-directory -j2 --output-sync=target check-types check-rest

# What mypy would keep for the next run, no other run of CI reads.
check-types:
	$(RUN) -m mypy $(if $(CI),--cache-dir=/dev/null)

check-rest:
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(VENV)/bin/lint-imports --cache-dir var/cache/import-linter
	$(MANAGE) makemigrations --check --dry-run  # after Django's system checks
	@DJANGO_SETTINGS_MODULE=gateway_project.settings $(RUN) -m tests.structure.migration_lint

check-deploy: $(DEV_STAMP) $(DEPLOY_STAMP) ## lint, render and validate image, compose file and chart
	$(PYTEST) -n 0 -m deploy_tools tests/deploy

# As root, with Debian's buildah and debootstrap: no base image is pulled.
image-test: $(DEV_STAMP) ## build the image and run what is in it, read-only and without rights (six minutes)
	@command -v buildah >/dev/null && command -v debootstrap >/dev/null && [ "$$(id -u)" = 0 ] || { \
	    echo "Needs root, and: apt-get install buildah debootstrap" >&2; exit 1; }
	TOLLGATE_TIER=proof $(RUN) -m pytest -n 0 tests/deploy/test_image.py

SBOM := var/sbom.json
sbom: $(DEPLOY_STAMP) ## list the parts of a release as CycloneDX (SBOM=var/sbom.json)
	@$(DEPLOY_TOOLS)/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml \
	    --output-reproducible --of JSON -o $(SBOM) requirements/base.lock
	@echo $(SBOM)

licences: $(DEV_STAMP) ## write the list of dependencies' licences anew (docs/licences.md)
	@$(RUN) deploy/licences > var/licences.new
	@mv var/licences.new docs/licences.md

format: $(DEV_STAMP) ## format and fix what can be fixed
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(DEV_STAMP) ## measure the gateway (ARGS= for the bench's own options)
	@$(RUN) -m bench $(ARGS)

# With the services of `make services`, when they answer: two workers need Redis.
chaos: $(DEV_STAMP) ## kill workers and ingester under load and compare the books (SECONDS=100 DB=sqlite|postgres)
	@$(SERVICES); \
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
	@rm -rf var/lock && $(PYTHON) -m venv var/lock && var/lock/bin/python -m pip install -qq \
	    --no-deps --require-hashes -r requirements/installer.lock
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
	compile --group deploy -o requirements/deploy.lock && \
	compile --group installer -o requirements/installer.lock && \
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
schema: $(DEV_STAMP) ## write the management API's OpenAPI schema anew (docs/openapi/management.yaml)
	@DJANGO_SETTINGS_MODULE=gateway_project.settings $(RUN) -m gateway_project.openapi > var/management.yaml
	@mv var/management.yaml docs/openapi/management.yaml

commands: $(DEV_STAMP) ## write the page of the commands anew (docs/commands.md)
	@$(RUN) -m gateway_project.command_reference > var/commands.page
	@mv var/commands.page docs/commands.md

clean: ## remove the environment and the caches, not the data
	rm -rf .venv var/cache var/clients var/deploy var/hypothesis var/installer var/installer.lock var/lock
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

# $(1): the lock file; $(2): the environment; $(3): --bare if it needs no pip.
define install-lock
$(check-python); \
echo "Installing $(1) into $(2) …"; \
$(PYTHON) deploy/install $(1) $(2) $(3)
endef

# The development lock contains the runtime one: whoever has it needs nothing more.
$(RUNTIME_STAMP):
	@$(if $(wildcard $(DEV_STAMP)),:,$(call install-lock,requirements/base.lock,$(VENV)))
	@touch $@

$(DEV_STAMP):
	@$(call install-lock,requirements/dev.lock,$(VENV))
	@touch $@

$(DEPLOY_STAMP):
	@rm -rf $(DEPLOY_TOOLS)
	@$(call install-lock,requirements/deploy.lock,$(DEPLOY_TOOLS),--bare)
	@touch $@

$(PYTHON_CLIENTS):
	@rm -rf $(@D)
	@$(call install-lock,requirements/clients.lock,$(@D),--bare)
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
