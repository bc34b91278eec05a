"""A backup that is taken while calls run, put back elsewhere and served there, has what clients were told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_project.sandbox import SandboxServer
from tests.backup.conftest import CHEAP_KEYS, PASSPHRASE
from tests.processes.callers import BOOKS, CALLERS, ROWS, Callers, rows_of
from tests.processes.conftest import Prepared, new_database
from tests.processes.served import Served, environment, manage, shell
from tests.support.client import question
from tests.support.databases import url_of

CALLS = 15  # before the backup, and again after it


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, prepared: Prepared) -> dict[str, str]:
    more = {
        "TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "0",
        "TOLLGATE_BACKUP_PASSPHRASE": PASSPHRASE,
        "DJANGO_SETTINGS_MODULE": CHEAP_KEYS,
    }
    if request.param == "postgres":
        more["DATABASE_URL"] = request.getfixturevalue("migrated_postgres")
    return environment(prepared.data_dir, **more)


def books(variables: dict[str, str]) -> dict[str, Any]:
    """Read everything, and check that it adds up."""
    manage(variables, "ingest", "--once")
    manage(variables, "ledger_check")
    found: dict[str, Any] = shell(variables, BOOKS)
    ((spent, reserved),) = found["windows"]
    assert spent == sum(int(row[2]) for row in found["rows"])
    assert (reserved, found["leases"]) == (0, 0)
    return found


@contextmanager
def elsewhere(variables: dict[str, str], place: Path) -> Iterator[dict[str, str]]:
    """Another data directory and another, empty database."""
    with ExitStack() as made:
        found = {**variables, "TOLLGATE_DATA_DIR": str(place)}
        if "DATABASE_URL" in variables:
            found["DATABASE_URL"] = url_of(made.enter_context(new_database()))
        yield found


def serve_once(variables: dict[str, str], secret: str) -> None:
    """Answer one call with the key of the installation, and the secret that is sealed in it."""
    with Served(variables) as served:
        url = f"{served.root_url}/v1/chat/completions"
        headers = {"authorization": f"Bearer {secret}"}
        answer = httpx.post(url, json=question("chat", "dear", "Hi"), headers=headers)
        assert answer.status_code == 200, answer.text
        served.signal()
        assert served.wait() == 0


def test_what_clients_were_told_is_there_once_when_a_backup_is_served_elsewhere(
    variables: dict[str, str], provider: SandboxServer, tmp_path: Path
) -> None:
    secret = shell(variables, ROWS.format(url=provider.base_url))
    directory = tmp_path / "backups"
    with Served(variables) as served:
        callers = Callers(served, secret)
        with callers.calling():
            callers.wait_for(CALLS)
            before = list(callers.ended)
            manage(variables, "backup", str(directory))
            callers.wait_for(CALLS)
        served.signal()
        assert served.wait() == 0
    original = rows_of(books(variables))
    assert set(callers.ended) <= original.keys()
    manage(variables, "restore", str(directory), "--check", *scratch_of(variables))

    with elsewhere(variables, tmp_path / "restored") as restored:
        manage(restored, "restore", str(directory))
        at_backup = rows_of(books(restored))
        assert {name: at_backup[name] for name in before} == {
            name: original[name] for name in before
        }
        different = [name for name, row in at_backup.items() if original.get(name) != row]
        assert len(different) <= CALLERS  # those under way when the spools were copied
        assert {at_backup[name][1] for name in different} <= {"abandoned"}
        serve_once(restored, secret)
        assert len(books(restored)["rows"]) == len(at_backup) + 1

    survived = Path(variables["TOLLGATE_DATA_DIR"]) / "spool"
    with elsewhere(variables, tmp_path / "whole") as whole:
        manage(whole, "restore", str(directory), "--with-spools", str(survived))
        assert rows_of(books(whole)) == original


def scratch_of(variables: dict[str, str]) -> list[str]:
    return ["--scratch", variables["DATABASE_URL"]] if "DATABASE_URL" in variables else []
