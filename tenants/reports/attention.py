"""Collect what needs somebody: things that will go wrong, or go wrong now, each with the page that mends it.

Apps above this one add finders of their own with `register`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Greatest
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tenants import local_time
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import ApiKey, Budget, BudgetWindow
from tenants.reports import budgets
from tenants.reports.budgets import BudgetState
from tenants.reports.freshness import Freshness
from tenants.reports.owners import kept_owners
from tenants.reports.usage_series import UsageSeries

MOST_OF_A_KIND = 5
FULL_PERCENT = 80
FAILING_PERCENT, FEWEST_CALLS = 10, 5  # of fewer calls nothing follows
EXPIRES_WITHIN = timedelta(days=7)
REFUSED_WITHIN = timedelta(hours=1)
REFUSED = "upstream_auth_failed"


@dataclass(frozen=True, slots=True)
class ProviderCalls:
    """The calls of a provider in this hour and the last, and how many of them it did not answer."""

    name: str
    calls: int
    failed: int


@dataclass(frozen=True, slots=True)
class AttentionQuestion:
    """Hold who asks, of which tenants (None: of all there are), when, the usage they look at, and how often
    each provider refused the gateway's credential in the last hour, by tenant, and how providers do."""

    who: Access
    tenants: frozenset[int] | None
    now: datetime
    zone: str
    freshness: Freshness
    by_alias: UsageSeries
    refused_credentials: Mapping[tuple[int, str], int]
    providers: Sequence[ProviderCalls] = ()  # none where they may not be shown

    def of_tenants(self, rows: QuerySet, path: str = "tenant") -> QuerySet:  # type: ignore[type-arg]
        """Return those of the rows that are asked about."""
        return rows if self.tenants is None else rows.filter(**{f"{path}__in": self.tenants})

    def may_somewhere(self, area: Area) -> bool:
        """Tell whether they may see such objects of anything that is asked about."""
        return any(self.who.may("view", area, tenant) for tenant in self.tenants or (None,))


@dataclass(frozen=True, slots=True)
class Attention:
    """A thing that needs somebody: a sentence, how bad it is (`bad` now, `warn` soon), and the page of the
    console that it is on: the name of a list or, with `object_id`, of a row's page."""

    kind: str
    level: str
    text: str
    page: str
    object_id: str = ""


Finder = Callable[[AttentionQuestion], Iterable[Attention]]
_finders: list[Finder] = []


def register(finder: Finder) -> Finder:
    """Ask this finder, too. It returns MOST_OF_A_KIND things at most, by one query."""
    if finder not in _finders:
        _finders.append(finder)
    return finder


def attention(asked: AttentionQuestion) -> list[Attention]:
    """Return what needs somebody, the worst first."""
    found = [each for finder in _finders for each in finder(asked)]
    return sorted(found, key=lambda each: each.level != "bad")


@register
def lagging_ledger(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell operators that calls are not in the books yet, and so in no figure and no budget."""
    if not asked.who.sees_all_tenants or not asked.freshness.is_behind(asked.now):
        return
    at = local_time.minute(asked.freshness.as_of, asked.zone)
    text = _("The ledger has every call up to %(at)s only: what came later is in no figure yet.")
    yield Attention("ledger_lag", "bad", text % {"at": at}, "tenants_usagerow_changelist")


@register
def refused_credentials(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell of providers that refuse the gateway's credential."""
    if not asked.may_somewhere(Area.CREDENTIALS):
        return
    by_provider: dict[str, int] = {}
    for (tenant, provider), count in asked.refused_credentials.items():
        if asked.who.sees_upstreams_of(tenant):
            by_provider[provider] = by_provider.get(provider, 0) + count
    for provider, count in sorted(by_provider.items(), key=lambda one: -one[1])[:MOST_OF_A_KIND]:
        text = ngettext(
            "%(provider)s refused the credential of a call in the last hour.",
            "%(provider)s refused the credential of %(count)s calls in the last hour.",
            count,
        )
        told = text % {"provider": provider, "count": number_format(count, 0, force_grouping=True)}
        yield Attention("refused_credential", "bad", told, "routing_credential_changelist")


@register
def failing_providers(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell of providers that leave more than a tenth of their calls unanswered, the worst first."""
    troubled = [
        one
        for one in asked.providers
        if one.calls >= FEWEST_CALLS and one.failed * 100 > one.calls * FAILING_PERCENT
    ]
    for one in sorted(troubled, key=lambda each: -each.failed / each.calls)[:MOST_OF_A_KIND]:
        text = _(
            "%(provider)s did not answer %(failed)s of %(calls)s calls in this hour and the last."
        )
        told = text % {
            "provider": one.name,
            "failed": number_format(one.failed, 0, force_grouping=True),
            "calls": number_format(one.calls, 0, force_grouping=True),
        }
        yield Attention("failing_provider", "bad", told, "routing_provider_changelist")


@register
def unpriced_traffic(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell operators, who set prices, of aliases whose calls are charged nothing."""
    if not asked.who.sees_all_tenants:
        return
    unpriced = [group for group in asked.by_alias.groups if group.used.unpriced]
    for group in sorted(unpriced, key=lambda one: -one.used.unpriced)[:MOST_OF_A_KIND]:
        calls = group.used.unpriced
        text = ngettext(
            "A call of %(alias)s in this time has no price and is charged nothing.",
            "%(calls)s calls of %(alias)s in this time have no price and are charged nothing.",
            calls,
        )
        told = text % {"alias": group.label, "calls": number_format(calls, 0, force_grouping=True)}
        yield Attention("unpriced", "warn", told, "tenants_priceversion_changelist")


@register
def owners_kept(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell operators of tenants whose only owner is one against what their identity provider says."""
    if not asked.who.sees_all_tenants:
        return
    of_these = [
        one for one in kept_owners() if asked.tenants is None or one.tenant_id in asked.tenants
    ]
    for kept in of_these[:MOST_OF_A_KIND]:
        text = _(
            "%(user)s stays the only owner of %(tenant)s although their groups give less since %(at)s: "
            "find another owner."
        )
        at = local_time.minute(kept.since, asked.zone)
        told = text % {"user": kept.username, "tenant": kept.slug, "at": at}
        yield Attention("kept_owner", "warn", told, "tenants_tenant_change", str(kept.tenant_id))


@register
def expiring_keys(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell of keys that end within a week."""
    if not asked.may_somewhere(Area.KEYS):
        return
    keys = ApiKey.objects.filter(
        revoked_at=None, expires_at__gt=asked.now, expires_at__lte=asked.now + EXPIRES_WITHIN
    )
    for key in asked.of_tenants(keys).order_by("expires_at")[:MOST_OF_A_KIND]:
        text = _("The key “%(key)s” expires on %(at)s.")
        at = local_time.minute(key.expires_at, asked.zone)
        told = text % {"key": key.name, "at": at}
        yield Attention("expiring_key", "warn", told, "tenants_apikey_change", str(key.pk))


@register
def full_budgets(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell of budgets that are used up, or soon will be: two queries."""
    if not asked.may_somewhere(Area.LIMITS):
        return
    running = Q(ends_at=None) | Q(ends_at__gt=asked.now)
    windows = BudgetWindow.objects.filter(
        running,
        starts_at__lte=asked.now,
        budget__enabled=True,
        spent_nano__gte=F("budget__amount_nano") * FULL_PERCENT / 100,
    ).select_related("budget", "budget__tenant", "budget__api_key")
    fullest = asked.of_tenants(windows, "budget__tenant").order_by(
        F("spent_nano") * 100 / Greatest(F("budget__amount_nano"), 1), "pk"
    )
    found = list(fullest.reverse()[:MOST_OF_A_KIND])
    for window, standing in zip(found, budgets.of_windows(found), strict=True):
        level = "bad" if _refuses(window) else "warn"
        text = _told(window, standing, asked.zone)
        yield Attention("full_budget", level, text, "tenants_budget_change", str(window.budget_id))


def _refuses(window: BudgetWindow) -> bool:
    budget = window.budget
    return budget.mode == Budget.Mode.HARD and window.spent_nano >= budget.amount_nano


def _told(window: BudgetWindow, standing: BudgetState, zone: str) -> str:
    budget = window.budget
    amount = budget.amount_nano
    percent = window.spent_nano * 100 // amount if amount else 100
    values = {"name": budget.name, "tenant": budget.tenant.name, "percent": percent}
    if _refuses(window):
        return _("The budget “%(name)s” of %(tenant)s is used up, and refuses calls.") % values
    if standing.runs_out_at is None:
        return _("The budget “%(name)s” of %(tenant)s is used to %(percent)s %%.") % values
    at = local_time.minute(standing.runs_out_at, zone)[:10]
    text = _(
        "The budget “%(name)s” of %(tenant)s is used to %(percent)s %%; at this pace it ends on %(at)s."
    )
    return text % {**values, "at": at}
