"""The plan of a call: which lanes are tried in which order, which are dropped, and why."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from routing.policy import reasons
from routing.policy.facts import NO_FACTS, CallFacts
from routing.policy.lane_health import HEALTHY, LaneHealth
from routing.policy.plan import RoutePlan, plan
from routing.route import DroppedLane, ResolvedTarget, Route
from tenants.prices.history import FREE, History
from tenants.prices.rating import Line, terms
from tests.plugins.tiers import examples
from tests.support.lanes import Told, lane, models, route

NOW = 1_000.0
TRIES = 4_000


def planned(
    of: Route, facts: CallFacts = NO_FACTS, seed: int = 1, **health: LaneHealth
) -> RoutePlan:
    return plan(of, facts, Told(**health), NOW, seed)


def order(of: Route, facts: CallFacts = NO_FACTS, seed: int = 1, **health: LaneHealth) -> list[str]:
    return models(planned(of, facts, seed, **health).kept)


def why(of: Route, facts: CallFacts, **health: LaneHealth) -> dict[str, tuple[str, str]]:
    dropped = planned(of, facts, 1, **health).dropped
    return {each.lane.model: (each.reason, each.detail) for each in dropped}


def firsts(of: Route, *, by_affinity: bool = False) -> Counter[str]:
    """Count who is first in many plans, by lane."""
    draw = random.Random(7)
    found: Counter[str] = Counter()
    for _ in range(TRIES):
        number = draw.getrandbits(64)
        facts = CallFacts(affinity=number) if by_affinity else NO_FACTS
        found[planned(of, facts, 1 if by_affinity else number).kept[0].lane_id] += 1
    return found


def within_three_sigma(found: int, share: float) -> bool:
    return abs(found - TRIES * share) <= 3 * (TRIES * share * (1 - share)) ** 0.5


def price(fresh: int, cached: int, visible: int) -> History:
    lines = [
        Line("input_fresh", fresh),
        Line("cache_read", cached),
        Line("output_visible", visible),
    ]
    return History((terms(1, 0.0, lines),))


# Tiers and weights


def test_tiers_follow_one_another_whatever_is_drawn() -> None:
    failover = route(lane("a"), lane("b", tier=1), lane("c", tier=2))
    assert {tuple(order(failover, seed=seed)) for seed in range(50)} == {("a", "b", "c")}


def test_within_a_tier_calls_are_shared_by_weight() -> None:
    shared = route(
        lane("a", weight=700), lane("b", weight=200), lane("c", weight=100), lane("d", tier=1)
    )
    for by_affinity in (False, True):
        found = firsts(shared, by_affinity=by_affinity)
        assert within_three_sigma(found["vendor/a:"], 0.7)
        assert within_three_sigma(found["vendor/b:"], 0.2)
        assert within_three_sigma(found["vendor/c:"], 0.1)


def test_who_is_second_is_drawn_by_weight_among_the_rest() -> None:
    shared = route(lane("a", weight=500), lane("b", weight=300), lane("c", weight=100))
    draw = random.Random(3)
    seconds = Counter(
        kept[1]
        for _ in range(TRIES)
        if (kept := order(shared, seed=draw.getrandbits(64)))[0] == "a"
    )
    share = seconds["b"] / seconds.total()
    assert abs(share - 0.75) <= 3 * (0.75 * 0.25 / seconds.total()) ** 0.5


def test_a_drained_lane_has_no_share_and_is_tried_when_all_else_failed() -> None:
    drained = route(lane("a", weight=0), lane("b"), lane("c", tier=1))
    assert {tuple(order(drained, seed=seed)) for seed in range(50)} == {("b", "c", "a")}
    assert order(route(lane("a", weight=0), lane("b", weight=0))) == ["a", "b"]


def test_a_drained_credential_is_tried_when_all_else_failed() -> None:
    pool = route(
        lane("a", "old", credential_weight=0, is_pooled=True),
        lane("a", "new", is_pooled=True),
        lane("b", tier=1),
    )
    kept = planned(pool).kept
    assert [each.credential_id for each in kept] == ["new", "", "old"]


# Pools


def pooled(*credentials: str, target: str = "a", **weights: int) -> list[ResolvedTarget]:
    return [
        lane(target, name, is_pooled=True, credential_weight=weights.get(name, 100))
        for name in credentials
    ]


def test_a_pool_takes_the_share_of_its_target_and_spreads_it_by_the_credentials_weights() -> None:
    found = firsts(route(*pooled("k1", "k2", k2=300), lane("b")))
    assert within_three_sigma(found["vendor/b:"], 0.5)
    assert within_three_sigma(found["vendor/a:k1"], 0.125)
    assert within_three_sigma(found["vendor/a:k2"], 0.375)


def test_a_second_credential_comes_after_the_other_targets_of_the_tier() -> None:
    both = route(*pooled("k1", "k2"), lane("b"), lane("c", tier=1))
    for seed in range(50):
        kept = models(planned(both, seed=seed).kept)
        assert (set(kept[:2]), kept[2:]) == ({"a", "b"}, ["a", "c"])


def test_removing_a_credential_moves_only_the_calls_it_had() -> None:
    names = [f"k{number}" for number in range(6)]
    whole = route(*pooled(*names), lane("b"))
    less = route(*pooled(*names[1:]), lane("b"))
    draw = random.Random(5)
    for _ in range(500):
        facts = CallFacts(affinity=draw.getrandbits(64))
        before, after = planned(whole, facts).kept[0], planned(less, facts).kept[0]
        if before.credential_id != "k0":
            assert after.lane_id == before.lane_id


@given(
    weights=st.lists(st.integers(1, 1000), min_size=2, max_size=6),
    gone=st.integers(0, 5),
    affinity=st.integers(1, 2**64 - 1),
)
@settings(max_examples=examples(200), deadline=None)
def test_removing_a_lane_keeps_the_order_of_the_others(
    weights: list[int], gone: int, affinity: int
) -> None:
    lanes = [lane(f"m{number}", weight=weight) for number, weight in enumerate(weights)]
    name = f"m{gone % len(lanes)}"
    facts = CallFacts(affinity=affinity)
    rest = [each for each in order(route(*lanes), facts) if each != name]
    assert order(route(*(each for each in lanes if each.model != name)), facts) == rest


# What cannot take the call


def test_conditions_drop_a_lane_and_name_the_first_that_does_not_hold() -> None:
    long = {"stream": True, "input_tokens": {"gte": 1000}}
    choice = route(lane("long", when=long), lane("any", tier=1))
    facts = CallFacts(stream=True, input_tokens=1000)
    assert order(choice, facts) == ["long", "any"]
    assert why(choice, structs.replace(facts, input_tokens=999)) == {
        "long": (reasons.WHEN, "input_tokens")
    }
    only = route(lane("long", when=long))
    assert planned(only, NO_FACTS).kept == ()
    assert not planned(only, NO_FACTS).all_open


def test_a_window_that_is_too_small_drops_a_lane_only_where_another_fits() -> None:
    choice = route(lane("small", context_window=1000), lane("large", tier=1, context_window=9000))
    facts = CallFacts(input_tokens=1001)
    assert order(choice, facts) == ["large"]
    assert why(choice, facts) == {"small": (reasons.WINDOW, "1000")}
    assert order(choice, CallFacts(input_tokens=1000)) == ["small", "large"]
    assert order(choice, CallFacts(input_tokens=9001)) == ["small", "large"]
    unknown = route(lane("small", context_window=1000), lane("unknown", tier=1))
    assert order(unknown, facts) == ["unknown"]


def test_a_missing_capability_drops_a_lane_only_where_it_is_known_and_another_has_it() -> None:
    text, eyes, silent = frozenset({"tools"}), frozenset({"tools", "vision"}), frozenset[str]()
    choice = route(
        lane("text", capabilities=text),
        lane("silent", tier=1, capabilities=silent),
        lane("eyes", tier=2, capabilities=eyes),
    )
    facts = CallFacts(needs=frozenset({"vision", "tools"}))
    assert order(choice, facts) == ["silent", "eyes"]
    assert why(choice, facts) == {"text": (reasons.CAPABILITY, "vision")}
    assert order(route(lane("text", capabilities=text), lane("t2", capabilities=text)), facts)
    thinks = CallFacts(needs=frozenset({"reasoning"}))
    assert order(choice, thinks) == ["text", "silent", "eyes"]


def test_a_lane_without_credential_or_price_is_dropped_where_another_has_it() -> None:
    choice = route(
        lane("keyless", missing_credential=True),
        lane("unpriced", tier=1),
        lane("priced", tier=2, charge=price(1, 1, 1)),
        lane("free", tier=3, charge=FREE),
    )
    hard = CallFacts(must_be_priced=True)
    assert order(choice, hard) == ["priced", "free"]
    assert {name: reason for name, (reason, _) in why(choice, hard).items()} == {
        "keyless": reasons.NO_CREDENTIAL,
        "unpriced": reasons.UNPRICED,
    }
    assert order(choice) == ["unpriced", "priced", "free"]
    assert order(route(lane("a", missing_credential=True), lane("b", missing_credential=True)))


# Circuits


def opened(until: float, by: Any = "failures", **fields: Any) -> LaneHealth:
    return LaneHealth(open_until=until, opened_by=by, reason="upstream_timeout", **fields)


def test_an_open_lane_is_dropped_until_it_may_be_tried_again() -> None:
    both = route(lane("a"), lane("b", tier=1))
    assert order(both, a=opened(NOW + 1)) == ["b"]
    assert why(both, NO_FACTS, a=opened(NOW + 1)) == {"a": (reasons.OPEN, "upstream_timeout")}
    assert order(both, a=opened(NOW)) == ["a", "b"]
    assert order(both, a=opened(NOW, is_probing=True)) == ["b"]


def test_the_last_lane_is_never_dropped_because_it_is_open() -> None:
    three = route(lane("a"), lane("b"), lane("c"))
    found = planned(
        three,
        a=opened(NOW + 5, "hold"),
        b=opened(NOW + 30),
        c=opened(NOW + 20),
    )
    assert (models(found.kept), found.all_open, found.dropped) == (["c", "b", "a"], True, ())
    alone = planned(route(lane("a")), a=opened(NOW + 5))
    assert (models(alone.kept), alone.all_open) == (["a"], True)


def test_a_tight_lane_stands_behind_its_siblings_and_before_the_next_tier() -> None:
    choice = route(lane("a", weight=1000), lane("b", weight=1), lane("c", tier=1))
    tight = LaneHealth(is_tight=True)
    assert {tuple(order(choice, seed=seed, a=tight)) for seed in range(50)} == {("b", "a", "c")}
    assert order(choice, a=tight, b=tight)[2] == "c"


# Strategies


def test_the_fastest_of_two_choices_is_first_by_time_to_first_output_and_load() -> None:
    pair = route(lane("slow", weight=1000), lane("quick"), strategy="fastest")
    slow, quick = LaneHealth(ttft_seconds=2.0), LaneHealth(ttft_seconds=0.5)
    for seed in range(50):
        assert order(pair, seed=seed, slow=slow, quick=quick)[0] == "quick"
        busy = LaneHealth(ttft_seconds=0.5, in_flight=4)
        assert order(pair, seed=seed, slow=slow, quick=busy)[0] == "slow"


def test_a_lane_nothing_is_known_of_counts_as_its_siblings_do() -> None:
    three = route(lane("a"), lane("b"), lane("new"), strategy="fastest")
    known = {"a": LaneHealth(ttft_seconds=1.0), "b": LaneHealth(ttft_seconds=1.0)}
    found = Counter(order(three, NO_FACTS, seed * 7919, **known)[0] for seed in range(300))
    assert min(found.values()) > 50
    assert (
        order(route(lane("a"), lane("b"), strategy="fastest"), a=LaneHealth(in_flight=1))[0] == "b"
    )


def test_the_least_busy_is_first_in_proportion_to_its_weight() -> None:
    three = route(lane("a", weight=300), lane("b"), lane("c"), strategy="least_busy")
    running = {name: LaneHealth(in_flight=count) for name, count in (("a", 5), ("b", 2), ("c", 1))}
    assert order(three, NO_FACTS, 1, **running) == ["c", "a", "b"]
    assert {order(three, seed=seed * 7919)[0] for seed in range(100)} == {"a", "b", "c"}


def test_the_cheapest_is_first_by_what_this_call_is_likely_to_cost() -> None:
    talk = lane("talk", cost=price(100, 100, 1))
    read = lane("read", cost=price(1, 1, 100))
    unknown = lane("unknown")
    of = route(talk, read, unknown, strategy="cheapest")
    assert order(of, CallFacts(input_tokens=1000, output_tokens=10)) == ["read", "talk", "unknown"]
    assert order(of, CallFacts(input_tokens=10, output_tokens=1000)) == ["talk", "read", "unknown"]


def test_the_cheapest_counts_what_is_cached_at_the_affine_lane() -> None:
    of = route(
        lane("a", cost=price(100, 10, 0)), lane("b", cost=price(60, 60, 0)), strategy="cheapest"
    )
    facts = CallFacts(input_tokens=1000)
    assert order(of, facts)[0] == "b"
    warm = structs.replace(facts, affine_lane="vendor/a:", affine_tokens=900)
    assert order(of, warm)[0] == "a"
    assert order(of, structs.replace(warm, affine_tokens=100))[0] == "b"


def test_the_cheapest_looks_at_the_list_price_of_a_tenants_own_credential() -> None:
    own = lane("own", cost=FREE, list_price=price(50, 50, 50))
    dear, fair = lane("dear", cost=price(90, 90, 90)), lane("fair", cost=price(10, 10, 10))
    of = route(own, dear, fair, strategy="cheapest")
    assert order(of, CallFacts(input_tokens=10, output_tokens=10)) == ["fair", "own", "dear"]


# Affinity


def test_calls_of_one_affinity_go_to_one_lane_whatever_the_seed() -> None:
    three = route(lane("a"), lane("b"), lane("c"))
    for affinity in range(1, 30):
        facts = CallFacts(affinity=affinity << 40)
        assert len({tuple(order(three, facts, seed)) for seed in range(10)}) == 1


def test_the_affine_lane_is_first_in_its_tier_if_it_is_closed() -> None:
    choice = route(lane("a", weight=1), lane("b", weight=1000), lane("c", tier=1))
    for seed in range(20):
        assert order(choice, CallFacts(affine_lane="vendor/a:"), seed) == ["a", "b", "c"]
        assert order(choice, CallFacts(affine_lane="vendor/c:"), seed)[2] == "c"
    warm = CallFacts(affine_lane="vendor/a:")
    assert order(choice, warm, a=opened(NOW + 9)) == ["b", "c"]
    assert order(choice, warm, a=LaneHealth(is_tight=True)) == ["b", "a", "c"]


# All of it


HEALTHS = st.sampled_from(
    [HEALTHY, opened(NOW + 3), opened(NOW + 9, "hold"), LaneHealth(is_tight=True, in_flight=3)]
)


@given(
    lanes=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 100]), HEALTHS, st.booleans()),
        min_size=1,
        max_size=6,
    ),
    strategy=st.sampled_from(["weighted", "fastest", "cheapest", "least_busy"]),
    facts=st.builds(CallFacts, input_tokens=st.integers(0, 200), affinity=st.integers(0, 9)),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=examples(300), deadline=None)
def test_every_lane_is_kept_or_dropped_once_and_the_plan_is_repeatable(
    lanes: list[tuple[int, int, LaneHealth, bool]], strategy: Any, facts: CallFacts, seed: int
) -> None:
    made = [
        lane(f"m{at}", tier=tier, weight=weight, context_window=100 if is_small else None)
        for at, (tier, weight, _, is_small) in enumerate(lanes)
    ]
    health = {f"m{at}": state for at, (_, _, state, _) in enumerate(lanes)}
    of = route(*made, strategy=strategy)
    found = planned(of, facts, seed, **health)
    assert found == planned(of, facts, seed, **health)
    seen = [*models(found.kept), *(each.lane.model for each in found.dropped)]
    assert sorted(seen) == sorted(health)
    assert found.kept
    tiers = [each.tier for each in found.kept if each.weight]
    assert found.all_open or tiers == sorted(tiers)
    assert found.all_open or not any(health[name].is_open for name in models(found.kept))


def test_what_takes_no_call_at_all_is_told_with_the_rest() -> None:
    off = DroppedLane(lane("off"), reasons.DISABLED)
    of = replace(route(lane("a"), lane("b")), left_out=(off,))
    assert planned(of).dropped == (off,)
