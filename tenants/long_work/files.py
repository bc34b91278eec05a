"""Hand out the file of a task, a piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404

from tenants.access.access import Access
from tenants.audit import events
from tenants.long_work import usage_export
from tenants.managed.long_work import TASKS
from tenants.models import LongTask, TaskPiece

CONTENT_TYPE = "application/gzip"


def open_file(who: Access, task: LongTask) -> Iterator[bytes]:
    """Return the pieces of a task's file, and record that it is taken. Raise PermissionDenied, or Http404
    where there is none.

    Somebody who by now is shown less than when it was asked for does not get it.
    """
    if not TASKS.may_move(who, task):
        raise PermissionDenied
    if not task.has_file:
        raise Http404
    if usage_export.hidden_fields(who, task.tenant) - set(task.parameters["hidden"]):
        raise PermissionDenied("It tells more than you are shown by now; export it again.")
    with transaction.atomic():
        events.record("usage.exported", tenant_id=task.tenant_id, row=task)
    return _pieces(task)


def file_name(task: LongTask) -> str:
    whose = "all" if task.tenant is None else task.tenant.slug
    day = str(task.parameters["start"])[:10]
    return f"requests-{whose}-{day}.{task.parameters['format']}.gz"


def _pieces(task: LongTask) -> Iterator[bytes]:
    number = 0
    while (piece := TaskPiece.objects.filter(task=task, number=number).first()) is not None:
        yield bytes(piece.content)
        number += 1


async def streamed(found: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read each piece when the receiver takes it, where a server would otherwise read all at once."""
    read = sync_to_async(lambda: next(found, None))
    while (piece := await read()) is not None:
        yield piece
