"""Describe one request of the log, as far as whoever asks may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from tenants.access.access import Access
from tenants.ledger import row_ids
from tenants.managed.resource import resource_of
from tenants.models import RefusedRequest, UsageRow
from tenants.reports.request_filter import REFUSED, REFUSED_BY_GUARDRAILS
from tenants.token_classes import INPUT_CLASSES, OUTPUT_CLASSES

ESTIMATED = {UsageRow.Source.COUNTED, UsageRow.Source.RESERVED}
OF_UPSTREAMS = "upstream_"
_STRONGEST = ("unavailable", "blocked", "masked", "monitored", "skipped", "passed")
_OF_CODES = {code: outcome for outcome, code in REFUSED_BY_GUARDRAILS.items()}
CACHE_READ, REASONING = "cache_read", "output_reasoning"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request in the log. `at` and `number` are those of the row it stands at.

    alias       the name it was served under, or the one asked for if it was refused
    provider, upstream_model   what answered it, or failed last; blank if that may not be seen
    attempts    calls of it; 0 if it was refused before any
    message     the sentence its client got, of refused ones
    *_ms        None: not measured
    tokens, charge_nano   of all its calls, corrections included
    cost_nano   None for tenants
    is_estimated   no provider reported some of its tokens
    guardrail   the strongest thing that guardrails did to any of its calls
    cache_outcome  what the response cache said; blank if it was not asked
    saved_nano     what an answer from the cache would have been charged beyond its charge
    """

    id: str
    at: datetime
    number: int
    tenant_id: int | None
    key_public_id: str
    status: str
    route: str
    alias: str
    requested_model: str
    provider: str = ""
    upstream_model: str = ""
    http_status: int = 0
    code: str = ""
    message: str = ""
    streamed: bool = False
    websocket: bool = False
    background: bool = False
    attempts: int = 0
    ttft_ms: int | None = None
    duration_ms: int | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    charge_nano: int = 0
    cost_nano: int | None = None
    is_priced: bool = True
    is_estimated: bool = False
    is_corrected: bool = False
    guardrail: str = ""
    cache_outcome: str = ""
    saved_nano: int = 0

    @property
    def is_refused(self) -> bool:
        return self.status == REFUSED


def message_of(who: Access, row: RefusedRequest) -> str:
    """Return what the client was told; without the provider that could not be asked where a tenant is shown
    aliases only."""
    if row.code.startswith(OF_UPSTREAMS) and not who.sees_upstreams_of(row.tenant_id):
        return _("What answers this alias could not be asked.")
    return row.message


def of_refusal(who: Access, row: RefusedRequest) -> LoggedRequest:
    return LoggedRequest(
        id=f"req_{row.pk.hex}",
        at=row.at,
        number=row.pk.int,
        tenant_id=row.tenant_id,
        key_public_id=row.key_public_id,
        status=REFUSED,
        route=row.route,
        alias=row.model,
        requested_model="",
        http_status=row.http_status,
        code=row.code,
        message=message_of(who, row),
        websocket=row.websocket,
        background=row.background,
        guardrail=_OF_CODES.get(row.code, ""),
    )


def of_calls(who: Access, rows: Sequence[UsageRow], at: UsageRow) -> LoggedRequest:
    """Describe the request with these rows, in order, that stands at one of them."""
    attempts = [row for row in rows if row.corrects is None]
    first, last = attempts[0], attempts[-1]
    hidden = resource_of(UsageRow).hidden(who, last)
    before_last = last.opened_at - first.opened_at
    return LoggedRequest(
        id=row_ids.request_id_of(at.pk),
        at=at.opened_at,
        number=at.pk.int,
        tenant_id=last.tenant_id,
        key_public_id=last.key_public_id,
        status=last.status,
        route=last.route,
        alias=last.alias,
        requested_model=last.requested_model,
        provider="" if "provider" in hidden else last.provider,
        upstream_model="" if "upstream_model" in hidden else last.upstream_model,
        http_status=last.http_status,
        code=last.error_code,
        streamed=last.streamed,
        websocket=last.websocket,
        background=last.background,
        attempts=len(attempts),
        ttft_ms=None if last.ttft_ms is None else _ms(before_last) + last.ttft_ms,
        duration_ms=_ms(before_last) + last.duration_ms,
        input_tokens=_sum(rows, INPUT_CLASSES),
        cached_tokens=_sum(rows, (CACHE_READ,)),
        output_tokens=_sum(rows, OUTPUT_CLASSES),
        reasoning_tokens=_sum(rows, (REASONING,)),
        charge_nano=sum(row.charge_nano for row in rows),
        cost_nano=None if "cost_nano" in hidden else sum(row.cost_nano for row in rows),
        is_priced=last.charge_version is not None,
        is_estimated=any(row.usage_source in ESTIMATED for row in attempts),
        is_corrected=len(rows) > len(attempts),
        guardrail=_strongest({row.guardrail_outcome for row in attempts}),
        cache_outcome=last.cache_outcome,
        saved_nano=sum(row.saved_nano for row in attempts),
    )


def _strongest(outcomes: set[str]) -> str:
    return next((each for each in _STRONGEST if each in outcomes), "")


def _sum(rows: Sequence[UsageRow], names: Sequence[str]) -> int:
    total: int = sum(getattr(row, name) for row in rows for name in names)
    return total


def _ms(span: timedelta) -> int:
    return max(round(span / timedelta(milliseconds=1)), 0)
