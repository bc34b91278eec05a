"""Delete what a tenant has stored from before a moment: responses, conversations, chat completions.

A task (tenants/long_work): first it counts, then it waits until somebody confirms it, and then it deletes
some hundred rows a step, the oldest first. What is still being made stays. Of a chain of responses that goes
on after that moment the younger ones stay, too, and cannot be continued any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from responses_api.models import UNFINISHED, Conversation, StoredCompletion, StoredResponse
from responses_api.storage import removal, retention
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.long_work import asking
from tenants.long_work.kinds import TaskStep, task_kind, write_nothing
from tenants.models import LongTask, Tenant

ROWS_AT_ONCE = 200
State = LongTask.State


@dataclass(frozen=True, slots=True)
class PurgedKind:
    """A kind of stored rows: how rows are removed with all that is theirs, and which must stay."""

    model: type[Model]
    remove: Callable[[Collection[str]], object]
    staying: Q | None = None


def _remove_completions(ids: Collection[str]) -> int:
    return removal.delete_rows(StoredCompletion.objects.filter(pk__in=ids))


KINDS: Mapping[str, PurgedKind] = {
    "response": PurgedKind(
        StoredResponse, removal.remove_responses, staying=Q(status__in=UNFINISHED)
    ),
    "conversation": PurgedKind(Conversation, removal.remove_conversations),
    "completion": PurgedKind(StoredCompletion, _remove_completions),
}


def may_purge(who: Access, tenant: Tenant) -> bool:
    """Tell whether they may delete what a tenant has stored, and see how far that is."""
    sees_tasks = who.may("view", Area.USAGE, tenant.pk)
    return sees_tasks and who.may("delete", Area.RESPONSES, tenant.pk)


def ask(who: Access, tenant: Tenant, before: datetime, kinds: Sequence[str]) -> LongTask:
    """Ask how much of these kinds was stored before a moment; nothing is deleted before that is confirmed.

    Raise PermissionDenied, or ValidationError that names a field.
    """
    if not may_purge(who, tenant):
        raise PermissionDenied
    if unknown := set(kinds) - KINDS.keys():
        told = _("There is no such kind: %(name)s.") % {"name": min(unknown)}
        raise ValidationError({"kinds": told})
    if not kinds:
        raise ValidationError({"kinds": _("Choose what to delete.")})
    parameters = {
        "before": min(before, clock.now()).isoformat(),
        "kinds": [kind for kind in KINDS if kind in kinds],
    }
    return asking.begin(LongTask.Kind.PURGE, who, tenant, parameters)


@task_kind(LongTask.Kind.PURGE)
def next_step(task: LongTask) -> TaskStep:
    """Count all there is, or delete some once that is confirmed."""
    place = task.place
    if not place.get("is_confirmed"):
        return _counted(task)
    left = task.parameters["kinds"][place.get("kind", 0) :]
    if not left:
        return TaskStep(place=place, write=lambda: _record(task), ends_as=State.DONE)
    return _deleted(task, left[0])


def _counted(task: LongTask) -> TaskStep:
    found = {kind: _count(task, kind) for kind in task.parameters["kinds"]}
    total = sum(found.values())
    return TaskStep(
        place={"is_confirmed": False},
        expected=total,
        result={"found": found, "deleted": dict.fromkeys(found, 0)},
        ends_as=State.WAITING if total else State.DONE,
    )


def _count(task: LongTask, kind: str) -> int:
    """Count along the index of tenant and time, and take away the few that stay, which have their own."""
    rows, staying = _rows(task, kind), KINDS[kind].staying
    return rows.count() - (0 if staying is None else rows.filter(staying).count())


def _deleted(task: LongTask, kind: str) -> TaskStep:
    place, told = task.place, KINDS[kind]
    page = list(_behind(task, kind).values_list("pk", "created_at")[:ROWS_AT_ONCE])
    if kind == "response":
        page = retention.with_few_items(page)
    ids = [pk for pk, _at in page]
    if not page:
        return TaskStep(place={"is_confirmed": True, "kind": place.get("kind", 0) + 1})
    deleted = task.result["deleted"]
    last, at = page[-1]
    return TaskStep(
        count=len(ids),
        place={**place, "at": at.isoformat(), "id": last},
        write=(lambda: _remove(told, ids)) if ids else write_nothing,
        result={"deleted": {**deleted, kind: deleted[kind] + len(ids)}},
    )


def _remove(kind: PurgedKind, ids: Collection[str]) -> None:
    kind.remove(ids)


def _rows(task: LongTask, kind: str) -> QuerySet[Any]:
    before = datetime.fromisoformat(task.parameters["before"])
    rows: QuerySet[Any] = KINDS[kind].model._default_manager.filter(
        tenant=task.tenant_id, created_at__lt=before
    )
    return rows.order_by()


def _behind(task: LongTask, kind: str) -> QuerySet[Any]:
    """Return what is not dealt with yet, the oldest first; where rows were deleted is not read again."""
    rows, place, staying = _rows(task, kind), task.place, KINDS[kind].staying
    if "at" in place:
        at = datetime.fromisoformat(place["at"])
        rows = rows.filter(Q(created_at__gt=at) | Q(pk__gt=place["id"]), created_at__gte=at)
    if staying is not None:
        rows = rows.exclude(staying)
    return rows.order_by("created_at", "pk")


def _record(task: LongTask) -> None:
    events.record(
        "stored.purged", tenant_id=task.tenant_id, row=task, details=task.result["deleted"]
    )
