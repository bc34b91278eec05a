"""Show on the page of a row's history what the audit log has of it, whoever changed it and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from tenants.access import ownership
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.console import drawing
from tenants.console.change_words import changes_in_short, details_in_short
from tenants.console.scope import zone_of
from tenants.models import Tenant
from tenants.reports import audit
from tenants.reports.audit import AuditFilter

MOST_EVENTS = 50

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Page = admin.ModelAdmin[Any]
else:
    _Page = object


class RowHistory(_Page):
    """A page whose rows have a history: that of the audit log, for who may read it.

    `has_history` is false where nobody changes such rows, so that there is no button that leads nowhere.
    """

    has_history: ClassVar[bool] = True

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        shown = {} if row is None else _shown(request, row)
        return super().history_view(request, object_id, {**shown, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        told = {"hides_history": not self.has_history}
        return super().render_change_form(request, {**told, **context}, *rest, **options)


def _shown(request: HttpRequest, row: Model) -> dict[str, Any]:
    who, zone = access(request), zone_of(request)
    is_owned = not isinstance(row, Tenant) and bool(ownership.paths(type(row)))
    owner = row.pk if isinstance(row, Tenant) else ownership.owner_id(row) if is_owned else None
    if not who.may("view", Area.AUDIT, owner):
        return {"events": ()}
    found = audit.newest(
        None if owner is None or who.may("view", Area.AUDIT, None) else [owner],
        AuditFilter(object_type=events.type_of(row), object_id=str(row.pk)),
        limit=MOST_EVENTS + 1,
        aliases_only=who.aliases_only,
    )
    log = reverse("admin:tenants_auditevent_changelist")
    return {
        "events": [
            {
                "address": reverse("admin:tenants_auditevent_change", args=(event.pk,)),
                "at": drawing.instant(event.at, zone),
                "event": event,
                "who": event.actor_name or event.get_actor_kind_display(),
                "changes": changes_in_short(event) or details_in_short(event),
            }
            for event in found[:MOST_EVENTS]
        ],
        "zone_name": zone.key,
        "further_events": f"{log}?{urlencode({'object': row.pk})}"
        if len(found) > MOST_EVENTS
        else "",
    }
