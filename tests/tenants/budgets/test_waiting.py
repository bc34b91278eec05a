"""Calls that find too little wait for what others give back, and are refused only where nobody can."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib import clock
from gateway_project.lib.errors import BudgetExhausted, RateLimited
from tenants.budgets import waiting
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.leases import Draw
from tenants.budgets.shares import PLENTY, SHORT_ANSWER, Need, share
from tenants.budgets.terms import BudgetTerms
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer
from tests.tenants.budgets import bank
from tests.tenants.budgets.bank import Bank, budget, free, reserved, run, terms

PICO = 1_000  # a nano-dollar per token
AMOUNT = 5_000
NEED = Need(fixed=10, pico=PICO, most=4_000, least=16)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE", 0.002)


@pytest.fixture
def payers(acme: Customer) -> tuple[BudgetTerms, ...]:
    budget(acme, AMOUNT)
    return terms(acme)


@pytest.mark.persistence
@pytest.mark.parametrize("seed", range(4))
def test_calls_that_use_little_are_all_made_whatever_they_may_use(
    payers: tuple[BudgetTerms, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever loses patience takes a short answer, or none: on a busy machine sixty calls need longer.
    for name in ("PATIENCE_SECONDS", "GIVE_UP_SECONDS"):
        monkeypatch.setattr(waiting, name, GIVE_UP_SECONDS)
    chance = random.Random(seed)

    async def call(accounts: BudgetLeases) -> int:
        hold, tokens = await waiting.hold(accounts, payers, NEED, clock.timestamp())
        assert hold.held == NEED.nano(tokens)
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        hold.charge(chance.randrange(40))
        hold.release()
        return tokens

    async def calls() -> list[int]:
        both = [BudgetLeases(Bank().write, name) for name in ("one", "two")]
        return await asyncio.gather(*(call(both[number % 2]) for number in range(60)))

    tokens = run(calls())
    assert min(tokens) >= SHORT_ANSWER
    assert reserved() <= 60 * 40


@pytest.mark.persistence
def test_the_last_cents_go_to_whoever_comes_and_then_the_budget_is_used_up(
    payers: tuple[BudgetTerms, ...],
) -> None:
    limits = []

    async def calls() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        while True:
            hold, tokens = await waiting.hold(accounts, payers, NEED, clock.timestamp())
            limits.append(tokens)
            hold.charge(hold.held or 0)
            hold.release()
            await bank.settle()

    with pytest.raises(BudgetExhausted):
        run(calls())
    assert limits == [4_000, 980]
    assert reserved() == AMOUNT


@pytest.mark.persistence
def test_who_waits_in_vain_is_told_to_come_again(
    payers: tuple[BudgetTerms, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "GIVE_UP_SECONDS", 0.02)

    async def calls(holder: BudgetLeases, other: BudgetLeases) -> None:
        first, _ = await waiting.hold(holder, payers, NEED, clock.timestamp())
        second, tokens = await waiting.hold(holder, payers, NEED, clock.timestamp())
        assert tokens == 980  # it takes what is there
        with pytest.raises(RateLimited, match="'test' is reserved by calls that are still running"):
            await waiting.hold(other, payers, NEED, clock.timestamp())
        first.release()
        second.release()
        await bank.settle()
        third, tokens = await waiting.hold(other, payers, NEED, clock.timestamp())
        assert tokens == 4_000
        third.release()

    spending = BudgetLeases(Bank().write, "one")
    run(calls(spending, spending))
    run(calls(BudgetLeases(Bank().write, "two"), BudgetLeases(Bank().write, "three")))
    assert reserved() == 0


@pytest.mark.persistence
def test_who_leaves_while_waiting_leaves_nothing_behind(payers: tuple[BudgetTerms, ...]) -> None:
    async def calls() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        first = await accounts.hold(payers, AMOUNT - 20, clock.timestamp())
        others = [
            asyncio.ensure_future(waiting.hold(accounts, payers, NEED, clock.timestamp()))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        assert accounts.budget_set(payers, clock.timestamp()).queue.waiting == len(others)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        first.release()
        await bank.settle()
        assert free(accounts) == 0
        assert accounts.budget_set(payers, clock.timestamp()).queue.waiting == 0

    run(calls())
    assert reserved() == 0


@pytest.mark.persistence
def test_calls_that_come_together_are_drawn_for_together_while_there_is_plenty(
    acme: Customer,
) -> None:
    budget(acme, 10**12)
    payers, database = terms(acme), Bank()
    need = Need(fixed=5 * 10**8, pico=PICO, most=4_000, least=16)

    async def calls() -> None:
        accounts = BudgetLeases(database.write, "spool")
        held = [waiting.hold(accounts, payers, need, clock.timestamp()) for _ in range(12)]
        for hold, tokens in await asyncio.gather(*held):
            assert tokens == need.most
            hold.release()
        await accounts.stop()

    run(calls())
    assert len([one for one in database.orders if isinstance(one, Draw) and not one.is_ahead]) == 1
    assert reserved() == 0


def test_a_line_ends_under_steady_load_once_enough_is_at_hand(acme: Customer) -> None:
    budget(acme, 10**9)
    payers, lines = terms(acme), []

    async def client(accounts: BudgetLeases) -> None:
        for number in range(60):
            hold, _ = await waiting.hold(accounts, payers, NEED, clock.timestamp())
            if number >= 30:
                lines.append(accounts.budget_set(payers, clock.timestamp()).queue.waiting)
            await asyncio.sleep(0)
            hold.charge(1)
            hold.release()

    async def clients() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        await asyncio.gather(*(client(accounts) for _ in range(12)))

    run(clients())
    assert set(lines) == {0}


@pytest.mark.persistence
@pytest.mark.parametrize("amount", [AMOUNT, 10**9], ids=["it was first", "it was served"])
def test_who_leaves_in_the_very_moment_its_turn_came_leaves_nothing_behind(
    acme: Customer, amount: int
) -> None:
    budget(acme, amount)
    payers = terms(acme)

    async def calls() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        begun: list[asyncio.Future[None]] = []

        async def call(*, cancels: int | None = None) -> None:
            hold, _ = await waiting.hold(accounts, payers, NEED, clock.timestamp())
            if cancels is not None:  # it was told in this step of the loop, and has not gone on yet
                begun[cancels].cancel()
            hold.release()

        begun += [
            asyncio.ensure_future(call(cancels=1)),
            *(map(asyncio.ensure_future, (call(), call()))),
        ]
        await asyncio.wait(begun)
        assert [one.cancelled() for one in begun] == [False, True, False]
        assert accounts.budget_set(payers, clock.timestamp()).queue.waiting == 0
        await accounts.stop()

    run(calls())
    assert reserved() == 0


def test_the_first_and_the_next_leave_together_and_the_third_goes_on(acme: Customer) -> None:
    budget(acme, 10**9)
    payers = terms(acme)

    async def calls() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        begun = [
            asyncio.ensure_future(waiting.hold(accounts, payers, NEED, clock.timestamp()))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        begun[0].cancel()
        begun[1].cancel()
        hold, tokens = await begun[2]
        assert tokens == NEED.most
        hold.release()
        assert accounts.budget_set(payers, clock.timestamp()).queue.waiting == 0

    run(calls())


tokens = st.integers(0, 10**7)


@given(
    fixed=tokens,
    pico=tokens,
    most=st.integers(1, 10**6),
    left=tokens,
    waiting_too=st.integers(0, 99),
)
def test_a_share_is_no_more_than_was_asked_for_and_never_hoards(
    fixed: int, pico: int, most: int, left: int, waiting_too: int
) -> None:
    need = Need(fixed, pico, most, least=min(most, 16))
    given_to = share(need, left, waiting_too)
    assert need.least <= given_to <= most
    if pico and given_to == most and most > 4_096 and not waiting_too:
        assert most <= 16_384 or need.tokens(left) >= PLENTY * most
    assert need.tokens(need.nano(given_to)) >= given_to or not pico
    assert need.nano(given_to) >= fixed


@pytest.mark.persistence
def test_what_an_answer_cost_beyond_its_limit_is_held_as_far_as_there_is_more(
    payers: tuple[BudgetTerms, ...],
) -> None:
    async def calls() -> None:
        accounts = BudgetLeases(Bank().write, "spool")
        first = await accounts.hold(payers, 1_000, clock.timestamp())
        other = await accounts.hold(payers, 700, clock.timestamp())
        await first.extend_up_to(2 * AMOUNT)
        assert (first.held, other.held) == (AMOUNT - 700, 700)
        await first.extend_up_to(1)
        assert first.held == AMOUNT - 700

    run(calls())
    assert reserved() == AMOUNT
