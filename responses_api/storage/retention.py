"""Delete what has expired, a little at a time, and give its space back.

A response is deleted once every response of its chain has expired: until then a younger one may still build
on it. Chains are walked from those that expired last to the oldest, so that a chain that is half deleted is
whole from its beginning.

Each step is a short transaction of its own, so that nobody waits for long, and may be repeated. Two processes
that purge at the same time do each other no harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from gateway_project.lib import clock, ids
from gateway_project.lib.jobs import PAUSE_SECONDS
from responses_api.models import (
    EventChunk,
    IdempotentCall,
    Run,
    StoredCompletion,
    StoredItem,
    StoredResponse,
    WebhookDelivery,
)
from responses_api.storage import removal

logger = logging.getLogger("tollgate.periodic")

BATCH = 200  # some hundredths of a second
# A batch ends early where its responses have more items than this.
MAX_ITEMS = 10_000
DELIVERIES_KEPT = timedelta(days=30)
VACUUM_PAGES = 1000
INCREMENTAL = 2  # the answer of PRAGMA auto_vacuum


@dataclass(frozen=True, slots=True)
class Purged:
    """Counts of deleted rows by kind."""

    responses: int = 0
    items: int = 0
    runs: int = 0
    event_chunks: int = 0
    completions: int = 0
    idempotent_calls: int = 0
    webhook_deliveries: int = 0

    def __add__(self, other: Purged) -> Purged:
        names = [field.name for field in fields(self)]
        return Purged(**{name: getattr(self, name) + getattr(other, name) for name in names})


def purge(now: datetime | None = None, batch: int = BATCH) -> Purged:
    """Delete all that has expired; return how much that was."""
    work = StoragePurge(now or clock.now(), batch)
    while work.step():
        time.sleep(PAUSE_SECONDS)
    return work.purged


def purge_expired() -> Iterator[None]:
    """Do the same as a periodic job, and log what it deleted."""
    work = StoragePurge(clock.now())
    while work.step():
        yield
    if work.purged != Purged():
        logger.info("purged: %s", work.purged)


def count_expired(now: datetime | None = None) -> Purged:
    """Count what `purge` would delete."""
    now = now or clock.now()
    dead = _dead_responses(now)
    return Purged(
        responses=dead.count(),
        items=StoredItem.objects.filter(response__in=dead).count(),
        runs=Run.objects.filter(response__in=dead).count(),
        event_chunks=EventChunk.objects.filter(run__response__in=dead).count(),
        completions=_expired_completions(now).count(),
        idempotent_calls=_expired_calls(now).count(),
        webhook_deliveries=_old_deliveries(now).count(),
    )


class StoragePurge:
    """A purge in progress: call `step` until it returns False. `purged` grows meanwhile."""

    def __init__(self, now: datetime, batch: int = BATCH) -> None:
        self.purged = Purged()
        self._now = now
        self._batch = batch
        self._reached: tuple[datetime, str] | None = None
        self._sweeps: list[Callable[[], bool]] = [
            self._responses,
            self._completions,
            self._idempotent_calls,
            self._webhook_deliveries,
            _give_space_back,
        ]

    def step(self) -> bool:
        """Delete one batch of one kind; return False when all is done."""
        while self._sweeps:
            if self._sweeps[0]():
                return True
            del self._sweeps[0]
        return False

    def _responses(self) -> bool:
        page = with_few_items(self._next_page())
        if not page:
            return False
        with transaction.atomic():
            dead = _dead_responses(self._now).filter(pk__in=[pk for pk, _ in page])
            removed = removal.remove_responses(list(dead.values_list("pk", flat=True)))
        pk, expires_at = page[-1]
        self._reached = expires_at, pk
        self.purged += Purged(
            responses=removed.responses,
            items=removed.items,
            runs=removed.runs,
            event_chunks=removed.event_chunks,
        )
        return True

    def _next_page(self) -> list[tuple[str, datetime]]:
        """Return expired responses after those already looked at, including those of chains that live on."""
        rows = StoredResponse.objects.filter(expires_at__lt=self._now)
        if self._reached is not None:
            at, pk = self._reached
            rows = rows.filter(
                Q(expires_at__lt=at) | Q(expires_at=at, pk__lt=pk), expires_at__lte=at
            )
        return list(
            rows.order_by("-expires_at", "-pk").values_list("pk", "expires_at")[: self._batch]
        )

    def _completions(self) -> bool:
        count = self._delete_some(_expired_completions(self._now))
        self.purged += Purged(completions=count)
        return count > 0

    def _idempotent_calls(self) -> bool:
        count = self._delete_some(_expired_calls(self._now))
        self.purged += Purged(idempotent_calls=count)
        return count > 0

    def _webhook_deliveries(self) -> bool:
        count = self._delete_some(_old_deliveries(self._now))
        self.purged += Purged(webhook_deliveries=count)
        return count > 0

    def _delete_some(self, rows: QuerySet[Any]) -> int:
        pks = list(rows.values_list("pk", flat=True)[: self._batch])
        return removal.delete_rows(rows.model._default_manager.filter(pk__in=pks)) if pks else 0


def _dead_responses(now: datetime) -> QuerySet[StoredResponse]:
    alive = StoredResponse.objects.filter(root_id=OuterRef("root_id"), expires_at__gte=now)
    return StoredResponse.objects.filter(~Exists(alive), expires_at__lt=now)


def _expired_completions(now: datetime) -> QuerySet[StoredCompletion]:
    return StoredCompletion.objects.filter(expires_at__lt=now).order_by("expires_at")


def _expired_calls(now: datetime) -> QuerySet[IdempotentCall]:
    """Select expired calls, except those that still run, whose answer somebody may be waiting for."""
    running = Q(state=IdempotentCall.State.RUNNING, lease_until__gte=now)
    return IdempotentCall.objects.filter(~running, expires_at__lt=now).order_by("expires_at")


def _old_deliveries(now: datetime) -> QuerySet[WebhookDelivery]:
    """Select old deliveries by their ids, which begin with the time."""
    ended = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.PENDING)
    return ended.filter(pk__lt=ids.first_uuid7(now - DELIVERIES_KEPT)).order_by("pk")


def with_few_items(page: list[tuple[str, datetime]]) -> list[tuple[str, datetime]]:
    """Return the beginning of a page of responses, as long as its items are few enough for one
    transaction.
    """
    items = StoredItem.objects.filter(response_id__in=[pk for pk, _ in page])
    counts = dict(items.order_by().values_list("response_id").annotate(Count("pk")))
    total = 0
    for place, (pk, _) in enumerate(page):
        total += counts.get(pk, 0)
        if total > MAX_ITEMS and place > 0:
            return page[:place]
    return page


def _give_space_back() -> bool:
    """Shorten SQLite's file by some of its free pages; PostgreSQL's autovacuum does this itself.

    A file that was made without `auto_vacuum` keeps its size (docs/commands.md, purge_responses). Within
    somebody else's transaction nothing can be given back yet.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return False
    if _pragma("auto_vacuum") != INCREMENTAL:
        return False
    before = _pragma("freelist_count")
    # It gives back a page for each step of the statement; only a script takes them all.
    connection.connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
    if 0 < _pragma("freelist_count") < before:
        return True
    _pragma("wal_checkpoint(PASSIVE)")  # the file itself gets shorter only now
    return False


def _pragma(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return int(cursor.fetchone()[0])
