"""Rating stored calls again gives what is stored; where it does not, each amount is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tenants.models import Tenant, UsageRow
from tenants.prices import book, publishing, rerating
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line, rate
from tenants.prices.rerating import RatingDifference
from tenants.token_classes import TOKEN_CLASSES, Usage
from tests.support import rows

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
USAGE = Usage(input_fresh=1_001, cache_read=333, output_visible=77, output_reasoning=5)


@pytest.fixture
def tenant() -> Tenant:
    return rows.customer().tenant


def published(subject: Subject, pico: int) -> int:
    lines = [Line("input_fresh", pico), Line("output_visible", 4 * pico)]
    return publishing.set_price(subject, lines, "test", NOW).pk


def stored(tenant: Tenant, number: int, at: datetime = NOW, **fields: Any) -> UsageRow:
    """A row as the ledger would write it, rated by its versions, and then what `fields` say."""
    terms = book.version_terms(
        v for v in (fields.get("cost_version"), fields.get("charge_version")) if v is not None
    )
    charge = rerating.rerated(USAGE, "default", terms.get(fields.get("charge_version", 0)))
    cost = rerating.rerated(USAGE, "default", terms.get(fields.get("cost_version", 0)))
    funded = charge.capped(charge.total - fields.get("unfunded_nano", 0))
    amounts: dict[str, Any] = {
        "status": "completed",
        "cost_nano": cost.total,
        "charge_nano": funded.total,
        **dict(zip((f"charge_{n}" for n in TOKEN_CLASSES), funded.by_class, strict=True)),
        **dict(zip(TOKEN_CLASSES, USAGE.counts, strict=True)),
    }
    return UsageRow.objects.create(
        id=UUID(int=number),
        leg=0,
        tenant=tenant,
        tenant_slug=tenant.slug,
        service_tier="default",
        usage_source="provider",
        opened_at=at,
        **{**amounts, **fields},
    )


def found() -> list[RatingDifference]:
    return list(rerating.differences(NOW, NOW + DAY))


def test_what_was_stored_is_what_rating_gives_whatever_was_published_since(tenant: Tenant) -> None:
    cost = published(Subject.cost("up", "m"), 3_000_001)
    charge = published(Subject.charge("mine"), 5_000_003)
    stored(tenant, 1, cost_version=cost, charge_version=charge)
    stored(tenant, 2, cost_version=cost)
    stored(tenant, 3)
    stored(tenant, 4, charge_version=charge, unfunded_nano=1_234_567)
    later = publishing.draft(
        Subject.charge("mine"),
        [Line("input_fresh", 9), Line("output_visible", 9)],
        NOW + timedelta(seconds=1),
    )
    publishing.publish(later, "test", NOW)
    assert found() == []


def test_each_amount_that_differs_is_told(tenant: Tenant) -> None:
    version = published(Subject.cost("up", "m"), 3_000_000)
    rated = rate(USAGE, "default", book.version_terms([version])[version])
    row = stored(tenant, 1, cost_version=version, charge_version=version, cost_nano=1)
    assert found() == [RatingDifference(row.id, "cost", 1, rated.total)]
    row = stored(tenant, 2, charge_version=version, charge_cache_read=0)
    share = rated.by_class[TOKEN_CLASSES.index("cache_read")]
    assert RatingDifference(row.id, "cache_read", 0, share) in found()
    row = stored(tenant, 3, charge_version=version, output_visible=78)
    told = {difference.amount for difference in found() if difference.row == row.id}
    assert "charge" in told


def test_money_without_a_price_is_told(tenant: Tenant) -> None:
    row = stored(tenant, 1, cost_nano=5)
    assert found() == [RatingDifference(row.id, "cost", 5, 0)]


def test_a_version_that_is_in_no_book_is_told(tenant: Tenant) -> None:
    draft = publishing.draft(Subject.cost("up", "m"), [Line("input_fresh", 1)], NOW)
    row = stored(tenant, 1, charge_version=draft.pk)
    other = stored(tenant, 2, cost_version=draft.pk)
    assert found() == [
        RatingDifference(row.id, "charge version", draft.pk, 0),
        RatingDifference(other.id, "cost version", draft.pk, 0),
    ]


def test_only_calls_opened_within_the_range_are_rated_and_corrections_never(tenant: Tenant) -> None:
    stored(tenant, 1, NOW - timedelta(microseconds=1), cost_nano=5)
    stored(tenant, 2, NOW + DAY, cost_nano=5)
    stored(tenant, 3, cost_nano=5, status="correction", corrects=UUID(int=1))
    assert found() == []


def test_versions_are_read_once_for_many_rows(tenant: Tenant, django_assert_num_queries) -> None:
    version = published(Subject.cost("up", "m"), 3_000_000)
    for number in range(20):
        stored(tenant, number, cost_version=version, charge_version=version)
    with django_assert_num_queries(2):
        assert found() == []
