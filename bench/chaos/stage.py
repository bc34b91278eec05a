"""Set the stage of a run: a sandbox nobody kills, a fresh database, and a gateway of real processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg

from bench import processes
from bench.chaos import postgres
from bench.chaos.postgres import Server
from gateway_project.serving.resources import raise_file_limit

CONTROL_SETTINGS = "bench.chaos.forgetful"
BOOKS = "bench.chaos.books"
SPARE_REDIS = "/15"


@dataclass(frozen=True, slots=True)
class Stage:
    """The places and processes of a run.

    `variables` are the gateway's, without the settings of a control; `server` is the PostgreSQL that is
    to crash.
    """

    folder: Path
    variables: dict[str, str]
    sandbox_log: Path
    key: str
    server: Server | None = None

    @property
    def gateway_log(self) -> Path:
        return self.folder / "gateway.log"

    def ingest(self) -> dict[str, Any]:
        """Book everything the spools hold."""
        answer: dict[str, Any] = _said(self.variables, "manage.py", "ingest", "--once", "--json")
        return answer

    def books(self) -> Any:
        return _said(self.variables, "-m", BOOKS, "read")


@contextlib.contextmanager
def stage(
    folder: Path, database: str, budget_nano: int, crashing: str | None = None
) -> Iterator[Stage]:
    """Start everything, and stop the sandbox last, so that its log holds every call.

    With `crashing`, which is its synchronous_commit, the database is on a PostgreSQL of its own.
    """
    raise_file_limit()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres.server(crashing)) if crashing else None
        where = {"DATABASE_URL": server.url} if server else stack.enter_context(_database(database))
        variables = processes.environment(folder, **where, **_redis(), TOLLGATE_LOG_FORMAT="json")
        with _sandbox(folder) as (port, log):
            key = _said(variables, "-m", BOOKS, "prepare", str(port), str(budget_nano))["key"]
            yield Stage(folder, variables, log, key, server)


@contextlib.contextmanager
def gateway(on: Stage, workers: int, *, forgetful: bool) -> Iterator[tuple[int, int]]:
    """Run a gateway; yield its port and its supervisor."""
    variables = dict(on.variables)
    if forgetful:
        variables["DJANGO_SETTINGS_MODULE"] = CONTROL_SETTINGS
    port = processes.free_port()
    arguments = ["manage.py", "serve", "--port", str(port), "--workers", str(workers)]
    with processes.running(arguments, variables, on.gateway_log) as supervisor:
        processes.wait_until_ready(port, "/readyz", on.gateway_log)
        yield port, supervisor


@contextlib.contextmanager
def _sandbox(folder: Path) -> Iterator[tuple[int, Path]]:
    port, calls, log = processes.free_port(), folder / "calls.jsonl", folder / "sandbox.log"
    arguments = [
        "-m",
        "gateway_project.sandbox",
        "--port",
        str(port),
        "--log",
        str(calls),
        "--log-bodies",
    ]
    with processes.running(arguments, processes.environment(folder), log):
        processes.wait_until_ready(port, "/healthz", log)
        yield port, calls


@contextlib.contextmanager
def _database(kind: str) -> Iterator[dict[str, str]]:
    """Return the variable that names the database. PostgreSQL: a new database on the server of
    DATABASE_URL.
    """
    if kind == "sqlite":
        yield {}
        return
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        raise processes.NotReady("--database postgres needs DATABASE_URL (`make services`).")
    name = f"chaos_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield {"DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _redis() -> dict[str, str]:
    """Choose a database of the run's own on the server of REDIS_URL, where there is one."""
    url = os.environ.get("REDIS_URL", "")
    return {"REDIS_URL": urlsplit(url)._replace(path=SPARE_REDIS).geturl()} if url else {}


def _said(variables: dict[str, str], *arguments: str) -> Any:
    """Return the JSON that a program prints."""
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=processes.ROOT, env=variables, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return orjson.loads(run.stdout)
