"""Select the tests that meet a real PostgreSQL or Redis, and prove that they did.

The suite runs on SQLite and in-process counters, whatever DATABASE_URL and REDIS_URL say. A test
marked `postgres` or `redis` finds those variables in its environment, and is skipped when they
are not set. Two variables change that:

* TOLLGATE_TEST_DATABASE=postgres runs everything selected on both servers, and fails unless the
  database really is PostgreSQL and a test passed on it.
* TOLLGATE_REQUIRE_SERVICES=1 fails any other run in which no `postgres` or no `redis` test passed. Tests
  of processes make databases of their own, so that they need not run again on PostgreSQL.

With `-n`, each of several processes has databases of its own (pytest-django names them) and, because what is
published is heard in all databases of a server, a Redis of its own.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from tests.support.redis_server import PROGRAM, RedisServer

VARIABLES = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
# Each has some twenty connections of one PostgreSQL, which allows a hundred in its factory settings.
MOST_PROCESSES = 4


def url_of(variable: str) -> str:
    """Return the variable as it was when the run began; the run's processes start with it hidden."""
    kept = f"TOLLGATE_TESTS_{variable}"
    return os.environ.setdefault(kept, os.environ.get(variable, ""))


# Which tests of processes copy (tests/processes/conftest.py): all processes of this run the same.
TEMPLATE_DATABASE = os.environ.setdefault(
    "TOLLGATE_TESTS_TEMPLATE", f"serve_template_{secrets.token_hex(6)}"
)

URLS = {mark: url_of(variable) for mark, variable in VARIABLES.items()}
ON_POSTGRES = os.environ.get("TOLLGATE_TEST_DATABASE") == "postgres"
REQUIRED = os.environ.get("TOLLGATE_REQUIRE_SERVICES") == "1"

own_redis: RedisServer | None = None
if os.environ.get("PYTEST_XDIST_WORKER") and URLS["redis"]:
    _redis_home = tempfile.TemporaryDirectory(prefix="tollgate-tests-redis-")
    own_redis = RedisServer(Path(_redis_home.name))
    own_redis.start()
    URLS["redis"] = own_redis.url
    os.environ["REDIS_URL"] = own_redis.url

if not ON_POSTGRES:
    # Here, because this module is imported before Django's settings read the environment.
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)

ANY = "any"
passed: set[str] = set()  # the marks of tests that passed, and that of any test


@pytest.hookimpl(tryfirst=True)  # xdist has an answer of its own, and is asked first otherwise
def pytest_xdist_auto_num_workers() -> int:
    """Return what `-n auto` means: more processes than cores, where each can have a Redis."""
    if URLS["redis"] and PROGRAM is None:
        return 0
    # Many tests wait more than they work, those of real processes above all: others use their core meanwhile.
    # Each further process collects all tests, which takes five seconds of processor time.
    return min(len(os.sched_getaffinity(0)) + 1, MOST_PROCESSES)


def pytest_unconfigure() -> None:
    if own_redis is not None:
        own_redis.stop()


def pytest_configure(config: pytest.Config) -> None:
    if ON_POSTGRES and not URLS["postgres"].startswith("postgres"):
        raise pytest.UsageError(
            "TOLLGATE_TEST_DATABASE=postgres needs a DATABASE_URL of PostgreSQL; "
            "`make services` starts one and names it in var/services.env."
        )


def pytest_report_header(config: pytest.Config) -> str:
    known = ", ".join(mark for mark, url in URLS.items() if url) or "none"
    return f"database: {database_vendor()}; services for marked tests: {known}"


@pytest.hookimpl(trylast=True)  # of those that `-m` has left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark, variable in VARIABLES.items():
            if item.get_closest_marker(mark) is None:
                continue
            if not URLS[mark]:
                item.add_marker(pytest.mark.skip(reason=f"{variable} is not set"))


@pytest.fixture(autouse=True)
def _service_urls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for mark, variable in VARIABLES.items():
        if request.node.get_closest_marker(mark) is not None:
            monkeypatch.setenv(variable, URLS[mark])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        passed.update(VARIABLES.keys() & report.keywords, {ANY})


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and complaints(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if URLS["postgres"] and not hasattr(session.config, "workerinput"):
        drop_template(URLS["postgres"])


def drop_template(url: str) -> None:
    import psycopg  # noqa: PLC0415 - only where there is a PostgreSQL

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{TEMPLATE_DATABASE}" WITH (FORCE)')


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    for complaint in complaints(config):
        terminalreporter.write_line(f"ERROR: {complaint}", red=True)


def complaints(config: pytest.Config) -> list[str]:
    """Return what was required of this run and did not happen."""
    if config.option.collectonly or hasattr(config, "workerinput"):
        return []
    found = []
    if ON_POSTGRES and database_vendor() != "postgresql":
        found.append(f"the tests ran on {database_vendor()}, not on postgresql")
    if ON_POSTGRES and not passed:
        found.append("no test passed on PostgreSQL")
    if REQUIRED and not ON_POSTGRES:
        found += [
            f"services are required, but no test marked {mark!r} passed ({variable} is "
            f"{'set' if URLS[mark] else 'not set'})"
            for mark, variable in VARIABLES.items()
            if mark not in passed
        ]
    return found


def database_vendor() -> str:
    from django.db import connection  # noqa: PLC0415 - only after the settings

    return connection.vendor
