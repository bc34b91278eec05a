"""Choose how an admitted request is answered: directly, in the background, or as a resumable stream."""

from __future__ import annotations

import orjson
from msgspec import structs

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.json import Json
from gateway_project.lib.presence import Presence
from responses_api.background import order
from responses_api.background.events import NumberedEvents, number_events
from responses_api.background.follow import Follower
from responses_api.background.journal import Journal
from responses_api.background.local import LocalRuns
from responses_api.background.response_writers import ResumableResponseWriter, RunStore
from responses_api.background.run_watcher import RunState
from responses_api.background.runs import Begin, Owned
from responses_api.calls.admission import Admitted
from responses_api.calls.exchange import Exchange, new_identity
from responses_api.calls.history import Resolved, cannot_store
from responses_api.calls.outcome import keep_queued
from responses_api.models import Status
from responses_api.process.response_writer import ResponseWriter
from responses_api.services import Services
from responses_api.storage.records import StoreSpec
from responses_api.storage.stores import write
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.stream.events import CREATED, QUEUED
from responses_api.stream.upstream_reader import Identity


async def answer(
    services: Services,
    runs: LocalRuns,
    admitted: Admitted,
    reply: ResponseWriter,
    presence: Presence,
) -> None:
    """Answer an admitted call. Raise GatewayError if nothing was begun; otherwise return normally, unless
    the server cancelled the task."""
    resolved = admitted.resolved
    if resolved is None or (store_spec := resolved.store_spec) is None:
        await Exchange(services, admitted, reply).run(presence)
    elif resolved.given.get("background"):
        await _answer_in_background(services, runs, admitted, resolved, store_spec, reply, presence)
    elif admitted.call.stream and admitted.route.resumable_streams:
        await _answer_resumably(services, runs, admitted, store_spec, reply, presence)
    else:
        await Exchange(services, admitted, reply).run(presence)


async def _answer_in_background(
    services: Services,
    runs: LocalRuns,
    admitted: Admitted,
    resolved: Resolved,
    store_spec: StoreSpec,
    reply: ResponseWriter,
    presence: Presence,
) -> None:
    """Queue the call. A client that wants a stream then follows the run like any other follower."""
    identity, streams = _identity(admitted), admitted.call.stream
    response = {**_in_progress(admitted, identity), "status": Status.QUEUED.value}
    opening = _opening(response) if streams else NumberedEvents(b"", 0, -1)
    request = order.pack(resolved.given, admitted)
    record = Begin(store_spec, response, streams, opening, request=request, lease=runs.take_within)
    try:
        await write(services.writer, record)
    except StoreUnavailable as error:
        raise cannot_store() from error
    keep_queued(admitted)
    runs.launch(store_spec.tenant_id, identity.id)
    if not streams:
        await reply.json(200, orjson.dumps(response), admitted.reply_headers)
        return
    reply.headers = admitted.reply_headers
    state = RunState(Status.QUEUED, opening.last)
    place = (admitted.request_id, store_spec.tenant_id, identity.id)
    await Follower(services, runs.run_watcher, reply, *place, state).run(presence, after=-1)


def _opening(response: Json) -> NumberedEvents:
    said = orjson.dumps(response)
    kinds = (CREATED, QUEUED)
    return number_events(
        b"".join(response_events.lifecycle(kind, n, said) for n, kind in enumerate(kinds)), 0
    )


async def _answer_resumably(
    services: Services,
    runs: LocalRuns,
    admitted: Admitted,
    store_spec: StoreSpec,
    reply: ResponseWriter,
    presence: Presence,
) -> None:
    """Stream as usual, but store the events; the run goes on whether or not its client stays."""
    identity = _identity(admitted)
    run = Owned(store_spec.tenant_id, identity.id, runs.owner)
    journal = Journal(services.writer, runs.run_watcher, run, stores_events=True)
    store = RunStore(journal)

    def begin(opening: NumberedEvents) -> Begin:
        response = _in_progress(admitted, identity)
        return Begin(store_spec, response, True, opening, owner=run.owner)

    stall_seconds = services.timeouts.send_stall
    resumable = ResumableResponseWriter(
        reply, presence, journal, store, begin, stall_seconds=stall_seconds
    )
    exchange = Exchange(services, structs.replace(admitted, store=store), resumable, identity)
    with runs.making(journal, exchange):
        await exchange.run(presence)
    if resumable.is_cut_off:
        # Another process ended the run: send the client the end that it wrote.
        state = RunState(Status.IN_PROGRESS, resumable.sent_number)
        place = (admitted.request_id, run.tenant_id, run.response_id)
        await Follower(services, runs.run_watcher, reply, *place, state).run(
            presence, resumable.sent_number
        )


def _identity(admitted: Admitted) -> Identity:
    """Return the identity of the call, with its own creation time in every Response even if the upstream
    names another."""
    identity = new_identity(admitted)
    identity.echo = {**identity.echo, "created_at": identity.created_at}
    return identity


def _in_progress(admitted: Admitted, identity: Identity) -> Json:
    body, echo = admitted.call.body, identity.echo
    return response_object.in_progress(body, identity.id, identity.model, identity.created_at, echo)
