"""Remember requests that were answered from memory, so that one with the same bytes need not be read anew.

What is remembered of a request follows from its bytes, its caller, its route and a few headers, and counts
only while all of these are the very same: callers and routes are read anew when the configuration changes.
Rights, limits, guardrails, budgets and the row in the ledger are each request's own, and never remembered.
"""

from __future__ import annotations

from collections import Counter

from gateway_project.lib.asgi import Headers
from responses_api.cache.answer_template import AnswerTemplate, template_of
from responses_api.cache.asking import CACHE_HEADERS, CacheUse
from responses_api.cache.entries import CacheEntry
from responses_api.cache.recent import RecentValues
from responses_api.calls.admission import Admitted, GenerationRequest, ReadBefore
from responses_api.calls.exchange import new_identity
from responses_api.doors.door import Door
from routing.route import Route
from tenants.keys.caller import Caller

# A longer body is read anew: it costs more than this saves to keep it beside what was read of it.
MAX_BODY_BYTES = 64 * 1024
# A body is remembered beside what was read of it, whose texts may take four bytes a character, and an answer
# beside its template.
_BODY_TIMES, _ANSWER_TIMES, _OVERHEAD = 5, 2, 1024
# Each of these in a body may stand for an object in memory, and they take up to so many bytes each.
_MARKS, _MARK_BYTES = (b",", b":", b"{", b"["), 100

RepeatKey = tuple[int, str, bytes]  # of an API key, a door and a body


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
    """The requests that one worker remembers, those that came last. A body is looked up only where one as
    long is remembered of the same key: to digest each would cost those that never come again."""

    def __init__(self, max_bytes: int) -> None:
        self.kept: RecentValues[RepeatKey, Repeat] = RecentValues(max_bytes)
        self._lengths: Counter[tuple[int, int]] = Counter()

    def find(self, request: GenerationRequest, body: bytes) -> Repeat | None:
        """Return what is remembered of a request by the same caller."""
        caller = request.caller
        if caller is None or (caller.key_id, len(body)) not in self._lengths:
            return None
        repeat = self.kept.get((caller.key_id, request.door.name, body))
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
        if not is_plain or len(body) > MAX_BODY_BYTES:
            return
        size = _OVERHEAD + _size_read(body) + _ANSWER_TIMES * entry.size
        if size > self.kept.max_bytes:
            return
        repeat = Repeat(
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
        self._put((admitted.caller.key_id, admitted.door.name, body), repeat)

    def _put(self, key: RepeatKey, repeat: Repeat) -> None:
        if self.kept.drop(key) is not None:
            self._count(key, -1)
        for gone in self.kept.put(key, repeat):
            self._count(gone, -1)
        self._count(key, 1)

    def _count(self, key: RepeatKey, by: int) -> None:
        key_id, _, body = key
        length = key_id, len(body)
        self._lengths[length] += by
        if not self._lengths[length]:
            del self._lengths[length]

    def clear(self) -> None:
        self.kept.clear()
        self._lengths.clear()


def _size_read(body: bytes) -> int:
    """Return the most bytes that a body and what was read of it take."""
    return _BODY_TIMES * len(body) + _MARK_BYTES * sum(map(body.count, _MARKS))


def _has_one_lane(route: Route) -> bool:
    """Tell whether a route has a single lane that takes every call, so that planning refuses none."""
    return len(route.targets) == 1 and route.targets[0].when is None and not route.wants


def _that_count(door: Door, headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers that are part of what makes requests equal, or say how the cache is used."""
    prefixes = (*CACHE_HEADERS, *door.forwarded_headers)
    return [header for header in headers if header[0].startswith(prefixes)]
