"""Ask for long work, confirm it, and end it: what the console, the management API and commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from gateway_project.lib import actor, clock
from gateway_project.lib.db import durable_transaction
from tenants.access.access import Access
from tenants.audit import events
from tenants.deletion.asking import refuse_new_rows
from tenants.long_work import running
from tenants.managed.long_work import TASKS
from tenants.models import LongTask, Tenant

State = LongTask.State
MOST_TASKS = 10  # of a tenant, and beside those of operators
MOST_OF_OPERATORS = 50
MOST_FILE_BYTES = 64 * 2**20
MOST_BYTES = 2 * 2**30  # of all files there are, or may become
CONFIRMED = {"is_confirmed": True}  # where a task goes on that somebody has confirmed
_UNFINISHED = (State.QUEUED, State.RUNNING, State.WAITING)


def begin(
    kind: LongTask.Kind, who: Access, tenant: Tenant | None, parameters: Mapping[str, Any]
) -> LongTask:
    """Ask for a task; whether they may ask for this is the kind's to say. Raise ValidationError if there are
    too many already.
    """
    refuse_new_rows(None if tenant is None else tenant.pk)
    is_operators = who.sees_all_tenants
    with durable_transaction():
        if tenant is not None:
            Tenant.objects.select_for_update().get(pk=tenant.pk)
        _refuse_too_many(kind, tenant, is_operators)
        task = LongTask.objects.create(
            kind=kind,
            tenant=tenant,
            is_operators=is_operators,
            asked_by=actor.current().name[:200],
            parameters=dict(parameters),
        )
        events.record("task.asked", tenant_id=task.tenant_id, row=task, details=parameters)
    return task


def confirm(who: Access, task: LongTask) -> None:
    """Let a task that waits for it go on. Raise PermissionDenied, or ValidationError if it waits no more."""
    if not TASKS.may_confirm(who, task):
        raise PermissionDenied
    with durable_transaction():
        waiting = LongTask.objects.filter(pk=task.pk, state=State.WAITING)
        changed = waiting.update(
            state=State.QUEUED,
            next_at=clock.now(),
            place=CONFIRMED,
            done=0,
            expires_at=None,
            lease_until=None,
        )
        if not changed:
            raise ValidationError(
                _("This task does not wait to be confirmed any more."), code="conflict"
            )
        events.record("task.confirmed", tenant_id=task.tenant_id, row=task)


def discard(who: Access, task: LongTask) -> None:
    """Cancel a task, or erase the file of one that is done; what it changed until then stays changed.

    Raise PermissionDenied, or ValidationError if there is nothing to cancel or erase.
    """
    if not TASKS.may_move(who, task):
        raise PermissionDenied
    task.refresh_from_db()
    if task.is_over and not task.has_file:
        raise ValidationError(_("This task is over, and has no file."), code="conflict")
    with durable_transaction():
        running.end(task, State(task.state) if task.is_over else State.CANCELLED)
        events.record(
            "task.discarded", tenant_id=task.tenant_id, row=task, details={"done": task.done}
        )


def _refuse_too_many(kind: LongTask.Kind, tenant: Tenant | None, is_operators: bool) -> None:
    alive = LongTask.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=clock.now()),
        Q(state__in=_UNFINISHED) | Q(state=State.DONE, bytes__gt=0),
    )
    theirs = alive.filter(is_operators=is_operators)
    theirs = theirs if is_operators else theirs.filter(tenant=tenant)
    most = MOST_OF_OPERATORS if is_operators else MOST_TASKS
    if theirs.count() >= most:
        raise ValidationError(
            _("There are %(count)s tasks and files already. Cancel one, or erase a file, first.")
            % {"count": most}
        )
    if kind != LongTask.Kind.USAGE_EXPORT:
        return
    files = alive.filter(kind=kind).aggregate(
        written=Sum("bytes", filter=Q(state=State.DONE)),
        coming=Count("pk", filter=Q(state__in=_UNFINISHED)),
    )
    if (files["written"] or 0) + (files["coming"] + 1) * MOST_FILE_BYTES > MOST_BYTES:
        raise ValidationError(_("The files of all exports take too much room; try again later."))


def end_for_deleted(tenant_id: int) -> None:
    """End the tasks of a tenant that is being deleted, and exports that hold rows of all tenants."""
    unfinished = Q(state__in=_UNFINISHED)
    everybodys = Q(unfinished | Q(bytes__gt=0), tenant=None, kind=LongTask.Kind.USAGE_EXPORT)
    # Files of its own go with everything else that is its own, in batches.
    for task in LongTask.objects.filter(everybodys | Q(unfinished, tenant=tenant_id)):
        running.end(task, State.CANCELLED)
