"""Retention: what has expired goes, whole chains at a time, a little at a time, and its space comes back."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model

from gateway_project.lib import clock, ids
from responses_api.models import (
    EventChunk,
    IdempotentCall,
    Run,
    StoredCompletion,
    StoredItem,
    StoredResponse,
    WebhookDelivery,
)
from responses_api.storage import retention
from responses_api.storage.retention import Purged, StoragePurge
from responses_api.webhooks import endpoints, events
from tenants.models import Tenant
from tests.commands.running import answer, text
from tests.support import kept_rows
from tests.support.kept_rows import DAY

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def past() -> datetime:
    return clock.now() - HOUR


def kept() -> set[str]:
    return set(StoredResponse.objects.values_list("pk", flat=True))


def counts(*models: type[Model]) -> list[int]:
    return [model._default_manager.count() for model in models]


# Chains


def test_a_chain_is_kept_whole_while_one_of_it_has_not_expired(tenant: Tenant, past: datetime):
    first = kept_rows.response(tenant, expires_at=past)
    second = kept_rows.response(tenant, after=first, expires_at=past)
    third = kept_rows.response(tenant, after=second)
    kept_rows.response(tenant, expires_at=past)

    assert retention.purge().responses == 1

    assert kept() == {first.pk, second.pk, third.pk}


def test_a_fork_keeps_what_both_branches_build_on(tenant: Tenant, past: datetime):
    root = kept_rows.response(tenant, expires_at=past)
    old_branch = kept_rows.response(tenant, after=root, expires_at=past)
    living_branch = kept_rows.response(tenant, after=root)

    assert retention.purge() == Purged()

    assert kept() == {root.pk, old_branch.pk, living_branch.pk}


def test_a_chain_that_has_expired_leaves_nothing(tenant: Tenant, past: datetime):
    first = kept_rows.response(tenant, expires_at=past - DAY, items=3)
    second = kept_rows.response(tenant, after=first, expires_at=past, items=2)
    living = kept_rows.response(tenant, items=1)
    kept_rows.run(first)
    kept_rows.run(second)
    kept_rows.run(living)

    purged = retention.purge()

    assert purged == Purged(responses=2, items=5, runs=2, event_chunks=4)
    assert kept() == {living.pk}
    assert counts(StoredItem, Run, EventChunk) == [1, 1, 2]
    assert set(StoredItem.objects.values_list("response", flat=True)) == {living.pk}
    assert set(EventChunk.objects.values_list("run", flat=True)) == {living.pk}


def test_what_is_left_of_a_chain_while_it_goes_is_whole_from_its_beginning(
    tenant: Tenant, past: datetime
):
    chain = [kept_rows.response(tenant, expires_at=past)]
    for number in range(1, 6):
        after = chain[-1]
        chain.append(
            kept_rows.response(tenant, after=after, expires_at=past + timedelta(seconds=number))
        )
    work = StoragePurge(clock.now(), batch=2)

    for left in (4, 2, 0):
        assert work.step()
        assert kept() == {row.pk for row in chain[:left]}


def test_the_end_of_a_retention_is_exclusive(tenant: Tenant):
    now = clock.now()
    row = kept_rows.response(tenant, expires_at=now)

    assert retention.purge(now).responses == 0
    assert retention.purge(now + timedelta(microseconds=1)).responses == 1
    assert row.pk not in kept()


# Batches


def test_no_transaction_removes_more_than_a_batch(tenant: Tenant, past: datetime):
    alive = kept_rows.response(tenant)
    for number in range(20):
        kept_rows.response(tenant, expires_at=past - timedelta(seconds=number // 3))
    for _ in range(5):
        kept_rows.response(tenant, after=alive, expires_at=past)
    work = StoragePurge(clock.now(), batch=7)
    removed = [0]

    while work.step():
        removed.append(work.purged.responses)

    steps = [after - before for before, after in itertools.pairwise(removed)]
    assert sum(steps) == 20
    assert max(steps) <= 7
    assert len(steps) == 4  # the five that live on were looked at once
    assert len(kept()) == 6


def test_responses_with_many_items_make_small_batches(
    tenant: Tenant, past: datetime, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "MAX_ITEMS", 10)
    for _ in range(4):
        kept_rows.response(tenant, expires_at=past, items=4)
    kept_rows.response(tenant, expires_at=past - HOUR, items=25)
    work = StoragePurge(clock.now())

    removed = [(work.step(), work.purged.responses, work.purged.items) for _ in range(3)]

    assert removed == [(True, 2, 8), (True, 4, 16), (True, 5, 41)]


def test_two_who_purge_at_the_same_time_do_no_harm(tenant: Tenant, past: datetime):
    for _ in range(6):
        kept_rows.response(tenant, expires_at=past)
    now = clock.now()
    one, other = StoragePurge(now, batch=2), StoragePurge(now, batch=3)

    going = True
    while going:
        going = one.step() | other.step()

    assert kept() == set()
    assert one.purged.responses + other.purged.responses == 6


# Everything else that expires


def completion(tenant: Tenant, expires_at: datetime) -> StoredCompletion:
    return StoredCompletion.objects.create(
        id=ids.completion_id(),
        tenant=tenant,
        key_public_id="abcdefghij",
        model="m",
        messages=b"[]",
        body=b"{}",
        expires_at=expires_at,
    )


def idempotent_call(tenant: Tenant, expires_at: datetime, **fields: Any) -> IdempotentCall:
    return IdempotentCall.objects.create(
        tenant=tenant,
        key_digest=ids.random_bytes(32),
        request_digest=b"r" * 32,
        owner="o",
        expires_at=expires_at,
        **fields,
    )


def test_stored_completions_go_when_they_have_expired(tenant: Tenant, past: datetime):
    completion(tenant, past)
    living = completion(tenant, past + DAY)

    assert retention.purge() == Purged(completions=1)
    assert StoredCompletion.objects.get() == living


def test_idempotency_keys_go_unless_their_call_still_runs(tenant: Tenant, past: datetime):
    idempotent_call(tenant, past, state="answered", lease_until=past + DAY)
    idempotent_call(tenant, past, state="running", lease_until=past)
    running = idempotent_call(tenant, past, state="running", lease_until=past + DAY)
    fresh = idempotent_call(tenant, past + DAY, state="answered", lease_until=past)

    assert retention.purge() == Purged(idempotent_calls=2)
    assert set(IdempotentCall.objects.all()) == {running, fresh}


def test_the_log_of_webhooks_is_kept_for_a_month(tenant: Tenant, monkeypatch: pytest.MonkeyPatch):
    endpoints.create(tenant, "https://hooks.example/")
    present = clock.timestamp()
    for days, response_id in ((31, "old"), (31, "pending"), (29, "fresh")):
        monkeypatch.setattr(clock, "timestamp", lambda days=days: present - days * 24 * 60 * 60)
        events.enqueue(tenant.pk, response_id, "completed")
    monkeypatch.setattr(clock, "timestamp", lambda: present)
    WebhookDelivery.objects.exclude(response_id="pending").update(state="delivered")

    assert retention.purge(batch=1) == Purged(webhook_deliveries=1)

    left = WebhookDelivery.objects.values_list("response_id", flat=True)
    assert set(left) == {"pending", "fresh"}


# Space


@pytest.fixture
def database_file() -> Path:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's autovacuum is PostgreSQL's business")
    return Path(connection.settings_dict["NAME"])


@pytest.mark.django_db(transaction=True)
def test_the_file_of_sqlite_gets_shorter(tenant: Tenant, past: datetime, database_file: Path):
    for _ in range(400):
        kept_rows.response(tenant, said="x" * 20_000, expires_at=past)
    living = kept_rows.response(tenant, said="y" * 20_000)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
    full = database_file.stat().st_size

    purged = retention.purge()

    assert purged.responses == 400
    assert full > 16_000_000
    assert database_file.stat().st_size < full - 15_000_000
    assert kept() == {living.pk}
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        assert cursor.fetchone() == ("ok",)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("database_file")
def test_a_file_that_was_made_without_it_is_left_alone(
    tenant: Tenant, past: datetime, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def pragma(name: str) -> int:
        asked.append(name)
        return 0

    monkeypatch.setattr(retention, "_pragma", pragma)
    kept_rows.response(tenant, expires_at=past)

    assert retention.purge().responses == 1

    assert asked == ["auto_vacuum"]


# The command


def test_the_command_says_what_it_deleted(tenant: Tenant, past: datetime):
    kept_rows.run(kept_rows.response(tenant, expires_at=past, items=2))
    kept_rows.response(tenant)
    completion(tenant, past)
    expected = {
        "responses": 1,
        "items": 2,
        "runs": 1,
        "event_chunks": 2,
        "completions": 1,
        "idempotent_calls": 0,
        "webhook_deliveries": 0,
    }

    assert answer("purge_responses", "--dry-run") == {"dry_run": True, **expected}
    assert counts(StoredResponse, StoredItem, Run, EventChunk) == [2, 3, 1, 2]
    assert answer("purge_responses") == {"dry_run": False, **expected}
    assert counts(StoredResponse, StoredItem, Run, EventChunk) == [1, 1, 0, 0]
    assert text("purge_responses").startswith("Deleted responses: 0, items: 0")
    assert text("purge_responses", "--dry-run").startswith("Would delete responses: 0")
