"""The commands of billing say what they did, and refuse in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenants.models import ApiKey, BillingPeriod, Invoice, SpoolPosition, Tenant, UsageHour
from tests.commands.running import answer, failed_answer, refusal, text
from tests.support.usage_rows import usage

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2025, 10, 15, 12, tzinfo=UTC)
CENT = 10_000_000


@pytest.fixture(autouse=True)
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", created_at=OCTOBER)


@pytest.mark.persistence
def test_usage_report_is_a_table_csv_or_json(tenant: Tenant):
    usage(tenant, OCTOBER)
    usage(tenant, OCTOBER, alias="fast")
    found = answer("usage_report", "--month", "2025-10")
    assert [(row["alias"], row["calls"], row["charge_nano"]) for row in found["rows"]] == [
        ("fast", 1, 10_000),
        ("smart", 1, 10_000),
    ]
    lines = text("usage_report", "--month", "2025-10").splitlines()
    assert lines[0].split() == [
        "alias",
        "requests",
        "calls",
        "failed",
        "input",
        "output",
        "cost",
        "USD",
        "charge",
        "USD",
    ]
    assert lines[-1].split() == ["total", "2", "2", "0", "40", "20", "0.000010000", "0.000020000"]
    as_csv = text("usage_report", "--month", "2025-10", "--csv", "--by", "tenant").splitlines()
    assert as_csv[0].startswith("tenant,requests,calls,failed,")
    assert as_csv[1].startswith("acme,2,2,0,")


def test_no_name_of_a_key_becomes_a_formula_in_the_csv_of_a_report(tenant: Tenant):
    key = ApiKey.objects.create(tenant=tenant, public_id="0123456789", name='=HYPERLINK("x")')
    usage(tenant, OCTOBER, key_public_id=key.public_id)
    told = text("usage_report", "--month", "2025-10", "--csv", "--by", "key").splitlines()[1]
    assert told.endswith(""","'=HYPERLINK(""x"")\"""")


@pytest.mark.persistence
@pytest.mark.parametrize("by", ["key", "alias", "model", "day", "provider", "tenant"])
def test_usage_report_groups_by_anything_it_knows(tenant: Tenant, by: str):
    usage(tenant, OCTOBER)
    span = ("--from", "2025-10-15", "--to", "2025-10-16", "--tenant", "acme")
    (row,) = answer("usage_report", "--by", by, *span)["rows"]
    assert row["calls"] == 1
    assert row[by]


def test_usage_report_refuses_what_is_no_span(tenant: Tenant):
    assert "month: '2025-13'" in refusal("usage_report", "--month", "2025-13")
    assert "from: " in refusal("usage_report", "--from", "tomorrow")
    assert "from: " in refusal("usage_report", "--from", "2025-10-02", "--to", "2025-10-01")


def test_export_usage_prints_a_row_a_line_without_bodies(tenant: Tenant):
    for hours in range(3):
        usage(tenant, OCTOBER + timedelta(hours=hours), tags={"team": "ü"})
    usage(Tenant.objects.create(slug="other", name="Other"), OCTOBER)
    lines = text("export_usage", "--month", "2025-10", "--tenant", "acme").splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["opened_at"] for row in found] == [
        "2025-10-15T12:00:00Z",
        "2025-10-15T13:00:00Z",
        "2025-10-15T14:00:00Z",
    ]
    assert found[0]["tags"] == {"team": "ü"}
    assert found[0]["request_id"].startswith("req_")


@pytest.mark.persistence
def test_a_month_is_closed_and_issued(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 500 * CENT})
    answer("grant_credit", "--tenant", "acme", "--amount", "2.00", "--reference", "order 1")
    closed = answer("close_period", "--tenant", "acme", "--month", "2025-10")
    assert (closed["state"], closed["was_complete"]) == ("draft", True)
    issued = answer("issue_invoices")["invoices"]
    assert issued == [{"tenant": "acme", "number": 1, "total_cents": 300}]
    assert answer("issue_invoices", "--tenant", "acme")["invoices"] == []
    assert Invoice.objects.get().finalized_by == "issue_invoices"


def test_close_period_waits_for_the_ledger_unless_it_is_forced(tenant: Tenant):
    usage(tenant, OCTOBER)
    SpoolPosition.objects.create(spool="a", host="h", watermark_at=OCTOBER)
    # The grace of a month so long ago is over, so that only the running month can wait.
    assert answer("close_period", "--tenant", "acme", "--month", "2025-10")["was_complete"] is False
    assert "no billing period" in refusal("close_period", "--tenant", "acme", "--month", "2024-01")
    running = BillingPeriod.objects.order_by("-starts_at")[0]
    month = f"{running.starts_at:%Y-%m}"
    assert "It ends at" in refusal("close_period", "--tenant", "acme", "--month", month)


@pytest.mark.persistence
def test_grant_credit_is_once_per_reference_and_names_what_is_wrong(tenant: Tenant):
    command = ("grant_credit", "--tenant", "acme", "--reference", "a", "--amount")
    assert answer(*command, "2.5")["balance_cents"] == 250
    assert answer(*command, "2.5")["balance_cents"] == 250
    assert "reference" in refusal(*command, "3")
    assert "amount" in refusal(*command, "1.234")
    assert "amount" in refusal(*command, "0")


@pytest.mark.persistence
def test_reconcile_tells_where_the_provider_and_we_differ(tenant: Tenant, tmp_path: Path):
    usage(tenant, OCTOBER, charges={"input_fresh": 2_000_000_000}, tokens={"input_fresh": 1000})
    bill = tmp_path / "bill.csv"
    head = "date,model,input_tokens,output_tokens,cost\n"
    command = ("reconcile", "--provider-csv", str(bill), "--provider", "openai")
    bill.write_text(head + "2025-10-15,gpt-5,600,0,0.60\n2025-10-15,gpt-5,400,0,0.40\n")
    assert answer(*command) == {"compared": 1, "differences": []}
    bill.write_text(head + "2025-10-15,gpt-5,1000,0,1.0011\n2025-10-15,gpt-4,1,0,0\n")
    found = failed_answer(*command)["differences"]
    assert [one["model"] for one in found] == ["gpt-4", "gpt-5"]
    bill.write_text(head + "2025-10-15,gpt-5,many,0,1\n")
    assert "Line 2" in refusal(*command)
    bill.write_text("date,model\n")
    assert "'input_tokens' is missing" in refusal(*command)
    assert "cannot be read" in refusal("reconcile", "--provider-csv", str(tmp_path / "none"))


@pytest.mark.persistence
def test_sums_are_rebuilt_and_the_books_checked(tenant: Tenant):
    usage(tenant, OCTOBER)
    assert answer("rebuild_rollups", "--from", "2025-10-15", "--to", "2025-10-16") == {"days": 1}
    assert answer("ledger_check") == {"ok": True, "differences": []}
    UsageHour.objects.update(calls=9)
    assert "differ" in failed_answer("ledger_check")["differences"][0]
    assert answer("rebuild_rollups")["days"] == 1
    assert text("ledger_check").strip() == "The books agree."


def test_a_grant_that_is_over_at_once_is_refused_and_one_that_was_given_is_not(tenant: Tenant):
    grant = ("grant_credit", "--tenant", "acme", "--amount", "1", "--reference")
    assert refusal(*grant, "a", "--expires", "2025-01-01") == (
        "expires: 2025-01-01 00:00 UTC is in the past; credit must expire later."
    )
    assert answer(*grant, "a", "--expires", "2999-01-01")["balance_cents"] == 100
    assert answer(*grant, "a", "--expires", "2025-01-01")["balance_cents"] == 100


def test_a_span_that_ends_before_it_begins_is_refused(tenant: Tenant):
    said = refusal("rebuild_rollups", "--from", "2025-02-01", "--to", "2025-01-01")
    assert said == "from: It must be before --to."
