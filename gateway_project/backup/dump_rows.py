"""Read the rows of a dump of PostgreSQL without a server: pg_restore prints them as COPY's text."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gateway_project.backup.contents import (
    AMOUNTS,
    USAGE,
    Contents,
    MonthSums,
    of_rows,
    token_columns,
)
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.progress import ProgressTeller

DumpRow = dict[str, "str | None"]
PROGRAM = "pg_restore"
_ENTRY = re.compile(r"(?m)^\d+; \d+ \d+ TABLE DATA \S+ (\S+) ")
_COPY = re.compile(r"COPY .+? \((.+)\) FROM stdin;$")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def read(dump: Path, progress: ProgressTeller) -> Contents:
    """Read what a dump must prove. Raise BackupFailed if it cannot be read to its end."""
    tables = _tables(dump)
    wanted = (
        "django_migrations",
        "tenants_spoolposition",
        "tenants_keyfingerprint",
        "routing_credential",
    )
    if missing := sorted(set(wanted) - set(tables)):
        raise BackupFailed(f"The dump has no table {missing[0]}.")
    return Contents(
        **of_rows(*(rows(dump, table) for table in wanted)),
        months=_sums(
            dump, [name for name in tables if re.match(rf"{USAGE}(_\w+)?$", name)], progress
        ),
    )


def rows(dump: Path, table: str) -> Iterator[DumpRow]:
    """Return a table's rows, read as they are asked for. Raise BackupFailed."""
    arguments = [PROGRAM, "--data-only", "--file=-", f"--table={table}", str(dump)]
    with subprocess.Popen(  # noqa: S603
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        columns: list[str] = []
        for line in process.stdout:
            text = line.rstrip("\n")
            if columns:
                if text == "\\.":
                    columns = []
                else:
                    yield dict(zip(columns, map(_value, text.split("\t")), strict=True))
            elif found := _COPY.match(text):
                columns = [name.strip().strip('"') for name in found[1].split(",")]
        said = process.stderr.read().strip()
    if process.returncode:
        raise BackupFailed(
            f"The dump cannot be read: {said.splitlines()[0] if said else 'it ends early'}"
        )


def _tables(dump: Path) -> list[str]:
    listed = subprocess.run(  # noqa: S603
        [PROGRAM, "--list", str(dump)],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    if listed.returncode:
        raise BackupFailed(f"The dump cannot be read: {listed.stderr.strip()}")
    return _ENTRY.findall(listed.stdout)


def _sums(dump: Path, tables: list[str], progress: ProgressTeller) -> list[MonthSums]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    done = 0
    for table in tables:
        tokens: list[str] | None = None
        for row in rows(dump, table):
            tokens = token_columns(list(row)) if tokens is None else tokens
            month = sums[str(row["opened_at"])[:7]]
            month[0] += 1
            for place, name in enumerate(AMOUNTS, start=1):
                month[place] += int(row[name] or 0)
            month[3] += sum(int(row[name] or 0) for name in tokens)
            done += 1
            if done % 10_000 == 0:
                progress.tell(f"{done} rows of the ledger read")
    return [MonthSums(month, *sums[month]) for month in sorted(sums)]


def _value(text: str) -> str | None:
    if text == "\\N":
        return None
    return (
        _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text) if "\\" in text else text
    )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
