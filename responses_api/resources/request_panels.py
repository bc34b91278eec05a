"""Add to the page of a request what is stored of it, and commands that send one like it."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from responses_api.resources.request_snippets import snippets
from responses_api.resources.request_traces import traces_of
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.console.request_panels import RequestPanel, request_panel
from tenants.reports.request_detail import RequestDetail


@request_panel
def stored(who: Access, detail: RequestDetail, base_url: str) -> RequestPanel | None:
    """Lead to the stored response, whose page records that it is read."""
    found = traces_of(who, detail)
    if found is None:
        return None
    name = "admin:responses_api_storedresponse_change"
    shown = [{"told": each, "address": reverse(name, args=[each.id])} for each in found]
    return RequestPanel(_("Stored"), "console/request_stored.html", {"stored": shown})


@request_panel
def send_again(who: Access, detail: RequestDetail, base_url: str) -> RequestPanel | None:
    """Offer commands, and the playground to those who may use the key there."""
    found = snippets(detail.summary, base_url)
    if not found:
        return None
    context = {"snippets": found, "playground": _playground(who, detail)}
    return RequestPanel(_("Send one like it"), "console/request_snippets.html", context)


def _playground(who: Access, detail: RequestDetail) -> str:
    row = detail.summary
    if row.is_refused or not who.may("change", Area.KEYS, row.tenant_id):
        return ""
    return f"{reverse('admin:playground')}?{urlencode({'request': row.id})}"
