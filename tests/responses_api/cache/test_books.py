"""Answers from the cache in the books: cost, charge, and all that limits and budgets count of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.core.exceptions import ValidationError

from gateway_project.lib import clock
from tenants.ledger import corrections
from tenants.models import Budget, BudgetWindow, RateLimit, UsageRow
from tenants.prices import rerating
from tests.responses_api.accounting.conftest import booked, budget, buyer, offer, post  # noqa: F401
from tests.responses_api.cache.conftest import cached, keeps
from tests.support.rows import Customer

Post = Callable[..., httpx.Response]
Rows = Callable[[], list[UsageRow]]
MODEL = "good-chat"


@pytest.fixture
def charged(gateway, post, buyer) -> Callable[..., Callable[[], httpx.Response]]:  # noqa: F811
    """Let `good-chat` keep answers; return what asks it at temperature 0."""

    def offering(**fields: Any) -> Callable[[], httpx.Response]:
        offer(MODEL)
        keeps(MODEL, **fields)
        gateway.catch_up()
        return lambda: post("chat", MODEL, temperature=0)

    return offering


def test_a_hit_costs_nothing_and_says_what_it_saved(charged, booked):  # noqa: F811
    ask = charged()
    first, again = ask(), ask()
    paid, hit = booked()

    assert (paid.cache_outcome, hit.cache_outcome) == ("miss", "hit")
    assert (hit.provider, hit.upstream_model, hit.cost_nano, hit.charge_nano) == ("", "", 0, 0)
    assert hit.saved_nano == paid.charge_nano > 0
    assert (hit.tokens, hit.usage_source) == (paid.tokens, paid.usage_source)
    assert hit.charge_version == paid.charge_version
    assert (hit.status, hit.http_status, hit.alias) == ("completed", 200, MODEL)
    assert first.headers["x-tollgate-charge-nano"] == str(paid.charge_nano)
    assert again.headers["x-tollgate-charge-nano"] == "0"


def test_the_operator_may_charge_a_share_of_the_price(charged, booked):  # noqa: F811
    ask = charged(cache_charge_percent=25)
    ask()
    again = ask()
    paid, hit = booked()

    assert hit.charge_nano == paid.charge_nano * 25 // 100 > 0
    assert hit.charge_nano + hit.saved_nano == paid.charge_nano
    assert again.headers["x-tollgate-charge-nano"] == str(hit.charge_nano)
    assert hit.cost_nano == 0
    now = clock.now()
    assert not list(rerating.differences(now - timedelta(hours=1), now + timedelta(hours=1)))


def test_who_asks_for_the_cost_is_told_that_of_the_hit(gateway, charged, post):  # noqa: F811
    charged(cache_charge_percent=50)
    usages = [
        post("chat", MODEL, temperature=0, usage={"include": True}).json()["usage"]
        for _ in range(2)
    ]
    assert usages[1]["cost"] == pytest.approx(usages[0]["cost"] / 2, abs=1e-9)
    assert usages[0]["total_tokens"] == usages[1]["total_tokens"]


def test_budgets_pay_for_a_charged_hit_and_refuse_it_when_they_are_empty(
    gateway,
    charged,
    booked,  # noqa: F811
    buyer,  # noqa: F811
):
    ask = charged(cache_charge_percent=100)
    budget(buyer, 10**9)
    gateway.catch_up()
    assert [cached(ask()), cached(ask())] == ["miss", "hit"]
    paid, hit = booked()
    assert BudgetWindow.objects.get().spent_nano == paid.charge_nano + hit.charge_nano

    Budget.objects.update(amount_nano=1)
    gateway.catch_up()
    refused = ask()
    assert refused.status_code in {402, 429}


def test_a_hit_that_is_free_is_given_even_when_the_budget_is_empty(
    gateway,
    charged,
    buyer,  # noqa: F811
    in_table,
):
    ask = charged()
    ask()
    in_table()  # where it is looked for when the worker has forgotten what it had at hand
    budget(buyer, 1)
    gateway.catch_up()
    assert cached(ask()) == "hit"


def test_limits_count_the_request_and_no_tokens(gateway, charged, buyer: Customer):  # noqa: F811
    ask = charged()
    ask()
    RateLimit.objects.create(tenant=buyer.tenant, metric="tokens", amount=10**6, window="minute")
    RateLimit.objects.create(tenant=buyer.tenant, metric="requests", amount=3, window="minute")
    gateway.catch_up()
    left = [int(ask().headers["x-ratelimit-remaining-requests"]) for _ in range(3)]

    assert left == [2, 1, 0]
    assert ask().status_code == 429
    gateway.call(gateway.worker.services.gate.clear)
    first = int(ask().headers["x-ratelimit-remaining-tokens"])
    again = int(ask().headers["x-ratelimit-remaining-tokens"])
    assert abs(again - first) < 10  # what was set aside for the one before was given back


def test_a_row_of_a_hit_cannot_be_corrected(charged, booked):  # noqa: F811
    ask = charged()
    ask(), ask()
    _, hit = booked()
    with pytest.raises(ValidationError, match="from the cache"):
        corrections.correct(hit.pk, None, reason="x", actor="me")


def test_refreshed_answers_and_those_outside_say_so_in_their_rows(charged, post, booked):  # noqa: F811
    charged()
    for word in ("refresh", "off"):
        post("chat", MODEL, temperature=0, headers={"x-tollgate-cache": word})
    assert [row.cache_outcome for row in booked()] == ["refresh", ""]


def test_an_idempotency_key_comes_first(charged, post, booked):  # noqa: F811
    ask = charged()
    ask()
    sent = {"idempotency-key": "order-1"}
    one, other = (post("chat", MODEL, temperature=0, headers=sent) for _ in range(2))

    assert one.content == other.content
    assert other.headers["idempotent-replayed"] == "true"
    assert [row.cache_outcome for row in booked()] == ["miss", "hit"]
