"""Name what would let a refused or failed request through next time, and the page where that is done.

Only what the person may do is offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.models import ApiKey, Tenant
from tenants.reports.request_detail import RequestDetail

OF_LIMITS = frozenset({"rate_limit_exceeded"})
OF_BUDGETS = frozenset({"insufficient_quota"})
OF_KEY = frozenset({"invalid_api_key", "insufficient_scope", "model_not_found"})


@dataclass(frozen=True, slots=True)
class Cure:
    """More words about why it was refused, and a button; `label` and `address` are blank where the person can
    do nothing about it."""

    sentence: str = ""
    label: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    who: Access
    detail: RequestDetail
    key: ApiKey | None
    tenant: Tenant | None
    zone: ZoneInfo

    @property
    def query(self) -> str:
        """Return the query that shows the rows of the request's tenant."""
        return "" if self.tenant is None else f"?{urlencode({'tenant': self.tenant.slug})}"

    def link(self, right: Right, area: Area, name: str, *args: object, query: str = "") -> str:
        """Return the address of a page of the console; blank if they may not use it."""
        if not self.who.may(right, area, self.detail.summary.tenant_id):
            return ""
        try:
            return f"{reverse(f'admin:{name}', args=args)}{query}"
        except NoReverseMatch:
            return ""


def cure_of(
    who: Access,
    detail: RequestDetail,
    key: ApiKey | None,
    tenant: Tenant | None,
    zone: ZoneInfo,
) -> Cure | None:
    """Return what helps; None if nothing is known to."""
    case = _Case(who, detail, key, tenant, zone)
    row = detail.summary
    if row.code.startswith("upstream_"):
        return _of_provider(case)
    if not row.is_refused:
        return None
    if row.code in OF_KEY:
        return _of_key(case)
    if row.code in OF_LIMITS:
        name = "tenants_ratelimit_changelist"
        address = case.link("view", Area.LIMITS, name, query=case.query)
        return _offered(_("Open the rate limits"), address)
    if row.code in OF_BUDGETS:
        name = "tenants_budget_changelist"
        address = case.link("view", Area.LIMITS, name, query=case.query)
        return _offered(_("Open the budgets"), address)
    if row.code == "model_not_priced":
        sentence = _("“%(model)s” has no price, and a budget cannot pay for what has none.")
        address = case.link("add", Area.PRICES, "tenants_priceversion_add")
        return _offered(_("Price this model"), address, sentence % {"model": row.alias})
    return None


def _offered(label: str, address: str, sentence: str = "") -> Cure | None:
    if not address:
        return Cure(sentence) if sentence else None
    return Cure(sentence, label, address)


def _of_provider(case: _Case) -> Cure | None:
    # Whose provider it is decides who may change it; the list shows each person theirs.
    if not case.who.may_somewhere("change", Area.PROVIDERS):
        return None
    if not case.detail.summary.provider:
        return None
    return _offered(
        _("Open the providers"), f"{reverse('admin:routing_provider_changelist')}{case.query}"
    )


def _of_key(case: _Case) -> Cure | None:
    row, key = case.detail.summary, case.key
    if key is None:
        sentence = _("The request came with no API key that is known here.")
        return Cure(sentence) if row.code == "invalid_api_key" else None
    address = case.link("change", Area.KEYS, "tenants_apikey_change", key.pk)
    if row.code == "invalid_api_key":
        return _offered(_("Open the key"), address, _why_not_let_in(key, case))
    if row.code == "insufficient_scope":
        return _offered(_("Edit the key"), address)
    sentence = _("The key “%(key)s” may not use “%(model)s”, or there is no alias of this name.")
    return _offered(_("Open the key"), address, sentence % {"key": key.name, "model": row.alias})


def _why_not_let_in(key: ApiKey, case: _Case) -> str:
    """Say why the key did not let the request in, as far as its row tells."""
    at = case.detail.summary.at
    if key.revoked_at is not None and key.revoked_at <= at:
        text = _("The key “%(key)s” had been revoked on %(when)s.")
        return text % {"key": key.name, "when": _when(key.revoked_at, case.zone)}
    if key.expires_at is not None and key.expires_at <= at:
        text = _("The key “%(key)s” had expired on %(when)s.")
        return text % {"key": key.name, "when": _when(key.expires_at, case.zone)}
    if key.revoked_at is not None or (key.expires_at and key.expires_at <= clock.now()):
        return _("The key “%(key)s” did not let it in; it is not in use any more.") % {
            "key": key.name
        }
    text = _("The request named the key “%(key)s”, but its secret does not match. Was it cut?")
    return text % {"key": key.name}


def _when(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
