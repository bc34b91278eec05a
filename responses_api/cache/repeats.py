"""Remember requests that were answered from memory, so that one with the same bytes need not be read anew.

What is remembered of a request follows from its bytes, its caller, its route and a few headers, and counts
only while all of these are the very same: callers and routes are read anew when the configuration changes.
Rights, limits, guardrails, budgets and the row in the ledger are each request's own, and never remembered.
"""

from __future__ import annotations

from gateway_project.lib.asgi import Headers
from responses_api.cache.answer_template import AnswerTemplate, template_of
from responses_api.cache.asking import CACHE_HEADERS, CacheUse
from responses_api.cache.entries import CacheEntry
from responses_api.calls.admission import Admitted, GenerationRequest, ReadBefore
from responses_api.calls.exchange import new_identity
from responses_api.doors.door import Door
from routing.route import Route
from tenants.keys.caller import Caller

# A longer body is read anew: looking it up would cost those that are not remembered too much.
MAX_BODY_BYTES = 8 * 1024
# A body is remembered beside what was read of it, an answer beside its template.
_BODY_TIMES, _ANSWER_TIMES, _OVERHEAD = 6, 2, 1024


class Repeat(ReadBefore):
    """A request that was answered from memory, with `entry`. Its template is made when it comes again."""

    caller: Caller
    headers: list[tuple[bytes, bytes]]
    use: CacheUse
    entry: CacheEntry
    size: int
    _template: AnswerTemplate | None = None
    _was_tried: bool = False

    def template(self, admitted: Admitted) -> AnswerTemplate | None:
        """Return the template of the answer to such a request; None if it has to be put together."""
        if not self._was_tried:
            self._was_tried = True
            kept, identity = self.entry.read(), new_identity(admitted)
            self._template = template_of(self.use.replay, kept, admitted.call, identity)
        return self._template


class Repeats:
    """The requests that one worker remembers, by key and then by route and body. All are forgotten at once
    when they are too many."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._of_keys: dict[int, dict[tuple[str, bytes], Repeat]] = {}
        self.size = 0

    def find(self, request: GenerationRequest, body: bytes) -> Repeat | None:
        """Return what is remembered of a request by the same caller."""
        caller = request.caller
        known = None if caller is None else self._of_keys.get(caller.key_id)
        if known is None or len(body) > MAX_BODY_BYTES:
            return None
        repeat = known.get((request.door.name, body))
        if repeat is None or repeat.caller is not caller:
            return None
        told = _that_count(request.door, request.scope["headers"])
        return repeat if repeat.headers == told else None

    def note(
        self,
        request: GenerationRequest,
        body: bytes,
        admitted: Admitted,
        use: CacheUse,
        entry: CacheEntry,
    ) -> None:
        """Remember a request that is given this answer, unless more belongs to it than its bytes: what it
        goes on from, what is stored, what a guardrail did."""
        resolved = admitted.resolved
        goes_on = resolved is not None and bool(resolved.history.items or resolved.call.references)
        is_plain = admitted.store is None and admitted.guarded is None and not goes_on
        if not is_plain or len(body) > MAX_BODY_BYTES or request.turn is not None:
            return
        size = _OVERHEAD + _BODY_TIMES * len(body) + _ANSWER_TIMES * entry.size
        if size > self.max_bytes:
            return
        if self.size + size > self.max_bytes:
            self.clear()
        of_key = self._of_keys.setdefault(admitted.caller.key_id, {})
        before = of_key.get((admitted.door.name, body))
        self.size += size - (0 if before is None else before.size)
        of_key[admitted.door.name, body] = Repeat(
            call=admitted.call,
            route=admitted.route,
            resolved=resolved,
            may_lack_lanes=_has_one_lane(admitted.route),
            caller=admitted.caller,
            headers=_that_count(admitted.door, request.scope["headers"]),
            use=use,
            entry=entry,
            size=size,
        )

    def clear(self) -> None:
        self._of_keys.clear()
        self.size = 0


def _has_one_lane(route: Route) -> bool:
    """Tell whether a route has a single lane that takes every call, so that planning refuses none."""
    return len(route.targets) == 1 and route.targets[0].when is None and not route.wants


def _that_count(door: Door, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers that are part of what makes requests equal, or say how the cache is used."""
    prefixes = (*CACHE_HEADERS, *door.forwarded_headers)
    return [header for header in headers if header[0].startswith(prefixes)]
