"""Re-rate: charge calls of the past by another published price than the one they were opened at.

A price counts from its publication on, so one that was published too late, or was wrong, leaves calls that
were charged wrongly or not at all. Which calls a version prices is its subject's matter, as for the preview
of a price (routing/reports/repricing.py). The work is a task: first it adds up what would change, then it
waits until somebody confirms it, and then it writes corrections.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from routing.reports import traffic
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.ledger import corrections, rerated
from tenants.ledger.rerated import ReratedCalls
from tenants.long_work import asking
from tenants.long_work.kinds import TaskStep, task_kind, write_nothing
from tenants.models import LongTask, PriceVersion, Tenant, UsageRow
from tenants.prices import book

CALLS_AT_ONCE = 100
State = LongTask.State


def ask(  # each is something that is asked for
    who: Access,
    version: PriceVersion,
    tenant: Tenant | None,
    start: datetime,
    end: datetime,
    *,
    reason: str,
    with_unpriced: bool = False,
) -> LongTask:
    """Ask what it would change to charge calls opened in [start, end) by this version; nothing changes before
    it is confirmed. `with_unpriced`: also calls that had no price.

    Raise PermissionDenied, or ValidationError that names a field.
    """
    if (Area.BILLING, "change") not in who.platform:
        raise PermissionDenied(_("Only operators of the platform re-rate requests."))
    if version.published_at is None or version.book != PriceVersion.Book.CHARGE:
        raise ValidationError({"version": _("Choose a published price that tenants are charged.")})
    if tenant is not None and version.tenant_id not in {None, tenant.pk}:
        raise ValidationError({"tenant": _("This price is another tenant's.")})
    if start >= end:
        raise ValidationError({"start": _("It must be before the end.")})
    corrections.check_reason(reason)
    parameters = {
        "version": version.pk,
        "subject": version.subject,
        "start": start.isoformat(),
        "end": min(end, clock.now()).isoformat(),
        "with_unpriced": with_unpriced,
        "reason": reason.strip(),
    }
    return asking.begin(LongTask.Kind.RERATING, who, tenant or version.tenant, parameters)


@task_kind(LongTask.Kind.RERATING)
def next_step(task: LongTask) -> TaskStep:
    """Rate some calls anew: to add up what would change, or to write it once that is confirmed."""
    place, rows = task.place, _rows(task)
    is_confirmed = place.get("is_confirmed", False)
    if not place:
        return TaskStep(place={"is_confirmed": False}, expected=rows.count(), result=_NOTHING)
    calls = list(_behind(rows, place)[:CALLS_AT_ONCE])
    version = task.parameters["version"]
    found = rerated.rerate(
        calls,
        book.version_terms([version])[version],
        reason=task.parameters["reason"],
        actor=task.asked_by,
    )
    result, is_last = _added(task, found, is_confirmed), len(calls) < CALLS_AT_ONCE
    behind = {} if is_last else {"at": calls[-1].opened_at.isoformat(), "id": str(calls[-1].pk)}
    ends_as = State.DONE if is_confirmed or not result["changed"] else State.WAITING
    changed = found.changed
    return TaskStep(
        count=len(calls),
        place={"is_confirmed": is_confirmed, **behind},
        write=(lambda: rerated.write(changed)) if is_confirmed and changed else write_nothing,
        result=result,
        ends_as=ends_as if is_last else None,
    )


_NOTHING = {
    **dict.fromkeys(("changed", "left", "before_nano", "after_nano"), 0),
    **dict.fromkeys(("written", "written_before_nano", "written_after_nano"), 0),
}


def _added(task: LongTask, found: ReratedCalls, is_confirmed: bool) -> Mapping[str, Any]:
    """Return the task's figures with those of some more calls."""
    changed = found.changed
    before = sum(each.before for each in changed)
    after = sum(each.after for each in changed)
    if is_confirmed:
        more = {
            "written": len(changed),
            "written_before_nano": before,
            "written_after_nano": after,
        }
    else:
        more = {
            "changed": len(changed),
            "left": found.left,
            "before_nano": before,
            "after_nano": after,
        }
    return {name: task.result.get(name, 0) + more.get(name, 0) for name in _NOTHING}


def _behind(rows: QuerySet[UsageRow], place: Mapping[str, Any]) -> QuerySet[UsageRow]:
    if "at" in place:
        at, pk = datetime.fromisoformat(place["at"]), UUID(place["id"])
        rows = rows.filter(Q(opened_at__gt=at) | Q(opened_at=at, pk__gt=pk), opened_at__gte=at)
    return rows.order_by("opened_at", "pk")


def _rows(task: LongTask) -> QuerySet[UsageRow]:
    """Return the calls that the version prices, whatever they were charged by."""
    asked = task.parameters
    version = PriceVersion.objects.get(pk=asked["version"])
    start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
    rows = UsageRow.objects.filter(opened_at__gte=start, opened_at__lt=end)
    rows = rows.exclude(status=UsageRow.Status.CORRECTION)
    if task.tenant_id is not None:
        rows = rows.filter(tenant=task.tenant_id)
    if version.model == book.OWN_PROVIDERS:
        rows = traffic.of_own_providers(rows)
    else:
        rows = traffic.of_platforms_aliases(rows.filter(alias=version.model))
    return rows.filter(_charged_so(version, with_unpriced=asked["with_unpriced"]))


def _charged_so(version: PriceVersion, *, with_unpriced: bool) -> Q:
    """Return the condition that a call was charged by a price of the same name, or passed on at cost.

    A price of one tenant also replaces that of all; never the other way round.
    """
    known = PriceVersion.objects.filter(
        Q(tenant=None) | Q(tenant=version.tenant_id),
        book=PriceVersion.Book.CHARGE,
        model=version.model,
        published_at__isnull=False,
    )
    charged = Q(charge_version__in=known.values("pk")) | Q(charge_version=F("cost_version"))
    return charged | Q(charge_version=None) if with_unpriced else charged
