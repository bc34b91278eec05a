"""Lanes and routes for tests of planning, which call no upstream."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from routing.policy import conditions
from routing.policy.lane_health import HEALTHY, LaneHealth
from routing.route import ResolvedTarget, Route, RoutingPolicy, Strategy
from tests.support.targets import PLAIN


def spread(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def lane(model: str, credential: str = "", when: Any = None, **fields: Any) -> ResolvedTarget:
    """A lane of `vendor/<model>`; its target and its credential are spread by their names."""
    return replace(
        PLAIN,
        model=model,
        credential_id=credential,
        when=None if when is None else conditions.read(when),
        target_spread=spread(model),
        credential_spread=spread(credential),
        **fields,
    )


def route(*lanes: ResolvedTarget, strategy: Strategy = "weighted", **fields: Any) -> Route:
    lanes = tuple(sorted(lanes, key=lambda each: each.tier))
    policy = RoutingPolicy(strategy=strategy)
    return Route("m", False, False, lanes, policy=policy, **fields)


class Told:
    """Health as a test tells it, by the models of lanes; the others are healthy."""

    def __init__(self, **by_model: LaneHealth) -> None:
        self._by_model = by_model

    def of(self, lane: ResolvedTarget, now: float) -> LaneHealth:
        return self._by_model.get(lane.model, HEALTHY)


def models(lanes: tuple[ResolvedTarget, ...]) -> list[str]:
    return [each.model for each in lanes]
