"""A call that lost its Idempotency-Key to another request charges nothing: the other one charges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import httpx
import pytest

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from responses_api.models import IdempotentCall
from responses_api.storage.idempotent_calls import EndedCall, KeyRenewal
from responses_api.storage.ownership import Ownership
from routing import credentials
from routing.models import Provider
from tenants.models import Budget, BudgetWindow
from tests.responses_api.accounting.conftest import DOLLAR, Rows, budget, offer
from tests.support import client, storing
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
Ask = Callable[[bool], "Future[httpx.Response]"]


@pytest.fixture
def ask(gateway: LiveGateway, buyer: Customer) -> Iterator[Ask]:
    """Begin a call with a key, on a hard budget, whose provider answers at length, or when told to hurry."""
    offer("good-responses")
    budget(buyer, DOLLAR)
    gateway.call(gateway.worker.forget)

    def begin(stream: bool) -> Future[httpx.Response]:
        text = "[chunks=1000] [pace=20]" if stream else "[wait=600000] Hi"
        key = {"idempotency-key": "order-1"}
        asked = partial(client.ask, gateway, "responses", buyer, "good-responses", text)
        post = pool.submit(asked, stream=stream, headers=key)
        until(lambda: len(gateway.sandbox.calls) == 1)
        return post

    with ThreadPoolExecutor(1) as pool:
        yield begin


def owned(gateway: LiveGateway) -> Ownership:
    (found,) = gateway.worker.idempotent_calls.running
    return found


def take_over() -> None:
    later = clock.now() + timedelta(seconds=60)
    IdempotentCall.objects.update(owner="req_other", lease_until=later)


def assert_free_of_charge(booked: Rows) -> None:
    (row,) = booked()
    assert (row.charge_nano, row.unfunded_nano, row.error_code) == (0, 0, "idempotency_key_lost")
    assert row.cost_nano > 0
    assert BudgetWindow.objects.get().spent_nano == 0


@streamed_or_not
def test_the_loser_of_a_key_is_ended_when_it_learns_of_it(
    gateway: LiveGateway, ask: Ask, booked: Rows, stream: bool
) -> None:
    asked = ask(stream)
    take_over()
    gateway.worker.leases.look()
    answer = asked.result()
    if stream:
        assert "another request" in answer.text.rpartition("event: response.failed")[2].lower()
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "idempotency_key_lost")
    assert_free_of_charge(booked)
    assert IdempotentCall.objects.get().owner == "req_other"


def test_who_stood_still_asks_before_it_charges(
    gateway: LiveGateway, ask: Ask, booked: Rows
) -> None:
    asked = ask(False)
    take_over()
    gateway.call(lambda: owned(gateway).confirm(0.0))
    gateway.sandbox.hurry()
    answer = asked.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "idempotency_key_lost")
    assert_free_of_charge(booked)


def test_who_stood_still_and_still_has_its_key_charges(
    gateway: LiveGateway, ask: Ask, booked: Rows
) -> None:
    asked = ask(False)
    gateway.call(lambda: owned(gateway).confirm(0.0))
    gateway.sandbox.hurry()
    assert asked.result().status_code == 200
    (row,) = booked()
    assert (row.charge_nano, row.error_code) == (row.cost_nano, "")
    assert BudgetWindow.objects.get().spent_nano == row.charge_nano > 0


def test_who_cannot_ask_answers_and_charges_nothing(
    gateway: LiveGateway, ask: Ask, booked: Rows
) -> None:
    asked = ask(False)
    gateway.call(lambda: owned(gateway).confirm(0.0))
    with storing.unreachable(KeyRenewal, EndedCall):
        gateway.sandbox.hurry()
        assert asked.result().status_code == 200
    assert_free_of_charge(booked)


def test_who_lost_its_key_takes_nothing_from_budgets_that_count_list_prices(
    gateway: LiveGateway, ask: Ask, booked: Rows, buyer: Customer
) -> None:
    Budget.objects.update(counts_list_price=True)
    Provider.objects.update(auth_kind="bearer")
    for provider in Provider.objects.all():
        credentials.create(provider, Secret("theirs"), tenant=buyer.tenant)
    gateway.call(gateway.worker.forget)
    asked = ask(False)
    take_over()
    gateway.worker.leases.look()
    assert asked.result().status_code == 503
    (row,) = booked()
    assert row.list_version is not None
    assert (row.list_nano, BudgetWindow.objects.get().spent_nano) == (0, 0)
