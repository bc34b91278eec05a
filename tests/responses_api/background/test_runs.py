"""The states of a run: of two who think that it is theirs, one writes; what is final stays as it is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib import clock
from responses_api.background import events, recovery, runs
from responses_api.background.events import NumberedEvents, number_events
from responses_api.background.runs import Append, Finish, Order, Owned, RunRenewal
from responses_api.models import (
    Conversation,
    EventChunk,
    Run,
    Status,
    StoredItem,
    StoredResponse,
    WebhookEndpoint,
)
from responses_api.stream import events as response_events
from routing.protocols.shared.envelope import Maker
from tenants.models import Tenant
from tests.plugins.tiers import examples
from tests.responses_api.background.conftest import item_done, queued, response_of, said, written
from tests.support import grammar, rows

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

Json = dict[str, Any]
FINAL = ("completed", "incomplete", "failed", "cancelled")


@pytest.fixture
def tenant_id() -> int:
    return rows.customer("acme").tenant.pk


def started(tenant_id: int, owner: str = "A", **fields: Any) -> tuple[Order, Owned, int]:
    """A run under way, its owner, and the number of its last event."""
    order = queued(tenant_id, **fields)
    begun = runs.start(order, owner)
    assert begun is not None
    return order, Owned(tenant_id, order.response_id, owner), begun.last


def finish(
    run: Owned, last: int, order: Order, status: str = "completed", output: Any = ()
) -> Finish:
    response = {**order.response, "status": status, "output": list(output)}
    if not order.streams:
        return Finish(run, last, NumberedEvents(b"", last + 1, last), response, Maker("sandbox"))
    closing = number_events(response_events.terminal(last + 1, response), last + 1)
    return Finish(run, last, closing, response, Maker("sandbox"))


def kept() -> list[Json]:
    """The kept events, whose chunks must follow each other without a gap."""
    chunks = list(EventChunk.objects.order_by("first"))
    joined = b"".join(bytes(chunk.events) for chunk in chunks)
    found = [orjson.loads(e.partition(b"\ndata: ")[2]) for e in joined.split(b"\n\n")[:-1]]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    ends = [-1, *(chunk.last for chunk in chunks)]
    assert [chunk.first for chunk in chunks] == [end + 1 for end in ends[:-1]]
    assert ends[-1] == Run.objects.get().last_number
    return found


def test_a_run_goes_from_queued_to_completed(tenant_id):
    order, run, last = started(tenant_id)
    assert StoredResponse.objects.get().status == "in_progress"

    assert written(Append(run, said(last + 1)))
    item = {"id": "msg_out", "type": "message", "role": "assistant", "content": []}
    assert written(finish(run, last + 1, order, output=[item]))

    row = Run.objects.get()
    assert (row.status, row.owner, row.attempts, bytes(row.request)) == ("completed", "A", 1, b"")
    assert row.ended_at is not None
    assert (row.response.status, row.response.provider) == ("completed", "sandbox")
    assert response_of(row)["output"] == [{**item, "status": "completed"}]
    assert [event["type"] for event in kept()] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_text.delta",
        "response.completed",
    ]


def test_only_one_of_two_workers_starts_a_run(tenant_id):
    order = queued(tenant_id)
    assert runs.start(order, "A") is not None
    assert runs.start(order, "B") is None
    assert runs.load(tenant_id, order.response_id) is None
    assert Run.objects.get().owner == "A"


def test_many_workers_at_once_start_a_run_once(tenant_id):
    order = queued(tenant_id)
    together = threading.Barrier(8)

    def start(owner: str) -> bool:
        together.wait()
        try:
            return runs.start(order, owner) is not None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(start, "ABCDEFGH"))

    assert won.count(True) == 1
    assert Run.objects.get().owner == "ABCDEFGH"[won.index(True)]
    kept()


def test_starting_again_after_the_answer_to_the_commit_got_lost_is_the_same_start(tenant_id):
    order = queued(tenant_id)
    assert runs.start(order, "A") == runs.start(order, "A")
    assert Run.objects.get().attempts == 1
    assert len(kept()) == 3


def test_writing_again_what_was_written_changes_nothing(tenant_id):
    order, run, last = started(tenant_id)
    assert written(Append(run, said(last + 1)))
    assert written(Append(run, said(last + 1)))
    assert written(finish(run, last + 1, order))
    assert written(finish(run, last + 1, order))
    assert len(kept()) == 5


def test_who_does_not_own_a_run_writes_nothing(tenant_id):
    order, run, last = started(tenant_id)
    thief = Owned(tenant_id, order.response_id, "B")
    assert not written(Append(thief, said(last + 1)))
    assert not written(finish(thief, last, order))
    stranger = Owned(rows.customer("other").tenant.pk, order.response_id, "A")
    assert not written(Append(stranger, said(last + 1)))
    assert not written(finish(stranger, last, order))
    assert Run.objects.get().status == "in_progress"
    assert written(Append(run, said(last + 1)))
    kept()


def test_who_missed_an_event_writes_nothing(tenant_id):
    order, run, last = started(tenant_id)
    assert written(Append(run, said(last + 1)))
    assert not written(Append(run, said(last + 1, "other")._replace(last=last + 2)))
    assert not written(Append(run, said(last + 3)))
    assert not written(finish(run, last, order))
    assert len(kept()) == 4


# Cancelling


def test_a_queued_run_is_cancelled_and_never_started(tenant_id):
    order = queued(tenant_id)
    cancelled = runs.cancel(tenant_id, order.response_id)
    assert cancelled is not None
    assert (cancelled["status"], cancelled["output"]) == ("cancelled", [])
    assert runs.start(order, "A") is None
    assert response_of(Run.objects.get())["status"] == "cancelled"
    assert [event["type"] for event in kept()][-1] == "response.incomplete"


def test_a_cancelled_run_keeps_the_items_that_were_finished_and_never_completes(tenant_id):
    order, run, last = started(tenant_id)
    assert written(Append(run, item_done(last + 1, 1)))
    assert written(Append(run, item_done(last + 2, 0)))
    assert written(Append(run, said(last + 3)))

    cancelled = runs.cancel(tenant_id, order.response_id)

    assert cancelled is not None
    assert [item["id"] for item in cancelled["output"]] == ["msg_0", "msg_1"]
    assert not written(Append(run, said(last + 4)))
    assert not written(finish(run, last + 3, order))
    assert not written(finish(run, last + 4, order))
    row = Run.objects.get()
    assert (row.status, row.response.status, bytes(row.request)) == ("cancelled", "cancelled", b"")
    assert [item["id"] for item in response_of(row)["output"]] == ["msg_0", "msg_1"]
    last_event = kept()[-1]
    assert (last_event["type"], last_event["response"]) == ("response.incomplete", cancelled)


def test_cancelling_again_gives_the_same_answer(tenant_id):
    order, _, _ = started(tenant_id)
    once = runs.cancel(tenant_id, order.response_id)
    again = runs.cancel(tenant_id, order.response_id)
    assert once == again
    kept()


def test_cancelling_what_is_over_gives_what_became_of_it(tenant_id):
    order, run, last = started(tenant_id, streams=False)
    item = {"id": "msg_out", "type": "message", "role": "assistant", "content": []}
    assert written(finish(run, last, order, output=[item]))
    found = runs.cancel(tenant_id, order.response_id)
    assert found is not None
    assert (found["status"], found["output"][0]["id"]) == ("completed", "msg_out")
    assert Run.objects.get().status == "completed"


def test_nobody_cancels_what_is_not_theirs(tenant_id):
    order, _, _ = started(tenant_id)
    assert runs.cancel(rows.customer("other").tenant.pk, order.response_id) is None
    assert runs.cancel(tenant_id, "resp_unknown") is None
    assert Run.objects.get().status == "in_progress"


def test_of_a_run_without_events_no_event_is_kept(tenant_id):
    order, run, last = started(tenant_id, streams=False)
    assert last == -1
    assert runs.cancel(tenant_id, order.response_id) is not None
    assert not written(finish(run, last, order))
    assert EventChunk.objects.count() == 0
    assert Run.objects.get().last_number == -1


# Lost and waiting


def overdue(seconds: float = 1.0, **fields: Any) -> None:
    Run.objects.update(lease_until=clock.now() - timedelta(seconds=seconds), **fields)


def lose() -> None:
    """The owner is silent for as long as it is given, while several look."""
    overdue(60)
    recovery.fail_lost()
    Run.objects.filter(suspected_at__isnull=False).update(suspected_at=clock.now() - recovery.GRACE)
    recovery.fail_lost()


def test_a_run_whose_owner_gives_no_sign_of_life_fails_honestly(tenant_id):
    _, run, last = started(tenant_id)
    assert written(Append(run, item_done(last + 1)))
    recovery.fail_lost()
    assert Run.objects.get().suspected_at is None

    overdue()
    for _ in range(2):
        assert recovery.fail_lost() == 1
        assert Run.objects.get().status == "in_progress"
    lose()

    row = Run.objects.get()
    response = response_of(row)
    assert (row.status, response["status"]) == ("failed", "failed")
    assert response["error"]["code"] == "server_error"
    assert "was lost" in response["error"]["message"]
    assert [item["id"] for item in response["output"]] == ["msg_0"]
    assert kept()[-1]["type"] == "response.failed"
    assert not written(Append(run, said(last + 2)))


def test_a_sign_of_life_saves_a_run(tenant_id):
    order, run, _ = started(tenant_id)
    overdue()
    (seen,) = recovery.unattended(Status.IN_PROGRESS, 10)
    written(RunRenewal("B", (order.response_id,)))
    assert len(recovery.unattended(Status.IN_PROGRESS, 10)) == 1
    written(RunRenewal(run.owner, (order.response_id,)))
    runs.fail(seen, "lost")
    assert recovery.fail_lost() == 0
    assert Run.objects.get().status == "in_progress"


def test_a_sign_of_life_after_an_outage_ends_the_suspicion(tenant_id):
    order, run, _ = started(tenant_id)
    overdue()
    recovery.fail_lost()
    long_ago = clock.now() - recovery.GRACE
    Run.objects.update(suspected_at=long_ago)
    written(RunRenewal(run.owner, (order.response_id,)))
    overdue(0.001)
    assert recovery.fail_lost() == 1
    assert Run.objects.get().suspected_at != long_ago
    assert Run.objects.get().status == "in_progress"


def test_a_waiting_run_is_claimed_by_one_who_asks_and_not_again_at_once(tenant_id):
    order = queued(tenant_id)
    take = timedelta(seconds=5)
    Run.objects.update(lease_until=clock.now() + take)
    assert recovery.claim_waiting(10, take, 600) == []
    overdue()
    assert recovery.claim_waiting(0, take, 600) == []
    assert recovery.claim_waiting(10, take, 600) == [(tenant_id, order.response_id)]
    assert recovery.claim_waiting(10, take, 600) == []
    assert runs.start(order, "A") is not None


def test_a_look_tells_whether_any_run_is_unfinished(tenant_id: int) -> None:
    nothing = recovery.RecoveryLook(0, [], is_any_unfinished=False)
    assert recovery.look(10, timedelta(0), 600) == nothing
    order, owned, last = started(tenant_id)
    assert recovery.look(10, timedelta(0), 600) == recovery.RecoveryLook(
        0, [], is_any_unfinished=True
    )
    assert written(finish(owned, last, order))
    assert recovery.look(10, timedelta(0), 600) == nothing
    waiting = queued(tenant_id, "resp_2")
    Run.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    claimed = [(tenant_id, waiting.response_id)]
    assert recovery.look(10, timedelta(seconds=9), 600) == recovery.RecoveryLook(
        0, claimed, is_any_unfinished=True
    )


def test_a_run_that_waited_too_long_fails_honestly(tenant_id):
    order = queued(tenant_id)
    overdue(queued_at=clock.now() - timedelta(seconds=601))
    assert recovery.claim_waiting(10, timedelta(seconds=5), 600) == []
    response = response_of(Run.objects.get())
    assert response["status"] == "failed"
    assert "within 600 seconds" in response["error"]["message"]
    assert runs.start(order, "A") is None
    kept()


def test_looking_for_runs_without_a_worker_uses_the_index(tenant_id):
    sql, term = recovery._UNATTENDED, ("queued", "2020-01-01", 5)
    connection = connections["default"]
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by the number of rows")
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + sql, term)
        assert "run_unfinished" in str(cursor.fetchall())


# What belongs to an end


def test_input_and_output_are_appended_to_the_conversation_once(tenant_id):
    Conversation.objects.create(id="conv_1", tenant_id=tenant_id)
    order, run, last = started(tenant_id, conversation_id="conv_1")
    item = {"id": "msg_out", "type": "message", "role": "assistant", "content": []}
    for _ in range(2):
        assert written(finish(run, last, order, output=[item]))
    conversation = Conversation.objects.get()
    found = list(conversation.items.order_by("position").values_list("item_id", "provider"))
    assert found == [("msg_in", ""), ("msg_out", "sandbox")]
    assert StoredItem.objects.filter(response=order.response_id).count() == 2


@pytest.mark.parametrize("how", ["completed", "incomplete", "failed", "cancelled", "lost"])
def test_every_end_tells_the_webhooks_once(tenant_id, how):
    endpoint = WebhookEndpoint.objects.create(
        tenant_id=tenant_id, url="https://example.com/hook", sealed_secret="v1.nobody.signs"
    )
    order, run, last = started(tenant_id)
    if how == "cancelled":
        runs.cancel(tenant_id, order.response_id)
    elif how == "lost":
        lose()
    else:
        assert written(finish(run, last, order, how))
    runs.cancel(tenant_id, order.response_id)
    (delivery,) = endpoint.deliveries.all()
    status = "failed" if how == "lost" else how
    assert (delivery.event_type, delivery.response_id) == (f"response.{status}", "resp_1")


# Two owners and everybody else, in any order

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "append", "item", "finish", "cancel", "lose", "renew", "again"]),
        st.sampled_from("AB"),
    ),
    max_size=25,
)


@settings(max_examples=examples(40))
@given(STEPS)
def test_whoever_does_what_in_whatever_order_there_is_one_end_and_no_gap(steps):
    Run.objects.all().delete()
    StoredResponse.objects.all().delete()
    tenant = Tenant.objects.filter(slug="acme").first() or rows.customer("acme").tenant
    order = queued(tenant.pk)
    knows = {"A": order.last_number, "B": order.last_number}
    last_record: Any = None
    end: list[Any] = []

    for step, owner in steps:
        run, number = Owned(tenant.pk, order.response_id, owner), knows[owner] + 1
        before = Run.objects.get()
        match step:
            case "start":
                begun = runs.start(order, owner)
                knows[owner] = begun.last if begun is not None else knows[owner]
            case "append" | "item":
                event = said(number) if step == "append" else item_done(number, number)
                last_record = Append(run, event)
                if written(last_record):
                    knows[owner] = number
            case "finish":
                last_record = finish(run, knows[owner], order)
                written(last_record)
            case "cancel":
                runs.cancel(tenant.pk, order.response_id)
            case "lose":
                lose()
            case "renew":
                written(RunRenewal(owner, (order.response_id,)))
            case "again" if last_record is not None:
                written(last_record)
        _check(before, end)


def _check(before: Run, end: list[Any]) -> None:
    """Check what must be true after every step; `end` holds the run's final state once there is one."""
    row = Run.objects.get()
    assert row.last_number >= before.last_number
    found = kept()
    terminal = [e for e in found if e["type"] in grammar.TERMINAL]
    assert len(terminal) == (1 if row.status in FINAL else 0)
    assert row.response.status == row.status
    if row.status not in FINAL:
        return
    response = response_of(row)
    assert terminal[0] is found[-1]
    assert terminal[0]["response"]["status"] == response["status"] == row.status
    state = (row.status, row.last_number, response, found)
    assert end in ([], [state])
    end[:] = [state]


# Pages


def test_pages_follow_each_other_from_every_number(tenant_id, monkeypatch):
    order, run, last = started(tenant_id)
    number = last + 1
    for size in (1, 3, 2, 7, 1, 1, 4):
        several = b"".join(said(number + n, "y" * 50).events for n in range(size))
        assert written(Append(run, number_events(several, number)))
        number += size
    monkeypatch.setattr(events, "PAGE_BYTES", 400)
    monkeypatch.setattr(events, "PAGE_CHUNKS", 2)
    whole = kept()

    for after in range(-1, len(whole)):
        found, at = [], after
        while (
            page := events.page(tenant_id, order.response_id, at, whole[-1]["sequence_number"])
        ).events:
            assert page.first == at + 1
            found += [
                orjson.loads(e.partition(b"\ndata: ")[2]) for e in page.events.split(b"\n\n")[:-1]
            ]
            at = page.last
            assert found[-1]["sequence_number"] == at
        assert found == whole[after + 1 :]
    assert not events.page(rows.customer("other").tenant.pk, order.response_id, -1, 99).events
