"""Tell one request in whole: its calls, what each was charged and why, and its corrections.

It is found by its id alone, which is the primary key, and shown only to who may see its tenant's usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenants import units
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.ledger import row_ids
from tenants.managed.resource import resource_of
from tenants.models import RefusedRequest, UsageRow
from tenants.prices import book
from tenants.prices.rating import Step, Terms, rate
from tenants.reports.logged_request import LoggedRequest, of_calls, of_refusal
from tenants.token_classes import TOKEN_CLASSES, Usage


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """One class of a call's charge. `pico` is the price of one; None: there was no price."""

    unit: str
    quantity: int
    pico: int | None
    charge_nano: int


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """A call to an upstream. `offset_ms` is when it was opened, counted from the first; names of upstreams
    are blank, and amounts of the platform None, for who may not see them.

    rated_nano   what the lines come to before a budget's reserve, or an unanswered call, left some of it out
    held_nano    what budgets had reserved; None: none limited it
    """

    number: int
    row_id: UUID
    provider: str
    upstream_model: str
    route: str
    status: str
    absorbed: bool
    http_status: int
    code: str
    opened_at: datetime
    offset_ms: int
    ttft_ms: int | None
    duration_ms: int
    overhead_us: int
    service_tier: str
    usage_source: str
    usage_anomaly: bool
    lines: tuple[ChargeLine, ...]
    charge_version: int | None
    charge_nano: int
    rated_nano: int | None
    held_nano: int | None
    unfunded_nano: int | None
    cost_nano: int | None
    end_user: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Correction:
    """A later change of a call's usage."""

    at: datetime
    reason: str
    actor: str
    charge_nano: int
    cost_nano: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """A request in whole; one that was refused has no attempts."""

    summary: LoggedRequest
    attempts: tuple[LoggedAttempt, ...] = ()
    corrections: tuple[Correction, ...] = ()
    is_claimed: bool = False  # its key is only the one whose id it named

    @property
    def span_ms(self) -> int:
        """Return how long it took, as far as it was measured."""
        return max((each.offset_ms + each.duration_ms for each in self.attempts), default=0)


def find_request(who: Access, request_id: str) -> RequestDetail | None:
    """Return a request by its id, or by that of one of its calls; None if there is none that they may see."""
    try:
        first, last = row_ids.rows_of(request_id.strip())
    except ValueError:
        return None
    rows = list(UsageRow.objects.filter(pk__gte=first, pk__lte=last).order_by("pk"))
    # Nobody else's rows can stand there; if some did, they would be left out.
    rows = [row for row in rows if row.tenant_id == rows[0].tenant_id]
    if rows:
        return _of_rows(who, rows) if who.may("view", Area.USAGE, rows[0].tenant_id) else None
    refusal = RefusedRequest.objects.filter(pk=first).first()
    if refusal is None or not who.may("view", Area.USAGE, refusal.tenant_id):
        return None
    return RequestDetail(of_refusal(who, refusal), is_claimed=refusal.is_claimed)


def _of_rows(who: Access, rows: Sequence[UsageRow]) -> RequestDetail | None:
    calls = [row for row in rows if row.corrects is None]
    if not calls:
        return None
    hidden = resource_of(UsageRow).hidden(who, calls[-1])
    versions = {row.charge_version for row in calls if row.charge_version is not None}
    terms = book.version_terms(versions) if versions else {}
    return RequestDetail(
        summary=of_calls(who, rows, calls[0]),
        attempts=tuple(
            _attempt(number, row, calls[0], terms.get(row.charge_version or 0), hidden)
            for number, row in enumerate(calls, 1)
        ),
        corrections=tuple(_correction(row, hidden) for row in rows if row.corrects is not None),
    )


def _attempt(
    number: int, row: UsageRow, first: UsageRow, terms: Terms | None, hidden: frozenset[str]
) -> LoggedAttempt:
    usage = Usage.of(row.tokens, units=row.quantities)
    offset = row.opened_at - first.opened_at
    return LoggedAttempt(
        number=number,
        row_id=row.pk,
        provider="" if "provider" in hidden else row.provider,
        upstream_model="" if "upstream_model" in hidden else row.upstream_model,
        route=row.route,
        status=row.status,
        absorbed=row.absorbed,
        http_status=row.http_status,
        code=row.error_code,
        opened_at=row.opened_at,
        offset_ms=max(int(offset.total_seconds() * 1000), 0),
        ttft_ms=row.ttft_ms,
        duration_ms=row.duration_ms,
        overhead_us=row.overhead_us,
        service_tier=row.service_tier,
        usage_source=row.usage_source,
        usage_anomaly=row.usage_anomaly,
        lines=_lines(row, usage, terms),
        charge_version=row.charge_version,
        charge_nano=row.charge_nano,
        rated_nano=None if terms is None else rate(usage, row.service_tier, terms).total,
        held_nano=row.held_nano,
        unfunded_nano=None if "unfunded_nano" in hidden else row.unfunded_nano,
        cost_nano=None if "cost_nano" in hidden else row.cost_nano,
        end_user=row.end_user,
        tags=row.tags,
    )


def _lines(row: UsageRow, usage: Usage, terms: Terms | None) -> tuple[ChargeLine, ...]:
    step = None if terms is None else terms.step(row.service_tier, usage.input_total)
    of_tokens = (
        ChargeLine(name, count, _pico(step, name), getattr(row, f"charge_{name}"))
        for name, count in zip(TOKEN_CLASSES, usage.counts, strict=True)
    )
    of_units = (
        ChargeLine(name, quantity, _pico(step, name), charge)
        for (name, quantity), charge in zip(row.quantities, row.unit_charges, strict=True)
    )
    return tuple(line for line in (*of_tokens, *of_units) if line.quantity)


def _pico(step: Step | None, name: str) -> int | None:
    if step is None:
        return None
    if units.of(name).is_token:
        return step.picos[TOKEN_CLASSES.index(name)]
    return step.rates.get(name, 0)


def _correction(row: UsageRow, hidden: frozenset[str]) -> Correction:
    return Correction(
        at=row.opened_at if row.recorded_at is None else row.recorded_at,
        reason=row.reason,
        actor=row.actor,
        charge_nano=row.charge_nano,
        cost_nano=None if "cost_nano" in hidden else row.cost_nano,
        tokens=sum(row.tokens),
    )
