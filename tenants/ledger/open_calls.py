"""Track the calls in a spool, and build the row each becomes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from tenants import units
from tenants.ledger.records import Noted, Opened, Settled, UnitAmount
from tenants.prices.rating import NOTHING, Rated, Terms, rate, unstated_tier
from tenants.token_classes import TOKEN_CLASSES, Usage

TermsOf = Callable[[int], Terms | None]
CHARGES = tuple(f"charge_{name}" for name in TOKEN_CLASSES)
# The columns of a row that the end of its call tells, in the order of `settled`.
_ENDED = (
    *TOKEN_CLASSES, *CHARGES, "units", "cost_nano", "charge_nano", "unfunded_nano", "list_nano", "absorbed",
    "guardrail_outcome", "cache_outcome", "saved_nano", "status", "usage_source", "usage_anomaly",
    "http_status", "error_code", "service_tier", "ttft_ms", "duration_ms", "overhead_us",
)  # fmt: skip


class OpenCall(Struct):
    """A call that is not settled. `file_number` and `offset` locate the beginning of its record."""

    opened: Opened
    file_number: int
    offset: int
    noted: Noted | None = None


class Booked(Struct, frozen=True):
    """A call that has ended: what its record says of it, what its budgets pay, those that count the charge
    and those that count the list price, and the values of its row."""

    opened: Opened
    spent_nano: int
    values: dict[str, Any]
    list_nano: int = 0


def settled(opened: Opened, end: Settled) -> Booked:
    """Return the row of a call whose end is known."""
    charge = sum(end.charges_nano)
    if end.units:
        charge += sum(amount.charge_nano for amount in end.units)
    ended = (
        *end.tokens,
        *end.charges_nano,
        _stored(end.units) if end.units else None,
        end.cost_nano,
        charge,
        end.unfunded_nano,
        end.list_nano,
        end.absorbed,
        end.guardrail_outcome,
        end.cache_outcome,
        end.saved_nano,
        end.status,
        end.usage_source,
        end.usage_anomaly,
        end.http_status,
        end.error_code,
        end.service_tier,
        end.ttft_ms,
        end.duration_ms,
        end.overhead_us,
    )
    values = _opening(opened)
    values.update(zip(_ENDED, ended, strict=True))
    return Booked(opened, charge + end.waived_nano, values, end.list_nano)


def abandoned(call: OpenCall, terms_of: TermsOf) -> Booked:
    """Return the row of a call whose process died, from what was noted last or what it was opened with.

    Its budgets pay no more than was held.
    """
    opened, noted = call.opened, call.noted
    usage = Usage(
        input_fresh=opened.input_estimate,
        output_visible=noted.output_tokens if noted is not None else 0,
        units=units.in_order(dict(opened.units)) if opened.units else (),
    )
    charged_by, costs_by, list_by = (
        terms_of(version) if version is not None else None
        for version in (opened.charge_version, opened.cost_version, opened.list_version)
    )
    tier = unstated_tier(usage, opened.service_tier, charged_by or costs_by, list_by)
    whole = _rated(usage, tier, charged_by)
    held = noted.held_nano if noted is not None else opened.held_nano
    charge = whole if held is None else whole.capped(held)
    cost = _rated(usage, tier, costs_by)
    list_held = noted.list_held_nano if noted is not None else opened.list_held_nano
    list_nano = _rated(usage, tier, list_by).total
    list_nano = list_nano if list_held is None else min(list_nano, list_held)
    shares = zip(usage.units, charge.of_units(usage.units), strict=True)
    return Booked(
        opened,
        charge.total,
        {
            **_opening(opened),
            **dict(zip(TOKEN_CLASSES, usage.counts, strict=True)),
            **dict(zip(CHARGES, charge.by_class, strict=True)),
            "units": _stored(UnitAmount(*unit, share) for unit, share in shares),
            "cost_nano": cost.total,
            "charge_nano": charge.total,
            "unfunded_nano": whole.total - charge.total,
            "list_nano": list_nano,
            "absorbed": False,
            "guardrail_outcome": "",
            "cache_outcome": "",
            "saved_nano": 0,
            "status": "abandoned",
            "usage_source": "counted" if noted is not None else "reserved",
            "usage_anomaly": False,
            "http_status": 0,
            "error_code": "abandoned",
            "service_tier": tier,
            "ttft_ms": noted.ttft_ms if noted is not None else None,
            "duration_ms": noted.elapsed_ms if noted is not None else 0,
            "overhead_us": 0,
        },
        list_nano,
    )


def opened_at(opened: Opened) -> datetime:
    return datetime.fromtimestamp(opened.at_ms / 1000, UTC)


def _rated(usage: Usage, tier: str, by: Terms | None) -> Rated:
    return NOTHING if by is None else rate(usage, tier, by)


def _opening(opened: Opened) -> dict[str, Any]:
    return {
        "id": UUID(hex=opened.id),
        "leg": opened.leg,
        "tenant_id": opened.tenant_id,
        "tenant_slug": opened.tenant,
        "key_id": opened.key_id,
        "key_public_id": opened.key,
        "end_user": opened.end_user,
        "tags": opened.tags,
        "route": opened.route,
        "alias": opened.alias,
        "requested_model": opened.requested_model,
        "provider": opened.provider,
        "upstream_model": opened.upstream_model,
        "streamed": opened.streamed,
        "background": opened.background,
        "websocket": opened.websocket,
        "opened_at": opened_at(opened),
        "held_nano": opened.held_nano,
        "cost_version": opened.cost_version,
        "charge_version": opened.charge_version,
        "list_version": opened.list_version,
    }


def _stored(amounts: Iterable[UnitAmount]) -> dict[str, list[int]] | None:
    """Return the value of a row's `units`."""
    return {amount.name: [amount.quantity, amount.charge_nano] for amount in amounts} or None
