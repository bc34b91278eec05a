"""Tell the page of a new key what became of its first request, with a button for what stands in the way."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing.reports import first_request as reports
from routing.reports.first_request import FirstRequest
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.admin.key_panels import page_address
from tenants.console import drawing
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.managed.tables import KEYS
from tenants.models import ApiKey

# What helps: the words on its button, and the right it takes.
BUTTONS: dict[str, tuple[str | Promise, Right, Area]] = {
    reports.ROTATE: (gettext_lazy("Rotate the key"), "change", Area.KEYS),
    reports.EDIT_KEY: (gettext_lazy("Edit the key"), "change", Area.KEYS),
    reports.GRANT_ALIAS: (gettext_lazy("Grant the alias"), "change", Area.KEYS),
    reports.PRICE: (gettext_lazy("Price this model"), "add", Area.PRICES),
    reports.LIMITS: (gettext_lazy("Open the rate limits"), "view", Area.LIMITS),
    reports.BUDGETS: (gettext_lazy("Open the budgets"), "view", Area.LIMITS),
    reports.PROVIDER: (gettext_lazy("Look at the providers"), "change", Area.PROVIDERS),
}


@console_page
class FirstRequestPage(ConsolePage):
    """JSON for the script that waits for a key's first request."""

    path = "keys/<str:key>/first-request"
    name = "first_request"
    title = gettext_lazy("First request")
    template = ""
    area = Area.KEYS

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        public_id = captured["key"]
        rows = KEYS.visible(scope.who, ApiKey.objects.select_related("tenant"))
        key = rows.filter(public_id=public_id).first() if "\0" not in public_id else None
        if key is None:
            raise Http404
        since = scope.start if "from" in scope.given else key.created_at
        found = reports.first_request(scope.who, key, since)
        return JsonResponse(_told(scope, key, found), headers={"Cache-Control": "no-store"})


def _told(scope: Scope, key: ApiKey, found: FirstRequest) -> dict[str, Any]:
    return {
        "state": found.state,
        "sentence": _("It was answered.") if found.state == reports.ANSWERED else found.sentence,
        "at": _clock(scope, found.at),
        "request": found.request_id or "",
        "address": page_address("request", "", found.request_id) if found.request_id else "",
        "button": _button(scope.who, key, found),
    }


def _clock(scope: Scope, at: datetime | None) -> str:
    return "" if at is None else drawing.instant(at, scope.zone)


def _button(who: Access, key: ApiKey, found: FirstRequest) -> dict[str, str] | None:
    if found.cure not in BUTTONS:
        return None
    label, right, area = BUTTONS[found.cure]
    if not who.may(right, area, key.tenant_id):
        return None
    return {"label": str(label), "address": _cure_address(key, found)}


def _cure_address(key: ApiKey, found: FirstRequest) -> str:
    scope = urlencode({"tenant": key.tenant.slug})
    match found.cure:
        case reports.ROTATE:
            return reverse("admin:tenants_apikey_do", args=(key.pk, "rotate"))
        case reports.PRICE:
            asked = urlencode({"model": found.model, "book": "charge"})
            return f"{reverse('admin:tenants_priceversion_add')}?{asked}"
        case reports.LIMITS:
            return f"{reverse('admin:tenants_ratelimit_changelist')}?{scope}"
        case reports.BUDGETS:
            return f"{reverse('admin:tenants_budget_changelist')}?{scope}"
        case reports.PROVIDER:
            return f"{reverse('admin:routing_provider_changelist')}?{scope}"
    return reverse("admin:tenants_apikey_change", args=(key.pk,))
