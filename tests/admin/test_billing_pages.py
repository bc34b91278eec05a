"""The pages on usage and bills show a tenant its own, keep costs to operators, and change nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.billing import periods
from tenants.ledger.row_ids import request_id_of
from tenants.models import CreditTransaction, Invoice, UsageDay, UsageRow
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
    act(operator, Invoice, "finalize", draft)
    draft.refresh_from_db()
    assert (draft.state, draft.finalized_by) == ("finalized", "operator")


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
    again = {**form, "amount": "1", "reference": world.ours.movement.reference}
    assert operator.post(url(CreditTransaction, "add"), again).status_code == 200
