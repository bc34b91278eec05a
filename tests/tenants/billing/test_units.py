"""A unit that nothing but the registry knows goes the whole way of a call, to the nano-dollar."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from django.db.models import Sum
from django.http import QueryDict
from msgspec import structs

from gateway_project.lib import clock, ids
from gateway_project.lib.errors import BudgetExhausted, UnpricedModel
from gateway_project.lib.writer import Writer
from gateway_project.serving.record_kinds import RECORD_KINDS
from responses_api.accounting.metered_call import CallEnd
from responses_api.accounting.request_costs import RequestCosts
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.doors.shapes import ModelCall
from responses_api.resources import usage_list
from tenants import units
from tenants.billing import documents, invoices, periods, reconciling, rollups, selfcheck, sums
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.terms import BudgetTerms, of_key
from tenants.ledger import records
from tenants.ledger.ingest import ingest_all
from tenants.ledger.row_ids import request_id_of, row_id
from tenants.ledger.spool import Spool
from tenants.models import (
    Budget,
    BudgetWindow,
    Invoice,
    InvoiceLine,
    PriceLine,
    PriceVersion,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.prices import book, rerating
from tenants.prices.history import History
from tenants.prices.rerating import RatingDifference
from tenants.token_classes import Quantities, Usage
from tenants.units import Unit
from tests.commands.running import answer, failed_answer, refusal, text
from tests.console import world
from tests.console.pages import text as text_of
from tests.console.pages import url
from tests.support import rows
from tests.support.rows import Customer
from tests.support.targets import target
from tests.support.units import known

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["known"]

INPUT_PICO, OUTPUT_PICO = 1_000_001, 4_000_000
PAGE_PICO, CLIP_PICO = 2_500_000_333, 100_000
PRICES = (
    "--input", "1.000001", "--output", "4",
    "--unit", "pages=2.500000333", "--unit", "clip_ms=0.006",
)  # fmt: skip
USED = Usage(input_fresh=13, output_visible=3, units=(("clip_ms", 1_501), ("pages", 7)))


def exact(usage: Usage) -> int:
    """Calculate by hand what this usage is charged."""
    of = dict(usage.units)
    pico = usage.input_fresh * INPUT_PICO + usage.output_visible * OUTPUT_PICO
    pico += of.get("pages", 0) * PAGE_PICO + of.get("clip_ms", 0) * CLIP_PICO
    return round(Fraction(pico, 1000))


@dataclass(frozen=True, slots=True)
class Shop:
    """A customer whose calls are priced, and the spool they are written to."""

    customer: Customer
    spools: Path

    def call(
        self, usage: Usage | None, estimate: Quantities = (), **settled: Any
    ) -> tuple[str, int | None]:
        """A call that holds `estimate` and is settled by `usage`, or left open: its id, and what was held."""
        budgets = of_key(self.customer.key)
        charge = book.charge_book(self.customer.tenant.pk, "reader")
        return asyncio.run(self._call(usage, estimate, settled, budgets, charge))

    async def _call(
        self,
        usage: Usage | None,
        estimate: Quantities,
        settled: dict[str, Any],
        budgets: tuple[BudgetTerms, ...],
        charge: History,
    ) -> tuple[str, int | None]:
        key, tenant = self.customer.key, self.customer.tenant
        writer = Writer(asyncio.get_running_loop(), RECORD_KINDS)
        spool_writer = SpoolWriter(Spool(self.spools, least_free_percent=0))
        budget_leases = BudgetLeases(writer.write, spool_writer.name)
        request_id = ids.request_id()
        caller = SimpleNamespace(
            end_user="",
            tenant_id=tenant.pk, tenant_slug=tenant.slug, key_id=key.pk,
            key_public_id=key.public_id, budgets=budgets, fee_budgets=budgets, list_budgets=(),
        )  # fmt: skip
        route = SimpleNamespace(alias="reader", requested_model="")
        body: dict[str, Any] = {"max_output_tokens": 10}
        call = ModelCall("responses", "reader", False, False, body, 20)
        lane = target("responses", cost=charge, charge=charge, provider="scanner", model="m")
        costs = RequestCosts(
            spool_writer,
            budget_leases,
            request_id=request_id,
            caller=cast("Any", caller),
            route=cast("Any", route),
        )
        try:
            metered, _ = await costs.open(lane, "responses", call, body, b"x" * 20, units=estimate)
            held = metered.held
            if usage is not None:
                await metered.fund(usage, None)
                end = {"status": "completed", "usage_source": "provider", **settled}
                metered.settle(CallEnd(usage=usage, http_status=200, **end))
            costs.end()
        finally:
            await budget_leases.stop()
            await writer.stop()
            await spool_writer.stop()
        return row_id(request_id, 0), held

    def book(self) -> list[UsageRow]:
        """The rows of all calls made so far."""
        ingest_all(self.spools)
        return list(UsageRow.objects.order_by("id"))


@pytest.fixture
def shop(known: None, tmp_path: Path) -> Shop:
    customer = rows.customer("acme")
    answer("set_price", "--alias", "reader", *PRICES, "--ahead")
    Budget.objects.create(tenant=customer.tenant, name="all", amount_nano=10**9, period="total")
    return Shop(customer, tmp_path)


def later(days: int) -> datetime:
    return clock.now() + timedelta(days=days)


def invoiced(shop: Shop, days: int) -> Invoice:
    """The invoice of the month that is over by then."""
    periods.advance(shop.customer.tenant, later(days))
    invoice = invoices.finalize(Invoice.objects.latest("pk").pk)
    assert invoice is not None
    return invoice


@pytest.mark.persistence
def test_a_unit_goes_from_the_spool_to_the_invoice(shop: Shop) -> None:
    pk, held = shop.call(USED, (("clip_ms", 2_000), ("pages", 10)))
    most = 20 * INPUT_PICO + 10 * OUTPUT_PICO + 10 * PAGE_PICO + 2_000 * CLIP_PICO
    assert held == -(-most // 1000)  # what it was estimated at, rounded up
    (row,) = shop.book()
    total = exact(USED)
    assert (row.id.hex, row.held_nano, row.charge_nano, row.cost_nano) == (pk, held, total, total)
    assert row.quantities == USED.units
    assert row.charge_input_fresh + row.charge_output_visible + sum(row.unit_charges) == total
    (window,) = BudgetWindow.objects.all()
    assert (window.spent_nano, window.reserved_nano) == (total, 0)

    # Sums: from the rows while their hour is marked, from the sums afterwards.
    began, tenant = row.opened_at - timedelta(hours=30), shop.customer.tenant.pk
    (before,) = sums.totals(tenant, began, clock.now(), "day")
    rollups.recompute_dirty()
    until = row.opened_at + timedelta(hours=2)  # whole hours are read from their sums
    (after,) = sums.totals(tenant, began, until, "day")
    (alone,) = sums.totals(tenant, began, until, None)
    assert before == after
    assert (alone.figures, alone.units) == (after.figures, after.units)
    assert (after["pages"], after["clip_ms"], after["charge_nano"]) == (7, 1_501, total)
    expected = {"clip_ms": 1_501, "pages": 7}
    assert [one.units for one in (UsageHour.objects.get(), UsageDay.objects.get())] == [
        expected
    ] * 2
    rollups.rebuild()
    assert UsageDay.objects.get().units == expected


def test_a_unit_is_shown_and_invoiced_by_its_name(shop: Shop) -> None:
    shop.call(USED)
    (row,) = shop.book()
    rollups.recompute_dirty()
    expected = {"clip_ms": 1_501, "pages": 7}
    (reported,) = answer("usage_report", "--by", "alias")["rows"]
    assert (reported["pages"], reported["clip_ms"], reported["loud_ms"]) == (7, 1_501, 0)
    (listed,) = usage_list.listing(row.tenant_id, QueryDict("group_by=alias"))["data"]
    assert listed["units"] == expected
    table = text("usage_report").splitlines()[0]
    assert "seconds of clips" in table
    assert "loud" not in table
    assert text("usage_report", "--csv").splitlines()[0].endswith(",clip_ms,loud_ms,pages")
    exported = json.loads(text("export_usage"))
    assert {name: unit["quantity"] for name, unit in exported["units"].items()} == expected
    operator = world.operator()
    for shown in (row, UsageDay.objects.get()):
        assert "1.501 seconds of clips" in text_of(operator.get(url(shown, "change")))

    # The invoice, its lines by class, and its documents.
    invoice = invoiced(shop, days=40)
    lines = {line.token_class: (line.tokens, line.amount_nano) for line in invoice.lines.all()}
    assert list(lines) == ["input_fresh", "output_visible", "clip_ms", "pages"]
    assert sum(nano for _, nano in lines.values()) == row.charge_nano == exact(USED)
    assert lines["pages"][0] == 7
    of_units = [line for line in json.loads(invoice.canonical)["lines"] if "unit" in line]
    assert [(line["unit"], line["quantity"]) for line in of_units] == [
        ("clip_ms", 1_501),
        ("pages", 7),
    ]
    html = documents.html(invoice.canonical)
    assert "<th>Quantity</th>" in html
    assert "<td>reader, seconds of clips</td><td>1.501</td>" in html
    assert documents.pdf(invoice.canonical).startswith(b"%PDF")
    assert "1.501" in text_of(operator.get(url(invoice, "change")))

    assert list(rerating.differences(row.opened_at, later(1))) == []
    assert answer("ledger_check") == {"ok": True, "differences": []}


@pytest.mark.persistence
def test_a_corrected_unit_is_late_usage_of_the_next_invoice(shop: Shop) -> None:
    shop.call(USED)
    (row,) = shop.book()
    invoiced(shop, days=40)
    request, right = request_id_of(row.id), "input_fresh=13,output_visible=3,clip_ms=1501,pages=5"
    done = answer("correct_usage", request, "--tokens", right, "--reason", "two were blank")
    fewer = structs.replace(USED, units=(("clip_ms", 1_501), ("pages", 5)))
    assert done["charge_change_nano"] == exact(fewer) - exact(USED)
    negative, positive = UsageRow.objects.exclude(pk=row.pk).order_by("pk")
    assert negative.quantities == (("clip_ms", -1_501), ("pages", -7))
    assert positive.quantities == fewer.units
    assert BudgetWindow.objects.get().spent_nano == exact(fewer)

    late = invoiced(shop, days=75).lines.get(token_class="pages")
    assert (late.kind, late.tokens) == ("late_usage", -2)
    charged = InvoiceLine.objects.aggregate(total=Sum("amount_nano"))["total"]
    assert charged == exact(fewer)
    rollups.recompute_dirty()
    assert UsageDay.objects.get().units == {"clip_ms": 1_501, "pages": 5}
    assert selfcheck.examine() == []
    assert list(rerating.differences(row.opened_at, later(1))) == []

    void = answer("correct_usage", request, "--void", "--reason", "sent twice")
    assert void["charge_change_nano"] == -exact(fewer)
    rollups.recompute_dirty()
    assert selfcheck.examine() == []


@pytest.mark.persistence
def test_budgets_hold_units_and_know_that_unpriced_is_not_free(shop: Shop) -> None:
    with pytest.raises(BudgetExhausted):
        shop.call(USED, (("pages", 10**6),))
    _, held = shop.call(None, (("loud_ms", 60_000),))
    _, less = shop.call(None, (("loud_ms", 0),))
    assert (held or 0) - (less or 0) == 6_000_000  # the price of clips stands in
    units.register(Unit("stamps", "stamps", "stamps"))
    with pytest.raises(UnpricedModel):
        shop.call(USED, (("stamps", 1),))
    Budget.objects.update(mode=Budget.Mode.WARN)
    shop.call(structs.replace(USED, units=(("stamps", 4),)))
    row = shop.book()[-1]
    assert (row.units, row.charge_nano) == ({"stamps": [4, 0]}, 13 * 1_000 + 3 * 4_000)


def test_a_unit_the_report_leaves_out_is_taken_at_its_estimate(shop: Shop) -> None:
    plain = Usage(input_fresh=13)
    reported: list[tuple[Quantities, dict[str, Any]]] = [
        ((), {}),
        ((("pages", 0),), {}),
        ((), {"status": "failed", "usage_source": "none"}),
        ((), {"status": "failed", "usage_source": "counted", "is_unanswered": True}),
    ]
    for quantities, how in reported:
        shop.call(structs.replace(plain, units=quantities), (("pages", 3),), **how)
    left = structs.replace(plain, units=(("pages", 3),))
    found = [(row.units, row.charge_nano, row.unfunded_nano) for row in shop.book()]
    assert found == [
        ({"pages": [3, exact(left) - 13_000]}, exact(left), 0),
        ({"pages": [0, 0]}, 13_000, 0),
        (None, 13_000, 0),
        ({"pages": [3, 0]}, 0, exact(left)),
    ]
    assert list(rerating.differences(later(-1), later(1))) == []


@pytest.mark.persistence
def test_a_call_whose_process_died_is_charged_the_units_it_was_opened_with(shop: Shop) -> None:
    pk, held = shop.call(None, (("pages", 3),))
    (row,) = shop.book()
    assert (row.id.hex, row.status, row.quantities) == (pk, "abandoned", (("pages", 3),))
    estimated = Usage(input_fresh=5, units=(("pages", 3),))
    assert row.charge_nano == exact(estimated) <= (held or 0)
    assert list(rerating.differences(later(-1), later(1))) == []
    UsageRow.objects.bulk_create([wrong(row)])
    assert list(rerating.differences(later(-1), later(1))) == [
        RatingDifference(wrong(row).id, "pages", 1, row.unit_charges[0])
    ]
    rollups.recompute_dirty()
    assert any("of their classes" in sentence for sentence in selfcheck.examine())


def wrong(row: UsageRow) -> UsageRow:
    """Make the same call once more, with a share that its price does not give."""
    row = UsageRow.objects.get(pk=row.pk)
    row.pk, row.units = UUID(int=row.pk.int + 1), {"pages": [3, 1]}
    return row


def test_a_bill_may_name_units(shop: Shop, tmp_path: Path) -> None:
    shop.call(USED)
    (row,) = shop.book()
    bill = tmp_path / "bill.csv"
    cost = Fraction(row.cost_nano, 10**9)
    for pages, differing in ((7, 0), (9, 1)):
        bill.write_text(
            f"{','.join(reconciling.COLUMNS)},pages\n"
            f"{row.opened_at:%Y-%m-%d},m,13,3,{float(cost):.9f},{pages}\n"
        )
        compare = failed_answer if differing else answer
        found = compare("reconcile", "--provider-csv", str(bill))["differences"]
        assert len(found) == differing
    assert (found[0]["theirs"]["pages"], found[0]["ours"]["pages"]) == (9, 7)


def test_prices_of_units_are_typed_shown_and_kept(shop: Shop) -> None:
    stored = {line.token_class: line.pico_per_token for line in PriceLine.objects.all()}
    assert (stored["pages"], stored["clip_ms"]) == (PAGE_PICO, CLIP_PICO)
    page = text_of(world.operator().get(url(PriceVersion.objects.get(), "change")))
    for shown in ("$2.500000333", "$ per 1,000 pages", "$0.006", "$ per 60.000 seconds of clips"):
        assert shown in page
    for typed, says in (
        ("stamps=1", "not a price of a unit"),
        ("pages", "not an amount"),
        ("pages=-1", "not a price"),
        ("pages=0.0000000001", "not a whole number"),
        ("pages=1e9", "more than any price"),
    ):
        said = refusal("set_price", "--alias", "reader", "--ahead", *PRICES[:4], "--unit", typed)
        assert said.startswith("unit: ")
        assert says in said


def test_a_record_of_an_earlier_version_is_read(shop: Shop) -> None:
    spool = Spool(shop.spools, least_free_percent=0)
    pk = row_id(ids.request_id(), 0)
    opening = {
        "type": "open", "id": pk, "leg": 0, "at_ms": int(clock.timestamp() * 1000), "tenant_id": 1,
        "tenant": "acme", "key_id": 1, "key": "k", "route": "chat", "alias": "a", "provider": "p",
        "upstream_model": "m", "input_estimate": 1,
    }  # fmt: skip
    ended = {
        "type": "settle", "id": pk, "status": "failed", "usage_source": "none", "tokens": [0] * 8,
        "cost_nano": 0, "charges_nano": [0] * 8, "duration_ms": 1,
    }  # fmt: skip
    for record in (opening, ended):
        spool.append(msgspec.json.decode(json.dumps(record).encode(), type=records.Record))
    spool.close()
    (row,) = shop.book()
    assert (row.status, row.absorbed, row.held_nano, row.units) == ("failed", False, None, None)


@pytest.mark.parametrize(
    "unit",
    [
        Unit("Pages", "pages", ""),
        Unit("p" * 25, "pages", ""),
        Unit("input_fresh", "tokens", ""),
        Unit("sheets", "sheets", "", priced_per=0),
        Unit("sheets", "sheets", "", stand_in="input_fresh"),
        Unit("sheets", "sheets", "", stand_in="unknown"),
    ],
)
def test_an_entry_that_could_not_be_kept_is_refused(known: None, unit: Unit) -> None:
    with pytest.raises(ValueError, match="'"):
        units.register(unit)
