"""Recover runs that nobody makes, because their worker died or none has taken them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection

from gateway_project.lib import clock
from responses_api.background import runs
from responses_api.models import Run, Status
from responses_api.storage.records import moment

AT_ONCE = 100
LOST = (
    "The worker that was making this response was lost, and with it what the model said after the items "
    "below. Send the request again."
)
# How long an owner whose lease has run out is given to renew it, from when somebody first noticed: after an
# outage of the database all leases have run out at once. The run itself keeps when that was, so that it does
# not matter how long any of those who look live.
GRACE = timedelta(seconds=8)
# The statuses must be spelled out, or SQLite does not use the index `run_unfinished`.
_UNATTENDED = """
SELECT tenant_id, response_id, lease_until, suspected_at, queued_at FROM responses_api_run
WHERE status IN ('queued', 'in_progress') AND status = %s AND lease_until < %s
ORDER BY lease_until LIMIT %s
"""
_ANY_UNFINISHED = """
SELECT 1 FROM responses_api_run WHERE status IN ('queued', 'in_progress') LIMIT 1
"""


class RecoveryLook(NamedTuple):
    """The findings of one look: how many runs may be lost, which wait and are the asker's now, and whether
    any is unfinished at all."""

    suspected: int
    claimed: list[tuple[int, str]]
    is_any_unfinished: bool


def look(limit: int, take: timedelta, queue_seconds: float) -> RecoveryLook:
    """Do what `fail_lost` and `claim_waiting` do, with one query where nothing is unfinished."""
    if not _is_any_unfinished():
        return RecoveryLook(0, [], is_any_unfinished=False)
    return RecoveryLook(
        fail_lost(), claim_waiting(limit, take, queue_seconds), is_any_unfinished=True
    )


def fail_lost() -> int:
    """End runs whose owner gives no sign of life; return how many may have to be ended soon."""
    now, suspected = clock.now(), 0
    for run in unattended(Status.IN_PROGRESS, AT_ONCE):
        since = _suspected_since(run)
        if since is None:
            runs.suspect(run)
        elif now - since >= GRACE:
            runs.fail(run, LOST)
            continue
        suspected += 1
    return suspected


def _suspected_since(run: Run) -> datetime | None:
    """Return when the run's lease was first seen to have expired; None if it was renewed since."""
    lease_until, suspected_at = run.lease_until, run.suspected_at
    if lease_until is None or suspected_at is None or suspected_at < lease_until:
        return None
    return suspected_at


def claim_waiting(limit: int, take: timedelta, queue_seconds: float) -> list[tuple[int, str]]:
    """Claim at most `limit` runs that no worker has taken; nobody else sees them for the time `take`. End
    those that have waited too long."""
    oldest = clock.now() - timedelta(seconds=queue_seconds)
    claimed: list[tuple[int, str]] = []
    for run in unattended(Status.QUEUED, limit + AT_ONCE):
        if run.queued_at < oldest:
            runs.fail(run, _fail_untaken(queue_seconds))
        elif len(claimed) < limit and _claim(run, take):
            claimed.append((run.tenant_id, run.response_id))
    return claimed


def _claim(run: Run, take: timedelta) -> bool:
    as_seen = Run.objects.filter(
        tenant=run.tenant_id,
        pk=run.response_id,
        status=Status.QUEUED,
        lease_until=run.lease_until,
    )
    return as_seen.update(lease_until=clock.now() + take) == 1


def _is_any_unfinished() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_ANY_UNFINISHED)
        return cursor.fetchone() is not None


def _fail_untaken(seconds: float) -> str:
    return (
        f"No worker was free to make this response within {seconds:g} seconds. Try again later; if it "
        "happens again, the operator of the gateway needs more background workers."
    )


def unattended(status: Status, limit: int) -> list[Run]:
    """Return runs whose lease has expired, longest expired first."""
    return list(Run.objects.raw(_UNATTENDED, [status.value, moment(clock.now()), limit]))
