"""A unit that is an entry of the registry and nothing else is limited, held, priced, told and listed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from responses_api.stream.answer_charge import CHARGE_HEADER
from tenants.admin.limit_words import limit_text
from tenants.models import Budget, BudgetWindow, RateLimit
from tests.commands.running import answer
from tests.responses_api.doors import toy
from tests.responses_api.doors.conftest import Rows, offer
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.support.units import known

__all__ = ["known"]

PAGE_NANO = 2_000_000


@pytest.mark.usefixtures("known")
def test_a_call_is_limited_held_and_charged_by_its_pages(
    gateway: LiveGateway, customer: Customer, booked: Rows
) -> None:
    tenant, model = customer.tenant, offer(toy.NAME)
    price = ("--input", "0", "--output", "0", "--unit", "pages=2")
    answer("set_price", "--alias", model, *price, "--ahead")
    answer("set_limit", "--tenant", "acme", "--metric", "pages", "--window", "day", "--amount", "9")
    Budget.objects.create(tenant=tenant, name="all", amount_nano=12 * PAGE_NANO, period="total")
    limit = RateLimit.objects.get()
    assert (str(limit), limit_text(limit)) == ("9 pages per day", "9 pages a day")

    with client_of(gateway, customer) as client:

        def ask(**more: Any) -> httpx.Response:
            asked = {"model": model, "lines": ["Hi"], **more}
            return client.post(f"/{toy.DOOR.path}", json=asked)

        first = ask(pages=5)
        assert first.json()["count"]["pages"] == 4
        assert first.headers["ratelimit-policy"] == '"tenant-pages-day";q=9;w=86400;qu="pages"'
        assert first.headers["x-ratelimit-remaining-pages"] == "4"  # 5 are what it may have used
        assert first.headers[CHARGE_HEADER] == str(4 * PAGE_NANO)
        refused = ask(pages=6)
        assert refused.status_code == 429
        assert "9 pages per day, 5 left, requested 6." in refused.text
        assert "may take 10 pages, more than the limit" in ask(pages=10).text
        assert ask(pages=5, stream=True).status_code == 200
        assert ask().status_code == 200  # what takes no pages is not bound by them
        RateLimit.objects.all().delete()
        gateway.call(gateway.worker.forget)
        assert "insufficient_quota" in ask(pages=5).text  # 8 of 12 are paid
        found = [(row.quantities, row.charge_nano, row.held_nano) for row in booked()]
        listed = client.get("/usage").json()["data"]

    paid, held = (("pages", 4),), 5 * PAGE_NANO
    assert found == [(paid, 4 * PAGE_NANO, held)] * 2 + [((), 0, 0)]
    assert [entry["units"] for entry in listed] == [{"pages": 8}]
    assert BudgetWindow.objects.get().spent_nano == 8 * PAGE_NANO
