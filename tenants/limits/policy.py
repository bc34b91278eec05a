"""The limits that bind a caller, as frozen values read with the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from django.conf import settings
from django.db.models import Q
from msgspec import Struct

from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.rates import WINDOW_SECONDS, Rate
from tenants import units
from tenants.models import ApiKey, RateLimit

TOKENS, CONCURRENCY = "tokens", "concurrency"
# As the draft names what is counted, where it is not requests.
_UNITS = {TOKENS: ';qu="tokens"', CONCURRENCY: ';qu="concurrent-requests"'}
# Units other than tokens (tenants/units.py), by name.
UnitCounts = Mapping[str, int]
NOTHING: UnitCounts = {}

_LIMITS = PreparedQuery(
    lambda tenant, key: RateLimit.objects.filter(
        Q(api_key=None) | Q(api_key=key), tenant=tenant
    ).order_by("pk")
)


class Limit(Struct, frozen=True):
    """At most `amount` of `metric` per `window` of `seconds` (0: concurrently), for `owner`: key, tenant
    or address.

    `bucket` identifies the owner and what is counted, `label` is its name in headers, as a text of the
    draft's. `interval` is the seconds in which one more is allowed. `counts_unit`: `metric` is a unit other
    than tokens (tenants/units.py).
    """

    bucket: str
    owner: str
    metric: str
    window: str
    amount: int
    seconds: int
    label: str
    interval: float
    counts_tokens: bool
    counts_unit: bool = False


def _describe(limit: Limit) -> str:
    window = f";w={limit.seconds}" if limit.seconds else ""
    counted = f';qu="{limit.metric}"' if limit.counts_unit else _UNITS.get(limit.metric, "")
    return f"{limit.label};q={limit.amount}{window}{counted}"


class RateLimits:
    """All limits that bind a caller. Made once per caller, so that a request finds everything at hand.

    `described` is the value of the header RateLimit-Policy.
    """

    __slots__ = ("all", "at_once", "described", "of_tokens", "of_units")

    def __init__(self, found: Iterable[Limit] = ()) -> None:
        self.all = tuple(found)
        self.of_tokens = tuple(limit for limit in self.all if limit.counts_tokens)
        self.of_units = tuple(limit for limit in self.all if limit.counts_unit)
        self.at_once = tuple(limit for limit in self.all if not limit.seconds)
        self.described = ", ".join(map(_describe, self.all))

    def __bool__(self) -> bool:
        return bool(self.all)


NO_LIMITS = RateLimits()


def corrections(limits: RateLimits, tokens: int, units: UnitCounts) -> Iterator[tuple[Limit, int]]:
    """List by how much limits of tokens and of units are charged more, or less."""
    if tokens:
        for limit in limits.of_tokens:
            yield limit, tokens
    if units:
        for limit in limits.of_units:
            if more := units.get(limit.metric, 0):
                yield limit, more


def of_key(key: ApiKey) -> RateLimits:
    """Return the limits of the key, of its tenant, and of any key where the key has none of the kind
    itself.
    """
    of_tenant, own = [], {}
    for row in _LIMITS.rows(key.tenant_id, key.pk):
        rate = Rate(row.metric, row.amount, row.window)
        if row.api_key_id is None:
            of_tenant.append(rate)
        else:
            own[rate.metric, rate.window] = rate
    for rate in settings.KEY_LIMITS:
        own.setdefault((rate.metric, rate.window), rate)
    of_both = (
        *of_rates("key", str(key.pk), own.values()),
        *of_rates("tenant", str(key.tenant_id), of_tenant),
    )
    return RateLimits(of_both) if of_both else NO_LIMITS


def _bucket(of: str, rate: Rate) -> str:
    """Name the bucket. A changed rate begins with an empty one: the level of the old one means nothing to
    it.
    """
    if not rate.window:
        return f"{of}:{rate.metric}"
    return f"{of}:{rate.metric}:{rate.amount}/{rate.window}"


def of_rates(owner: str, who: str, rates: Iterable[Rate]) -> tuple[Limit, ...]:
    """Make limits from rates; `who` distinguishes owners of a kind."""
    return tuple(_limit(owner, f"{owner}:{who}", rate) for rate in rates)


def _limit(owner: str, of: str, rate: Rate) -> Limit:
    seconds = WINDOW_SECONDS.get(rate.window, 0)
    return Limit(
        bucket=_bucket(of, rate),
        owner=owner,
        metric=rate.metric,
        window=rate.window,
        amount=rate.amount,
        seconds=seconds,
        label=f'"{"-".join(filter(None, (owner, rate.metric, rate.window)))}"',
        interval=seconds / rate.amount,
        counts_tokens=rate.metric == TOKENS,
        counts_unit=rate.metric not in units.COUNTED_BY_CALL,
    )
