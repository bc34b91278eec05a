"""Move runs from one state to the next.

queued → in_progress        `start`, by the worker that will make it
    in_progress → in_progress   `Append`, `Renewal`, by its owner
    in_progress → completed | incomplete | failed | cancelled   `Finish`, by its owner
    queued, in_progress → cancelled                             `cancel`, by anybody of the tenant
    queued, in_progress → failed                                `fail`, by whoever sees that nobody makes it

Each is one compare-and-set on what its author last knew, in one transaction with all that belongs to it. Of
two processes that believe they own a run only one can write, and a final state never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F
from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from gateway_project.lib.json import Json
from responses_api.background import events, notify
from responses_api.background.events import NumberedEvents
from responses_api.models import UNFINISHED, Run, Status, StoredItem, StoredResponse
from responses_api.storage import records
from responses_api.storage.records import StoreSpec, moment
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.stream.events import IN_PROGRESS
from responses_api.webhooks.events import enqueue
from routing.protocols.shared.envelope import NOBODY, Maker

# Renewed every three seconds (gateway_project/lib/renewals.py).
LEASE = timedelta(seconds=10)


class Owned(Struct, frozen=True):
    """A run and the process that makes it."""

    tenant_id: int
    response_id: str
    owner: str


class Begin(Struct, frozen=True):
    """A new run: queued if `owner` is empty, else in progress.

    `request` is what another process needs to make it; `lease` is how long others leave it alone.
    """

    store_spec: StoreSpec
    response: Json
    streams: bool
    opening: NumberedEvents
    owner: str = ""
    request: bytes = b""
    lease: timedelta = LEASE


class Append(Struct, frozen=True):
    """More events of a run."""

    run: Owned
    events: NumberedEvents


class Finish(Struct, frozen=True):
    """The end of a run: `last_number` is the number of the last event before its `closing` ones."""

    run: Owned
    last_number: int
    closing: NumberedEvents
    response: Json
    maker: Maker


class RunRenewal(Struct, frozen=True):
    """A sign of life from the owner of these runs."""

    owner: str
    response_ids: tuple[str, ...]


class Order(Struct, frozen=True):
    """A queued run as read by the worker that may make it. `response` is the Response so far."""

    tenant_id: int
    response_id: str
    key_public_id: str
    model: str
    streams: bool
    last_number: int
    request: bytes
    response: Json


# By its owner

_INSERT_RUN = """
INSERT INTO responses_api_run (response_id, tenant_id, status, streams, request, owner, lease_until,
    last_number, attempts, queued_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, %s) ON CONFLICT DO NOTHING
"""
_INSERT_CHUNK = """
INSERT INTO responses_api_eventchunk (tenant_id, run_id, "first", "last", events)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_MOVE = """
UPDATE responses_api_run SET last_number = %s
WHERE response_id = %s AND tenant_id = %s AND owner = %s AND status = 'in_progress' AND last_number = %s
"""
_END = """
UPDATE responses_api_run SET status = %s, last_number = %s, ended_at = %s, request = %s
WHERE response_id = %s AND tenant_id = %s AND owner = %s AND status = 'in_progress' AND last_number = %s
"""
_IS_SO = """
SELECT 1 FROM responses_api_run
WHERE response_id = %s AND tenant_id = %s AND owner = %s AND status = %s AND last_number = %s
"""


def write_begins(cursor: CursorWrapper, begins: Sequence[Begin]) -> Sequence[bool]:
    now = clock.now()
    for begin in begins:
        _begin(cursor, begin, now)
    return [True] * len(begins)


def write_appends(cursor: CursorWrapper, appends: Sequence[Append]) -> Sequence[bool]:
    """Append events; return for each record whether its author still owned the run."""
    return [_append(cursor, append) for append in appends]


def write_finishes(cursor: CursorWrapper, finishes: Sequence[Finish]) -> Sequence[bool]:
    """End runs; return for each record whether its author still owned the run."""
    now = moment(clock.now())
    return [_finish(cursor, finish, now) for finish in finishes]


def write_renewals(cursor: CursorWrapper, renewals: Sequence[RunRenewal]) -> Sequence[None]:
    for renewal in renewals:
        Run.objects.filter(
            pk__in=renewal.response_ids, owner=renewal.owner, status=Status.IN_PROGRESS
        ).update(lease_until=clock.now() + LEASE)
    return [None] * len(renewals)


def _begin(cursor: CursorWrapper, begin: Begin, now: datetime) -> None:
    store_spec, response_id = begin.store_spec, begin.response["id"]
    records.insert_response(cursor, store_spec, begin.response, NOBODY)
    row = (
        response_id,
        store_spec.tenant_id,
        begin.response["status"],
        begin.streams,
        begin.request,
    )
    lease = moment(now + begin.lease)
    cursor.execute(_INSERT_RUN, (*row, begin.owner, lease, begin.opening.last, moment(now)))
    _insert_events(cursor, store_spec.tenant_id, response_id, begin.opening)


def _append(cursor: CursorWrapper, append: Append) -> bool:
    run, new = append.run, append.events
    place = (run.response_id, run.tenant_id, run.owner)
    cursor.execute(_MOVE, (new.last, *place, new.first - 1))
    if not cursor.rowcount:
        # It was written before if only the answer to the commit got lost.
        return _is_so(cursor, (*place, Status.IN_PROGRESS.value, new.last))
    _insert_events(cursor, run.tenant_id, run.response_id, new)
    return True


def _finish(cursor: CursorWrapper, finish: Finish, now: Any) -> bool:
    run, response = finish.run, finish.response
    place = (run.response_id, run.tenant_id, run.owner)
    last = finish.closing.last if finish.closing.events else finish.last_number
    cursor.execute(_END, (response["status"], last, now, b"", *place, finish.last_number))
    if not cursor.rowcount:
        return _is_so(cursor, (*place, response["status"], last))
    _insert_events(cursor, run.tenant_id, run.response_id, finish.closing)
    _store_ended(cursor, run.tenant_id, response, finish.maker)
    return True


def _is_so(cursor: CursorWrapper, row: tuple[Any, ...]) -> bool:
    cursor.execute(_IS_SO, row)
    return cursor.fetchone() is not None


def _insert_events(cursor: CursorWrapper, tenant_id: int, run_id: str, new: NumberedEvents) -> None:
    if new.events:
        cursor.execute(_INSERT_CHUNK, (tenant_id, run_id, new.first, new.last, new.events))


def _store_ended(cursor: CursorWrapper, tenant_id: int, response: Json, maker: Maker) -> None:
    """Store what a run that has ended leaves behind."""
    row = StoredResponse.objects.filter(tenant=tenant_id, pk=response["id"])
    row.update(
        body=records.body_of(response),
        status=response["status"],
        provider=maker.provider,
        account=maker.account,
    )
    records.insert_output(cursor, tenant_id, response)
    found = row.values_list("conversation_id", "background").first()
    conversation_id, in_background = found or ("", False)
    if conversation_id:
        given = _own_input(tenant_id, response["id"])
        records.append_turn(tenant_id, conversation_id, given, response, maker)
    if in_background:
        enqueue(tenant_id, response["id"], response["status"])


def _own_input(tenant_id: int, response_id: str) -> list[Json]:
    items = StoredItem.objects.filter(
        tenant=tenant_id, response=response_id, side=StoredItem.Side.INPUT
    )
    return [
        orjson.loads(body) for body in items.order_by("position").values_list("body", flat=True)
    ]


# By the worker that will be its owner


def load(tenant_id: int, response_id: str) -> Order | None:
    """Return the tenant's queued run; None if it does not exist or is no longer queued."""
    row = (
        Run.objects.filter(tenant=tenant_id, pk=response_id, status=Status.QUEUED)
        .select_related("response")
        .first()
    )
    if row is None:
        return None
    return Order(
        tenant_id=tenant_id,
        response_id=response_id,
        key_public_id=row.response.key_public_id,
        model=row.response.model,
        streams=row.streams,
        last_number=row.last_number,
        request=bytes(row.request),
        response=_so_far(row, []),
    )


@durable_transaction()
def start(order: Order, owner: str) -> NumberedEvents | None:
    """Take the run for its owner; return the events that say so, or None if another owns it or it is over.

    Its owner may ask again, for example if the answer to the commit got lost.
    """
    mine = Run.objects.filter(tenant=order.tenant_id, pk=order.response_id)
    said = _started(order)
    queued = mine.filter(status=Status.QUEUED, last_number=order.last_number)
    if not queued.update(
        status=Status.IN_PROGRESS,
        owner=owner,
        lease_until=clock.now() + LEASE,
        last_number=said.last,
        attempts=F("attempts") + 1,
    ):
        was_mine = mine.filter(status=Status.IN_PROGRESS, owner=owner, last_number=said.last)
        return said if was_mine.exists() else None
    StoredResponse.objects.filter(tenant=order.tenant_id, pk=order.response_id).update(
        status=Status.IN_PROGRESS
    )
    with connection.cursor() as cursor:
        _insert_events(cursor, order.tenant_id, order.response_id, said)
    return said


def _started(order: Order) -> NumberedEvents:
    number = order.last_number + 1
    if not order.streams:
        return NumberedEvents(b"", number, order.last_number)
    response = {**order.response, "status": Status.IN_PROGRESS.value}
    said = response_events.event(IN_PROGRESS, number, {"response": response})
    return events.number_events(said, number)


# By anybody else


def cancel(tenant_id: int, response_id: str) -> Json | None:
    """Cancel the tenant's run and return its Response, which is then final: cancelled unless it had ended
    before.

    None if there is no such run.
    """
    return _end(tenant_id, response_id, Status.CANCELLED, "")


def cancel_of_tenant(tenant_id: int) -> None:
    """Cancel all runs of a tenant that is deleted, in the caller's transaction.

    Only their makers are told, and nothing more is written of them.
    """
    unfinished = Run.objects.filter(tenant=tenant_id, status__in=UNFINISHED)
    response_ids = list(unfinished.values_list("pk", flat=True))
    unfinished.update(status=Status.CANCELLED, ended_at=clock.now(), request=b"")
    for response_id in response_ids:
        transaction.on_commit(partial(notify.publish, response_id))


def suspect(seen: Run) -> None:
    """Note that the owner of a run let its lease expire, unless it gave a sign of life since it was seen."""
    as_seen = Run.objects.filter(
        tenant=seen.tenant_id,
        pk=seen.response_id,
        status=Status.IN_PROGRESS,
        lease_until=seen.lease_until,
    )
    as_seen.update(suspected_at=clock.now())


def fail(seen: Run, message: str) -> None:
    """End a run that nobody makes, unless its owner gave a sign of life since it was seen."""
    _end(seen.tenant_id, seen.response_id, Status.FAILED, message, seen.lease_until)


@durable_transaction()
def _end(
    tenant_id: int, response_id: str, status: Status, message: str, as_seen: datetime | None = None
) -> Json | None:
    """End a run. The row lock makes the compare-and-set below succeed; the compare-and-set proves that it
    did."""
    run = (
        Run.objects.select_for_update(of=("self",))
        .select_related("response")
        .filter(tenant=tenant_id, pk=response_id)
        .first()
    )
    if run is None:
        return None
    if run.status not in UNFINISHED:
        return _so_far(run, _output(tenant_id, response_id))
    if as_seen is not None and run.lease_until != as_seen:
        return None
    response = _ended(run, status, message)
    closing = _closing(run, response)
    if not Run.objects.filter(
        tenant=tenant_id,
        pk=response_id,
        status=run.status,
        owner=run.owner,
        last_number=run.last_number,
    ).update(status=status, last_number=closing.last, ended_at=clock.now(), request=b""):
        raise AssertionError("a locked run was changed")
    with connection.cursor() as cursor:
        _insert_events(cursor, tenant_id, response_id, closing)
        _store_ended(
            cursor, tenant_id, response, Maker(run.response.provider, run.response.account)
        )
    transaction.on_commit(lambda: notify.publish(response_id))
    return response


def _ended(run: Run, status: Status, message: str) -> Json:
    output = events.finished_items(run.tenant_id, run.response_id)
    response = _so_far(run, output)
    if status is Status.FAILED:
        return response_object.failed(response, output, "server_error", message)
    return {**response, "status": status.value}


def _closing(run: Run, response: Json) -> NumberedEvents:
    number = run.last_number + 1
    if not run.streams:
        return NumberedEvents(b"", number, run.last_number)
    return events.number_events(response_events.terminal(number, response), number)


def _so_far(run: Run, output: list[Json]) -> Json:
    """Return the Response of a run as it is known now."""
    response = {**orjson.loads(bytes(run.response.body)), "status": run.status, "output": output}
    return {**response, "output_text": response_object.output_text(output)}


def _output(tenant_id: int, response_id: str) -> list[Json]:
    items = StoredItem.objects.filter(
        tenant=tenant_id, response=response_id, side=StoredItem.Side.OUTPUT
    )
    return [
        orjson.loads(body) for body in items.order_by("position").values_list("body", flat=True)
    ]
