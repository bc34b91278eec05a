"""Put the lanes of a route into the order in which a call tries them, and say why others are left out.

1. Lanes are dropped that the call is not for (`when`), and, as long as others remain, those that cannot take
   it: no credential, no price under a hard budget, a missing capability, a window that is too small.
2. Lanes whose circuit is open are dropped, but never the last: if all are open they are kept, those that
   failed before those that asked to be left alone, the soonest first.
3. Tiers follow one another; within one the route's strategy decides. Lanes whose weight is 0 come last.
4. The lane that answered what began alike goes first, unless another tier is better.
5. Lanes with little left until a reset stand behind those of their tier.

The same arguments give the same plan, so that what is explained is what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from routing.policy import reasons, strategies
from routing.policy.facts import CallFacts
from routing.policy.lane_health import Health, LaneHealth
from routing.route import DroppedLane, ResolvedTarget, Route

Lanes = Sequence[ResolvedTarget]
States = dict[int, LaneHealth]  # by the identity of the lane
Dropped = list[DroppedLane]


class RoutePlan(Struct, frozen=True):
    """The lanes to try, in order, and those that are not, each with its reason. `all_open`: there was none
    without an open circuit, so that the kept ones are open."""

    kept: tuple[ResolvedTarget, ...]
    dropped: tuple[DroppedLane, ...] = ()
    all_open: bool = False


def plan(route: Route, facts: CallFacts, health: Health, now: float, seed: int) -> RoutePlan:
    """Plan a call. `now` in seconds of `clock.timestamp()`; `seed`: 64 random bits, which decide where
    affinity does not. Pure, but for what `health` knows."""
    lanes: Lanes = route.targets
    if len(lanes) == 1 and lanes[0].when is None:
        return RoutePlan(route.targets, route.left_out, _is_open(health.of(lanes[0], now), now))
    dropped: Dropped = []
    lanes = _able(_meant(lanes, facts, dropped), facts, now, dropped)
    states = {id(lane): health.of(lane, now) for lane in lanes}
    closed = _closed(lanes, states, now, dropped)
    if closed or not lanes:
        kept = _ordered(route, closed, states, facts, now, seed)
    else:
        kept = _soonest_first(lanes, states)
    return RoutePlan(kept, (*route.left_out, *dropped), all_open=not closed and bool(lanes))


def _is_open(state: LaneHealth, now: float) -> bool:
    """Tell whether a circuit keeps this call off the lane. One that may be tried again, and has rested,
    takes a call, as long as nobody else's is finding out."""
    until = state.open_until
    return until is not None and (max(until, state.rests_until) > now or state.is_probing)


# 1. What cannot take the call


def _meant(lanes: Lanes, facts: CallFacts, dropped: Dropped) -> Lanes:
    """Return the lanes whose conditions hold."""
    kept = []
    for lane in lanes:
        when = lane.when
        if when is None or not (unmet := when.unmet(facts)):
            kept.append(lane)
        else:
            dropped.append(DroppedLane(lane, reasons.WHEN, unmet))
    return kept


def _able(lanes: Lanes, facts: CallFacts, now: float, dropped: Dropped) -> Lanes:
    """Return the lanes that can take the call. What no lane has is demanded of none: the attempt tells
    the client what is missing, in the words it always had."""
    for lane in lanes:
        if not _fits(lane, facts, now):
            break
    else:  # as almost always
        return lanes
    for reason, lacks in _LACKS:
        found = [lacks(lane, facts, now) for lane in lanes]
        if any(found) and not all(found):
            each = tuple(zip(lanes, found, strict=True))
            dropped += [DroppedLane(lane, reason, lack) for lane, lack in each if lack]
            lanes = [lane for lane, lack in each if not lack]
    return lanes


def _fits(lane: ResolvedTarget, facts: CallFacts, now: float) -> bool:
    """Tell in one look whether a lane lacks nothing of what is looked at below."""
    tokens, window, needs = facts.input_tokens, lane.context_window, facts.needs
    return not (
        lane.missing_credential
        or (facts.must_be_priced and _price(lane, facts, now))
        or (needs and lane.capabilities and not needs <= lane.capabilities)
        or (tokens is not None and window is not None and tokens > window)
    )


# Each returns what a lane lacks for a call, in a word; empty if it lacks nothing.
Lack = Callable[[ResolvedTarget, CallFacts, float], str]


def _credential(lane: ResolvedTarget, facts: CallFacts, now: float) -> str:
    return lane.provider if lane.missing_credential else ""


def _price(lane: ResolvedTarget, facts: CallFacts, now: float) -> str:
    if not facts.must_be_priced or lane.charge.is_free or lane.charge.at(now) is not None:
        return ""
    return lane.name


def _capability(lane: ResolvedTarget, facts: CallFacts, now: float) -> str:
    """Return what the model lacks. One whose row says nothing may have everything, and how hard to think
    is a wish, which a model that does not think leaves aside."""
    if not (facts.needs and lane.capabilities) or facts.needs <= lane.capabilities:
        return ""
    return ", ".join(sorted(facts.needs - lane.capabilities - {"reasoning"}))


def _window(lane: ResolvedTarget, facts: CallFacts, now: float) -> str:
    window, tokens = lane.context_window, facts.input_tokens
    return "" if window is None or tokens is None or tokens <= window else str(window)


_LACKS: tuple[tuple[str, Lack], ...] = (
    (reasons.NO_CREDENTIAL, _credential),
    (reasons.UNPRICED, _price),
    (reasons.CAPABILITY, _capability),
    (reasons.WINDOW, _window),
)


# 2. Open circuits


def _closed(lanes: Lanes, states: States, now: float, dropped: Dropped) -> Lanes:
    """Return the lanes whose circuits let the call through; none if there are none, and then drop none."""
    for state in states.values():
        if state.open_until is not None:
            break
    else:
        return lanes
    shut = [lane for lane in lanes if _is_open(states[id(lane)], now)]
    if len(shut) == len(lanes):
        return ()
    dropped += [DroppedLane(lane, reasons.OPEN, states[id(lane)].reason) for lane in shut]
    return [lane for lane in lanes if not _is_open(states[id(lane)], now)]


def _soonest_first(lanes: Lanes, states: States) -> tuple[ResolvedTarget, ...]:
    def place(lane: ResolvedTarget) -> tuple[bool, float]:
        state = states[id(lane)]
        return state.opened_by == "hold", state.open_until or 0.0

    return tuple(sorted(lanes, key=place))


# 3 to 5. The order


def _ordered(
    route: Route, lanes: Lanes, states: States, facts: CallFacts, now: float, seed: int
) -> tuple[ResolvedTarget, ...]:
    """Return the lanes tier by tier, the drained ones last."""
    if len(lanes) < 2:
        return tuple(lanes)
    ordered: list[ResolvedTarget] = []
    drained: list[ResolvedTarget] = []
    for tier in _tiers(lanes, drained):
        if len(tier) == 1:
            ordered += tier
        else:
            ordered += _ordered_tier(route, tier, states, facts, now, seed)
    return tuple(ordered + drained)


def _tiers(lanes: Lanes, drained: list[ResolvedTarget]) -> list[list[ResolvedTarget]]:
    """Return the lanes by tier; those whose weight is 0 go to `drained`."""
    tiers: list[list[ResolvedTarget]] = []
    latest = None
    for lane in lanes:  # they come in the order of their tiers
        if not (lane.weight and lane.credential_weight):
            drained.append(lane)
        elif lane.tier == latest:
            tiers[-1].append(lane)
        else:
            latest = lane.tier
            tiers.append([lane])
    return tiers


def _ordered_tier(
    route: Route,
    lanes: list[ResolvedTarget],
    states: States,
    facts: CallFacts,
    now: float,
    seed: int,
) -> list[ResolvedTarget]:
    strategy = route.policy.strategy
    tier = strategies.STRATEGIES[strategy](lanes, facts, states, now, seed)
    # Where price decides, what is cached at the affine lane is part of the price.
    if facts.affine_lane and strategy != "cheapest":
        tier.sort(key=lambda lane: lane.lane_id != facts.affine_lane)
    for lane in lanes:
        if states[id(lane)].is_tight:
            tier.sort(key=lambda lane: states[id(lane)].is_tight)
            break
    return tier
