"""Make one digest of all that makes two requests equal.

All parts are written as one JSON array, so that no two lists of parts are written alike. What is not
known to make no difference is part of it (`doors/replay.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import orjson

from gateway_project.lib.errors import BadRequest
from responses_api.calls.admission import Admitted
from responses_api.doors.replay import Replay
from routing.route import CachePolicy

VERSION = "v2"
# Headers to an upstream that are written anew for every request.
_OF_ONE_REQUEST = frozenset({"accept", "x-request-id"})


def key_of(
    admitted: Admitted, policy: CachePolicy, replay: Replay, *, guardrails: str, namespace: str
) -> bytes:
    """Return the digest of a call. `guardrails` is the revision of those that look at it. Raise BadRequest
    for a body that is nested too deep."""
    caller, route = admitted.caller, admitted.route
    parts = (
        VERSION,
        caller.tenant_id,
        policy.scope,
        _who(admitted, policy),
        route.alias,
        route.requested_model,
        policy.alias_id,
        policy.revision,
        policy.generation,
        admitted.door.name,
        guardrails,
        namespace,
        _passed_on(admitted),
        _deciding(admitted, policy),
        replay.content(admitted.call.body),
    )
    return digest(parts)


def digest(parts: Sequence[object]) -> bytes:
    """Return the SHA-256 of these parts, each of which can be written as JSON. Raise BadRequest."""
    return sha256(_written(parts)).digest()


def _who(admitted: Admitted, policy: CachePolicy) -> tuple[str, ...]:
    """Return who shares the answer, as far as it is not the whole tenant."""
    caller = admitted.caller
    if policy.scope == "tenant":
        return ()
    key = (str(caller.key_id), caller.end_user)
    return key if policy.scope == "key" else (*key, *end_user(admitted))


def end_user(admitted: Admitted) -> tuple[str, str]:
    """Return whom a request names as its end user, by both names there are for it."""
    body = admitted.call.body
    return _named(body.get("safety_identifier")), _named(body.get("user"))


def _named(who: object) -> str:
    """Return a name as text; one of the two may be any JSON."""
    if isinstance(who, str):
        return who
    return "" if who is None else _written(who).decode()


def _deciding(admitted: Admitted, policy: CachePolicy) -> dict[str, object]:
    """Return what makes no difference to an answer, but chooses the model by a condition of the alias."""
    body = admitted.call.body
    facts = {
        "key": admitted.caller.key_public_id,
        "stream": admitted.call.stream,
        "tags": body.get("metadata"),
    }
    return {name: facts[name] for name in policy.deciding}


def _passed_on(admitted: Admitted) -> dict[str, str]:
    """Return the client's headers that an upstream is sent."""
    headers = admitted.upstream_headers
    return {name: headers[name] for name in headers if name not in _OF_ONE_REQUEST}


def _written(value: object) -> bytes:
    """Write JSON so that the order of its fields makes no difference, and the way a number was sent does."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise BadRequest("The body is nested too deeply.") from None
