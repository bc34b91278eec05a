"""The limits that bind a caller, as frozen values read with the caller."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db.models import Q
from msgspec import Struct

from gateway_project.lib.rates import WINDOW_SECONDS, Rate
from tenants.models import ApiKey, RateLimit

REQUESTS, TOKENS, CONCURRENCY = "requests", "tokens", "concurrency"


class Limit(Struct, frozen=True):
    """At most `amount` of `metric` per `window` of `seconds` (0: at the same time), for `owner`, which is a
    key, a tenant or an address. `bucket` names who that is, and what is counted."""

    bucket: str
    owner: str
    metric: str
    window: str
    amount: int
    seconds: int

    @property
    def interval(self) -> float:
        """The seconds in which one more is allowed."""
        return self.seconds / self.amount

    @property
    def label(self) -> str:
        """What headers call it."""
        return "-".join(filter(None, (self.owner, self.metric, self.window)))

    def units(self, tokens: int) -> int:
        """What a request of so many tokens takes of it."""
        return tokens if self.metric == TOKENS else 1


def of_key(key: ApiKey) -> tuple[Limit, ...]:
    """Those of the key, of its tenant, and of any key where the key has none of the kind itself."""
    rows = RateLimit.objects.filter(Q(api_key=None) | Q(api_key=key), tenant=key.tenant_id)
    of_tenant, own = [], {}
    for row in rows.order_by("pk"):
        rate = Rate(row.metric, row.amount, row.window)
        if row.api_key_id is None:
            of_tenant.append(rate)
        else:
            own[rate.metric, rate.window] = rate
    for rate in settings.KEY_LIMITS:
        own.setdefault((rate.metric, rate.window), rate)
    return (
        *of_rates("key", str(key.pk), own.values()),
        *of_rates("tenant", str(key.tenant_id), of_tenant),
    )


def _bucket(of: str, rate: Rate) -> str:
    """A rate that was changed begins with an empty one: how full the old one is says nothing about it."""
    if not rate.window:
        return f"{of}:{rate.metric}"
    return f"{of}:{rate.metric}:{rate.amount}/{rate.window}"


def of_rates(owner: str, who: str, rates: Iterable[Rate]) -> tuple[Limit, ...]:
    """`who` tells owners of a kind apart."""
    return tuple(
        Limit(
            bucket=_bucket(f"{owner}:{who}", rate),
            owner=owner,
            metric=rate.metric,
            window=rate.window,
            amount=rate.amount,
            seconds=WINDOW_SECONDS.get(rate.window, 0),
        )
        for rate in rates
    )
