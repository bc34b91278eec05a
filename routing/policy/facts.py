"""Say what is known of a call when its lanes are chosen: one value, gathered once, that planning reads."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class CallFacts(Struct, frozen=True):
    """A call as planning sees it.

    route                the door's name
    key                  the public id of the API key
    tags                 the request's metadata
    input_tokens         a fair estimate; None if the route does not want it
    output_tokens        the most it may write, or what is usual
    needs                capabilities that its body asks for
    budget_used_percent  of the budget with the least left; None without one that is known
    must_be_priced       a hard budget binds the caller
    affinity             a number that calls with the same beginning share; 0 if there is none
    affine_lane          the lane whose answer to such a call was the last; empty if there was none
    affine_tokens        the input of that call, which may still be cached there
    """

    route: str = ""
    stream: bool = False
    key: str = ""
    tags: Mapping[str, str] = {}
    input_tokens: int | None = None
    output_tokens: int = 0
    needs: frozenset[str] = frozenset()
    reasoning_effort: str = ""
    budget_used_percent: int | None = None
    must_be_priced: bool = False
    affinity: int = 0
    affine_lane: str = ""
    affine_tokens: int = 0


NO_FACTS = CallFacts()
