"""Answer an admitted request from the cache, or have it answered and keep what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import structs

from gateway_project.lib.asgi import ClientGone
from gateway_project.lib.presence import Presence
from responses_api.accounting.cache_hit import HIT
from responses_api.cache.answers import AnswerCache, Lead
from responses_api.cache.asking import HEADER, OFF, REASON_HEADER, CacheUse, NoUse, asked
from responses_api.cache.entries import CacheEntry
from responses_api.cache.repeats import Repeat
from responses_api.cache.serving import HitServed, serve
from responses_api.calls.admission import Admitted, GenerationRequest, plan_lanes
from responses_api.process.interruption import Interruption
from responses_api.process.response_writer import ResponseWriter
from responses_api.services import Services
from routing.route import CachePolicy

Make = Callable[[Admitted], Awaitable[None]]


async def respond(
    services: Services,
    cache: AnswerCache,
    admitted: Admitted,
    policy: CachePolicy,
    request: GenerationRequest,
    body: bytes,
    reply: ResponseWriter,
    presence: Presence,
    make: Make,
) -> None:
    """Answer a request to an alias that keeps answers; `make` has a call answered by a model. Raise
    GatewayError if nothing was begun, ClientGone for a request that was abandoned."""
    known = request.known if admitted.guarded is None else None
    repeat = known if isinstance(known, Repeat) else None
    how = repeat.use if repeat else await asked(admitted, policy, request.scope["headers"])
    if isinstance(how, NoUse):
        services.metrics.cache(admitted.route, OFF)
        told = {HEADER: OFF, REASON_HEADER: how.reason}
        await make(structs.replace(admitted, told=told))
        return
    found: CacheEntry | Lead | None = cache.at_hand(how)
    if isinstance(found, CacheEntry) and (repeat is None or repeat.entry is not found):
        repeat = None
        cache.repeats.note(request, body, admitted, how, found)
    if found is None:
        if repeat is not None and repeat.may_lack_lanes:
            lanes = plan_lanes(services, request, admitted.call, admitted.route)
            admitted = admitted.with_lanes(lanes)
        repeat = None  # another process may have replaced the answer it was given
        found = await LookUp(services, admitted, reply).find(cache, how, presence)
    if isinstance(found, CacheEntry):
        services.metrics.cache(admitted.route, HIT)
        await serve(HitServed(services, admitted, how, found, reply, repeat))
        return
    services.metrics.cache(admitted.route, found.outcome)
    call = structs.replace(admitted.call, is_kept=True)
    told = {HEADER: found.outcome}
    try:
        await make(structs.replace(admitted, call=call, keeper=found, told=told))
    finally:
        found.end()


class LookUp:
    """A request that looks for a kept answer, or waits for one, as the registry knows it."""

    def __init__(self, services: Services, admitted: Admitted, reply: ResponseWriter) -> None:
        self._registry = services.registry
        self._task = asyncio.current_task(services.loop)
        self._why: Interruption | None = None
        self._survives_client = reply.survives_client
        self.request_id = admitted.request_id

    def interrupt(self, why: Interruption) -> None:
        if self._why is None and self._task is not None:
            self._why = why
            self._task.cancel()

    async def find(
        self, cache: AnswerCache, use: CacheUse, presence: Presence
    ) -> CacheEntry | Lead:
        """Return a kept answer, or the lead of the request. Raise GatewayError or ClientGone."""
        if not self._survives_client:
            presence.watch(lambda: self.interrupt(Interruption.CLIENT_GONE))
        self._registry.add(self)
        try:
            return await cache.find(use)
        except asyncio.CancelledError:
            if self._why is None or self._task is None:
                raise
            self._task.uncancel()
            if self._why.is_clients_doing:
                raise ClientGone from None
            raise self._why.error() from None
        finally:
            self._registry.remove(self)
            presence.unwatch()
