"""Say on the page of a request what the response cache had to do with it, and why."""

from __future__ import annotations

from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing.cache_policy import with_kept
from routing.managed import ALIASES
from routing.models import Alias
from tenants.access.access import Access
from tenants.console.request_panels import RequestPanel, request_panel
from tenants.console.request_words import dollars
from tenants.models import UsageRow
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_detail import RequestDetail

OUTCOME = UsageRow.CacheOutcome


@request_panel
def response_cache(who: Access, detail: RequestDetail, base_url: str) -> RequestPanel | None:
    """Tell what came of the cache; nothing of an alias that keeps no answers."""
    row = detail.summary
    alias = _alias(who, row)
    keeps = bool(getattr(alias, "keeps_answers", False))
    if row.is_refused or not (row.cache_outcome or keeps):
        return None
    context = {
        "sentence": _sentence(row),
        "saved": dollars(row.saved_nano) if row.saved_nano else "",
        "alias": alias.name if alias is not None else "",
        "address": "" if alias is None else reverse("admin:routing_alias_change", args=[alias.pk]),
    }
    return RequestPanel(gettext_lazy("Response cache"), "console/request_cache.html", context)


def _alias(who: Access, row: LoggedRequest) -> Alias | None:
    """Return the alias that was asked for, if it is still there and they may see it."""
    owners = Q(tenant=None) if row.tenant_id is None else Q(tenant=None) | Q(tenant=row.tenant_id)
    names = Alias.objects.filter(owners, name=row.requested_model or row.alias)
    own_first = F("tenant").desc(nulls_last=True)
    return with_kept(ALIASES.visible(who, names)).order_by(own_first).first()


def _sentence(row: LoggedRequest) -> str:
    match row.cache_outcome:
        case OUTCOME.HIT | OUTCOME.SIMILAR:
            return _("It was answered from the cache: no provider was asked, and it cost nothing.")
        case OUTCOME.MISS:
            return _(
                "No answer to an equal request was kept, so a model was asked. Its answer was kept if it "
                "is complete."
            )
        case OUTCOME.REFRESH:
            return _(
                "The request asked for a new answer (x-tollgate-cache: refresh), which took the place of "
                "the one that was kept."
            )
    return _unasked(row)


def _unasked(row: LoggedRequest) -> str:
    """Say why the cache was not asked, as far as the ledger tells."""
    if row.background:
        return _("The cache was not asked: the response was made in the background.")
    if row.websocket:
        return _("The cache was not asked: the request came over a WebSocket.")
    return _(
        "The cache was not asked. The answer's header x-tollgate-cache-reason said why: a temperature above "
        "0, hosted tools, files by id, several choices, or the request itself. Or the alias kept no answers "
        "then."
    )
