"""Cut a conversation to a model's context window, where nobody upstream sees to it.

1. A request with fewer bytes than the window has tokens fits; nothing is counted.
2. With `truncation: auto` whole turns are left out, oldest first, until the rest has room for an answer.
   Instructions that open the conversation stay, tools that were given in it, and the newest turn: the last
   that the user said, and all that came after it.
3. A cut lies where a user begins to speak and no call waits for its output, so that calls keep their outputs,
   and thoughts the items they led to. Only a conversation without a user is cut elsewhere.
4. What is longer than the window all the same, by its text alone, is refused; the rest is the provider's to
   judge.

A model whose window is unknown is not checked at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from gateway_project.lib.errors import ContextLengthExceeded
from gateway_project.lib.json import Json
from routing import tokens
from routing.protocols import PROTOCOLS
from routing.protocols.shared.conversation import kind_of
from routing.route import ResolvedTarget


def is_short(canonical: Json, target: ResolvedTarget) -> bool:
    """Tell whether a request fits without anything being counted."""
    window = target.context_window
    return window is None or tokens.at_most(canonical) <= _limit(canonical, target, window)


def fit_to_window(canonical: Json, target: ResolvedTarget) -> Json:
    """Keep of a request's input what fits. Raises ContextLengthExceeded.

    Takes milliseconds where something must be counted; `is_short` tells beforehand.
    """
    window = target.context_window
    if window is None or is_short(canonical, target):
        return canonical
    if _drops(canonical):
        canonical = _cut_turns(canonical, _limit(canonical, target, window))
    if tokens.exceeds(canonical, window):
        raise _too_long(canonical, window)
    return canonical


def _too_long(canonical: Json, window: int) -> ContextLengthExceeded:
    what = "The newest turn" if _drops(canonical) else "The input"
    help_ = "." if _drops(canonical) else ", or set 'truncation' to 'auto'."
    return ContextLengthExceeded(
        f"{what} is longer than the context window of this model, {window} tokens: shorten it{help_}",
        param="input",
    )


def _drops(canonical: Json) -> bool:
    return canonical.get("truncation") == "auto"


def _limit(canonical: Json, target: ResolvedTarget, window: int) -> int:
    """Tell how many tokens the input may have. What is shortened leaves room for the answer, half the window
    at most, and for a tokenizer of the model's own that counts more than ours does."""
    if not _drops(canonical):
        return window
    answer = canonical.get("max_output_tokens") or target.max_output_tokens or 0
    return (window - min(answer, window // 2)) * PROTOCOLS[target.protocol].window_percent // 100


def _cut_turns(canonical: Json, limit: int) -> Json:
    items: list[Json] = canonical["input"]
    opening = _opening(items)
    staying = [*items[:opening], *filter(_brings_tools, items[opening:])]
    left = limit - tokens.of_frame(canonical) - sum(tokens.of_items(staying))
    start = _start(items, opening, left)
    if start == opening:
        return canonical
    tools = filter(_brings_tools, items[opening:start])
    return {**canonical, "input": [*items[:opening], *tools, *items[start:]]}


def _opening(items: list[Json]) -> int:
    """Count the instructions and tools that stand before everything else."""
    for position, item in enumerate(items):
        instructs = _is_clients(item) and item["role"] != "user"
        if not (instructs or _brings_tools(item)):
            return position
    return len(items)


def _brings_tools(item: Json) -> bool:
    return item.get("type") == "additional_tools"


def _start(items: list[Json], opening: int, left: int) -> int:
    """Find the first place to begin from which all fits into `left` tokens, or else the last place there
    is."""
    places = {opening, *_places(items, opening)}
    start, position = max(places), len(items)
    for count in tokens.of_items(reversed(items[opening:]), max(left, 0)):
        position -= 1
        left -= 0 if _brings_tools(items[position]) else count
        if left < 0:
            break
        if position in places:
            start = min(start, position)
    return start


def _places(items: list[Json], opening: int) -> Iterator[int]:
    """List the places where the input may begin instead of at its opening."""
    free = _free_of_calls(items)
    for position in list(_turns(items)) or range(len(items)):
        if position > opening and free[position] and _begins(items, position):
            yield position


def _turns(items: list[Json]) -> Iterator[int]:
    """List the places where a user begins to speak; instructions between a user's words belong to them."""
    begun: int | None = None
    has_spoken = False
    for position, item in enumerate(items):
        if not _is_clients(item):
            begun, has_spoken = None, False
            continue
        begun = position if begun is None else begun
        if item["role"] == "user" and not has_spoken:
            has_spoken = True
            yield begun


def _begins(items: list[Json], position: int) -> bool:
    """Tell whether an item does not go on with the one before: the model's thoughts, texts and calls belong
    together until a client says something."""
    item, before = items[position], items[position - 1]
    if _is_clients(item):
        return True
    return _answers_call(item) is None and (
        _is_clients(before) or _answers_call(before) is not None
    )


def _is_clients(item: Json) -> bool:
    return kind_of(item) == "message" and item.get("role") != "assistant"


def _answers_call(item: Json) -> str | None:
    """Return the id of the call that this item answers; None if it is no output."""
    kind = kind_of(item)
    if kind == "mcp_approval_response":
        return _text(item.get("approval_request_id"))
    return _text(item.get("call_id")) if kind.endswith("_output") else None


def _asked(item: Json) -> str | None:
    return _text(item.get("id" if kind_of(item) == "mcp_approval_request" else "call_id"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _free_of_calls(items: list[Json]) -> list[bool]:
    """Tell for each place whether no call before it has its output after it.

    Ids may come again in a later turn: an output belongs to the last call of its id.
    """
    waiting: dict[str, int] = {}
    steps = [0] * (len(items) + 1)
    for position, item in enumerate(items):
        answered, asked = _answers_call(item), _asked(item)
        if answered is not None and answered in waiting:
            steps[waiting[answered] + 1] += 1
            steps[position + 1] -= 1
        elif answered is None and asked is not None:
            waiting[asked] = position
    return [unanswered == 0 for unanswered in accumulate(steps)]
