"""Holding what a call may cost, and waiting for it where other calls hold what they may not need.

A call that finds too little is refused only if nobody can give anything back. Otherwise it waits: the calls
of one caller in the order in which they came, the first of them looking again and again. It settles for less
the longer it waits, and gives up only once nothing has moved for a while.
"""

from __future__ import annotations

import asyncio

from gateway_project.lib.errors import BudgetExhausted, RateLimited, Unavailable
from tenants.budgets.accounts import Accounts, Hold, Payers
from tenants.budgets.shares import SHORT_ANSWER, Need, share
from tenants.budgets.terms import BudgetTerms

# The first of those who wait looks this often, at first and in the end. What other processes give back comes
# through the database, so that each look is a transaction.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
# After this long it takes what there is, ...
PATIENCE_SECONDS = 10.0
# ... and where there is nothing, and nothing was given back for this long, the client is to come again.
GIVE_UP_SECONDS = 30.0


async def hold(
    accounts: Accounts, budgets: tuple[BudgetTerms, ...], need: Need, timestamp: float
) -> tuple[Hold, int]:
    """What a call may cost, set aside in every hard budget, and how many output tokens that pays for.
    Raises BudgetExhausted, RateLimited, Unavailable."""
    payers = accounts.payers(budgets, timestamp)
    if not payers.purses:
        return accounts.held_by(payers, 0), need.most
    if not payers.queue.waiting:
        tokens = share(need, _left(payers), 0)
        if any(purse.is_unsure for purse in payers.purses):  # the database may be away
            tokens = min(tokens, max(need.tokens(_at_hand(payers)), need.least))
        if accounts.take_now(payers.purses, need.nano(tokens)):
            return accounts.held_by(payers, need.nano(tokens)), tokens
    tokens = await _in_turn(accounts, payers, need)
    return accounts.held_by(payers, need.nano(tokens)), tokens


async def _in_turn(accounts: Accounts, payers: Payers, need: Need) -> int:
    queue = payers.queue
    since = asyncio.get_running_loop().time()
    queue.waiting += 1
    try:
        async with queue.lock:
            return await _first_of_all(accounts, payers, need, since)
    finally:
        queue.waiting -= 1


async def _first_of_all(accounts: Accounts, payers: Payers, need: Need, since: float) -> int:
    """Look until there is enough."""
    loop, queue = asyncio.get_running_loop(), payers.queue
    pause, figures = FIRST_PAUSE, _figures(payers)
    while True:
        # What was held when it was asked may have been given back by the time of the answer.
        may_get_more = _may_get_more(payers)
        is_patient = loop.time() - since < PATIENCE_SECONDS
        try:
            tokens = await _taken(accounts, payers, need, is_patient, may_get_more)
        except BudgetExhausted as refusal:
            if not (may_get_more or _may_get_more(payers)):
                raise
            figures, before = _figures(payers), figures
            if figures != before:
                queue.moved_at = loop.time()
            if loop.time() - max(since, queue.moved_at) >= GIVE_UP_SECONDS:
                raise _busy(refusal) from None
        else:
            queue.moved_at = loop.time()
            return tokens
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _taken(
    accounts: Accounts, payers: Payers, need: Need, is_patient: bool, may_get_more: bool
) -> int:
    """The tokens that were paid for. Raises BudgetExhausted where too little is left for now, Unavailable."""
    affordable = need.most
    if not (is_patient and may_get_more):
        affordable = max(need.tokens(_left(payers)), need.least)
    while True:
        tokens = min(share(need, _left(payers), payers.queue.waiting - 1), affordable)
        try:
            await accounts.take(payers.purses, need.nano(tokens))
        except BudgetExhausted:  # which told what is left
            affordable = need.tokens(_left(payers))
            wanted = need.least
            if is_patient and (may_get_more or _may_get_more(payers)):
                wanted = max(min(need.most, SHORT_ANSWER), need.least)
            if not wanted <= affordable < tokens:
                raise
        except Unavailable:
            at_hand = _take_of_the_rest(accounts, payers, need)
            if at_hand is None:
                raise
            return at_hand
        else:
            return await _topped_up(accounts, payers, need, tokens)


def _take_of_the_rest(accounts: Accounts, payers: Payers, need: Need) -> int | None:
    """While the database is away: the tokens that what this process has pays for, if they are enough."""
    tokens = min(need.most, need.tokens(_at_hand(payers)))
    if tokens < need.least or not accounts.take_now(payers.purses, need.nano(tokens)):
        return None
    return tokens


async def _topped_up(accounts: Accounts, payers: Payers, need: Need, tokens: int) -> int:
    """More, where it shows only now that more is left."""
    taken = need.nano(tokens)
    fair = share(need, _left(payers) + taken, payers.queue.waiting - 1)
    if fair <= tokens:
        return tokens
    try:
        await accounts.take(payers.purses, need.nano(fair) - taken)
    except (BudgetExhausted, Unavailable):
        return tokens
    except BaseException:  # the client left
        accounts.put_back(payers.purses, taken)
        raise
    return fair


def _at_hand(payers: Payers) -> int:
    return min(purse.free for purse in payers.purses)


def _left(payers: Payers) -> int:
    """About what could be held; only the attempt shows."""
    return min(purse.free + purse.rest for purse in payers.purses)


def _may_get_more(payers: Payers) -> bool:
    """Whether others hold something that they may give back."""
    return any(purse.held > 0 or purse.elsewhere > 0 for purse in payers.purses)


def _figures(payers: Payers) -> list[tuple[int, int, int]]:
    """What changes when something is given back."""
    return [(purse.rest, purse.held, purse.elsewhere) for purse in payers.purses]


def _busy(refusal: BudgetExhausted) -> RateLimited:
    return RateLimited(
        f"What is left of the budget {refusal.budget!r} is held by calls that are still running.",
        wait_seconds=5,
    )
