"""The pages on usage and bills show a tenant its own, keep costs to operators, and change nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from tenants.admin import confirming
from tenants.billing import credits as prepaid
from tenants.billing import periods
from tenants.ledger.row_ids import request_id_of
from tenants.models import (
    BillingPeriod,
    Budget,
    CreditTransaction,
    Invoice,
    Tenant,
    UsageDay,
    UsageRow,
)
from tests.admin import world as worlds
from tests.admin.pages import act, assert_clean, text, url
from tests.admin.world import World
from tests.support import usage_rows

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]


def document(invoice: Invoice, kind: str) -> str:
    return reverse(f"admin:tenants_invoice_{kind}", args=(invoice.pk,))


@pytest.fixture
def billing(world: World) -> Client:
    return worlds.staff("billing", world.ours.tenant)


@pytest.fixture
def draft(world: World) -> Invoice:
    now = clock.now()
    usage_rows.usage(world.ours.tenant, now, charges={"input_fresh": 70_000_000})
    periods.advance(world.ours.tenant, now + timedelta(days=32))
    return Invoice.objects.get(state="draft")


def test_what_calls_cost_the_operator_is_shown_to_operators_only(
    world: World, billing: Client, operator: Client
):
    for model in (UsageRow, UsageDay):
        assert "Cost, USD" in text(operator.get(url(model, "changelist")))
        assert "Cost, USD" not in text(billing.get(url(model, "changelist")))
    assert "Cost nano" in text(operator.get(url(world.ours.usage, "change")))
    assert "Cost nano" not in text(billing.get(url(world.ours.usage, "change")))


def test_rows_are_found_by_request_and_filtered_by_alias(world: World, billing: Client):
    page = url(UsageRow, "changelist")
    found = billing.get(f"{page}?q={request_id_of(world.ours.usage.pk)}")
    assert list(found.context["cl"].result_list) == [world.ours.usage]
    assert list(billing.get(f"{page}?q=nothing").context["cl"].result_list) == []
    other = billing.get(f"{page}?q={request_id_of(world.theirs.usage.pk)}")
    assert list(other.context["cl"].result_list) == []
    answer = billing.get(f"{page}?alias=ours-alias")
    assert list(answer.context["cl"].result_list) == [world.ours.usage]
    assert_clean(answer)


def test_rows_outlive_their_tenant(world: World, operator: Client):
    row = usage_rows.usage(world.ours.tenant, tenant_id=987_654)
    answer = operator.get(url(UsageRow, "changelist"))
    assert row in answer.context["cl"].result_list
    assert "987654" in text(answer)
    assert operator.get(url(row, "change")).status_code == 200


def test_an_invoice_can_be_downloaded_by_its_tenant_alone(world: World, billing: Client):
    pdf = billing.get(document(world.ours.invoice, "pdf"))
    assert (pdf.status_code, pdf["content-type"]) == (200, "application/pdf")
    assert pdf.content.startswith(b"%PDF-")
    assert "Invoice 1" in text(billing.get(document(world.ours.invoice, "html")))
    for kind in ("pdf", "html"):
        stranger = billing.get(document(world.theirs.invoice, kind))
        missing = billing.get(document(Invoice(pk=999_999), kind))
        assert stranger.status_code == missing.status_code == 404
        assert stranger.content == missing.content
        assert Client().get(document(world.ours.invoice, kind)).status_code == 302


def test_operators_finalize_drafts_and_nobody_else_does(
    world: World, draft: Invoice, admin: Client, operator: Client
):
    assert operator.get(document(draft, "pdf")).status_code == 404
    act(admin, Invoice, "finalize", draft)
    draft.refresh_from_db()
    assert draft.state == "draft"
    act(operator, Invoice, "finalize", draft, post="yes")
    draft.refresh_from_db()
    assert (draft.state, draft.finalized_by) == ("finalized", "operator")


def test_finalizing_asks_first_and_says_how_many_and_what_they_come_to(
    world: World, draft: Invoice, operator: Client
):
    usage_rows.usage(world.theirs.tenant, clock.now(), charges={"input_fresh": 50_000_000})
    periods.advance(world.theirs.tenant, clock.now() + timedelta(days=32))
    drafts = list(Invoice.objects.filter(state="draft"))

    asked = text(act(operator, Invoice, "finalize", *drafts, world.ours.invoice))
    assert "2 invoices of 2 tenants, USD 0.12 before credit" in asked
    assert Invoice.objects.filter(state="draft").count() == 2

    act(operator, Invoice, "finalize", *drafts, post="yes")
    assert not Invoice.objects.filter(state="draft").exists()
    page = text(operator.get(url(Invoice, "changelist")))
    assert "2 invoices of 2 tenants, USD 0.12 before credit, finalized." in page
    act(operator, Invoice, "finalize", world.ours.invoice)
    assert "None of those chosen is a draft" in text(operator.get(url(Invoice, "changelist")))


def test_a_page_asks_about_no_more_rows_than_its_form_can_send(
    world: World, draft: Invoice, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confirming, "MAX_CHOSEN", 0)
    answer = act(operator, Invoice, "finalize", draft)
    assert answer.status_code == 302
    assert "too many at once" in text(operator.get(url(Invoice, "changelist")))


def test_periods_are_told_in_the_zone_of_their_tenant(operator: Client):
    tenant = Tenant.objects.create(slug="b", name="Berliner", time_zone="Europe/Berlin")
    october = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)
    period = BillingPeriod.objects.create(
        tenant=tenant, starts_at=october[0], ends_at=october[1], time_zone="Europe/Berlin"
    )
    invoice = Invoice.objects.create(tenant=tenant, period=period)
    budget = Budget.objects.create(tenant=tenant, name="Month", amount_nano=10**9)
    window = budget.windows.create(starts_at=october[0], ends_at=october[1], spent_nano=5)

    pages = [url(BillingPeriod, "changelist"), url(period, "change"), url(budget, "change")]
    shown = [text(operator.get(page)) for page in pages]

    assert (str(period), str(window)) == ("Berliner 2026-10", "Month from 2026-10-01")
    assert "Berliner 2026-10" in text(operator.get(url(invoice, "change")))
    assert "since 2026-10-01" in text(operator.get(url(Budget, "changelist")))
    for page in shown:
        assert "2026-10-01 00:00" in page
        assert "2026-11-01 00:00" in page


def test_operators_grant_credit_and_nobody_else_does(world: World, admin: Client, operator: Client):
    tenant = world.ours.tenant
    form = {"tenant": tenant.pk, "amount": "12.50", "reference": "order 9", "priority": "0"}
    before = prepaid.balance(tenant.pk)
    assert admin.post(url(CreditTransaction, "add"), form).status_code == 403
    answer = operator.post(url(CreditTransaction, "add"), form)
    assert answer.status_code == 302, text(answer)
    assert prepaid.balance(tenant.pk) == before + 1250
    made = CreditTransaction.objects.get(reference="order 9")
    assert (made.kind, made.actor) == ("grant", "operator")
    assert "12.50" in text(operator.get(url(made, "change")))


def test_a_grant_says_what_is_wrong_with_it(world: World, operator: Client):
    tenant = world.ours.tenant
    form = {"tenant": tenant.pk, "amount": "much", "reference": "order 9", "priority": "0"}
    assert "is not an amount" in text(operator.post(url(CreditTransaction, "add"), form))
    late = {**form, "amount": "1", "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert "is past" in text(operator.post(url(CreditTransaction, "add"), late))
    again = {**form, "amount": "1", "reference": world.ours.movement.reference}
    assert operator.post(url(CreditTransaction, "add"), again).status_code == 200
