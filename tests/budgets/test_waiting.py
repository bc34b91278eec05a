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
from tenants.budgets.accounts import Accounts
from tenants.budgets.shares import PLENTY, SHORT_ANSWER, Need, share
from tenants.budgets.terms import BudgetTerms
from tests.budgets import bank
from tests.budgets.bank import Bank, budget, free, reserved, run, terms
from tests.support.rows import Customer

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
    payers: tuple[BudgetTerms, ...], seed: int
) -> None:
    chance = random.Random(seed)

    async def call(accounts: Accounts) -> int:
        hold, tokens = await waiting.hold(accounts, payers, NEED, clock.timestamp())
        assert hold.held == NEED.nano(tokens)
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        hold.charge(chance.randrange(40))
        hold.release()
        return tokens

    async def calls() -> list[int]:
        both = [Accounts(Bank().write, name) for name in ("one", "two")]
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
        accounts = Accounts(Bank().write, "spool")
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

    async def calls(holder: Accounts, other: Accounts) -> None:
        first, _ = await waiting.hold(holder, payers, NEED, clock.timestamp())
        second, tokens = await waiting.hold(holder, payers, NEED, clock.timestamp())
        assert tokens == 980  # it takes what is there
        with pytest.raises(RateLimited, match="'test' is held by calls that are still running"):
            await waiting.hold(other, payers, NEED, clock.timestamp())
        first.release()
        second.release()
        await bank.settle()
        third, tokens = await waiting.hold(other, payers, NEED, clock.timestamp())
        assert tokens == 4_000
        third.release()

    spending = Accounts(Bank().write, "one")
    run(calls(spending, spending))
    run(calls(Accounts(Bank().write, "two"), Accounts(Bank().write, "three")))
    assert reserved() == 0


@pytest.mark.persistence
def test_who_leaves_while_waiting_leaves_nothing_behind(payers: tuple[BudgetTerms, ...]) -> None:
    async def calls() -> None:
        accounts = Accounts(Bank().write, "spool")
        first = await accounts.hold(payers, AMOUNT - 20, clock.timestamp())
        others = [
            asyncio.ensure_future(waiting.hold(accounts, payers, NEED, clock.timestamp()))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        assert accounts.payers(payers, clock.timestamp()).queue.waiting == len(others)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        first.release()
        await bank.settle()
        assert free(accounts) == 0
        assert accounts.payers(payers, clock.timestamp()).queue.waiting == 0

    run(calls())
    assert reserved() == 0


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
        accounts = Accounts(Bank().write, "spool")
        first = await accounts.hold(payers, 1_000, clock.timestamp())
        other = await accounts.hold(payers, 700, clock.timestamp())
        await first.extend_up_to(2 * AMOUNT)
        assert (first.held, other.held) == (AMOUNT - 700, 700)
        await first.extend_up_to(1)
        assert first.held == AMOUNT - 700

    run(calls())
    assert reserved() == AMOUNT
