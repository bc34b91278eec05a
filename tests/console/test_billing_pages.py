"""The pages on usage and bills show a tenant its own, keep costs to operators, and change nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock, ids
from tenants.admin import confirming
from tenants.admin.billing import cents
from tenants.billing import credits as prepaid
from tenants.billing import periods, rollups
from tenants.ledger.row_ids import leg_of, request_id_of, row_id
from tenants.models import (
    BillingDetails,
    BillingPeriod,
    Budget,
    CreditTransaction,
    Invoice,
    SpoolPosition,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.token_classes import TOKEN_CLASSES
from tests.console import world as worlds
from tests.console.pages import act, action_address, assert_clean, do, queries_of, text, url
from tests.console.world import World
from tests.support import usage_rows

# Session, user and rights, asked for by every page.
MOST_QUERIES = 12

pytestmark = pytest.mark.django_db


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
    assert ">Cost" in text(operator.get(url(world.ours.usage, "change")))
    assert "usage_anomaly__exact=1" in text(operator.get(url(UsageRow, "changelist")))
    assert "Cost" not in text(billing.get(url(world.ours.usage, "change")))


def test_sums_lead_to_their_key_by_its_name(world: World, billing: Client):
    key = world.ours.key
    usage_rows.usage(world.ours.tenant, clock.now(), key_public_id=key.public_id)
    usage_rows.usage(world.ours.tenant, clock.now(), key_public_id="gone")
    rollups.recompute_dirty()
    for model in (UsageHour, UsageDay):
        shown = text(billing.get(url(model, "changelist")))
        assert f'<a href="{url(key, "change")}">{key.name}</a>' in shown
        assert "gone" in shown


@pytest.mark.persistence
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


@pytest.mark.persistence
def test_a_row_tells_what_all_calls_of_its_request_come_to(world: World, billing: Client):
    request_id = ids.request_id()
    pks = [UUID(row_id(request_id, leg)) for leg in (0, 1, 0x1000)]
    for pk, corrects in zip(pks, (None, None, pks[0]), strict=True):
        row = usage_rows.usage(world.ours.tenant, id=pk, leg=leg_of(pk), corrects=corrects)
    shown = text(billing.get(url(row, "change")))
    assert request_id in shown
    assert "2 calls, 60 tokens in, 30 out, 0.000030000 USD charged" in shown
    assert "20 input: " in shown
    names = [name.replace("_", " ").capitalize() for name in (*TOKEN_CLASSES, "usage_anomaly")]
    assert [name for name in (*names, "nano") if name in shown] == []  # words, not columns


@pytest.mark.persistence
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


@pytest.mark.persistence
def test_operators_finalize_drafts_and_nobody_else_does(
    world: World, draft: Invoice, admin: Client, operator: Client
):
    assert operator.get(document(draft, "pdf")).status_code == 404
    act(admin, Invoice, "finalize_chosen", draft, post="yes")
    assert do(admin, draft, "finalize").status_code == 403
    assert action_address(draft, "finalize") not in text(admin.get(url(draft, "change")))
    draft.refresh_from_db()
    assert draft.state == "draft"

    assert action_address(draft, "finalize") in text(operator.get(url(draft, "change")))
    asked = text(operator.get(action_address(draft, "finalize")))
    assert draft.period is not None
    assert (
        f"The draft for {draft.period.month} of ours tenant comes to $0.07 before credit" in asked
    )
    answer = operator.post(action_address(draft, "finalize"), follow=True)
    draft.refresh_from_db()
    assert (draft.state, draft.finalized_by) == ("finalized", "operator")
    said = f"Invoice {draft.number}: $0.07, {cents(draft.credit_cents)} paid from credit"
    assert said in text(answer)
    assert action_address(draft, "finalize") not in text(answer)


def test_finalizing_asks_first_and_says_how_many_and_what_they_come_to(
    world: World, draft: Invoice, operator: Client
):
    usage_rows.usage(world.theirs.tenant, clock.now(), charges={"input_fresh": 50_000_000})
    periods.advance(world.theirs.tenant, clock.now() + timedelta(days=32))
    drafts = list(Invoice.objects.filter(state="draft"))

    asked = text(act(operator, Invoice, "finalize_chosen", *drafts, world.ours.invoice))
    assert "2 invoices of 2 tenants, $0.12 before credit" in asked
    assert Invoice.objects.filter(state="draft").count() == 2

    act(operator, Invoice, "finalize_chosen", *drafts, post="yes")
    assert not Invoice.objects.filter(state="draft").exists()
    page = text(operator.get(url(Invoice, "changelist")))
    assert "Finalized: 2 invoices of 2 tenants, $0.12 before credit." in page
    act(operator, Invoice, "finalize_chosen", world.ours.invoice)
    assert "None of the chosen invoices is a draft" in text(
        operator.get(url(Invoice, "changelist"))
    )


def test_a_page_asks_about_no_more_rows_than_its_form_can_send(
    world: World, draft: Invoice, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confirming, "MAX_CHOSEN", 0)
    answer = act(operator, Invoice, "finalize_chosen", draft)
    assert answer.status_code == 302
    assert "too many for one action" in text(operator.get(url(Invoice, "changelist")))


def test_an_invoice_reads_like_its_document_and_leads_to_what_was_used(
    world: World, billing: Client, draft: Invoice
):
    page = text(billing.get(url(world.ours.invoice, "change")))
    lines = text(billing.get(document(world.ours.invoice, "csv"))).splitlines()
    assert lines[0].startswith("invoice,position,kind,month,alias")
    assert lines[1].startswith("ours-1,1,usage,")
    assert f"<h1>Invoice {world.ours.invoice.number}</h1>" in page
    for kind in ("pdf", "html", "csv"):
        assert document(world.ours.invoice, kind) in page
    assert f"/console/usage/?tenant={world.ours.tenant.slug}&amp;from=" in page
    assert "This is a draft" in text(billing.get(url(draft, "change")))
    assert document(draft, "pdf") not in text(billing.get(url(draft, "change")))
    assert billing.get(document(draft, "csv")).status_code == 404


def test_a_cell_of_an_invoices_file_is_never_a_formula(world: World, operator: Client):
    usage_rows.usage(
        world.ours.tenant, clock.now(), alias="=HYPERLINK(1)", charges={"input_fresh": 70_000_000}
    )
    periods.advance(world.ours.tenant, clock.now() + timedelta(days=32))
    draft = Invoice.objects.get(state="draft")
    do(operator, draft, "finalize")
    row = text(operator.get(document(draft, "csv"))).splitlines()[1]
    assert ",'=HYPERLINK(1)," in row


@pytest.mark.persistence
def test_a_credit_note_takes_back_what_is_left_of_a_line(
    world: World, draft: Invoice, admin: Client, operator: Client
):
    do(operator, draft, "finalize")
    (line,) = draft.lines.all()
    posted = {"reason": "too slow", f"line_{line.pk}": "0.05"}
    assert do(admin, draft, "credit_note", **posted).status_code == 403
    assert "At most $0.07" in text(operator.get(action_address(draft, "credit_note")))

    answer = operator.post(action_address(draft, "credit_note"), posted, follow=True)
    note = Invoice.objects.get(corrects=draft)
    assert (note.subtotal_cents, note.reason, note.finalized_by) == (-5, "too slow", "operator")
    assert f"Credit note {note.number} takes back $0.05" in text(answer)
    assert url(note, "change") in text(answer)
    assert "At most $0.02" in text(operator.get(action_address(draft, "credit_note")))

    for wrong, told in (
        ({f"line_{line.pk}": "0.03"}, "at most 0.02 can be credited"),
        ({}, "no line had an amount"),
    ):
        answer = operator.post(
            action_address(draft, "credit_note"), {"reason": "x", **wrong}, follow=True
        )
        assert told in text(answer)
    assert Invoice.objects.filter(corrects=draft).count() == 1


@pytest.mark.persistence
def test_closing_a_month_asks_how_much_and_tells_what_became_of_it(
    world: World, admin: Client, operator: Client
):
    tenants = [
        Tenant.objects.create(slug=slug, name=slug.title(), time_zone=zone)
        for slug, zone in (("berliner", "Europe/Berlin"), ("kolkatan", "Asia/Kolkata"))
    ]
    at = datetime(2026, 9, 30, 22, 30, tzinfo=UTC)  # October in both zones, September in UTC
    months = []
    for tenant in tenants:
        usage_rows.usage(tenant, at, charges={"input_fresh": 1_230_000_000})
        months.append(periods.of_month(tenant, "2026-10"))
    berlin, kolkata = months
    assert [each.month for each in months] == ["2026-10", "2026-10"]
    assert action_address(berlin, "close") not in text(admin.get(url(BillingPeriod, "changelist")))

    asked = text(operator.get(action_address(berlin, "close")))
    assert "2026-10 of Berliner (Europe/Berlin) has 1 call of $1.23" in asked
    both = text(act(operator, BillingPeriod, "close_chosen", *months))
    assert "2 months with 2 calls of $2.46 become draft invoices" in both
    assert not Invoice.objects.filter(tenant__in=tenants).exists()

    told = text(operator.post(action_address(berlin, "close"), follow=True))
    assert "2026-10 of Berliner is closed: the draft invoice comes to $1.23" in told
    act(operator, BillingPeriod, "close_chosen", *months, post="yes")
    kolkata.refresh_from_db()
    assert kolkata.state == "draft"
    for tenant in tenants:
        invoice = Invoice.objects.get(tenant=tenant)
        do(operator, invoice, "finalize")
        page = text(operator.get(url(invoice, "change")))
        assert f"2026-10, a month in {tenant.time_zone}" in page
        assert "Period 2026-10" in text(operator.get(document(invoice, "html")))
    act(operator, BillingPeriod, "close_chosen", *months)
    page = text(operator.get(url(BillingPeriod, "changelist")))
    assert "None of the chosen months is over and still open" in page


@pytest.mark.persistence
def test_a_month_whose_usage_still_comes_is_closed_only_when_that_is_asked_for(
    world: World, operator: Client, settings
):
    settings.BILLING_GRACE = timedelta(days=9_999)
    SpoolPosition.objects.create(spool="s", watermark_at=usage_rows.AT)
    usage_rows.usage(world.ours.tenant, usage_rows.AT)
    tenant = Tenant.objects.create(slug="late", name="Late", time_zone="UTC")
    usage_rows.usage(tenant, usage_rows.AT)
    period = periods.of_month(tenant, "2026-10")

    answer = operator.post(action_address(period, "close"), follow=True)
    assert "Not all spools have been read past its end" in text(answer)
    act(operator, BillingPeriod, "close_chosen", period, post="yes")
    period.refresh_from_db()
    assert period.state == "closing"
    assert "Close it although usage may still arrive" in text(
        operator.get(action_address(period, "close"))
    )
    do(operator, period, "close", force="on")
    period.refresh_from_db()
    assert period.state in {"draft", "finalized"}


@pytest.mark.persistence
def test_pages_of_bills_take_few_queries(world: World, billing: Client, operator: Client):
    for client in (billing, operator):
        for page in (
            *(url(model, "changelist") for model in (BillingPeriod, Invoice, CreditTransaction)),
            *(url(row, "change") for row in (world.ours.period, world.ours.invoice)),
            f"{url(CreditTransaction, 'changelist')}?tenant={world.ours.tenant.slug}",
        ):
            asked = queries_of(client, page, MOST_QUERIES)
            assert len(asked) <= MOST_QUERIES, "\n".join([page, *(each[:400] for each in asked)])


@pytest.mark.persistence
def test_the_page_of_credit_shows_balances_and_what_is_used_first(
    world: World, billing: Client, operator: Client
):
    page = url(CreditTransaction, "changelist")
    prepaid.grant(world.ours.tenant.pk, 1250, "order 7", is_paid=True)
    shown = text(billing.get(page))
    assert f"Balance {cents(prepaid.balance(world.ours.tenant.pk))}" in shown
    assert "Grant order 7" in shown
    assert_clean(billing.get(page))
    found = text(operator.get(page))
    assert f'?tenant={world.ours.tenant.slug}">' in found


def test_periods_are_told_in_the_zone_of_their_tenant(operator: Client):
    tenant = Tenant.objects.create(slug="b", name="Berliner", time_zone="Europe/Berlin")
    october = datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)
    period = BillingPeriod.objects.create(
        tenant=tenant, starts_at=october[0], ends_at=october[1], time_zone="Europe/Berlin"
    )
    invoice = Invoice.objects.create(tenant=tenant, period=period)
    budget = Budget.objects.create(tenant=tenant, name="Month", amount_nano=10**9)
    window = budget.windows.create(starts_at=october[0], ends_at=october[1], spent_nano=5)

    pages = [url(BillingPeriod, "changelist"), url(period, "change")]
    shown = [text(operator.get(page)) for page in pages]

    assert (str(period), str(window)) == ("Berliner 2026-10", "Month, October 2026")
    assert "2026-10, a month in Europe/Berlin" in text(operator.get(url(invoice, "change")))
    assert "October 2026" in text(operator.get(url(budget, "change")))
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
    assert "is in the past" in text(operator.post(url(CreditTransaction, "add"), late))
    again = {**form, "amount": "1", "reference": world.ours.movement.reference}
    assert operator.post(url(CreditTransaction, "add"), again).status_code == 200


def test_details_with_an_operators_tax_are_removed_neither_alone_nor_in_a_list_by_the_tenants_people(
    world: World, billing: Client
):
    details = world.ours.details
    BillingDetails.objects.filter(pk=details.pk).update(tax_basis_points=1900)
    assert billing.post(url(details, "delete"), {"post": "yes"}).status_code == 403
    act(billing, BillingDetails, "delete_selected", details, post="yes")
    assert BillingDetails.objects.filter(pk=details.pk).exists()

    BillingDetails.objects.filter(pk=details.pk).update(tax_basis_points=None)
    act(billing, BillingDetails, "delete_selected", details, post="yes")
    assert not BillingDetails.objects.filter(pk=details.pk).exists()
