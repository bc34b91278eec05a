"""Add to the page of a request what guardrails did to it, and why."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from responses_api.enforcement import event_list
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.console import request_words as words
from tenants.console.request_panels import RequestPanel, request_panel
from tenants.reports.request_detail import RequestDetail


@request_panel
def guardrails(who: Access, detail: RequestDetail, base_url: str) -> RequestPanel | None:
    """Show what guardrails found, where any looked at the request."""
    row = detail.summary
    if not row.guardrail or row.tenant_id is None:
        return None
    if not who.may("view", Area.GUARDRAILS, row.tenant_id):
        return None
    events = [
        {
            "told": each,
            "address": reverse("admin:responses_api_guardrailevent_change", args=[each.pk]),
            "action": words.GUARDRAIL_OUTCOMES.get(each.action),
        }
        for each in event_list.of_request(row.tenant_id, row.id)
    ]
    outcome = words.GUARDRAIL_OUTCOMES.get(row.guardrail)
    context = {"outcome": outcome, "events": events}
    return RequestPanel(_("Guardrails"), "console/request_guardrails.html", context)
