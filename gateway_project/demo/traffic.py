"""Make up calls as they come over 90 days: by weekday and hour, with outages, fallbacks and people who leave.

The same seed, number and end make the same calls. Random values come from tables that are drawn once,
because a million calls are to be made in a minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from gateway_project.demo.catalogue import DemoAlias, DemoModel
from tenants.models import ApiKey, UsageRow
from tenants.prices import rating
from tenants.prices.rating import Rated, Terms
from tenants.token_classes import TOKEN_CLASSES, Usage

DAYS = 90
HOUR = timedelta(hours=1)
Row = dict[str, Any]
_TABLE = 4096  # values of a table, so that 12 random bits choose one
_MASK = _TABLE - 1
# Of 4,096 requests so many end in another way than answered in full.
_ENDINGS = (
    (UsageRow.Status.INCOMPLETE, 45),
    (UsageRow.Status.CLIENT_GONE, 40),
    (UsageRow.Status.CANCELLED, 12),
    (UsageRow.Status.ABANDONED, 6),
    (UsageRow.Status.FAILED, 70),
)
_ERRORS = (
    *(("rate_limit_exceeded", 429), ("upstream_overloaded", 503)),
    *(("upstream_error", 502), ("upstream_unreachable", 502)),
)
_OUTAGE_DAYS_AGO, _OUTAGE_HOURS, _OUTAGE_PERCENT = 12, 4, 60
_OUTAGE_PROVIDER = "anthropic"
_BY_HOUR = (3, 2, 2, 2, 2, 3, 5, 8, 13, 17, 19, 18, 16, 17, 19, 19, 17, 14, 11, 9, 8, 7, 5, 4)
_CHARGE_FIELDS = tuple(f"charge_{name}" for name in TOKEN_CLASSES)


@dataclass(frozen=True, slots=True)
class PricedModel:
    """A model with its prices; None where it has none."""

    model: DemoModel
    cost: Terms | None


@dataclass(frozen=True, slots=True)
class PricedAlias:
    """An alias with the models behind it, and what tenants are charged for it."""

    alias: DemoAlias
    targets: tuple[PricedModel, ...]
    charge: Terms | None


class DemoTraffic:
    """Makes the rows of so many requests, in the order in which they were opened."""

    def __init__(
        self,
        seed: int,
        end: datetime,
        keys: Sequence[tuple[ApiKey, int]],
        aliases: Sequence[PricedAlias],
    ) -> None:
        random = Random(seed)  # noqa: S311  # made-up traffic
        self._bits = random.getrandbits
        self._end = end
        self._outage = end - timedelta(days=_OUTAGE_DAYS_AGO)
        self._places = {key.pk: place for place, (key, _) in enumerate(keys)}
        self._callers = random.choices(
            [key for key, _ in keys], [weight for _, weight in keys], k=_TABLE
        )
        # Most keys use a few aliases: where a caller stands in the table shifts what it asks for.
        self._aliases = random.choices(aliases, [one.alias.weight for one in aliases], k=_TABLE)
        self._spread = [random.lognormvariate(0, 0.75) for _ in range(_TABLE)]
        self._pace = [random.lognormvariate(0, 0.35) for _ in range(_TABLE)]
        self._endings: list[str] = [UsageRow.Status.COMPLETED] * _TABLE
        place = 0
        for status, count in _ENDINGS:
            self._endings[place : place + count] = [status] * count
            place += count

    def rows(self, requests: int) -> Iterator[Row]:
        """Make the ledger's rows of so many requests."""
        for begin, count in self._hours(requests):
            offsets = sorted(self._bits(32) * 3_600_000_000 >> 32 for _ in range(count))
            for offset in offsets:
                yield from self._request(begin + timedelta(microseconds=offset))

    def _hours(self, requests: int) -> Iterator[tuple[datetime, int]]:
        """Return each hour with the number of its requests, which add up to all."""
        first = self._end - timedelta(days=DAYS)
        hours = [first + place * HOUR for place in range(DAYS * 24)]
        weights = [self._weight(hour) for hour in hours]
        whole, so_far, given = sum(weights), 0.0, 0
        for hour, weight in zip(hours, weights, strict=True):
            so_far += weight
            due = round(requests * so_far / whole)
            yield hour, due - given
            given = due

    def _weight(self, hour: datetime) -> float:
        """Return how busy an hour is: working days, and a slow growth over the months."""
        days_ago = (self._end - hour).days
        weekday = 0.35 if hour.weekday() >= 5 else 1.0
        wave = 1 + 0.12 * math.sin(days_ago * 1.7)
        return _BY_HOUR[hour.hour] * weekday * wave * (1.6 - days_ago / DAYS)

    def _request(self, at: datetime) -> Iterator[Row]:
        bits = self._bits(160)
        key = self._callers[bits & _MASK]
        own = self._places[key.pk] * 613 if bits >> 12 & 3 else 0
        priced = self._aliases[((bits >> 14 & _MASK) // 4 + own) & _MASK]
        ending = self._endings[bits >> 26 & _MASK]
        if self._is_down(priced, at) and (bits >> 38 & 127) * 100 < _OUTAGE_PERCENT * 128:
            ending = UsageRow.Status.FAILED
        request_id = _request_id(at, bits >> 45 & (1 << 58) - 1)
        first = priced.targets[0]
        if ending == UsageRow.Status.FAILED and len(priced.targets) > 1 and bits >> 103 & 7:
            failed = self._row(request_id, 0, at, key, priced, first, ending, bits >> 106)
            yield {**failed, "absorbed": True}
            later = at + timedelta(milliseconds=failed["duration_ms"])
            done = UsageRow.Status.COMPLETED
            second = priced.targets[1]
            yield self._row(request_id, 1, later, key, priced, second, done, self._bits(64))
        else:
            yield self._row(request_id, 0, at, key, priced, first, ending, bits >> 106)

    def _is_down(self, priced: PricedAlias, at: datetime) -> bool:
        within = self._outage <= at < self._outage + _OUTAGE_HOURS * HOUR
        return within and priced.targets[0].model.provider == _OUTAGE_PROVIDER

    def _row(
        self,
        request_id: int,
        leg: int,
        at: datetime,
        key: ApiKey,
        priced: PricedAlias,
        answered_by: PricedModel,
        ending: str,
        bits: int,
    ) -> Row:
        alias, model = priced.alias, answered_by.model
        usage = _NOTHING if ending == UsageRow.Status.FAILED else self._usage(priced, ending, bits)
        cost, charge = _rated(usage, answered_by.cost), _rated(usage, priced.charge)
        first_token = int(model.first_token_ms * self._pace[bits >> 24 & _MASK])
        streamed = not bits >> 36 & 1
        duration = first_token + int(usage.output_total * model.ms_per_token)
        row: Row = {
            "id": UUID(int=request_id | leg),
            "leg": leg,
            "tenant_id": key.tenant_id,
            "tenant_slug": key.tenant.slug,
            "key_id": key.pk,
            "key_public_id": key.public_id,
            "end_user": f"user-{bits >> 37 & 63}" if bits >> 43 & 1 else "",
            "route": _ROUTES[bits >> 44 & 3],
            "alias": alias.name,
            "provider": model.provider,
            "upstream_model": model.name,
            "status": ending,
            "http_status": 200,
            "error_code": "",
            "absorbed": False,
            "streamed": streamed,
            "opened_at": at,
            "ttft_ms": first_token if streamed else None,
            "duration_ms": duration,
            "overhead_us": 700 + (bits >> 46 & 1023),
            "usage_source": _SOURCES.get(ending, UsageRow.Source.PROVIDER),
            "cost_version": answered_by.cost and answered_by.cost.version,
            "charge_version": priced.charge and priced.charge.version,
            "cost_nano": cost.total,
            "charge_nano": charge.total,
        }
        row.update(zip(TOKEN_CLASSES, usage.counts, strict=True))
        row.update(zip(_CHARGE_FIELDS, charge.by_class, strict=True))
        if ending == UsageRow.Status.FAILED:
            code, status = _ERRORS[bits >> 56 & 3]
            row.update(error_code=code, http_status=status, ttft_ms=None)
        return row

    def _usage(self, priced: PricedAlias, ending: str, bits: int) -> Usage:
        alias = priced.alias
        tokens_in = 8 + int(alias.input_tokens * self._spread[bits & _MASK])
        tokens_out = 4 + int(alias.output_tokens * self._spread[bits >> 12 & _MASK])
        if ending != UsageRow.Status.COMPLETED:
            tokens_out //= 3
        cached = tokens_in * alias.cached_percent * (bits >> 24 & 127) // 12_700
        thought = tokens_out * alias.reasoning_percent // 100
        return Usage(
            input_fresh=tokens_in - cached,
            cache_read=cached,
            output_visible=tokens_out - thought,
            output_reasoning=thought,
        )


_NOTHING = Usage()
_ROUTES = ("responses", "chat", "responses", "chat")
_SOURCES: dict[str, str] = {
    UsageRow.Status.FAILED: UsageRow.Source.NONE,
    UsageRow.Status.CLIENT_GONE: UsageRow.Source.COUNTED,
    UsageRow.Status.CANCELLED: UsageRow.Source.COUNTED,
    UsageRow.Status.ABANDONED: UsageRow.Source.RESERVED,
}


def _rated(usage: Usage, by: Terms | None) -> Rated:
    return rating.NOTHING if by is None else rating.rate(usage, rating.DEFAULT_TIER, by)


def _request_id(at: datetime, random_bits: int) -> int:
    """Return a UUIDv7 of that instant as a number, its lowest 16 bits, which are the leg's, empty."""
    milliseconds = int(at.astimezone(UTC).timestamp() * 1000)
    high, low = random_bits >> 46, random_bits & (1 << 46) - 1
    return milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low << 16
