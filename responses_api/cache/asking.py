"""Decide whether a request may use the response cache, and how."""

from __future__ import annotations

import asyncio
from functools import partial

from msgspec import Struct

from gateway_project.lib.asgi import Headers
from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from responses_api.cache import keys
from responses_api.cache.guardrail_state import guardrail_revision
from responses_api.calls.admission import Admitted
from responses_api.doors.replay import Replay
from routing.route import CachePolicy

HEADER = "x-tollgate-cache"
REASON_HEADER = "x-tollgate-cache-reason"
NAMESPACE_HEADER = "x-tollgate-cache-namespace"
AGE_HEADER = "age"
CACHE_HEADERS = (HEADER.encode(), NAMESPACE_HEADER.encode())
USE, REFRESH, OFF = "use", "refresh", "off"
MAX_NAMESPACE = 128
# A body larger than this is digested in a thread, so that it does not hold up other requests.
LARGE_BODY = 256 * 1024


class CacheUse(Struct, frozen=True):
    """A request that may use the cache. `mode` is `use` or `refresh`."""

    mode: str
    key: bytes
    tenant_id: int
    key_id: int
    policy: CachePolicy
    replay: Replay


class NoUse(Struct, frozen=True):
    """A request that may not. `reason` is one of docs/cache.md."""

    reason: str


async def asked(admitted: Admitted, policy: CachePolicy, headers: Headers) -> CacheUse | NoUse:
    """Return how a request to an alias that keeps answers uses them. Raise BadRequest."""
    given = _given(headers)
    mode = given.get(HEADER, "") or USE
    if mode not in {USE, REFRESH, OFF}:
        raise BadRequest(
            f"{HEADER!r} is 'use', 'refresh' or 'off', not {mode[:100]!r}.", param=HEADER
        )
    namespace = given.get(NAMESPACE_HEADER, "")
    if len(namespace) > MAX_NAMESPACE:
        message = f"{NAMESPACE_HEADER!r} has at most {MAX_NAMESPACE} characters."
        raise BadRequest(message, param=NAMESPACE_HEADER)
    if mode == OFF:
        return NoUse("requested")
    replay, guardrails = admitted.door.replay, guardrail_revision(admitted)
    if replay is None:
        return NoUse("door")
    if guardrails is None:
        return NoUse("guardrails")
    if reason := obstacle(admitted, policy, replay):
        return NoUse(reason)
    digest = partial(
        keys.key_of, admitted, policy, replay, guardrails=guardrails, namespace=namespace
    )
    is_large = admitted.call.size > LARGE_BODY
    key = await asyncio.to_thread(digest) if is_large else digest()
    caller = admitted.caller
    return CacheUse(mode, key, caller.tenant_id, caller.key_id, policy, replay)


def obstacle(admitted: Admitted, policy: CachePolicy, replay: Replay) -> str:
    """Name what keeps the answer to a call from being given again; empty if nothing does."""
    door, call = admitted.door, admitted.call
    body = call.body
    if call.compaction is not None:
        return "compaction"
    if reason := replay.obstacle(body):
        return reason
    if door.choices(body) > 1:
        return "choices"
    if not (policy.any_temperature or body.get("temperature") == 0):
        return "temperature"  # where none is named, the provider's own applies, which is above 0
    if policy.scope == "end_user" and not any(keys.end_user(admitted)):
        return "end_user"
    try:
        door.refuse_foreign_ids(body, 0)
    except UnsupportedParameter:
        return "files"
    return ""


def _given(headers: Headers) -> dict[str, str]:
    """Return the headers about the cache that a client sent. Raise BadRequest for two values of one."""
    given: dict[str, str] = {}
    for name, raw in headers:
        if name in CACHE_HEADERS:
            header, value = name.decode(), raw.decode("latin-1").strip()
            if given.setdefault(header, value) != value:
                raise BadRequest(f"{header!r} was sent twice with different values.", param=header)
    return given
