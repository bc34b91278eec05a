"""Make one queued response: everything a request goes through, but with no client waiting."""

from __future__ import annotations

import logging

from msgspec import structs

from gateway_project.lib import current_request
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import GatewayError, PermissionDenied
from responses_api.background import order, runs
from responses_api.background.journal import PATIENCE_SECONDS, Journal
from responses_api.background.local import LocalRuns
from responses_api.background.response_writers import BackgroundResponseWriter, RunStore
from responses_api.background.run_watcher import RunState
from responses_api.background.runs import Order, Owned
from responses_api.calls import trace_parts
from responses_api.calls.admission import Admitted, GenerationRequest, admit_call
from responses_api.calls.exchange import Exchange
from responses_api.calls.refusals import record_refusal
from responses_api.doors.shapes import ModelCall
from responses_api.process.interruption import RunEnded
from responses_api.services import Services
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.stream.events import CREATED, IN_PROGRESS, QUEUED
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.envelope import NOBODY
from tenants.keys import caller

logger = logging.getLogger("tollgate.background")


async def run(services: Services, here: LocalRuns, tenant_id: int, response_id: str) -> None:
    """Make the response if it is still queued; every error becomes part of it.

    A worker that drains or has no database does not start it but leaves it to others. Raise StoreUnavailable.
    """
    queued = await in_database_thread(runs.load, tenant_id, response_id)
    if queued is None:
        return
    request, call, charged = order.unpack(queued.request)
    headers = request.scope["headers"]
    current_request.enter(request.id, headers, services.tracer, trace_parts.RUN_NUMBER)
    admitted, failure = await _admit(services, queued, request, call, charged)
    if not services.registry.begins_runs:
        return
    # What becomes of it is known from before its start: whoever follows it may hear that it was cancelled,
    # and leave, before there is a call to end.
    with here.run_watcher.watching(tenant_id, response_id, _wait_for_call):
        await _start(services, here, queued, request, admitted, failure)


def _wait_for_call(state: RunState | None) -> None:
    """Do nothing yet; the call asks what is known once it begins."""


async def _start(
    services: Services,
    here: LocalRuns,
    queued: Order,
    request: GenerationRequest,
    admitted: Admitted | None,
    failure: GatewayError | None,
) -> None:
    started = await in_database_thread(runs.start, queued, here.owner)
    if started is None:
        return
    journal = Journal(
        services.writer,
        here.run_watcher,
        Owned(queued.tenant_id, queued.response_id, here.owner),
        stores_events=queued.streams,
        last_number=started.last,
        patience_seconds=PATIENCE_SECONDS,
    )
    if admitted is not None:
        failure = await _make(services, here, queued, admitted, journal)
    elif failure is not None:
        _record_refusal(services, queued, request, failure)
    if failure is not None:
        await _fail(queued, journal, failure)


async def _admit(
    services: Services, queued: Order, request: GenerationRequest, call: ModelCall, charged: int
) -> tuple[Admitted | None, GatewayError | None]:
    """Return the admitted call, or the error that refuses it now: keys, models and what it continues from
    may have been deleted since it was queued."""
    found = await in_database_thread(caller.find_by_id, queued.tenant_id, queued.key_public_id)
    try:
        if found is None:
            raise PermissionDenied("The API key that asked for this response is no longer valid.")
        found.admit_later("generate")
        request.caller = found
        return await admit_call(services, request, call, charged=charged), None
    except GatewayError as error:
        return None, error


def _record_refusal(
    services: Services, queued: Order, request: GenerationRequest, failure: GatewayError
) -> None:
    claimed = queued.key_public_id  # it may have been revoked since
    record_refusal(services, request, failure, status="failed", background=True, claimed=claimed)


async def _make(
    services: Services, here: LocalRuns, queued: Order, admitted: Admitted, journal: Journal
) -> GatewayError | None:
    """Make the response. Return the error if there was one before any output; every other end is written."""
    # The client got this identity when the call was queued, and the events before the first output.
    created_at = queued.response["created_at"]
    identity = Identity(
        queued.response_id,
        admitted.call.model,
        created_at,
        {**admitted.echo, "created_at": created_at},
        {CREATED, QUEUED, IN_PROGRESS},
    )
    reply = BackgroundResponseWriter(journal)
    stored = structs.replace(admitted, store=RunStore(journal))
    exchange = Exchange(services, stored, reply, identity)
    with here.making(journal, exchange):
        await exchange.run(None)
    return reply.refused


async def _fail(queued: Order, journal: Journal, error: GatewayError) -> None:
    code, message = response_object.failure_code(error), error.message
    response = response_object.failed(queued.response, [], code, message)
    closing = response_events.terminal(journal.last_number + 1, response)
    try:
        await journal.finish(response, NOBODY, closing)
    except (RunEnded, StoreUnavailable) as reason:
        logger.warning("the failure of a response was not stored: %r", reason)
