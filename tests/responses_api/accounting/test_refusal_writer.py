"""A flood of refused requests grows the spool, and the ledger, by the cap only."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum

from gateway_project.lib import ids
from responses_api.accounting import refusal_writer
from responses_api.accounting.refusal_writer import (
    MAX_CLAIMED,
    SINGLY_A_MINUTE,
    STRANGERS_A_MINUTE,
    RefusalWriter,
)
from responses_api.accounting.spool_writer import SpoolWriter
from tenants.keys import keys
from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import Refused, RefusedMore, read
from tenants.ledger.spool import Spool
from tenants.models import ApiKey, RefusalHour, RefusedRequest, Tenant

BEGIN_MS = 1_792_000_000_000 // 3_600_000 * 3_600_000


class Flood:
    """A worker's refusals, on a clock that the test moves."""

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.spool = Spool(directory)
        self.path = directory / self.spool.name / "000001.log"
        self.now_ms = BEGIN_MS
        self.spool_writer = SpoolWriter(self.spool)
        self.spool.check()
        self.writer = RefusalWriter(loop, self.spool_writer)

    def refuse(self, holder: ApiKey | None = None, **fields: Any) -> None:
        known: dict[str, Any] = {
            "id": ids.request_id().removeprefix("req_"),
            "at_ms": self.now_ms,
            "http_status": 429,
            "code": "rate_limit_exceeded",
            "message": "Too many requests.",
            "route": "chat",
        }
        if holder is not None:
            known |= {
                "tenant_id": holder.tenant_id,
                "key_id": holder.pk,
                "key": holder.public_id,
            }
        self.writer.write(Refused(**{**known, **fields}))

    def records(self) -> list[Any]:
        data = self.path.read_bytes() if self.path.exists() else b""
        return [record for record, _ in read(data)]


class Timers:
    """A loop on which nothing becomes due by itself."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any]] = []

    def call_later(self, delay: float, work: Any) -> Timers:
        self.due.append((delay, work))
        return self


@pytest.fixture
def flood(tmp_path: Path) -> Any:
    loop = asyncio.new_event_loop()
    made = Flood(tmp_path / "spool", loop)
    yield made
    loop.close()


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_a_thousand_a_second_grow_the_table_by_the_cap_only(flood: Flood, tmp_path: Path) -> None:
    key, _ = keys.create(Tenant.objects.create(slug="acme", name="Acme"), "robot")
    seconds, a_second = 130, 1_000
    for second in range(seconds):
        flood.now_ms = BEGIN_MS + second * 1_000
        for _ in range(a_second):
            flood.refuse(key)
        if second % 5 == 4:
            flood.writer.flush()
    flood.writer.flush()
    flood.spool.close()
    ingest_all(tmp_path / "spool")
    minutes = 3
    assert RefusedRequest.objects.count() == SINGLY_A_MINUTE * minutes
    assert RefusalHour.objects.aggregate(all=Sum("refusals"))["all"] == seconds * a_second
    assert RefusalHour.objects.count() == 1


def test_each_key_and_error_has_its_own_share_of_a_minute(flood: Flood) -> None:
    for number in range(3):
        for code in ("rate_limit_exceeded", "insufficient_quota"):
            for _ in range(SINGLY_A_MINUTE + 5):
                fields: dict[str, Any] = {"tenant_id": 1, "key_id": number, "key": f"key{number}"}
                flood.refuse(code=code, **fields)
    flood.writer.flush()
    singly = Counter((r.key, r.code) for r in flood.records() if isinstance(r, Refused))
    assert set(singly.values()) == {SINGLY_A_MINUTE}
    more = [r for r in flood.records() if isinstance(r, RefusedMore)]
    assert [r.count for r in more] == [5] * 6


def test_made_up_keys_cannot_fill_the_ledger(flood: Flood) -> None:
    """Neither with rows, nor with counters of their own."""
    total = STRANGERS_A_MINUTE + 3 * MAX_CLAIMED
    for number in range(total):
        flood.refuse(claimed=f"{number:010}", code="invalid_api_key", http_status=401)
    flood.writer.flush()
    records = flood.records()
    assert sum(isinstance(r, Refused) for r in records) == STRANGERS_A_MINUTE
    more = [r for r in records if isinstance(r, RefusedMore)]
    assert len(more) == MAX_CLAIMED + 1
    assert sum(r.count for r in more) == total - STRANGERS_A_MINUTE


def test_counts_are_written_by_themselves_and_nothing_runs_without_them(flood: Flood) -> None:
    timers = Timers()
    flood.writer = RefusalWriter(timers, flood.spool_writer)  # type: ignore[arg-type]
    for _ in range(SINGLY_A_MINUTE):
        flood.refuse(tenant_id=1, key_id=1, key="k")
    assert timers.due == []
    flood.refuse(tenant_id=1, key_id=1, key="k")
    flood.refuse(tenant_id=1, key_id=1, key="k")
    ((delay, work),) = timers.due
    assert delay == refusal_writer.FLUSH_SECONDS
    work()
    assert flood.records()[-1].count == 2


def test_counts_of_two_hours_stay_apart(flood: Flood) -> None:
    fields: dict[str, Any] = {"tenant_id": 1, "key_id": 1, "key": "k"}
    flood.now_ms = BEGIN_MS + 59 * 60_000
    for _ in range(SINGLY_A_MINUTE + 2):
        flood.refuse(**fields)
    flood.now_ms = BEGIN_MS + 60 * 60_000
    for _ in range(SINGLY_A_MINUTE + 3):
        flood.refuse(**fields)
    flood.writer.flush()
    more = [(r.at_ms, r.count) for r in flood.records() if isinstance(r, RefusedMore)]
    assert more == [(BEGIN_MS, 2), (BEGIN_MS + 3_600_000, 3)]


def test_a_spool_without_room_takes_none_and_the_number_is_not_lost(flood: Flood) -> None:
    flood.spool.failed = True
    flood.refuse(tenant_id=1, key_id=1, key="k")
    flood.writer.flush()
    assert flood.records() == []
    flood.spool.failed = False
    flood.writer.flush()
    (record,) = flood.records()
    assert isinstance(record, RefusedMore)
    assert record.count == 1
