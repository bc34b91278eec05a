"""Give a kept answer to a client, as it would have been given one made for it alone.

The order is that of any answer (calls/exchange.py): it is in the ledger before it is stored, and stored
before its end is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import orjson
from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.asgi import ClientGone
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.json import Json
from responses_api.accounting import cache_hit
from responses_api.accounting.cache_hit import HIT, CacheHit, HitAsked
from responses_api.cache.asking import AGE_HEADER, HEADER, CacheUse
from responses_api.cache.entries import CacheEntry
from responses_api.cache.repeats import Repeat
from responses_api.calls.admission import Admitted
from responses_api.calls.ending import count_request
from responses_api.calls.exchange import new_identity
from responses_api.calls.outcome import Outcome, describe_call, log_outcome
from responses_api.process.response_writer import ResponseWriter
from responses_api.services import Services
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.envelope import Maker
from tenants.token_classes import Usage

logger = logging.getLogger("tollgate.cache")

# Events are sent together up to so many bytes.
SEND_BYTES = 64 * 1024


class HitServed(Struct, frozen=True):
    """A request and the answer it is given."""

    services: Services
    admitted: Admitted
    use: CacheUse
    entry: CacheEntry
    reply: ResponseWriter
    repeat: Repeat | None = None  # an equal request that was given this answer


async def serve(served: HitServed) -> None:
    """Answer from the cache. Raise GatewayError if nothing was sent, ClientGone if the client does not take
    its answer."""
    services, admitted, entry = served.services, served.admitted, served.entry
    if entry.guardrails and admitted.guarded is not None:
        admitted.guarded.guardrails.note(entry.guardrails)
    began, used = clock.monotonic(), entry.used
    hit = await cache_hit.open_hit(services.budgets, _asked(served), used)
    try:
        if admitted.ownership is not None:
            await admitted.ownership.prove()
        identity = new_identity(admitted)
        whole = _from_template(served, identity)
        answer = {} if whole is not None else _answer(served, hit, identity)
        hit.settle(services.spool_writer, int((clock.monotonic() - began) * 1000))
    finally:
        hit.release()
    admitted.ticket.settle(0)  # limits count the request, and no tokens
    services.metrics.cache_charge(admitted.route, admitted.caller.tenant_id, hit.charge_nano)
    await services.spool_writer.durable()
    _tell(served, hit)
    if whole is not None:
        await served.reply.json(200, whole, served.reply.headers)
    elif admitted.call.stream:
        await _give_stream(served, answer, identity)
    else:
        await _give_whole(served, answer)
    outcome = _outcome(used.usage, used.source, clock.monotonic() - began)
    known = describe_call(admitted, admitted.route)
    known["cache"] = HIT
    log_outcome(services.request_log, known, outcome)
    count_request(services, admitted, outcome)


def _from_template(served: HitServed, identity: Identity) -> bytes | None:
    """Return the answer to an equal request, where nothing but its ids and its time are new; None if it has
    to be put together."""
    admitted, repeat = served.admitted, served.repeat
    if repeat is None or admitted.store is not None:
        return None
    if admitted.call.stream or admitted.call.tells_cost:
        return None
    template = repeat.template(admitted)
    return None if template is None else template.fill(identity)


def _answer(served: HitServed, hit: CacheHit, identity: Identity) -> Json:
    replay = served.use.replay
    answer = replay.renewed(served.entry.read(), served.admitted.call, identity)
    charge = hit.answer_charge()
    return answer if charge is None else replay.with_usage(answer, charge)


def _asked(served: HitServed) -> HitAsked:
    admitted = served.admitted
    return HitAsked(
        request_id=admitted.request_id,
        door=admitted.door.name,
        caller=admitted.caller,
        route=admitted.route,
        call=admitted.call,
        charge_percent=served.use.policy.charge_percent,
        ownership=admitted.ownership,
        guardrail_outcome=admitted.guardrail_outcome,
    )


def _tell(served: HitServed, hit: CacheHit) -> None:
    """Set the headers of the answer."""
    admitted, entry = served.admitted, served.entry
    headers = {
        **admitted.reply_headers,
        **entry.headers,
        HEADER: HIT,
        AGE_HEADER: str(entry.age(clock.timestamp())),
    }
    if not admitted.call.stream:
        headers.update(hit.headers)
    served.reply.headers = headers


async def _give_whole(served: HitServed, answer: Json) -> None:
    """Send the answer. It needs no time limit: like any that is not streamed it is written at once, and the
    kernel cuts off a client that takes nothing (serving/supervisor.py)."""
    body, reply = orjson.dumps(answer), served.reply
    is_to_be_stored = served.admitted.store is not None
    if is_to_be_stored and not await _stored(served, answer, body):
        body = orjson.dumps(served.use.replay.unstored(answer))
    await reply.json(200, body, reply.headers)


async def _give_stream(served: HitServed, answer: Json, identity: Identity) -> None:
    services, reply, call = served.services, served.reply, served.admitted.call
    await reply.start_stream(closing=services.registry.draining)
    waiting, size = [], 0
    *events, last = served.use.replay.events(answer, call, identity)
    for event in events:
        waiting.append(event)
        size += len(event)
        if size >= SEND_BYTES:
            await _in_time(served, reply.send(b"".join(waiting), more=True))
            waiting, size = [], 0
    if served.admitted.store is not None and waiting:
        await _in_time(served, reply.send(b"".join(waiting), more=True))
        waiting = []
    if not await _stored(served, answer, last):
        *_, last = served.use.replay.events(served.use.replay.unstored(answer), call, identity)
    await _in_time(served, reply.send(b"".join([*waiting, last]), more=False))


async def _stored(served: HitServed, answer: Json, closing: bytes) -> bool:
    """Store the answer if it is to be stored, and return whether what it says of that is true."""
    store = served.admitted.store
    if store is None:
        return True
    try:
        await store.save(answer, Maker(served.entry.provider, served.entry.account), closing)
    except StoreUnavailable as error:
        logger.error("not stored: %s", error, extra={"request_id": served.admitted.request_id})
        return False
    return True


async def _in_time(served: HitServed, sending: Awaitable[Any]) -> None:
    """Wait until the client takes what is sent. Raise ClientGone if it does not."""
    try:
        async with asyncio.timeout(served.services.timeouts.send_stall):
            await sending
    except TimeoutError:
        raise ClientGone from None


def _outcome(usage: Usage, source: str, seconds: float) -> Outcome:
    milliseconds = seconds * 1000
    return Outcome(
        status="completed",
        http_status=200,
        error_code=None,
        usage=usage,
        usage_source=source,
        ttft_ms=milliseconds,
        duration_ms=milliseconds,
        targets=(),
        frames=0,
        frames_dropped=0,
    )
