"""Who pays for calls of which nothing came, or not all."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tenants.models import BudgetWindow
from tests.accounting.conftest import DOLLAR, INPUT_PICO, Rows, budget, offer
from tests.faults.wire import Wire, request, until
from tests.support import rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.unit.test_estimates import png, url_part

pytestmark = pytest.mark.persistence

Post = Callable[..., httpx.Response]
PHOTO = url_part(png(2000, 1500, 3_000_000))


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_may_have_run_is_not_charged_but_its_cost_is_booked_and_its_budget_pays(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    budget(buyer, DOLLAR)
    gateway.limit(first_byte=0.1, idle=0.1, total=0.3)
    faults = ["silence"] if stream else ["silence", "bad-json-body"]
    kinds = [(fault, protocol) for fault in faults for protocol in rows.PROTOCOLS]
    for fault, protocol in kinds:
        gateway.call(gateway.worker.forget)
        answer = post("responses", f"{fault}-{protocol}", "x" * 400, stream=stream)
        assert answer.status_code >= 500, (fault, protocol)
    found = booked()
    assert len(found) == len(kinds)
    for row in found:
        assert (row.status, row.charge_nano) == ("failed", 0)
        assert row.input_fresh > 100
        assert row.cost_nano == row.unfunded_nano == row.input_fresh * INPUT_PICO // 1000
    spent, cost = BudgetWindow.objects.get().spent_nano, sum(row.cost_nano for row in found)
    # Of an answer that is not streamed nobody knows how much of it was written: all that was held is spent.
    assert spent == cost if stream else spent > cost


def test_a_hard_budget_bounds_how_often_a_call_may_come_to_nothing(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 1_000_000)  # 1,000 tokens of input
    gateway.limit(total=0.2)
    statuses = []
    for _ in range(9):
        gateway.call(gateway.worker.forget)
        statuses.append(post("responses", "silence-chat", "x" * 500).status_code)
    assert statuses[0] == 504
    assert statuses[-1] == 429
    assert sum(row.cost_nano for row in booked()) <= 1_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_what_never_ran_costs_nothing(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    refused = rows.provider("chat", gateway.sandbox.fault_urls["connect-refused"], name="away")
    rows.alias("away", (refused, "good"))
    for model in ("html-chat", "html-responses", "502-anthropic", "500-chat", "away"):
        assert post("chat", model, stream=stream).status_code >= 500
    found = booked()
    assert [(row.cost_nano, row.charge_nano, row.unfunded_nano) for row in found] == [(0, 0, 0)] * 5
    assert {row.usage_source for row in found} == {"none"}


def test_a_client_that_leaves_pays_its_input_by_a_fair_estimate_whatever_came(
    gateway: LiveGateway, booked: Rows, buyer: Customer
) -> None:
    """A photo of 3 MB, which was taken for a million tokens."""
    budget(buyer, 5 * DOLLAR)
    offer("good-chat")
    gateway.call(gateway.worker.forget)
    for stream in (False, True):
        content = [{"type": "text", "text": "[wait=60000]"}, PHOTO]
        asked = {
            "model": "good-chat",
            "stream": stream,
            "messages": [{"role": "user", "content": content}],
        }
        seen = len(gateway.sandbox.calls)
        with Wire(gateway.root_url) as wire:
            wire.send(request("chat", buyer, asked))
            until(lambda: len(gateway.sandbox.calls) > seen)  # noqa: B023
    found = booked()
    assert [row.status for row in found] == ["client_gone", "client_gone"]
    for row in found:
        assert 700 < row.input_fresh < 1_000
        assert row.charge_nano == row.input_fresh * INPUT_PICO // 1000
