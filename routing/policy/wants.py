"""Tell which facts about a call decide between lanes, so that the others need not be found out."""

from __future__ import annotations

from collections.abc import Sequence

from routing.route import ResolvedTarget, RoutingPolicy

# The facts that cost something to find out; a route that does not want them gets calls without them.
COSTLY = frozenset(
    {"affinity", "budget_used_percent", "input_tokens", "needs", "reasoning_effort", "tags"}
)


def wanted(lanes: Sequence[ResolvedTarget], policy: RoutingPolicy) -> frozenset[str]:
    """Return the costly facts that decide between these lanes."""
    wants = {name for lane in lanes if lane.when is not None for name in lane.when.facts}
    if len(lanes) > 1:
        if policy.affinity == "cache":
            wants.add("affinity")
        if policy.strategy == "cheapest" or any(lane.context_window for lane in lanes):
            wants.add("input_tokens")
        if any(lane.capabilities for lane in lanes):
            wants.add("needs")
    return frozenset(wants & COSTLY)
