"""Book refused requests: the rows of those that stand singly, and the number of all, by hour.

The caller books them in the transaction that moves the spool's place, and each record once, so that counts
are right however often a spool is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from tenants.ledger import belonging
from tenants.ledger.records import Refused, RefusedMore
from tenants.models import ApiKey, RefusalHour, RefusedRequest, TenantDeletion

HOUR_MS = 3_600_000
STRANGER = (None, None)


class Hour(NamedTuple):
    """The hour and the subject that refusals are counted by."""

    tenant_id: int | None
    hour: int
    key: str
    code: str


def book(records: Sequence[Refused | RefusedMore]) -> None:
    """Write rows and add to the counts. What belongs to deleted tenants is forgotten."""
    if not records:
        return
    belonging.check_keys({(one.key_id, one.tenant_id) for one in records if one.key})
    owners = _owners({one.claimed for one in records if one.claimed})
    gone = _deleted({one.tenant_id for one in records} | {owner for owner, _ in owners.values()})
    counts: Counter[Hour] = Counter()
    rows = []
    for one in _new(records):
        tenant, key = (
            owners.get(one.claimed, STRANGER) if not one.tenant_id else (one.tenant_id, one.key_id)
        )
        if tenant in gone:
            continue
        public_id = one.key or (one.claimed if tenant is not None else "")
        more = one.count if isinstance(one, RefusedMore) else 1
        counts[Hour(tenant, one.at_ms // HOUR_MS, public_id, one.code[:100])] += more
        if isinstance(one, Refused):
            rows.append(_row(one, tenant, key, public_id))
    RefusedRequest.objects.bulk_create(rows)
    _add(counts)


@transaction.atomic
def try_book(records: Sequence[Refused | RefusedMore]) -> None:
    """Book in a transaction of its own within the caller's, which goes on whatever this raises."""
    book(records)


def _owners(claimed: Collection[str]) -> dict[str, tuple[int | None, int | None]]:
    """Return tenant and id of the keys with these public ids."""
    keys = ApiKey.objects.filter(public_id__in=claimed) if claimed else ApiKey.objects.none()
    found = keys.order_by().values_list("public_id", "tenant_id", "pk")
    return {public_id: (tenant, pk) for public_id, tenant, pk in found}


def _deleted(tenants: Collection[int | None]) -> set[int]:
    found = TenantDeletion.objects.filter(tenant__in=[each for each in tenants if each]).order_by()
    return set(found.values_list("tenant_id", flat=True))


def _new(records: Sequence[Refused | RefusedMore]) -> list[Refused | RefusedMore]:
    """Leave out a request that has a row: a background response can be refused by two processes."""
    ids = {UUID(hex=one.id) for one in records if isinstance(one, Refused)}
    known = set(RefusedRequest.objects.filter(pk__in=ids).order_by().values_list("pk", flat=True))
    kept = []
    for one in records:
        if isinstance(one, Refused):
            pk = UUID(hex=one.id)
            if pk in known:
                continue
            known.add(pk)
        kept.append(one)
    return kept


def _row(one: Refused, tenant: int | None, key: int | None, public_id: str) -> RefusedRequest:
    return RefusedRequest(
        id=UUID(hex=one.id),
        tenant_id=tenant,
        key_id=key,
        key_public_id=public_id,
        is_claimed=not one.tenant_id and tenant is not None,
        at=datetime.fromtimestamp(one.at_ms / 1000, UTC),
        route=one.route,
        model=one.model,
        http_status=one.http_status,
        code=one.code[:100],
        message=one.message,
        background=one.background,
        websocket=one.websocket,
    )


def _add(counts: Counter[Hour]) -> None:
    """Add to the hours, in one order, so that two ingesters do not wait for each other in a circle."""
    table = RefusalHour._meta.db_table
    statement = (
        f"INSERT INTO {table} (tenant_id, starts_at, key_public_id, code, refusals) "  # noqa: S608
        "VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (COALESCE(tenant_id, 0), starts_at, key_public_id, code) "
        f"DO UPDATE SET refusals = {table}.refusals + EXCLUDED.refusals"
    )
    adapt = connection.ops.adapt_datetimefield_value
    ordered = sorted(counts.items(), key=lambda item: (item[0].tenant_id or 0, *item[0][1:]))
    with connection.cursor() as cursor:
        for subject, count in ordered:
            starts_at = adapt(datetime.fromtimestamp(subject.hour * HOUR_MS // 1000, UTC))
            cursor.execute(
                statement, [subject.tenant_id, starts_at, subject.key, subject.code, count]
            )
