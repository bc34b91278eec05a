"""How the answer to an admitted request is made: here and now, in the background, or to be come back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from msgspec import structs

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.presence import Presence
from responses_api import response_events, response_object
from responses_api.admission import Admitted
from responses_api.background import order
from responses_api.background.events import Numbered, numbered
from responses_api.background.follow import Follower
from responses_api.background.hub import State
from responses_api.background.journal import Journal
from responses_api.background.reply import ResumableReply, RunKeeper
from responses_api.background.runs import Begin, Owned
from responses_api.exchange import Exchange, new_identity
from responses_api.models import Status
from responses_api.relay import Identity
from responses_api.reply import Reply
from responses_api.response_events import CREATED, QUEUED
from responses_api.state import Resolved, cannot_store
from responses_api.storage.keepers import write
from responses_api.storage.records import Keeping

if TYPE_CHECKING:
    from responses_api.worker import Worker

Json = dict[str, Any]


async def answer(worker: Worker, admitted: Admitted, reply: Reply, presence: Presence) -> None:
    """Answer an admitted call. Raises GatewayError where nothing was begun; otherwise returns normally,
    unless the server cancelled it."""
    resolved = admitted.resolved
    if resolved is None or (keeping := resolved.keeping) is None:
        await Exchange(worker, admitted, reply).run(presence)
    elif resolved.given.get("background"):
        await _in_background(worker, admitted, resolved, keeping, reply, presence)
    elif admitted.call.stream and admitted.route.resumable_streams:
        await _resumably(worker, admitted, keeping, reply, presence)
    else:
        await Exchange(worker, admitted, reply).run(presence)


async def _in_background(
    worker: Worker,
    admitted: Admitted,
    resolved: Resolved,
    keeping: Keeping,
    reply: Reply,
    presence: Presence,
) -> None:
    """Queue the call; who wants a stream then follows it like anybody else could."""
    identity, streams = _identity(admitted), admitted.call.stream
    response = {**_in_progress(admitted, identity), "status": Status.QUEUED.value}
    opening = _opening(response) if streams else Numbered(b"", 0, -1)
    request = order.packed(resolved.given, admitted)
    record = Begin(
        keeping, response, streams, opening, request=request, lease=worker.runs.take_within
    )
    try:
        await write(worker.writer, record)
    except StoreUnavailable as error:
        raise cannot_store() from error
    worker.runs.launch(keeping.tenant_id, identity.id)
    if not streams:
        await reply.json(200, orjson.dumps(response), admitted.ticket.headers)
        return
    reply.headers = admitted.ticket.headers
    state = State(Status.QUEUED, opening.last)
    place = (admitted.request_id, keeping.tenant_id, identity.id)
    await Follower(worker, reply, *place, state).run(presence, after=-1)


def _opening(response: Json) -> Numbered:
    said = orjson.dumps(response)
    kinds = (CREATED, QUEUED)
    return numbered(
        b"".join(response_events.lifecycle(kind, n, said) for n, kind in enumerate(kinds)), 0
    )


async def _resumably(
    worker: Worker, admitted: Admitted, keeping: Keeping, reply: Reply, presence: Presence
) -> None:
    """Stream as usual, but keep what is sent; the run goes on whether or not its client stays."""
    identity = _identity(admitted)
    run = Owned(keeping.tenant_id, identity.id, worker.runs.owner)
    journal = Journal(worker, run, keeps_events=True)
    keeper = RunKeeper(journal)

    def begin(opening: Numbered) -> Begin:
        response = _in_progress(admitted, identity)
        return Begin(keeping, response, True, opening, owner=run.owner)

    stall_seconds = worker.limits.send_stall
    kept = ResumableReply(reply, presence, journal, keeper, begin, stall_seconds=stall_seconds)
    exchange = Exchange(worker, structs.replace(admitted, keeper=keeper), kept, identity)
    with worker.runs.making(journal, exchange):
        await exchange.run(presence)
    if kept.is_cut_off:
        # Somebody else ended the run: the client is told what they said.
        state = State(Status.IN_PROGRESS, kept.sent_number)
        place = (admitted.request_id, run.tenant_id, run.response_id)
        await Follower(worker, reply, *place, state).run(presence, kept.sent_number)


def _identity(admitted: Admitted) -> Identity:
    """With the time at which it was created in every Response, also where the upstream names another."""
    identity = new_identity(admitted)
    identity.echo = {**identity.echo, "created_at": identity.created_at}
    return identity


def _in_progress(admitted: Admitted, identity: Identity) -> Json:
    body, echo = admitted.call.body, identity.echo
    return response_object.in_progress(body, identity.id, identity.model, identity.created_at, echo)
