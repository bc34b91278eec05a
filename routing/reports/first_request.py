"""Tell whether a key was used with success; if not, what stood in the way, and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from routing import grants
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.ledger import row_ids
from tenants.models import ApiKey, RefusedRequest, UsageRow
from tenants.reports.logged_request import message_of

STATES = WAITING, ANSWERED, FAILED = "waiting", "answered", "failed"
CURES = ROTATE, EDIT_KEY, GRANT_ALIAS, PRICE, LIMITS, BUDGETS, PROVIDER = (
    *("rotate", "edit_key", "grant_alias", "price"),
    *("limits", "budgets", "provider"),
)
# Only so many of the newest calls are looked at, however many there are.
NEWEST = 50
MOST_NAMED = 8

_GOOD = {UsageRow.Status.COMPLETED, UsageRow.Status.INCOMPLETE}
_OF_CLIENT: Mapping[str, str | Promise] = {
    UsageRow.Status.CLIENT_GONE: gettext_lazy("The client left before the answer was complete."),
    UsageRow.Status.CANCELLED: gettext_lazy("The request was cancelled."),
}
_OF_PROVIDER: Mapping[str, str | Promise] = {
    "upstream_auth_failed": gettext_lazy("The provider refused the gateway's credential."),
    "upstream_unreachable": gettext_lazy("The provider could not be reached."),
    "upstream_address_forbidden": gettext_lazy(
        "The provider's address lies in a network that the gateway may not call."
    ),
    "upstream_timeout": gettext_lazy("The provider did not answer in time."),
    "upstream_overloaded": gettext_lazy("The provider is overloaded."),
    "upstream_quota_exhausted": gettext_lazy("The account at the provider has no money left."),
    "upstream_rejected": gettext_lazy("The provider refused the request itself."),
    "upstream_malformed": gettext_lazy("The provider sent something that is no answer."),
    "upstream_cut": gettext_lazy("The provider ended the answer in the middle."),
    "rate_limit_exceeded": gettext_lazy("The provider's own rate limit is reached."),
    "model_not_found": gettext_lazy("The provider has no such model."),
}
_CURES = {
    "rate_limit_exceeded": LIMITS,
    "insufficient_quota": BUDGETS,
    "insufficient_scope": EDIT_KEY,
    "model_not_priced": PRICE,
    "model_not_found": GRANT_ALIAS,
}


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """The request of a key that matters most: one that was answered, else the last one that was not.

    model   the name it asked for, where that was refused
    """

    state: str
    request_id: str | None = None
    at: datetime | None = None
    code: str = ""
    sentence: str = ""
    cure: str = ""
    model: str = ""


def first_request(who: Access, key: ApiKey, since: datetime) -> FirstRequest:
    """Return what became of the requests of a key since an instant. Raise PermissionDenied."""
    if not who.may("view", Area.USAGE, key.tenant_id):
        raise PermissionDenied
    calls = UsageRow.objects.filter(key_id=key.pk, opened_at__gte=since, absorbed=False)
    newest = list(calls.exclude(status=UsageRow.Status.CORRECTION).order_by("-opened_at")[:NEWEST])
    answered = [row for row in newest if row.status in _GOOD]
    if answered:
        row = answered[-1]
        return FirstRequest(ANSWERED, row_ids.request_id_of(row.pk), row.opened_at)
    refusal = RefusedRequest.objects.filter(key_id=key.pk, at__gte=since).order_by("-at").first()
    if refusal is not None and (not newest or refusal.at >= newest[0].opened_at):
        return _refused(who, key, refusal)
    return _failed(newest[0]) if newest else FirstRequest(WAITING)


def _failed(row: UsageRow) -> FirstRequest:
    code, told = row.error_code, _OF_CLIENT.get(row.status)
    cure = "" if told is not None else PROVIDER
    if code == "insufficient_quota":
        told, cure = _("A budget was used up while the answer was being written."), BUDGETS
    told = told or _OF_PROVIDER.get(code) or _("The provider failed: “%(code)s”.") % {"code": code}
    return FirstRequest(
        FAILED, row_ids.request_id_of(row.pk), row.opened_at, code, str(told), cure, row.alias
    )


def _refused(who: Access, key: ApiKey, row: RefusedRequest) -> FirstRequest:
    sentence, cure = message_of(who, row), _CURES.get(row.code, "")
    if row.code == "invalid_api_key":
        sentence, cure = _why_unknown(key)
    elif row.code == "model_not_found":
        sentence = _asked_for(key, row.model) or sentence
    elif row.code == "model_not_priced":
        told = _("“%(model)s” has no price, and a budget cannot pay for what has none.")
        sentence = told % {"model": row.model}
    request_id = row_ids.request_id_of(row.pk)
    return FirstRequest(FAILED, request_id, row.at, row.code, sentence, cure, row.model)


def _why_unknown(key: ApiKey) -> tuple[str, str]:
    if key.revoked_at is not None:
        return _("The key is revoked."), ""
    if key.expires_at is not None and key.expires_at <= clock.now():
        return _("The key has expired."), EDIT_KEY
    return _("The secret that was sent does not match this key. Was it cut?"), ROTATE


def _asked_for(key: ApiKey, model: str) -> str:
    names = grants.usable_aliases(key)
    if not names:
        return _("It asked for “%(model)s”, but it may use no alias.") % {"model": model}
    named = ", ".join(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        told = _("It asked for “%(model)s”; among the aliases it may use are %(names)s.")
    else:
        told = _("It asked for “%(model)s”; it may use %(names)s.")
    return told % {"model": model, "names": named}
