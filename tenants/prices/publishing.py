"""Turn a draft into published prices: written once, checked, published, and never changed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError

from gateway_project.lib.db import durable_transaction
from tenants.models import PriceLine, PriceVersion, Tenant
from tenants.prices import book, rating
from tenants.prices.rating import Line


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a price: a provider's model (cost), or an alias (charge), for one tenant or for all."""

    book: str
    model: str
    provider: str = ""
    tenant: Tenant | None = None

    @classmethod
    def cost(cls, provider: str, model: str) -> Subject:
        return cls(PriceVersion.Book.COST, model, provider)

    @classmethod
    def charge(cls, alias: str, tenant: Tenant | None = None) -> Subject:
        return cls(PriceVersion.Book.CHARGE, alias, tenant=tenant)


@durable_transaction()
def draft(
    subject: Subject, lines: Sequence[Line], effective_from: datetime, source: str = ""
) -> PriceVersion:
    """Make a version that does not apply yet. Raise ValidationError for lines that are not prices."""
    version = PriceVersion(
        book=subject.book,
        tenant=subject.tenant,
        provider=subject.provider,
        model=subject.model,
        effective_from=effective_from,
        source=source,
    )
    version.full_clean()
    version.save()
    rows = [_row(version, line) for line in lines]
    for row in rows:  # whose version was just written: to look whether it is there is a query each
        row.full_clean(exclude={"version"}, validate_unique=False, validate_constraints=False)
    if len({(r.token_class, r.service_tier, r.above_tokens) for r in rows}) < len(rows):
        raise ValidationError({"lines": "A class has two prices in one tier and threshold."})
    PriceLine.objects.bulk_create(rows)
    return version


@durable_transaction()
def publish(
    version: PriceVersion, by: str, now: datetime, *, or_from_now: bool = False
) -> PriceVersion:
    """Publish it from `effective_from` on, which is not before now: earlier calls were told other prices.

    With `or_from_now` a draft made for an earlier instant applies from now. Raise ValidationError.
    """
    stored: PriceVersion = PriceVersion.objects.select_for_update().get(pk=version.pk)
    if stored.published_at is not None:
        raise ValidationError("It is already published.")
    check_lines(lines_of(stored))
    if stored.effective_from < now:
        if not or_from_now:
            raise ValidationError(
                {
                    "effective_from": "It is in the past; a price applies from its publication on, or later."
                }
            )
        stored.effective_from = now
    stored.published_at, stored.published_by = now, by[:200]
    stored.full_clean()
    stored.save(update_fields=["effective_from", "published_at", "published_by"])
    return stored


def set_price(
    subject: Subject, lines: Sequence[Line], by: str, now: datetime, source: str = ""
) -> PriceVersion:
    """Publish a version that applies from now on."""
    with durable_transaction():
        return publish(draft(subject, lines, now, source), by, now)


def published(subject: Subject) -> list[PriceVersion]:
    """Return the published versions of a subject, latest first."""
    versions = PriceVersion.objects.filter(
        book=subject.book,
        tenant=subject.tenant,
        provider=subject.provider,
        model=subject.model,
        published_at__isnull=False,
    )
    return list(versions.order_by("-effective_from").prefetch_related("lines"))


def lines_of(version: PriceVersion) -> list[Line]:
    return [book.line_of(row) for row in version.lines.all()]


def check_lines(lines: Sequence[Line]) -> None:
    """Raise ValidationError if calls could not be rated by the lines."""
    try:
        rating.terms(0, 0.0, lines)
    except ValueError as error:
        raise ValidationError({"lines": str(error)}) from error


def _row(version: PriceVersion, line: Line) -> PriceLine:
    return PriceLine(
        version=version,
        token_class=line.token_class,
        service_tier=line.service_tier,
        above_tokens=line.above_tokens,
        pico_per_token=line.pico_per_token,
    )
