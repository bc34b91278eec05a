"""Tell Claude how much to think: an effort as Anthropic's thinking and effort parameters.

Up to Claude 4.5 thinking has a budget of tokens; from 4.6 the model decides, guided by an effort, and from
4.7 on a budget is refused (https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway_project.lib.json import Json
from routing.route import ResolvedTarget

MIN_BUDGET = 1024
_BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 32768,
}
_GENERATION = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_FIRST_ADAPTIVE = (4, 6)
# From here on the thoughts are left out unless asked for, and the effort knows "xhigh".
_FIRST_SILENT = (4, 7)


class ThinkingPlan(NamedTuple):
    """The values of `thinking` and `output_config.effort`."""

    thinking: Json | None = None
    effort: str | None = None


def plan(canonical: Json, target: ResolvedTarget, body: Json) -> ThinkingPlan:
    """Plan the thinking. `body` is what else will be sent: it may rule thinking out."""
    reasoning = canonical.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if "reasoning" not in target.capabilities or effort not in _BUDGETS:
        return ThinkingPlan()
    generation = _generation(target.model)
    if _is_adaptive(target, generation):
        return _adaptive(effort, generation, _forces_a_call(body))
    if _forces_a_call(body) or _resumes_without_thought(body):
        return ThinkingPlan()
    return ThinkingPlan(_fit_budget(_BUDGETS[effort], body["max_tokens"]))


def _is_adaptive(target: ResolvedTarget, generation: tuple[int, int]) -> bool:
    if target.quirks.thinking:
        return target.quirks.thinking == "adaptive"
    return generation >= _FIRST_ADAPTIVE


def _generation(model: str) -> tuple[int, int]:
    """Read a Claude's generation in its name; others that speak this protocol took over the budget."""
    found = _GENERATION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _adaptive(effort: str, generation: tuple[int, int], forces_a_call: bool) -> ThinkingPlan:
    is_silent = generation >= _FIRST_SILENT or generation == (0, 0)
    words = {"minimal": "low", "xhigh": "xhigh" if is_silent else "high"}
    effort = words.get(effort, effort)
    if forces_a_call:
        return ThinkingPlan(None, effort)
    thinking = {"type": "adaptive"}
    if is_silent:
        thinking["display"] = "summarized"
    return ThinkingPlan(thinking, effort)


def _fit_budget(budget: int, max_tokens: int) -> Json | None:
    """Keep the budget below the limit of the whole answer, of which a quarter is for what is said."""
    if max_tokens <= MIN_BUDGET:
        return None
    budget = max(min(budget, max_tokens * 3 // 4), MIN_BUDGET)
    return {"type": "enabled", "budget_tokens": budget}


def _forces_a_call(body: Json) -> bool:
    """Tell whether a call is forced: Anthropic refuses to think then."""
    choice = body.get("tool_choice") or {}
    return choice.get("type") in {"any", "tool"}


def _resumes_without_thought(body: Json) -> bool:
    """Tell whether results answer a turn that did not begin with a thought of this provider, as after a
    switch of providers. With a budget Anthropic then refuses to think on."""
    *before, last = body["messages"]
    if not before or last["content"][0]["type"] != "tool_result":
        return False
    return before[-1]["content"][0]["type"] not in {"thinking", "redacted_thinking"}
