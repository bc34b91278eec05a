"""Money waits for the disk, also on a server whose other commits do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from gateway_project.lib import db
from tenants.billing.credits import adjust
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
from tenants.models import Budget, Tenant
from tests.tenants.ledger.conftest import write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]


@pytest.fixture
def server() -> Iterator[Any]:
    """Gives a function that sets what the session has from its server."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such setting")

    def has(value: str) -> None:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(f"SET synchronous_commit = {value}")

    yield has
    connection.close()


def commits() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize("value", ["off", "local", "remote_apply", "on"])
def test_only_a_commit_that_would_not_wait_is_made_to(server: Any, value: str) -> None:
    server(value)
    for _ in range(2):
        with db.durable_transaction():
            assert commits() == ("on" if value == "off" else value)
        assert commits() == value


def test_rows_positions_budgets_and_credit_are_written_so(server: Any, spools: Path) -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    spool = Spool(spools)
    write_call(spool)
    spool.close()
    seen: dict[str, set[str]] = {}

    def look(execute: Any, sql: str, *arguments: Any) -> Any:
        done = execute(sql, *arguments)
        verb, _, rest = sql.partition(" ")
        if verb in {"INSERT", "UPDATE", "DELETE"}:
            raw = connection.connection
            with raw.cursor() as cursor:
                found = cursor.execute("SHOW synchronous_commit").fetchone()
            table = rest.removeprefix("INTO ").removeprefix("FROM ").split()[0].strip('"')
            seen.setdefault(table, set()).add(found[0])
        return done

    server("off")
    with connection.execute_wrapper(look):
        ingest_all(spools)
        adjust(tenant.pk, 500, "gift", reason="a gift")
        Budget.objects.create(tenant=tenant, name="all", amount_nano=1, period="total")
    # Where a spool begins is nothing to lose.
    assert seen.pop("tenants_spoolposition") == {"off", "on"}
    # Rows of the ledger go by COPY, past this wrapper, in the transaction that marks their hours.
    assert {"tenants_dirtyhour", "tenants_credittransaction", "tenants_budget"} <= seen.keys()
    # Places of events in their chain are worked out again, and to the same, if they are lost.
    assert seen.pop("tenants_auditevent") == {"off", "on"}
    assert seen.pop("tenants_auditchain") == {"off"}
    assert set().union(*seen.values()) == {"on"}, seen


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_sqlite_waits_for_the_disk_where_a_loss_of_power_is_to_take_nothing(
    settings: Any, durability: str, level: int
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL waits by itself")

    def waits() -> int:
        with connection.cursor() as cursor:
            return int(cursor.execute("PRAGMA synchronous").fetchone()[0])

    settings.DURABILITY = durability
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    seen: list[int] = []

    def look(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("INSERT"):
            raw = connection.connection.execute("PRAGMA synchronous").fetchone()
            seen.append(int(raw[0]))
        return execute(sql, *arguments)

    with connection.execute_wrapper(look):
        adjust(tenant.pk, 500, "gift", reason="a gift")
        with db.durable_transaction():
            assert waits() == level
            transaction.set_rollback(True)
    assert set(seen) == {level}
    assert waits() == 1
