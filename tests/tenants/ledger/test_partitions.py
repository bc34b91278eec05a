"""The ledger's table on PostgreSQL: every row has a place, months are made ahead, old ones go whole."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, connection, transaction

from gateway_project import doctor
from gateway_project.lib import clock
from responses_api.jobs import BY_NAME
from tenants import migrations, triggers
from tenants.billing import retention
from tenants.billing.instants import month_of
from tenants.ledger import partitions
from tenants.ledger.ingest import ingest_all
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import Spool
from tenants.models import Tenant, UsageRow
from tests.support.usage_rows import id_at, usage
from tests.tenants.ledger.conftest import write_call

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

TABLE = partitions.TABLE


@pytest.fixture(autouse=True)
def _is_divided() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no partitions")


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Move the clock to the 20th, seven months from now; the job has not run since."""
    month, _ = month_of(clock.now(), "UTC")
    at = first_of(month, 7) + timedelta(days=19)
    monkeypatch.setattr(clock, "timestamp", at.timestamp)
    return at


def first_of(month: datetime, count: int) -> datetime:
    """The beginning of the month so many months later."""
    for _ in range(count):
        _, month = month_of(month, "UTC")
    return month


def sql(statement: str, *parameters: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def places() -> dict[datetime, str]:
    """Return the partitions in which rows lie, by when they were opened."""
    found = sql(f"SELECT opened_at, tableoid::regclass::text FROM {TABLE}")
    return {at.astimezone(UTC): name.removeprefix(f"{TABLE}_") for at, name in found}


def names() -> list[str]:
    return [one.name.removeprefix(f"{TABLE}_") for one in partitions.in_order()]


def finding() -> str:
    (found,) = doctor.database.check_partitions(doctor.facts.read())
    return found.level


def test_every_row_has_a_place_whatever_its_time(tenant: Tenant):
    now, year = clock.now(), timedelta(days=366)
    for at in (now, now + timedelta(days=32), now - year, now + year):
        usage(tenant, at)
    this, following = now.strftime("%Y_%m"), (now + timedelta(days=32)).strftime("%Y_%m")
    assert sorted(places().values()) == sorted([this, following, "before", "default"])
    assert UsageRow.objects.count() == 4
    assert finding() == "hint"  # a row without a month


def test_months_are_made_ahead_and_take_over_what_came_before_them(tenant: Tenant, later: datetime):
    rows = [usage(tenant, later), usage(tenant, later - timedelta(days=31))]
    lost = usage(tenant, later + timedelta(days=400))
    assert set(places().values()) == {"default"}
    assert finding() == "broken"

    BY_NAME["make_partitions"].run()

    months = [f"{first_of(later.replace(day=1), n):%Y_%m}" for n in range(4)]
    assert names()[-4:] == months
    assert places() == {
        rows[0].opened_at: f"{later:%Y_%m}",
        rows[1].opened_at: f"{later - timedelta(days=31):%Y_%m}",
        lost.opened_at: "default",
    }
    assert finding() == "hint"
    assert triggers.differences() == []
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageRow.objects.filter(pk=rows[0].pk).update(charge_nano=0)
    before = names()
    BY_NAME["make_partitions"].run()
    assert names() == before


def test_a_month_goes_when_its_last_row_may(tenant: Tenant, later: datetime, settings: Any):
    settings.USAGE_DAYS = 45  # so that the horizon lies within a month
    BY_NAME["make_partitions"].run()
    month = later.replace(day=1)
    horizon = (later - timedelta(days=45)).replace(hour=0, minute=0, second=0, microsecond=0)
    old = horizon.replace(day=1) - timedelta(days=40)
    partly = horizon - timedelta(hours=1)
    for at in (old, old + timedelta(days=1), partly, horizon, month):
        usage(tenant, at, marked=False)
    ancient = usage(tenant, clock.now() - timedelta(days=4000), marked=False)

    assert retention.purge(later) == 1  # the ancient one, of a partition without an end

    assert f"{old:%Y_%m}" not in names()
    assert not UsageRow.objects.filter(pk=ancient.pk).exists()
    assert sorted(places()) == [partly, horizon, month]
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageRow.objects.filter(opened_at=month).delete()


def test_one_row_that_may_not_go_keeps_its_month(tenant: Tenant, later: datetime, settings: Any):
    settings.USAGE_DAYS = 45
    BY_NAME["make_partitions"].run()
    old = later - timedelta(days=100)
    usage(tenant, old, marked=False)
    usage(tenant, later, marked=False, id=id_at(old))  # it waited for long until it was opened
    retention.purge(later)
    assert UsageRow.objects.count() == 2


def test_a_spool_that_is_read_after_its_month_was_deleted_is_booked(
    tenant: Tenant, later: datetime, settings: Any, spools: Path
):
    settings.USAGE_DAYS = 45
    BY_NAME["make_partitions"].run()
    old = later - timedelta(days=100)
    retention.purge(later)
    spool = Spool(spools, least_free_percent=0)
    call = row_id(f"req_{id_at(old).hex[:-4]}0000", 0)
    write_call(spool, id=call, at_ms=int(old.timestamp() * 1000), tenant_id=tenant.pk)

    assert ingest_all(spools).rows == 1

    assert list(places().values()) == ["default"]
    assert retention.purge(later) == 1


def test_many_old_rows_without_a_month_go_at_once(tenant: Tenant):
    for _ in range(3):
        usage(tenant, clock.now() - timedelta(days=4000), marked=False)
    work = retention.RowPurge(retention.move_horizon(clock.now()), batch=2)
    while work.step():
        pass
    assert (work.purged, UsageRow.objects.count()) == (0, 0)
    assert "before" in names()


def test_a_trigger_that_one_partition_lacks_is_missed():
    sql(f"ALTER TABLE {partitions.DEFAULT} DISABLE TRIGGER tollgate_usagerow_delete")
    assert triggers.differences() == [
        "The trigger tollgate_usagerow_delete is not as it should be."
    ]
    triggers.install()
    assert triggers.differences() == []


@contextmanager
def fresh_table() -> Iterator[None]:
    """Leave the table as `migrate` makes it."""
    try:
        yield
    finally:
        with patch.object(clock, "timestamp", time.time):
            sql(f"TRUNCATE {TABLE}")
            migration().unite(None, connection.schema_editor())
            migration().divide(None, connection.schema_editor())


def migration() -> Any:
    (path,) = Path(migrations.__path__[0]).glob("*_usage_by_month.py")
    return importlib.import_module(f"tenants.migrations.{path.stem}")


def shape() -> set[tuple[str, ...]]:
    """Return the table's columns, keys, checks, indexes, triggers and grants, by name and definition."""
    found = sql(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull::text FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped UNION ALL "
        "SELECT conname, pg_get_constraintdef(oid), '' FROM pg_constraint WHERE conrelid = %s::regclass "
        "UNION ALL SELECT indexname, replace(indexdef, 'ON ONLY', 'ON'), '' FROM pg_indexes "
        "WHERE tablename = %s UNION ALL SELECT tgname, pg_get_triggerdef(oid), tgenabled::text "
        "FROM pg_trigger WHERE tgrelid = %s::regclass UNION ALL "
        "SELECT grantee, privilege_type, is_grantable FROM information_schema.role_table_grants "
        "WHERE table_name = %s",
        *[TABLE] * 5,
    )
    return set(found)


@pytest.mark.django_db(transaction=True)
def test_a_table_becomes_partitions_and_one_table_again(tenant: Tenant):
    with fresh_table():
        sql(f"GRANT SELECT ON {TABLE} TO PUBLIC")
        now = clock.now()
        for at in (now - timedelta(days=500), now, now + timedelta(days=31)):
            usage(tenant, at)
        rows, divided = list(UsageRow.objects.values_list()), shape()

        migration().unite(None, connection.schema_editor())
        assert not partitions.in_order()
        assert (list(UsageRow.objects.values_list()), shape()) == (rows, divided)
        assert triggers.differences() == []
        usage(tenant, now)
        rows = list(UsageRow.objects.values_list())

        sql(f"CREATE VIEW report AS SELECT * FROM {TABLE}")
        with pytest.raises(CommandError, match="report"):
            migration().divide(None, connection.schema_editor())
        sql("DROP VIEW report")
        with closing(connection.cursor()) as cursor:
            newest = migration()._newest(cursor)
            migration()._check(
                cursor, migration()._bound(newest)
            )  # interrupted here, and begun again
        migration().divide(None, connection.schema_editor())

        assert (list(UsageRow.objects.values_list()), shape()) == (rows, divided)
        assert set(places().values()) == {"before"}  # nothing was copied
        assert triggers.differences() == []
        assert finding() == "ok"


@pytest.mark.django_db(transaction=True)
def test_several_at_once_make_each_month_once_and_drop_it_once(
    tenant: Tenant, later: datetime, settings: Any
):
    settings.USAGE_DAYS = 45

    def together(work: Any) -> None:
        start = threading.Barrier(3)

        def do() -> None:
            start.wait()
            try:
                work()
            finally:
                connection.close()

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(do) for _ in range(3)]:
                done.result()
        work()  # one who found somebody else at it left the rest to the next turn

    with fresh_table():
        together(BY_NAME["make_partitions"].run)
        assert partitions.missing_months(later) == []
        assert len(names()) == len(set(names()))
        for days in (80, 110, 140):
            usage(tenant, later - timedelta(days=days), marked=False)
        kept = usage(tenant, later, marked=False)
        together(lambda: retention.purge(later))
        assert UsageRow.objects.get() == kept
        assert names()[2] == f"{later - timedelta(days=45):%Y_%m}"


@pytest.mark.django_db(transaction=True)
def test_a_month_dropped_while_the_partitions_are_listed_is_not_among_them(
    tenant: Tenant, later: datetime, settings: Any
):
    settings.USAGE_DAYS = 45

    def drop() -> None:
        try:
            retention.purge(later)
        finally:
            connection.close()

    with fresh_table():
        oldest = names()[2]
        with transaction.atomic():
            # Rows as of now, of this whole transaction and not of one statement alone.
            sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            sql("SELECT 1")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(drop).result()
            assert oldest not in names()


@pytest.mark.django_db(transaction=True)
def test_who_finds_the_table_busy_leaves_it_for_later(
    tenant: Tenant, later: datetime, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.USAGE_DAYS = 45
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "50ms")

    def busily(work: Any) -> None:
        """Do it while another connection reads the whole table."""
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            UsageRow.objects.count()
            pool.submit(apart, work).result()

    def apart(work: Any) -> None:
        try:
            work()
        finally:
            connection.close()

    with fresh_table():
        before = names()
        busily(BY_NAME["make_partitions"].run)
        assert names() == before
        BY_NAME["make_partitions"].run()
        usage(tenant, later - timedelta(days=100), marked=False)
        busily(lambda: retention.purge(later))
        assert UsageRow.objects.count() == 1
        retention.purge(later)
        assert UsageRow.objects.count() == 0
