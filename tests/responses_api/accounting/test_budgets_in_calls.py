"""Budgets bind calls while they run."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from routing.models import Provider
from tenants.models import Budget, BudgetWindow
from tests.responses_api.accounting.conftest import DOLLAR, Rows, budget
from tests.support import rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

Post = Callable[..., httpx.Response]
DOORS = ("chat", "responses")
each_cell = pytest.mark.parametrize(
    ("door", "protocol"), [(door, protocol) for door in DOORS for protocol in rows.PROTOCOLS]
)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


def window() -> BudgetWindow:
    return BudgetWindow.objects.get()


def test_what_a_call_was_charged_is_spent(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, DOLLAR)
    gateway.call(gateway.worker.forget)
    assert post("chat", "good-chat").status_code == 200
    (row,) = booked()
    assert window().spent_nano == row.charge_nano > 0


@streamed_or_not
def test_an_exhausted_budget_refuses_and_asks_nobody(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    budget(buyer, 10)
    gateway.call(gateway.worker.forget)
    answer = post("responses", "good-chat", stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert booked() == []
    assert not gateway.sandbox.calls


@streamed_or_not
def test_a_model_without_a_price_is_refused_under_a_budget(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    rows.alias("unpriced", (Provider.objects.get(name="sandbox-chat"), "new-model"))
    budget(buyer, DOLLAR)
    gateway.call(gateway.worker.forget)
    answer = post("chat", "unpriced", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_priced")
    assert not gateway.sandbox.calls


def test_a_budget_that_only_warns_refuses_nothing(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 10, mode=Budget.Mode.WARN)
    gateway.call(gateway.worker.forget)
    assert post("chat", "good-chat").status_code == 200
    (row,) = booked()
    assert window().spent_nano == row.charge_nano > 10


@each_cell
def test_a_stream_that_can_no_longer_be_paid_ends_incomplete(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, door: str, protocol: str
) -> None:
    amount = 20_000_000  # $0.02: 2,000 tokens of output at most
    budget(buyer, amount)
    gateway.call(gateway.worker.forget)
    answer = post(door, f"never-ending-{protocol}", stream=True)
    assert answer.status_code == 200
    if door == "chat":
        assert '"finish_reason":"length"' in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        assert "event: response.incomplete" in answer.text
        assert "budget is exhausted" in answer.text
    (row,) = booked()
    assert (row.status, row.usage_source) == ("incomplete", "counted")
    assert amount * 0.7 < row.charge_nano <= amount
    assert row.unfunded_nano == 0 or row.charge_nano == amount
    assert window().spent_nano == row.charge_nano


@streamed_or_not
def test_what_an_upstream_spends_beyond_the_budget_is_the_operators_cost(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, stream: bool
) -> None:
    amount = 3_000_000
    budget(buyer, amount)
    gateway.call(gateway.worker.forget)
    post("responses", "good-responses", "[unlimited][chunks=2000]", stream=stream)
    (row,) = booked()
    assert row.charge_nano == amount  # all there was, also for a stream that was cut
    assert row.unfunded_nano > 0
    assert row.cost_nano == row.charge_nano + row.unfunded_nano
    assert window().spent_nano == amount


def test_the_output_limit_is_made_what_the_budget_pays_for(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 3_000_000)  # 300 tokens of output, less the input
    gateway.call(gateway.worker.forget)
    answer = post("responses", "good-responses", "[chunks=2000]")
    assert answer.json()["status"] == "incomplete"
    (row,) = booked()
    assert (row.status, row.unfunded_nano) == ("incomplete", 0)
    assert 0 < row.charge_nano <= 3_000_000


def test_a_large_budget_serves_calls_that_do_not_say_how_much_they_may_write(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer
) -> None:
    budget(buyer, 25 * DOLLAR)
    gateway.call(gateway.worker.forget)
    for _ in range(5):
        assert post("responses", "good-anthropic", "[chunks=500]", stream=True).status_code == 200
    assert {row.status for row in booked()} == {"completed"}
