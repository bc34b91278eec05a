"""Order the lanes of one tier. Each strategy takes lanes with a weight and gives them back in its order.

What decides by chance is a number of 64 bits: the call's affinity, so that calls which begin alike are drawn
alike in every process, or a seed. A lane's score is an exponential variable whose rate is its weight, made
from that number and the lane's spread, and the lowest score is first. That is a weighted draw without
replacement, and weighted rendezvous hashing: where a lane is gone, the order of the others stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from operator import itemgetter
from statistics import median

from routing.policy.facts import CallFacts
from routing.policy.lane_health import LaneHealth
from routing.route import ResolvedTarget
from tenants.prices.history import History
from tenants.prices.rating import DEFAULT_TIER
from tenants.token_classes import TOKEN_CLASSES

Lanes = list[ResolvedTarget]
States = Mapping[int, LaneHealth]

_BITS = (1 << 64) - 1
_ODD = 0xBF58476D1CE4E5B9
_UNIT = 1 / (1 << 64)
_LEAST = 2.0**-65
_FRESH = TOKEN_CLASSES.index("input_fresh")
_CACHED = TOKEN_CLASSES.index("cache_read")
_VISIBLE = TOKEN_CLASSES.index("output_visible")
_FIRST = itemgetter(0)


def score(number: int, spread: int, weight: int) -> float:
    """Return an exponential variable of this rate. Folding and one multiplication are enough to make it of
    two numbers that are random already; the tests look at how lanes come out beside each other."""
    bits = number ^ spread
    return -log(((bits ^ bits >> 32) * _ODD & _BITS) * _UNIT + _LEAST) / weight


def drawn(lanes: Sequence[ResolvedTarget], number: int) -> Lanes:
    """Draw targets by their weights. One lane of each comes before a second one of any, because what
    failed on one lane of a target is likely to fail on the others, too."""
    scored = [(score(number, lane.target_spread, lane.weight), lane) for lane in lanes]
    scored.sort(key=_FIRST)
    order = [lane for _, lane in scored]
    if True in [lane.is_pooled for lane in lanes]:
        ranks = _ranks(lanes, number)
        order.sort(key=lambda lane: ranks[id(lane)])
    return order


def _ranks(lanes: Sequence[ResolvedTarget], number: int) -> dict[int, int]:
    """Return the place of each lane among those of its target, by the weights of their credentials."""
    pools: dict[int, list[tuple[float, ResolvedTarget]]] = {}
    for lane in lanes:
        at = score(number, lane.credential_spread, lane.credential_weight)
        pools.setdefault(lane.target_spread, []).append((at, lane))
    ranks: dict[int, int] = {}
    for pool in pools.values():
        pool.sort(key=_FIRST)
        ranks |= {id(lane): rank for rank, (_, lane) in enumerate(pool)}
    return ranks


def weighted(lanes: Lanes, facts: CallFacts, states: States, now: float, seed: int) -> Lanes:
    """Order by a weighted draw; by the call's affinity, if it has one."""
    return drawn(lanes, facts.affinity or seed)


def fastest(lanes: Lanes, facts: CallFacts, states: States, now: float, seed: int) -> Lanes:
    """Draw by weight, and of the first two prefer the one whose first output is to be expected sooner. Two
    choices, so that not all calls of all processes run to the same lane at once."""
    order = drawn(lanes, seed)
    known = [seconds for lane in lanes if (seconds := states[id(lane)].ttft_seconds) is not None]
    usual = median(known) if known else 1.0
    first, second = states[id(order[0])], states[id(order[1])]
    if _delay(second, usual) < _delay(first, usual):
        order[:2] = reversed(order[:2])
    return order


def _delay(state: LaneHealth, usual: float) -> float:
    """Return the seconds to wait for, about. Nothing being known of a lane is no reason to prefer it."""
    seconds = usual if state.ttft_seconds is None else state.ttft_seconds
    return seconds * (state.in_flight + 1)


def least_busy(lanes: Lanes, facts: CallFacts, states: States, now: float, seed: int) -> Lanes:
    """Order by the calls that run, in proportion to the weights; by chance where they are equal."""
    order = drawn(lanes, seed)
    order.sort(key=lambda lane: states[id(lane)].in_flight / (lane.weight * lane.credential_weight))
    return order


def cheapest(lanes: Lanes, facts: CallFacts, states: States, now: float, seed: int) -> Lanes:
    """Order by what this call is likely to cost on each; by a draw where that is equal."""
    order = drawn(lanes, facts.affinity or seed)
    order.sort(key=lambda lane: likely_pico(lane, facts, now))
    return order


def likely_pico(lane: ResolvedTarget, facts: CallFacts, now: float) -> float:
    """Return what whoever pays the provider would pay for the call, in pico-dollars; infinite without a
    price. What the affine lane has cached is cheaper there."""
    prices = _prices(lane)
    terms = prices.at(now)
    if terms is None:
        return 0 if prices.is_free else inf
    tokens = facts.input_tokens or 0
    picos = terms.step(DEFAULT_TIER, tokens).picos
    cached = min(facts.affine_tokens, tokens) if lane.lane_id == facts.affine_lane else 0
    paid = (tokens - cached) * picos[_FRESH] + cached * picos[_CACHED]
    return paid + facts.output_tokens * picos[_VISIBLE]


def _prices(lane: ResolvedTarget) -> History:
    """Return the provider's prices, also where the tenant pays them itself."""
    return lane.list_price if lane.list_price is not None else lane.cost


Order = Callable[[Lanes, CallFacts, States, float, int], Lanes]
STRATEGIES: dict[str, Order] = {
    "weighted": weighted,
    "fastest": fastest,
    "least_busy": least_busy,
    "cheapest": cheapest,
}
