"""Refused requests are booked once each, counted by hour, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from msgspec import structs
from pytest_django import Settings

from gateway_project.lib import clock, ids
from tenants.keys import keys
from tenants.ledger import refusal_retention, set_aside
from tenants.ledger.ingest import Ingester, ingest_all
from tenants.ledger.records import Refused, RefusedMore
from tenants.ledger.spool import Spool
from tenants.models import (
    ApiKey,
    RefusalHour,
    RefusedRequest,
    SpoolPosition,
    Tenant,
    TenantDeletion,
    UsageRow,
)
from tests.tenants.ledger.conftest import opened, settled, write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]

AT = datetime(2026, 10, 15, 12, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)


@pytest.fixture
def key() -> ApiKey:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    return keys.create(tenant, "robot")[0]


@pytest.fixture
def spool(spools: Path) -> Iterator[Spool]:
    spool = Spool(spools)
    yield spool
    spool.close()


def refused(key: ApiKey | None = None, **fields: Any) -> Refused:
    known: dict[str, Any] = {
        "id": ids.request_id().removeprefix("req_"),
        "at_ms": AT_MS,
        "http_status": 404,
        "code": "model_not_found",
        "message": "The model 'x' does not exist.",
        "route": "chat",
        "model": "x",
    }
    if key is not None:
        known |= {"tenant_id": key.tenant_id, "key_id": key.pk, "key": key.public_id}
    return Refused(**{**known, **fields})


def counted() -> int:
    total: int | None = RefusalHour.objects.aggregate(total=Sum("refusals"))["total"]
    return total or 0


def test_a_refusal_becomes_a_row_with_what_the_client_was_told(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    record = refused(key)
    spool.append(record)
    ingest_all(spools)
    row = RefusedRequest.objects.get()
    assert (row.pk.hex, row.tenant_id, row.key_public_id) == (
        record.id,
        key.tenant_id,
        key.public_id,
    )
    assert (row.code, row.message, row.model) == ("model_not_found", record.message, "x")
    assert (row.at, row.is_claimed) == (AT, False)
    hour = RefusalHour.objects.get()
    assert (hour.starts_at, hour.refusals) == (AT.replace(minute=0), 1)
    assert (hour.tenant_id, hour.key_public_id) == (key.tenant_id, key.public_id)


def test_what_is_only_counted_adds_to_the_hours(spools: Path, spool: Spool, key: ApiKey) -> None:
    spool.append(refused(key))
    of_key: dict[str, Any] = {"tenant_id": key.tenant_id, "key_id": key.pk, "key": key.public_id}
    for hour, count in ((0, 30), (0, 12), (1, 5)):
        at_ms = AT_MS + hour * 3_600_000
        spool.append(RefusedMore(at_ms=at_ms, code="model_not_found", count=count, **of_key))
        ingest_all(spools)
    assert [hour.refusals for hour in RefusalHour.objects.order_by("starts_at")] == [43, 5]
    assert RefusedRequest.objects.count() == 1


def test_refusals_count_once_however_often_a_spool_is_read(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    """A call that stays open keeps the place from which the next reader begins."""
    call = opened(tenant_id=key.tenant_id, key_id=key.pk, key=key.public_id)
    spool.append(call)
    for number in range(1, 4):
        spool.append(refused(key))
        spool.append(RefusedMore(at_ms=AT_MS, code="x", count=10, tenant_id=key.tenant_id))
        ingest_all(spools)  # a reader of its own each time
        assert counted() == 11 * number
    spool.append(settled(call))
    ingest_all(spools)
    assert (counted(), RefusedRequest.objects.count(), UsageRow.objects.count()) == (33, 3, 1)


def test_a_database_that_lost_its_last_commits_gets_them_again(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    ingester = Ingester(spools)
    spool.append(refused(key))
    ingester.look()
    (before,) = SpoolPosition.objects.values()
    spool.append(refused(key))
    ingester.look()
    assert counted() == 2
    # As a server that was restored to before the last commit.
    RefusedRequest.objects.order_by("-pk").first().delete()  # type: ignore[union-attr]
    RefusalHour.objects.update(refusals=1)
    SpoolPosition.objects.update(**before)
    spool.append(refused(key))
    for _ in range(3):
        ingester.look()
    ingester.close()
    assert (counted(), RefusedRequest.objects.count()) == (3, 3)


def test_a_claimed_key_is_looked_up_and_an_unknown_one_is_not_kept(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    spool.append(refused(claimed=key.public_id, code="invalid_api_key", http_status=401))
    spool.append(refused(claimed="0000000000", code="invalid_api_key", http_status=401))
    spool.append(RefusedMore(at_ms=AT_MS, code="invalid_api_key", count=7, claimed=key.public_id))
    ingest_all(spools)
    known, stranger = RefusedRequest.objects.order_by("-is_claimed")
    assert (known.tenant_id, known.key_id, known.is_claimed) == (key.tenant_id, key.pk, True)
    assert (stranger.tenant_id, stranger.key_id, stranger.key_public_id) == (None, None, "")
    hours = RefusalHour.objects.order_by("refusals").values_list("tenant_id", "refusals")
    assert list(hours) == [(None, 1), (key.tenant_id, 8)]


def test_what_no_column_holds_is_set_aside_alone(spools: Path, spool: Spool, key: ApiKey) -> None:
    good = write_call(spool, tenant_id=key.tenant_id, key_id=key.pk, key=key.public_id)
    other = keys.create(Tenant.objects.create(slug="bob", name="Bob"), "robot")[0]
    spool.append(refused(key))
    spool.append(refused(key, http_status=10**30))
    spool.append(refused(key, id="no id"))
    spool.append(refused(key, key_id=other.pk))
    spool.append(refused(key))
    found = ingest_all(spools)
    assert (found.rows, found.set_aside, found.failed) == (1, 3, 0)
    assert UsageRow.objects.get().pk.hex == good.id
    assert (RefusedRequest.objects.count(), counted(), set_aside.count(spools)) == (2, 2, 3)


def test_a_request_refused_by_two_processes_has_one_row(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    record = refused(key, background=True)
    spool.append(record)
    spool.append(structs.replace(record, message="another sentence"))
    ingest_all(spools)
    assert (RefusedRequest.objects.get().message, counted()) == (record.message, 1)


def test_what_belongs_to_a_deleted_tenant_is_forgotten(
    spools: Path, spool: Spool, key: ApiKey
) -> None:
    TenantDeletion.objects.create(tenant_id=key.tenant_id, asked_by="op", tombstone="deleted-1")
    spool.append(refused(key))
    spool.append(refused(claimed=key.public_id, code="invalid_api_key", http_status=401))
    spool.append(RefusedMore(at_ms=AT_MS, code="x", count=7, tenant_id=key.tenant_id))
    ingest_all(spools)
    assert (RefusedRequest.objects.count(), RefusalHour.objects.count()) == (0, 0)


def test_refusals_go_after_their_days_and_their_number_stays(
    spools: Path, spool: Spool, key: ApiKey, settings: Settings
) -> None:
    settings.REFUSAL_DAYS = 30
    now_ms = int(clock.timestamp() * 1000)
    day_ms = int(timedelta(days=1).total_seconds() * 1000)
    for days in (29, 31, 45):
        spool.append(refused(key, at_ms=now_ms - days * day_ms))
    ingest_all(spools)
    for _ in refusal_retention.purge_refusals():
        pass
    assert (RefusedRequest.objects.count(), counted()) == (1, 3)
