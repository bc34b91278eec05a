"""Making one queued response: everything a request goes through, but with nobody waiting for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec import structs

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import GatewayError, PermissionDenied
from responses_api import response_events, response_object
from responses_api.admission import Admitted, Request, admit_call
from responses_api.background import order, runs
from responses_api.background.journal import PATIENCE_SECONDS, Journal
from responses_api.background.reply import BackgroundReply, RunKeeper
from responses_api.background.runs import Order, Owned
from responses_api.doors.shapes import ModelCall
from responses_api.exchange import Exchange
from responses_api.interruption import RunEnded
from responses_api.outcome import facts, refused
from responses_api.relay import Identity
from responses_api.response_events import CREATED, IN_PROGRESS, QUEUED
from tenants import caller

if TYPE_CHECKING:
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.background")


async def run(worker: Worker, tenant_id: int, response_id: str) -> None:
    """Make the response, unless it is not queued any more; every error becomes part of it.

    Until it is started it is left to others: by a worker that drains, or without a database. Raises
    StoreUnavailable.
    """
    queued = await in_database_thread(runs.load, tenant_id, response_id)
    if queued is None:
        return
    request, call, charged = order.unpacked(queued.request)
    admitted, failure = await _admitted(worker, queued, request, call, charged)
    if worker.registry.draining:
        return
    started = await in_database_thread(runs.start, queued, worker.runs.owner)
    if started is None:
        return
    journal = Journal(
        worker,
        Owned(tenant_id, response_id, worker.runs.owner),
        keeps_events=queued.streams,
        last_number=started.last,
        patience_seconds=PATIENCE_SECONDS,
    )
    if admitted is not None:
        failure = await _make(worker, queued, admitted, journal)
    elif failure is not None:
        worker.record(facts(request), refused("failed", 0, failure.code))
    if failure is not None:
        await _fail(queued, journal, failure)


async def _admitted(
    worker: Worker, queued: Order, request: Request, call: ModelCall, charged: int
) -> tuple[Admitted | None, GatewayError | None]:
    """The call as it may be made now, or why it may not: keys, models and what it continues from may have
    gone since it was queued."""
    found = await in_database_thread(caller.find_by_id, queued.tenant_id, queued.key_public_id)
    try:
        if found is None:
            raise PermissionDenied("The API key that asked for this response is no longer valid.")
        found.admit_later("generate")
        request.caller = found
        return await admit_call(worker, request, call, charged=charged), None
    except GatewayError as error:
        return None, error


async def _make(
    worker: Worker, queued: Order, admitted: Admitted, journal: Journal
) -> GatewayError | None:
    """The error, if there was one before any output; every other end is written."""
    # What the client was told when it was queued, and everything that was said before the first output.
    created_at = queued.response["created_at"]
    identity = Identity(
        queued.response_id,
        admitted.call.model,
        created_at,
        {**admitted.echo, "created_at": created_at},
        {CREATED, QUEUED, IN_PROGRESS},
    )
    reply = BackgroundReply(journal)
    kept = structs.replace(admitted, keeper=RunKeeper(journal))
    exchange = Exchange(worker, kept, reply, identity)
    with worker.runs.making(journal, exchange):
        await exchange.run(None)
    return reply.refused


async def _fail(queued: Order, journal: Journal, error: GatewayError) -> None:
    code, message = response_object.failure_code(error), error.message
    response = response_object.failed(queued.response, [], code, message)
    closing = response_events.terminal(journal.last_number + 1, response)
    try:
        await journal.finish(response, "", closing)
    except (RunEnded, StoreUnavailable) as reason:
        logger.warning("the failure of a response was not kept: %r", reason)
