"""Dump and restore PostgreSQL with its own programs, which must be on the PATH.

Sums and places in spools are read in the very snapshot that is dumped. Where the database is, and what opens
it, stands in a file that only we can read, for the time of the call: everybody on the machine sees arguments.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway_project.backup import files
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.progress import ProgressTeller

NAME = "database.dump"
SERVICE = "tollgate"  # as the file for libpq calls it
POLL_SECONDS = 0.5
# Options of Django's, which libpq does not know.
_DJANGOS = frozenset({"assume_role", "isolation_level", "pool", "server_side_binding"})


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """The address of a database: `conninfo` has no password, `environment` has it."""

    conninfo: str = field(repr=False)  # options of the URL may be secrets, too
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PostgresServer:
        """Return that of Django's settings of a database."""
        options = {k: v for k, v in settings.get("OPTIONS", {}).items() if k not in _DJANGOS}
        named = {
            "dbname": settings["NAME"], "user": settings["USER"], "host": settings["HOST"],
            "port": settings["PORT"],
        }  # fmt: skip
        conninfo = make_conninfo(**{k: v for k, v in named.items() if v}, **options)
        password = {"PGPASSWORD": settings["PASSWORD"]} if settings["PASSWORD"] else {}
        inherited = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"} or k[:2] == "PG"}
        return cls(conninfo, {**inherited, "PGTZ": "UTC", "LC_ALL": "C", **password})

    def named(self, database: str) -> PostgresServer:
        return PostgresServer(make_conninfo(self.conninfo, dbname=database), self.environment)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        password = self.environment.get("PGPASSWORD")
        try:
            return psycopg.connect(make_conninfo(self.conninfo, password=password), **options)
        except psycopg.Error as error:
            raise BackupFailed(f"The database cannot be reached: {_line(error)}.") from error

    def version(self) -> int:
        """Return the server's major version."""
        with self.connect() as connection:
            return connection.info.server_version // 10_000

    def has_tables(self) -> bool:
        with self.connect() as connection:
            found = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' "
                "AND n.nspname <> 'information_schema')"
            ).fetchone()
        return bool(found and found[0])


def program_version(program: str) -> int:
    """Return the major version of pg_dump or pg_restore. Raise BackupFailed if it is not there."""
    if shutil.which(program) is None:
        raise BackupFailed(
            f"{program} was not found on the PATH: install PostgreSQL's client programs "
            "(Debian: apt-get install postgresql-client)."
        )
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\) (\d+)", told.stdout)
    if found is None:
        raise BackupFailed(f"{program} --version says {told.stdout.strip()!r}.")
    return int(found[1])


@contextmanager
def snapshot(server: PostgresServer) -> Iterator[tuple[Any, str]]:
    """Give a cursor that sees one moment, and the name under which others see the same."""
    with server.connect() as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            row = cursor.fetchone()
            assert row is not None
            yield cursor, row[0]


def refuse_old_dump(server: PostgresServer) -> int:
    """Return the version of pg_dump. Raise BackupFailed if it is older than the server."""
    ours, theirs = program_version("pg_dump"), server.version()
    if ours < theirs:
        raise BackupFailed(
            f"pg_dump on the PATH is version {ours}, the server is {theirs}: a dump needs the client "
            f"programs of version {theirs} or newer (Debian: postgresql-client-{theirs})."
        )
    return ours


def dump(
    server: PostgresServer, snapshot_name: str, target: Path, progress: ProgressTeller
) -> None:
    """Write the snapshot to a new file. Raise BackupFailed."""
    files.create(target).close()
    arguments = [
        "pg_dump", "--format=custom", "--no-owner", "--no-acl", "--no-comments",
        f"--snapshot={snapshot_name}", f"--file={target}", f"--dbname=service={SERVICE}",
    ]  # fmt: skip
    _run(arguments, server, lambda: progress.tell(f"{_megabytes(target)} MB written"))
    files.sync(target)


def restore(server: PostgresServer, source: Path, progress: ProgressTeller) -> None:
    """Put a dump into an empty database, whole or not at all. Raise BackupFailed."""
    arguments = [
        "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction",
        f"--dbname=service={SERVICE}", str(source),
    ]  # fmt: skip
    _run(arguments, server, lambda: progress.tell("pg_restore is at work"))


def refuse_old_restore(dump_version: int, server: PostgresServer | None, made_on: int) -> None:
    """Raise BackupFailed if pg_restore or the server are older than those that a dump is from."""
    ours = program_version("pg_restore")
    if ours < dump_version:
        raise BackupFailed(
            f"pg_restore on the PATH is version {ours}, but pg_dump {dump_version} wrote this backup: "
            f"install the client programs of version {dump_version} or newer."
        )
    if server is not None and server.version() < made_on:
        raise BackupFailed(
            f"The backup is of PostgreSQL {made_on}, this server is {server.version()}: restore to the "
            "same version or a newer one."
        )


@contextmanager
def scratch(server: PostgresServer) -> Iterator[PostgresServer]:
    """Make a database beside the one that is named, and drop it again."""
    name = f"tollgate_check_{secrets.token_hex(6)}"
    with server.connect(autocommit=True) as connection:
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
            )
        except psycopg.Error as error:
            raise BackupFailed(f"No scratch database can be made: {_line(error)}.") from error
        try:
            yield server.named(name)
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _run(arguments: list[str], server: PostgresServer, tell: Any) -> None:
    with _service_file(server) as path, tempfile.TemporaryFile("w+") as told:
        environment = {**server.environment, "PGSERVICEFILE": path}
        process = subprocess.Popen(  # noqa: S603
            arguments, env=environment, stdout=subprocess.DEVNULL, stderr=told
        )
        try:
            while True:
                try:
                    code = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    tell()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code:
            told.seek(0)
            lines = [line.strip() for line in told.read().splitlines() if line.strip()]
            raise BackupFailed(f"{arguments[0]} failed: {lines[0] if lines else f'code {code}'}")


@contextmanager
def _service_file(server: PostgresServer) -> Iterator[str]:
    """Write down where the database is, as libpq reads it ("The Connection Service File" in its manual).

    Its lines know no quotes. Raise BackupFailed if a value has several lines.
    """
    options = conninfo_to_dict(server.conninfo)
    if broken := [name for name, value in options.items() if "\n" in str(value)]:
        raise BackupFailed(f"DATABASE_URL: {broken[0]} has several lines.")
    with tempfile.NamedTemporaryFile("w", prefix="tollgate-", encoding="utf-8") as file:
        file.write("".join([f"[{SERVICE}]\n", *(f"{k}={v}\n" for k, v in options.items())]))
        file.flush()
        yield file.name


def _megabytes(path: Path) -> int:
    return path.stat().st_size // 1_000_000


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
