"""State which requests are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from tenants.models import UsageRow
from tenants.reports.sums_reach import SumsReach

REFUSED = "refused"
# An error that a completed call can have: its row is in no index of those that did not complete.
OF_COMPLETED = "idempotency_key_lost"
STATUSES = (
    *(status for status in UsageRow.Status.values if status != UsageRow.Status.CORRECTION),
    REFUSED,
)
SOURCES = tuple(UsageRow.Source.values)
GUARDRAIL_OUTCOMES = tuple(UsageRow.GuardrailOutcome.values)
# Requests that a guardrail refused made no call: what their clients were told says it.
REFUSED_BY_GUARDRAILS = {
    "blocked": "content_policy_violation",
    "unavailable": "guardrail_unavailable",
}
CACHE_OUTCOMES = tuple(UsageRow.CacheOutcome.values)
RETRIED = "retried"  # an attempt failed, and another was made
ATTEMPTS = (RETRIED,)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A span of time, from `start` until `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Conditions on requests; a blank one is no condition. `tenants` is None for every tenant's requests, and
    those of nobody. `key` is a public id, `key_id` its number where that is known, `model` the name that the
    provider has for it."""

    start: datetime
    end: datetime
    tenants: frozenset[int] | None = None
    key: str = ""
    alias: str = ""
    model: str = ""
    provider: str = ""
    status: str = ""
    code: str = ""
    source: str = ""
    end_user: str = ""
    guardrail: str = ""  # an outcome
    cache: str = ""
    attempts: str = ""
    key_id: int | None = None
    is_called: bool = False  # only requests that an upstream was asked for
    reach: SumsReach = field(default_factory=SumsReach, compare=False, repr=False)

    @property
    def finds_nothing(self) -> bool:
        """Tell whether no row can meet the conditions."""
        is_known = self.status in {"", *STATUSES} and self.source in {"", *SOURCES}
        is_known = is_known and self.guardrail in {"", *GUARDRAIL_OUTCOMES}
        is_known = is_known and self.cache in {"", *CACHE_OUTCOMES}
        is_known = is_known and self.attempts in {"", *ATTEMPTS}
        return self.start >= self.end or not is_known or self.tenants == frozenset()

    @property
    def names_upstreams(self) -> bool:
        return bool(self.model or self.provider)

    @property
    def is_about_attempts(self) -> bool:
        """Tell whether one call of a request can meet the conditions and another not."""
        return bool(self.names_upstreams or self.code or self.source or self.guardrail)

    @property
    def stands_at_failure(self) -> bool:
        """Tell whether a request stands at its first attempt that another was made after."""
        return bool(self.attempts) and not (self.status or self.is_about_attempts)

    @property
    def may_be_refused(self) -> bool:
        """Tell whether requests without any call can meet the conditions."""
        of_calls = self.is_called or bool(
            self.names_upstreams or self.source or self.end_user or self.cache
        )
        of_calls = (
            of_calls or bool(self.attempts) or self.guardrail not in {"", *REFUSED_BY_GUARDRAILS}
        )
        return self.status in {"", REFUSED} and not of_calls

    @property
    def is_rare(self) -> bool:
        """Tell whether only calls that did not complete can match, which are few and have an index."""
        if self.status:
            return self.status != UsageRow.Status.COMPLETED
        if self.stands_at_failure:
            return True
        return self.code not in {"", OF_COMPLETED}

    @property
    def has_index(self) -> bool:
        """Tell whether an index of the ledger leads to the matches, or nothing else would help."""
        of_sums = self.key or self.alias or self.names_upstreams or self.source or self.is_of_hits
        return self.is_rare or bool(self.code) or self.key_id is not None or not of_sums

    @property
    def is_scan(self) -> bool:
        """Tell whether rows have to be looked through, of which maybe none matches."""
        of_rows = bool(self.cache) and not self.is_of_hits
        of_rows = of_rows or bool(self.attempts)
        return bool(self.end_user or self.code or self.guardrail or of_rows) and not self.is_rare

    @property
    def is_of_hits(self) -> bool:
        """Tell whether answers of the response cache are asked for, which sums count."""
        return self.cache == UsageRow.CacheOutcome.HIT

    def within(self, tenants: frozenset[int] | None) -> RequestFilter:
        return replace(self, tenants=tenants)

    def matches_attempt(self, call: UsageRow) -> bool:
        """Tell whether a call meets the conditions in which calls of one request can differ."""
        wanted = (
            (self.provider, call.provider),
            (self.model, call.upstream_model),
            (self.code, call.error_code),
            (self.source, call.usage_source),
            (self.guardrail, call.guardrail_outcome),
        )
        return all(given in {"", value} for given, value in wanted)
