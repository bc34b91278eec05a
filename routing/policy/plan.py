"""Put the lanes of a route into the order in which a call tries them, and say why others are left out.

1. Lanes are dropped that the call is not for (`when`), and, as long as others remain, those that cannot take
   it: no credential, no price under a hard budget, a missing capability, a window that is too small.
2. Tiers follow one another; within one the route's strategy decides. Lanes whose weight is 0 come last.
3. The lane that answered what began alike goes first, unless another tier is better.
4. Lanes with little left until a reset stand behind those of their tier.
5. Lanes whose circuit is open are dropped, but never the last: if all are open they are kept, those that
   failed before those that asked to be left alone, the soonest first.

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
    lanes = route.targets
    if len(lanes) == 1 and lanes[0].when is None:
        is_open = _is_open(health.of(lanes[0], now), now)
        return RoutePlan(lanes, route.left_out, is_open)
    dropped = list(route.left_out)
    fit = _able(_meant(lanes, facts, dropped), facts, now, dropped)
    states = {id(lane): health.of(lane, now) for lane in fit}
    shut = [lane for lane in fit if _is_open(states[id(lane)], now)]
    if not shut:
        return RoutePlan(_ordered(route, fit, facts, states, now, seed), tuple(dropped))
    if len(shut) == len(fit):
        shut.sort(key=lambda lane: _soonest(states[id(lane)]))
        return RoutePlan(tuple(shut), tuple(dropped), all_open=True)
    dropped += [DroppedLane(lane, reasons.OPEN, states[id(lane)].reason) for lane in shut]
    closed = [lane for lane in fit if not _is_open(states[id(lane)], now)]
    return RoutePlan(_ordered(route, closed, facts, states, now, seed), tuple(dropped))


def _is_open(state: LaneHealth, now: float) -> bool:
    """Tell whether a circuit keeps this call off the lane. One that may be tried again takes a call, as
    long as nobody else's is finding out."""
    until = state.open_until
    return until is not None and (until > now or state.is_probing)


def _soonest(state: LaneHealth) -> tuple[bool, float]:
    return state.opened_by == "hold", state.open_until or 0.0


def _meant(lanes: Lanes, facts: CallFacts, dropped: Dropped) -> Lanes:
    """Return the lanes whose conditions hold."""
    kept = []
    for lane in lanes:
        unmet = "" if lane.when is None else lane.when.unmet(facts)
        if unmet:
            dropped.append(DroppedLane(lane, reasons.WHEN, unmet))
        else:
            kept.append(lane)
    return kept


def _able(lanes: Lanes, facts: CallFacts, now: float, dropped: Dropped) -> Lanes:
    """Return the lanes that can take the call. What no lane has is demanded of none: the attempt tells
    the client what is missing, in the words it always had."""
    for reason, lacks in _LACKS:
        if len(lanes) < 2:
            return lanes
        found = [(lane, lacks(lane, facts, now)) for lane in lanes]
        able = [lane for lane, lack in found if lack is None]
        if 0 < len(able) < len(lanes):
            dropped += [DroppedLane(lane, reason, lack) for lane, lack in found if lack is not None]
            lanes = able
    return lanes


Lack = Callable[[ResolvedTarget, CallFacts, float], str | None]


def _no_credential(lane: ResolvedTarget, facts: CallFacts, now: float) -> str | None:
    return "" if lane.missing_credential else None


def _no_price(lane: ResolvedTarget, facts: CallFacts, now: float) -> str | None:
    if not facts.must_be_priced or lane.charge.is_free or lane.charge.at(now) is not None:
        return None
    return ""


def _no_capability(lane: ResolvedTarget, facts: CallFacts, now: float) -> str | None:
    """Return what the model lacks. One whose row says nothing may have everything."""
    if not (facts.needs and lane.capabilities) or facts.needs <= lane.capabilities:
        return None
    return ", ".join(sorted(facts.needs - lane.capabilities))


def _small_window(lane: ResolvedTarget, facts: CallFacts, now: float) -> str | None:
    window, tokens = lane.context_window, facts.input_tokens
    return None if window is None or tokens is None or tokens <= window else str(window)


_LACKS: tuple[tuple[str, Lack], ...] = (
    (reasons.NO_CREDENTIAL, _no_credential),
    (reasons.UNPRICED, _no_price),
    (reasons.CAPABILITY, _no_capability),
    (reasons.WINDOW, _small_window),
)


def _ordered(
    route: Route,
    lanes: Lanes,
    facts: CallFacts,
    states: dict[int, LaneHealth],
    now: float,
    seed: int,
) -> tuple[ResolvedTarget, ...]:
    """Return the lanes tier by tier, the drained ones last."""
    if len(lanes) < 2:
        return tuple(lanes)
    order = strategies.STRATEGIES[route.policy.strategy]
    ordered: list[ResolvedTarget] = []
    drained: list[ResolvedTarget] = []
    for lanes_of_tier in _tiers(lanes, drained):
        tier = lanes_of_tier
        if len(tier) > 1:
            tier = order(tier, facts, states, now, seed)
            _prefer(tier, facts, route.policy.strategy)
            if any(states[id(lane)].is_tight for lane in tier):
                tier.sort(key=lambda lane: states[id(lane)].is_tight)
        ordered += tier
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


def _prefer(tier: list[ResolvedTarget], facts: CallFacts, strategy: str) -> None:
    """Put the affine lane first. Where price decides, what is cached there is part of the price."""
    affine = facts.affine_lane
    if not affine or strategy == "cheapest":
        return
    for place, lane in enumerate(tier):
        if lane.lane_id == affine:
            tier.insert(0, tier.pop(place))
            return
