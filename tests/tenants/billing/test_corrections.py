"""A row is put right by further rows: what stands is what was said last, in sums, budgets and invoices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import close_old_connections, connection
from django.db.models import Sum

from gateway_project.lib import ids
from tenants.billing import invoices, periods, rollups, selfcheck
from tenants.ledger import corrections
from tenants.ledger.ingest import ingest_all
from tenants.ledger.row_ids import request_id_of, row_id
from tenants.ledger.spool import Spool
from tenants.models import Budget, Invoice, Tenant, UsageDay, UsageRow
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tenants.token_classes import TOKEN_CLASSES, Usage
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases
from tests.support.usage_rows import usage
from tests.tenants.ledger.conftest import opened, settled

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
FIRST = Usage(input_fresh=1_000, output_visible=100)
SECOND = Usage(input_fresh=10, output_visible=50, output_reasoning=7)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", created_at=OCTOBER - timedelta(days=9))


@pytest.fixture
def row(tenant: Tenant) -> UsageRow:
    """A call of $0.000002 a token of input, charged twice what it costs."""
    lines = [Line("input_fresh", 2_000_000), Line("output_visible", 8_000_000)]
    charge = publishing.set_price(Subject.charge("smart", None), lines, "test", OCTOBER).pk
    lines = [Line("input_fresh", 1_000_000), Line("output_visible", 4_000_000)]
    cost = publishing.set_price(Subject.cost("openai", "gpt-5"), lines, "test", OCTOBER).pk
    return usage(
        tenant,
        OCTOBER,
        charges={"input_fresh": 40_000, "output_visible": 80_000},
        recorded_at=OCTOBER,
        charge_version=charge,
        cost_version=cost,
        id=UUID(row_id(ids.request_id(), 0)),
    )


def standing(row: UsageRow) -> tuple[Usage, int, int]:
    """Tokens, charge and cost of a call with everything that was said of it."""
    rows = UsageRow.objects.filter(pk=row.pk) | UsageRow.objects.filter(corrects=row.pk)
    sums = rows.aggregate(
        **{f"of_{n}": Sum(n) for n in (*TOKEN_CLASSES, "charge_nano", "cost_nano")}
    )
    tokens = Usage.of(sums[f"of_{name}"] for name in TOKEN_CLASSES)
    return tokens, sums["of_charge_nano"], sums["of_cost_nano"]


def price(usage: Usage, pico: int) -> int:
    return (usage.input_fresh * pico + usage.output_total * 4 * pico) // 1_000


def assert_stands(row: UsageRow, usage: Usage) -> None:
    assert standing(row) == (usage, price(usage, 2_000_000), price(usage, 1_000_000))
    rollups.recompute_dirty()
    day = UsageDay.objects.aggregate(Sum("charge_nano"), Sum("calls"))
    assert (day["charge_nano__sum"], day["calls__sum"]) == (price(usage, 2_000_000), 1)
    assert selfcheck.examine() == []


def test_what_stands_is_what_was_said_last(row: UsageRow):
    for said in (FIRST, SECOND, FIRST):
        written = corrections.correct(row.pk, said, reason="the provider's bill", actor="ada")
        assert len(written) == 2
        assert_stands(row, said)
    negative, right = UsageRow.objects.filter(corrects=row.pk).order_by("pk")[:2]
    assert (negative.charge_nano, right.charge_nano) == (-120_000, price(FIRST, 2_000_000))
    assert {one.status for one in (negative, right)} == {"correction"}
    assert (right.reason, right.actor) == ("the provider's bill", "ada")
    assert request_id_of(right.pk) == request_id_of(row.pk)
    row.refresh_from_db()
    assert row.charge_nano == 120_000


def test_a_call_that_took_nothing_after_all_costs_nothing(row: UsageRow):
    (negative,) = corrections.correct(row.pk, None, reason="sent twice", actor="ada")
    assert negative.charge_nano == -120_000
    assert_stands(row, Usage())
    corrections.correct(row.pk, SECOND, reason="once after all", actor="ada")
    assert_stands(row, SECOND)


@cases("reason", ["", "  ", "x" * 301])
def test_without_a_reason_nothing_is_corrected(row: UsageRow, reason: str):
    with pytest.raises(ValidationError, match="Give a reason"):
        corrections.correct(row.pk, SECOND, reason=reason, actor="ada")
    assert UsageRow.objects.count() == 1


def test_what_is_no_call_is_refused_by_name(row: UsageRow):
    with pytest.raises(ValidationError, match="no such row"):
        corrections.correct(ids.uuid7(), SECOND, reason="why", actor="ada")
    _, right = corrections.correct(row.pk, SECOND, reason="why", actor="ada")
    with pytest.raises(ValidationError, match=f"name the call's own row, {row.pk}"):
        corrections.correct(right.pk, SECOND, reason="why", actor="ada")
    with pytest.raises(ValidationError, match="settlement was not deferred"):
        corrections.settle_deferred(row.pk, SECOND, actor="ada")


def test_a_call_is_not_corrected_for_ever(row: UsageRow):
    for number in range(1, 8):
        corrections.correct(row.pk, Usage(input_fresh=number), reason="why", actor="ada")
    with pytest.raises(ValidationError, match="too often"):
        corrections.correct(row.pk, Usage(input_fresh=8), reason="why", actor="ada")
    rollups.recompute_dirty()
    assert selfcheck.examine() == []


def test_two_who_correct_at_once_do_not_take_it_back_twice(row: UsageRow):
    def correct(number: int) -> str:
        try:
            corrections.correct(row.pk, SECOND, reason=f"by {number}", actor="ada")
        except ValidationError as error:
            return str(error)
        finally:
            close_old_connections()
            connection.close()
        return ""

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(correct, range(8)))
    assert found.count("") >= 1
    assert all("just corrected" in said or "too often" in said for said in found if said)
    assert_stands(row, SECOND)


# What follows from it


def test_budgets_that_bound_the_call_follow(tenant: Tenant, row: UsageRow):
    long_ago = OCTOBER - timedelta(days=1)
    of_tenant = Budget.objects.create(
        tenant=tenant, name="tenant", amount_nano=10**9, period="total", created_at=long_ago
    )
    later = Budget.objects.create(tenant=tenant, name="later", amount_nano=10**9, period="total")
    for budget in (of_tenant, later):
        budget.windows.create(starts_at=long_ago, spent_nano=500_000)
    corrections.correct(row.pk, FIRST, reason="why", actor="ada")
    spent = 500_000 - 120_000 + price(FIRST, 2_000_000)
    assert of_tenant.windows.get().spent_nano == spent
    corrections.correct(row.pk, None, reason="why", actor="ada")
    assert of_tenant.windows.get().spent_nano == 380_000
    assert later.windows.get().spent_nano == 500_000  # was not there when the call was made


def test_a_month_that_is_invoiced_stays_and_the_next_invoice_has_the_difference(
    tenant: Tenant, row: UsageRow
):
    rollups.recompute_dirty()
    periods.advance(tenant, NOVEMBER)
    first = invoices.finalize(Invoice.objects.get().pk)
    assert first is not None
    corrections.correct(row.pk, None, reason="sent twice", actor="ada")
    rollups.recompute_dirty()
    periods.advance(tenant, NOVEMBER + timedelta(days=31))
    second = Invoice.objects.exclude(pk=first.pk).get()
    lines = second.lines.values_list("kind", "token_class", "amount_nano")
    assert sorted(lines) == [
        ("late_usage", "input_fresh", -40_000),
        ("late_usage", "output_visible", -80_000),
    ]
    assert selfcheck.examine() == []


# Settled later


def deferred(tenant: Tenant, tmp_path: Path, row: UsageRow) -> UsageRow:
    """A call that a spool says is settled later, as a batch would be."""
    spool = Spool(tmp_path)
    call = opened(
        tenant_id=tenant.pk,
        alias="smart",
        at_ms=int(OCTOBER.timestamp() * 1000),
        charge_version=row.charge_version,
        cost_version=row.cost_version,
    )
    spool.append(call)
    spool.append(
        settled(call, 0, status="deferred", usage_source="none", cost_nano=0, charges_nano=(0,) * 8)
    )
    spool.close()
    assert ingest_all(tmp_path).rows == 1
    return UsageRow.objects.get(pk=call.id)


def test_what_is_settled_later_is_settled_once(tenant: Tenant, row: UsageRow, tmp_path: Path):
    later = deferred(tenant, tmp_path, row)
    assert (later.status, later.charge_nano) == ("deferred", 0)
    (written,) = corrections.settle_deferred(later.pk, FIRST, actor="batches")
    assert standing(later) == (FIRST, price(FIRST, 2_000_000), price(FIRST, 1_000_000))
    assert (written.corrects, written.reason) == (later.pk, "settled")
    with pytest.raises(ValidationError, match="already settled"):
        corrections.settle_deferred(later.pk, FIRST, actor="batches")
    rollups.recompute_dirty()
    assert UsageDay.objects.aggregate(Sum("calls"))["calls__sum"] == 2
    assert selfcheck.examine() == []


def test_that_it_took_nothing_is_written_down_too(tenant: Tenant, row: UsageRow, tmp_path: Path):
    later = deferred(tenant, tmp_path, row)
    corrections.settle_deferred(later.pk, Usage(), actor="batches")
    with pytest.raises(ValidationError, match="already settled"):
        corrections.settle_deferred(later.pk, FIRST, actor="batches")


# Commands


def test_a_call_is_corrected_by_the_id_its_client_knows(row: UsageRow):
    tokens = "input_fresh=10, output_visible=50,output_reasoning=7"
    named = (request_id_of(row.pk), "--tokens", tokens, "--reason", "the provider's bill")
    found = answer("correct_usage", *named)
    assert found["corrects"] == str(row.pk)
    assert len(found["rows"]) == 2
    assert found["charge_change_nano"] == price(SECOND, 2_000_000) - 120_000
    said = text("correct_usage", str(row.pk), "--void", "--reason", "sent twice")
    assert "its charge changes by -0.000476" in said
    assert_stands(row, Usage())


@cases(
    ("arguments", "said"),
    [
        (("nonsense", "--void"), "row: 'nonsense' is neither a request's id"),
        (("ROW", "--tokens", "input=3"), "tokens: 'input=3' is not a count of tokens"),
        (("ROW", "--tokens", "input_fresh=-3"), "tokens: 'input_fresh=-3' is not"),
        (("ROW", "--tokens", "input_fresh=1,input_fresh=2"), "once per input_fresh"),
        (("ROW", "--void", "--leg", "70000"), "70000 is not the number of a leg"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(
    row: UsageRow, arguments: tuple[str, ...], said: str
):
    named = [request_id_of(row.pk) if word == "ROW" else word for word in arguments]
    assert said in refusal("correct_usage", *named, "--reason", "why")
    assert UsageRow.objects.count() == 1


def test_a_deferred_call_is_settled_by_command(tenant: Tenant, row: UsageRow, tmp_path: Path):
    later = deferred(tenant, tmp_path, row)
    found = answer(
        "settle_deferred", str(later.pk), "--tokens", "input_fresh=1000,output_visible=100"
    )
    assert found["charge_nano"] == price(FIRST, 2_000_000)
    assert "already settled" in refusal(
        "settle_deferred", str(later.pk), "--tokens", "input_fresh=1"
    )
