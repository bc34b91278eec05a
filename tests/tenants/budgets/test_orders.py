"""Orders for money may be lost, repeated or refused; what is held never exceeds what is reserved."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from django.db import DataError

from gateway_project.lib import clock
from gateway_project.lib.errors import BudgetExhausted, Unavailable
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.leases import Draw
from tenants.budgets.terms import BudgetTerms
from tenants.models import Budget, BudgetLease
from tests.support.rows import Customer
from tests.tenants.budgets import bank
from tests.tenants.budgets.bank import Bank, budget, free, reserved, run, terms

pytestmark = pytest.mark.persistence

DOLLAR = 1_000_000_000
BLOCK = DOLLAR // 20
CALL = 1_000_000
DAY = 86_400


@pytest.fixture
def payers(acme: Customer) -> tuple[BudgetTerms, ...]:
    budget(acme, DOLLAR)
    return terms(acme)


def test_a_call_is_paid_from_a_block_that_is_reserved(payers: tuple[BudgetTerms, ...]) -> None:
    async def call() -> BudgetLeases:
        accounts = BudgetLeases(Bank().write, "spool")
        await accounts.hold(payers, CALL, clock.timestamp())
        return accounts

    accounts = run(call())
    assert (free(accounts), reserved()) == (BLOCK - CALL, BLOCK)


def test_a_draw_that_is_carried_out_twice_grants_once(payers: tuple[BudgetTerms, ...]) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        orders.times = 2
        accounts = BudgetLeases(orders.write, "spool")
        hold = await accounts.hold(payers, CALL, clock.timestamp())
        assert await hold.extend(BLOCK)
        return accounts

    accounts = run(call())
    assert free(accounts) + CALL + BLOCK == reserved()


def test_what_was_granted_unheard_is_the_next_drawers(payers: tuple[BudgetTerms, ...]) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        orders.lose_answers()
        with pytest.raises(Unavailable):
            await accounts.hold(payers, CALL, clock.timestamp())
        orders.be_well()
        await accounts.hold(payers, CALL, clock.timestamp())
        return accounts

    accounts = run(call())
    assert free(accounts) + CALL == reserved() == BLOCK


def test_what_was_granted_unheard_and_nobody_needs_goes_back_with_the_next_sweep(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        orders.lose_answers()
        with pytest.raises(Unavailable):
            await accounts.hold(payers, CALL, clock.timestamp())
        orders.be_well()
        await accounts.sweep()

    run(call())
    assert reserved() == 0


@pytest.mark.parametrize("times", [1, 2])
def test_giving_back_leaves_what_calls_hold_however_often_it_is_done(
    payers: tuple[BudgetTerms, ...], times: int
) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        await accounts.hold(payers, 10 * CALL, clock.timestamp())
        orders.times = times
        await accounts.sweep()  # what was taken within a second is kept some time
        await accounts.sweep()
        return accounts

    accounts = run(call())
    assert (free(accounts), reserved()) == (0, 10 * CALL)


def test_giving_back_unheard_restores_nothing_and_is_said_again(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        await accounts.hold(payers, CALL, clock.timestamp())
        orders.lose_answers()
        await accounts.sweep()
        await accounts.sweep()
        assert (free(accounts), reserved()) == (0, CALL)
        orders.be_away()
        await accounts.sweep()
        orders.be_well()
        await accounts.sweep()
        seen = len(orders.orders)
        await accounts.sweep()
        assert len(orders.orders) == seen
        return accounts

    accounts = run(call())
    assert (free(accounts), reserved()) == (0, CALL)


def test_what_could_not_be_given_back_is_the_next_drawers(payers: tuple[BudgetTerms, ...]) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        await accounts.hold(payers, CALL, clock.timestamp())
        orders.be_away()
        await accounts.sweep()
        await accounts.sweep()
        assert (free(accounts), reserved()) == (0, BLOCK)
        orders.be_well()
        await accounts.hold(payers, CALL, clock.timestamp())
        return accounts

    accounts = run(call())
    assert free(accounts) + 2 * CALL == reserved()


def test_a_call_that_leaves_while_its_budget_is_asked_leaves_the_grant_to_others(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> BudgetLeases:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        task = asyncio.ensure_future(accounts.hold(payers, CALL, clock.timestamp()))
        await orders.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bank.settle()
        assert free(accounts) == BLOCK
        with pytest.raises(BudgetExhausted, match="test"):  # its name is known
            await accounts.hold(payers, 2 * DOLLAR, clock.timestamp())
        return accounts

    run(call())
    assert reserved() == BLOCK


def test_what_is_drawn_for_a_call_that_ended_meanwhile_is_nobodys(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> BudgetLeases:
        accounts = BudgetLeases(Bank().write, "spool")
        hold = await accounts.hold(payers, CALL, clock.timestamp())
        asked = asyncio.ensure_future(hold.extend(2 * BLOCK))
        await asyncio.sleep(0)
        hold.release()
        assert not await asked
        assert not hold.extend_now(1)
        assert hold.held == 0
        return accounts

    accounts = run(call())
    assert free(accounts) == reserved()


def test_a_disabled_budget_grants_nothing_though_it_was_drawn_on(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        await BudgetLeases(Bank().write, "one").hold(payers, CALL, clock.timestamp())

    async def call_again() -> None:
        with pytest.raises(Unavailable):
            await BudgetLeases(Bank().write, "two").hold(payers, CALL, clock.timestamp())

    run(call())
    Budget.objects.update(enabled=False)
    run(call_again())
    assert reserved() == BLOCK


def test_an_error_of_the_database_does_not_end_the_sweeps(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        await accounts.hold(payers, CALL, clock.timestamp())
        orders.times, orders.error = 0, DataError("something else")
        await accounts.sweep()
        await accounts.sweep()
        orders.be_well()
        await accounts.sweep()

    run(call())
    assert reserved() == CALL


def test_an_idle_block_goes_back_while_a_call_runs_so_that_others_can_spend_it(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        idle, other = (BudgetLeases(Bank().write, name) for name in ("idle", "other"))
        hold = await idle.hold(payers, CALL, clock.timestamp())
        await idle.sweep()
        await idle.sweep()
        rest = await other.hold(payers, DOLLAR - CALL, clock.timestamp())
        assert rest.held == DOLLAR - CALL
        assert not await hold.extend(1)
        rest.release()
        await bank.settle()
        assert await hold.extend(1)

    run(call())
    assert BudgetLease.objects.count() == 2


def test_a_block_is_drawn_before_the_last_one_is_used_up(payers: tuple[BudgetTerms, ...]) -> None:
    async def call() -> None:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        for number in range(40):
            hold = await accounts.hold(payers, CALL, clock.timestamp())
            assert await hold.extend(CALL // 10)
            if number == 5:
                await accounts.sweep()
        await bank.settle()
        draws = [order for order in orders.orders if isinstance(order, Draw)]
        assert [draw.is_ahead for draw in draws] == [False, True]
        assert free(accounts) > 0

    run(call())


def test_a_block_that_comes_while_a_sweep_looks_is_swept_later(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        orders = Bank()
        accounts = BudgetLeases(orders.write, "spool")
        task = asyncio.ensure_future(accounts.hold(payers, CALL, clock.timestamp()))
        await orders.asked.wait()
        await accounts.sweep()
        await task
        await accounts.sweep()
        await accounts.sweep()

    run(call())
    assert reserved() == CALL


def test_nothing_is_drawn_ahead_of_the_last_cents(acme: Customer) -> None:
    budget(acme, 30 * CALL)  # its blocks are too small to be blocks
    payers = terms(acme)

    async def call() -> BudgetLeases:
        accounts = BudgetLeases(Bank().write, "spool")
        for _ in range(30):
            await accounts.hold(payers, CALL, clock.timestamp())
        with pytest.raises(BudgetExhausted):
            await accounts.hold(payers, 1, clock.timestamp())
        return accounts

    accounts = run(call())
    assert (free(accounts), reserved()) == (0, 30 * CALL)


def test_both_levels_are_reserved_or_neither(acme: Customer) -> None:
    budget(acme, DOLLAR)
    budget(acme, 5 * CALL, api_key=acme.key, name="key")
    payers = terms(acme)

    async def call() -> BudgetLeases:
        accounts = BudgetLeases(Bank().write, "spool")
        for _ in range(5):
            await accounts.hold(payers, CALL, clock.timestamp())
        with pytest.raises(BudgetExhausted, match="key"):
            await accounts.hold(payers, CALL, clock.timestamp())
        return accounts

    run(call())
    granted = dict(BudgetLease.objects.values_list("window__budget__name", "granted_nano"))
    assert granted["key"] == 5 * CALL


def test_an_amount_that_was_lowered_refuses_what_lies_beyond(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def call() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        await accounts.hold(payers, CALL, clock.timestamp())
        accounts.refresh()
        await bank.settle()
        with bank.as_in_the_test():
            Budget.objects.update(amount_nano=2 * CALL - 1)
        with pytest.raises(BudgetExhausted):
            await accounts.hold(payers, CALL, clock.timestamp())

    run(call())
    assert reserved() == CALL


def test_a_period_that_is_over_is_given_back_and_forgotten_a_day_later(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(acme, DOLLAR, period="daily")
    payers = terms(acme)
    now = clock.timestamp()
    monkeypatch.setattr(clock, "timestamp", lambda: now)

    async def call() -> None:
        nonlocal now
        accounts = BudgetLeases(Bank().write, "spool")
        began = now
        hold = await accounts.hold(payers, CALL, now)
        now += DAY
        await accounts.sweep()
        assert reserved() == CALL  # a call still runs
        now += DAY
        await accounts.sweep()
        assert not list(accounts)
        with pytest.raises(Unavailable):  # its figures are not known any more
            await accounts.hold(payers, CALL, began)
        hold.release()

    run(call())
    assert reserved() == 0


def test_a_period_that_is_made_longer_goes_on_with_what_was_leased(acme: Customer) -> None:
    made = budget(acme, DOLLAR, period="daily")
    first = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
    daily = terms(acme)
    Budget.objects.filter(pk=made.pk).update(period="monthly")
    monthly = terms(acme)

    async def call() -> BudgetLeases:
        accounts = BudgetLeases(Bank().write, "spool")
        for payers in (daily, monthly, daily):
            await accounts.hold(payers, CALL, first)
        return accounts

    accounts = run(call())
    assert free(accounts) + 3 * CALL == reserved() == BLOCK
