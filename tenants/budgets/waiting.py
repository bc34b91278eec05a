"""Hold what a call may cost, and wait where other calls hold what they may not need.

A call that finds too little is refused only if nobody can give anything back. Otherwise it waits: the
calls of one caller in order of arrival, the first of them looking again and again. It settles for less
the longer it waits, and gives up only once nothing has moved for a while.

When the first has what it needs, so has everybody behind it for whom enough is at hand, all at once. If they
left one by one, a line that formed once would never end under steady load: another call comes for each that
goes.
"""

from __future__ import annotations

import asyncio
import contextlib

from gateway_project.lib.errors import BudgetExhausted, RateLimited, Unavailable
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.holds import BudgetSet, Hold
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
    leases: BudgetLeases, budgets: tuple[BudgetTerms, ...], need: Need, timestamp: float
) -> tuple[Hold, int]:
    """Set aside what a call may cost in every hard budget; return the output tokens that it pays for.

    Raise BudgetExhausted, RateLimited or Unavailable.
    """
    budget_set = leases.budget_set(budgets, timestamp)
    if not budget_set.leases:
        return leases.make_hold(budget_set, 0), need.most
    tokens = None if budget_set.queue.first is not None else _take_now(leases, budget_set, need)
    if tokens is None:
        tokens = await _in_turn(leases, budget_set, need)
    return leases.make_hold(budget_set, need.nano(tokens)), tokens


def _take_now(leases: BudgetLeases, budget_set: BudgetSet, need: Need) -> int | None:
    """Take what is at hand for a call before which nobody waits; return the tokens, or None if too few."""
    tokens = share(need, _left(budget_set), len(budget_set.queue.others))
    if any(lease.is_unconfirmed for lease in budget_set.leases):  # the database may be away
        tokens = min(tokens, max(need.tokens(_at_hand(budget_set)), need.least))
    return tokens if leases.take_now(budget_set.leases, need.nano(tokens)) else None


async def _in_turn(leases: BudgetLeases, budget_set: BudgetSet, need: Need) -> int:
    queue, since = budget_set.queue, asyncio.get_running_loop().time()
    if queue.first is not None:
        given = await _behind_others(leases, budget_set, need)
        if given is not None:
            return given
    queue.first = need
    try:
        return await _first_of_all(leases, budget_set, need, since)
    finally:
        _leave(leases, budget_set)


async def _behind_others(leases: BudgetLeases, budget_set: BudgetSet, need: Need) -> int | None:
    """Wait behind others; return the tokens that were taken for this call, or None if it is the first now."""
    queue = budget_set.queue
    told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    place = need, told
    queue.others.append(place)
    try:
        return await told
    except BaseException:  # the client left
        if told.cancelled():
            with contextlib.suppress(ValueError):  # it may have been passed over already
                queue.others.remove(place)
        elif (given := told.result()) is None:
            _leave(leases, budget_set)
        else:
            leases.put_back(budget_set.leases, need.nano(given))
        raise


def _leave(leases: BudgetLeases, budget_set: BudgetSet) -> None:
    """Take for those behind, in order, as long as enough is at hand; the next one is the first."""
    queue = budget_set.queue
    queue.first = None
    while queue.others:
        need, told = queue.others.popleft()
        if told.cancelled():
            continue
        tokens = _take_now(leases, budget_set, need)
        told.set_result(tokens)
        if tokens is None:
            queue.first = need
            return
        queue.moved_at = told.get_loop().time()


async def _first_of_all(
    leases: BudgetLeases, budget_set: BudgetSet, need: Need, since: float
) -> int:
    """Retry, first in line, until there is enough."""
    loop, queue = asyncio.get_running_loop(), budget_set.queue
    pause, figures = FIRST_PAUSE, _figures(budget_set)
    while True:
        # What was held when it was asked may have been given back by the time of the answer.
        may_get_more = _may_get_more(budget_set)
        is_patient = loop.time() - since < PATIENCE_SECONDS
        try:
            tokens = await _take(leases, budget_set, need, is_patient, may_get_more)
        except BudgetExhausted as refusal:
            if not (may_get_more or _may_get_more(budget_set)):
                raise
            figures, before = _figures(budget_set), figures
            if figures != before:
                queue.moved_at = loop.time()
            if loop.time() - max(since, queue.moved_at) >= GIVE_UP_SECONDS:
                raise _busy(refusal) from None
        else:
            queue.moved_at = loop.time()
            return tokens
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _take(
    leases: BudgetLeases, budget_set: BudgetSet, need: Need, is_patient: bool, may_get_more: bool
) -> int:
    """Take the price of as many tokens as possible; return their number.

    Raise BudgetExhausted if too little is left for now, or Unavailable.
    """
    affordable = need.most
    if not (is_patient and may_get_more):
        affordable = max(need.tokens(_left(budget_set)), need.least)
    while True:
        tokens = min(share(need, _left(budget_set), budget_set.queue.waiting - 1), affordable)
        try:
            await leases.take(budget_set.leases, need.nano(tokens), budget_set.queue)
        except BudgetExhausted:  # which told what is left
            affordable = need.tokens(_left(budget_set))
            wanted = need.least
            if is_patient and (may_get_more or _may_get_more(budget_set)):
                wanted = max(min(need.most, SHORT_ANSWER), need.least)
            if not wanted <= affordable < tokens:
                raise
        except Unavailable:
            at_hand = _take_of_the_rest(leases, budget_set, need)
            if at_hand is None:
                raise
            return at_hand
        else:
            return await _top_up(leases, budget_set, need, tokens)


def _take_of_the_rest(leases: BudgetLeases, budget_set: BudgetSet, need: Need) -> int | None:
    """Take from what this process has while the database is away; return the tokens, or None if too few."""
    tokens = min(need.most, need.tokens(_at_hand(budget_set)))
    if tokens < need.least or not leases.take_now(budget_set.leases, need.nano(tokens)):
        return None
    return tokens


async def _top_up(leases: BudgetLeases, budget_set: BudgetSet, need: Need, tokens: int) -> int:
    """Take more where the last answer showed that more is left."""
    taken = need.nano(tokens)
    fair = share(need, _left(budget_set) + taken, budget_set.queue.waiting - 1)
    if fair <= tokens:
        return tokens
    try:
        await leases.take(budget_set.leases, need.nano(fair) - taken)
    except (BudgetExhausted, Unavailable):
        return tokens
    except BaseException:  # the client left
        leases.put_back(budget_set.leases, taken)
        raise
    return fair


def _at_hand(budget_set: BudgetSet) -> int:
    return min(lease.free for lease in budget_set.leases)


def _left(budget_set: BudgetSet) -> int:
    """Estimate what could be held; only the attempt shows."""
    return min(lease.free + lease.rest for lease in budget_set.leases)


def _may_get_more(budget_set: BudgetSet) -> bool:
    """Tell whether others hold something that they may give back."""
    return any(lease.held > 0 or lease.elsewhere > 0 for lease in budget_set.leases)


def _figures(budget_set: BudgetSet) -> list[tuple[int, int, int]]:
    """Return the figures that change when something is given back."""
    return [(lease.rest, lease.held, lease.elsewhere) for lease in budget_set.leases]


def _busy(refusal: BudgetExhausted) -> RateLimited:
    return RateLimited(
        f"The rest of budget {refusal.budget!r} is reserved by calls that are still running.",
        wait_seconds=5,
        limit=refusal.limit,
    )
