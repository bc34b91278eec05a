"""List the responses that are queued or being made in the background, and cancel them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from gateway_project.lib import errors
from responses_api.background import runs
from responses_api.models import UNFINISHED, Run
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.models import ApiKey

MOST_RUNS = 200


@dataclass(frozen=True, slots=True)
class BackgroundRun:
    """A run that has not ended. `lease_until` is how long its worker, or whoever may take it, has it; tenants
    are not shown the `worker`.
    """

    response_id: str
    tenant_id: int
    tenant: str
    key: str
    key_name: str
    alias: str
    status: str
    worker: str
    attempts: int
    queued_at: datetime
    lease_until: datetime | None
    may_cancel: bool


@dataclass(frozen=True, slots=True)
class BackgroundRuns:
    """The oldest runs, and whether there are more."""

    runs: tuple[BackgroundRun, ...]
    has_more: bool


def unfinished(who: Access, tenants: frozenset[int] | None) -> BackgroundRuns:
    """Return the oldest runs of these tenants, or of all."""
    ids = _unfinished_ids(tenants)
    rows = Run.objects.filter(pk__in=ids[:MOST_RUNS]).select_related("response", "tenant")
    found = sorted(rows, key=lambda run: (run.queued_at, run.pk))
    named = dict(
        ApiKey.objects.filter(
            public_id__in={run.response.key_public_id for run in found}
        ).values_list("public_id", "name")
    )
    return BackgroundRuns(
        tuple(_told(run, named, who) for run in found if run.status in UNFINISHED),
        len(ids) > MOST_RUNS,
    )


def cancel(who: Access, response_id: str) -> str:
    """Cancel a run and return its final status. Raise NotFound, or PermissionDenied."""
    run = find(who, response_id)
    if not who.may("change", Area.KEYS, run.tenant_id):
        raise errors.PermissionDenied("This takes the right to change API keys.")
    with transaction.atomic():
        events.record(
            "response.cancelled",
            tenant_id=run.tenant_id,
            object_type="response",
            object_id=response_id,
            object_name=run.response.model,
        )
    ended = runs.cancel(run.tenant_id, response_id)
    return "" if ended is None else str(ended["status"])


def find(who: Access, response_id: str) -> Run:
    """Return a run that has not ended and that they may see. Raise NotFound."""
    is_readable = "\0" not in response_id
    rows = Run.objects.select_related("response").filter(pk=response_id)
    run = rows.first() if is_readable else None
    is_running = run is not None and run.status in UNFINISHED
    if run is None or not is_running or not who.may("view", Area.USAGE, run.tenant_id):
        raise errors.NotFound("No such response is being made: it may have ended just now.")
    return run


def _unfinished_ids(tenants: frozenset[int] | None) -> list[str]:
    """Return the ids of the oldest, one more than are shown. The statuses are spelled out, or SQLite does not
    use the index `run_unfinished`.
    """
    if tenants is not None and not tenants:
        return []
    narrowed = "" if tenants is None else f"AND tenant_id IN ({', '.join(['%s'] * len(tenants))})"
    sql = f"""
        SELECT response_id FROM responses_api_run
        WHERE status IN ('queued', 'in_progress') {narrowed} ORDER BY queued_at, response_id LIMIT %s
    """  # noqa: S608  # nothing in it but place holders
    with connection.cursor() as cursor:
        cursor.execute(sql, [*sorted(tenants or ()), MOST_RUNS + 1])
        return [row[0] for row in cursor.fetchall()]


def _told(run: Run, named: dict[str, str], who: Access) -> BackgroundRun:
    key = run.response.key_public_id
    return BackgroundRun(
        response_id=run.pk,
        tenant_id=run.tenant_id,
        tenant=run.tenant.slug,
        key=key,
        key_name=named.get(key, ""),
        alias=run.response.model,
        status=run.status,
        worker=run.owner.rpartition("/")[0] if who.sees_all_tenants else "",
        attempts=run.attempts,
        queued_at=run.queued_at,
        lease_until=run.lease_until,
        may_cancel=who.may("change", Area.KEYS, run.tenant_id),
    )
