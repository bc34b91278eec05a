"""seed_demo fills an empty installation with books that agree, the same for the same seed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db.models import Sum

from gateway_project.demo import seeding
from gateway_project.demo.catalogue import ALIASES, MODELS
from gateway_project.demo.traffic import DAYS, DemoTraffic, PricedAlias, PricedModel
from responses_api.models import StoredResponse, WebhookDelivery
from routing.models import Alias
from tenants.billing import selfcheck
from tenants.models import (
    ApiKey,
    BudgetWindow,
    Invoice,
    ModelDay,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.commands.running import answer, refusal

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]


def test_the_books_of_a_demo_agree_and_have_something_of_everything():
    told = answer("seed_demo", "--requests", "400", "--seed", "3")

    assert told["requests"] == UsageRow.objects.filter(leg=0).count() == 400
    assert told["rows"] == UsageRow.objects.count() >= 400
    assert selfcheck.examine() == []
    assert told["tenants"] == Tenant.objects.count() == seeding.FEW_TENANTS
    assert told["keys"] == ApiKey.objects.count()
    assert told["invoices"] == Invoice.objects.count() > 0
    assert told["responses"] == StoredResponse.objects.count() > 0
    assert told["budgets"] == BudgetWindow.objects.count() > 0
    assert WebhookDelivery.objects.filter(state="given_up").exists()
    assert Alias.objects.filter(targets__isnull=True).count() == 0
    found = UsageRow.objects.aggregate(Sum("charge_nano"), Sum("cost_nano"))
    assert found["charge_nano__sum"] > found["cost_nano__sum"] > 0
    assert {"completed", "failed"} <= set(UsageRow.objects.values_list("status", flat=True))
    assert UsageDay.objects.count() <= UsageHour.objects.count()
    days = ModelDay.objects.order_by("starts_at").values_list("starts_at", flat=True).distinct()
    assert DAYS - 10 < len(days) <= DAYS + 1

    said = refusal("seed_demo", "--requests", "400")
    assert "has usage already" in said
    assert "There is a tenant" in refusal("seed_demo", "--requests", "400", "--beside-data")
    assert UsageRow.objects.filter(leg=0).count() == 400
    assert "requests:" in refusal("seed_demo", "--requests", "1")


def test_the_same_seed_makes_the_same_calls():
    tenant = Tenant(pk=1, slug="acme")
    keys = [(ApiKey(pk=pk, tenant=tenant, public_id=f"key000000{pk}"), pk) for pk in range(1, 5)]
    aliases = [
        PricedAlias(alias, tuple(PricedModel(MODELS[n], None) for n in (0, 2)), None)
        for alias in ALIASES
    ]

    def made(seed: int) -> list[dict[str, object]]:
        end = datetime(2026, 11, 1, tzinfo=UTC)
        return list(DemoTraffic(seed, end, keys, aliases).rows(200))

    assert made(5) == made(5) != made(6)
    assert sum(row["leg"] == 0 for row in made(5)) == 200
