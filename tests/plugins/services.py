"""Which tests meet a real PostgreSQL or Redis, and proof that they did.

The suite runs on SQLite and in-process counters, whatever DATABASE_URL and REDIS_URL say. A test
marked `postgres` or `redis` finds those variables in its environment, and is skipped when they
are not set. Two variables change that:

* TOLLGATE_TEST_DATABASE=postgres runs everything selected on both servers, and fails unless the
  database really is PostgreSQL and a test passed on it.
* TOLLGATE_REQUIRE_SERVICES=1 fails a run in which no `postgres` or no `redis` test passed.
"""

from __future__ import annotations

import os

import pytest
from _pytest.terminal import TerminalReporter

VARIABLES = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}

URLS = {mark: os.environ.get(variable, "") for mark, variable in VARIABLES.items()}
ON_POSTGRES = os.environ.get("TOLLGATE_TEST_DATABASE") == "postgres"
REQUIRED = os.environ.get("TOLLGATE_REQUIRE_SERVICES") == "1"

if not ON_POSTGRES:
    # Here, because this module is imported before Django's settings read the environment.
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)

passed: set[str] = set()
marked: dict[str, set[str]] = {mark: set() for mark in VARIABLES}


def pytest_configure(config: pytest.Config) -> None:
    if ON_POSTGRES and not URLS["postgres"].startswith("postgres"):
        raise pytest.UsageError(
            "TOLLGATE_TEST_DATABASE=postgres needs a DATABASE_URL of PostgreSQL; "
            "`make services` starts one and names it in var/services.env."
        )


def pytest_report_header(config: pytest.Config) -> str:
    known = ", ".join(mark for mark, url in URLS.items() if url) or "none"
    return f"database: {database_vendor()}; services for marked tests: {known}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, variable in VARIABLES.items():
            if item.get_closest_marker(mark) is None:
                continue
            marked[mark].add(item.nodeid)
            if not URLS[mark]:
                item.add_marker(pytest.mark.skip(reason=f"{variable} is not set"))


@pytest.fixture(autouse=True)
def _service_urls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for mark, variable in VARIABLES.items():
        if request.node.get_closest_marker(mark) is not None:
            monkeypatch.setenv(variable, URLS[mark])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        passed.add(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and complaints(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    for complaint in complaints(config):
        terminalreporter.write_line(f"ERROR: {complaint}", red=True)


def complaints(config: pytest.Config) -> list[str]:
    """What was promised of this run and did not happen."""
    if config.option.collectonly:
        return []
    found = []
    if ON_POSTGRES and database_vendor() != "postgresql":
        found.append(f"the tests ran on {database_vendor()}, not on postgresql")
    if ON_POSTGRES and not passed:
        found.append("no test passed on PostgreSQL")
    if REQUIRED:
        found += [
            f"services are required, but no test marked {mark!r} passed ({variable} is "
            f"{'set' if URLS[mark] else 'not set'})"
            for mark, variable in VARIABLES.items()
            if not marked[mark] & passed
        ]
    return found


def database_vendor() -> str:
    from django.db import connection  # noqa: PLC0415 - only after the settings

    return connection.vendor
