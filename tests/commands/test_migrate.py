"""migrate waits shortly for tables that are in use, and comes again."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader

from gateway_project import migrating
from gateway_project.lib import applied

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]
ALTER = "ALTER TABLE tenants_tenant ALTER COLUMN slug SET NOT NULL"


@pytest.fixture
def long_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Somebody who uses a table and does not end."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of tables")
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "20ms")
    connection.ensure_connection()
    parameters = connection.get_connection_params()
    wanted = {
        k: v for k, v in parameters.items() if k in {"dbname", "user", "password", "host", "port"}
    }
    with psycopg.connect(**wanted) as other:
        other.execute("SELECT count(*) FROM tenants_tenant")
        yield other


def alter() -> str:
    with connection.cursor() as cursor:
        cursor.execute(ALTER)
    return "done"


def lock_timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return str(cursor.fetchone()[0])


def test_a_table_that_is_busy_is_asked_for_again(long_call: psycopg.Connection) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            long_call.rollback()

    usual = lock_timeout()
    assert migrating.patiently(alter, pause) == "done"
    assert pauses == [migrating.PAUSE_SECONDS] * 3
    assert lock_timeout() == usual


def test_one_that_is_never_free_is_given_up(long_call: psycopg.Connection) -> None:
    pauses: list[float] = []
    with pytest.raises(OperationalError, match="lock timeout"):
        migrating.patiently(alter, pauses.append)
    assert len(pauses) == migrating.ATTEMPTS - 1


def test_other_errors_are_not_tried_again() -> None:
    def fail() -> None:
        raise OperationalError("the database is away")

    with pytest.raises(OperationalError, match="away"):
        migrating.patiently(fail, lambda _: pytest.fail("it was tried again"))


def test_migrations_are_known_by_their_files_as_django_knows_them() -> None:
    assert set(applied.known()) == set(MigrationLoader(None).disk_migrations)


def test_the_command_is_the_patient_one(monkeypatch: pytest.MonkeyPatch) -> None:
    patient: list[object] = []
    monkeypatch.setattr(migrating, "patiently", patient.append)
    call_command("migrate", verbosity=0)
    assert len(patient) == 1
