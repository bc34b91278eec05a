"""A purge counts what a tenant stored before a moment, and deletes it once that is confirmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from gateway_project.lib import clock, ids
from responses_api.models import (
    Conversation,
    EventChunk,
    StoredCompletion,
    StoredItem,
    StoredResponse,
)
from responses_api.storage import purging
from tenants.access.access import OPERATOR, Access, access_as
from tenants.api.long_work import TaskRows
from tenants.audit import chain
from tenants.console import purge_words
from tenants.long_work import asking, running
from tenants.models import AuditEvent, LongTask, Tenant
from tests.api.callers import Api, of_member, of_operator
from tests.commands.running import answer
from tests.console.pages import do, text, url
from tests.console.world import operator
from tests.plugins.cases import cases
from tests.support import kept_rows

pytestmark = pytest.mark.django_db

STORED = (StoredResponse, StoredItem, EventChunk, Conversation, StoredCompletion)
OLD, CUT = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def person() -> Client:
    """An operator in the console."""
    return operator()


def completion(tenant: Tenant, at: datetime) -> StoredCompletion:
    return StoredCompletion.objects.create(
        id=ids.item_id("chatcmpl"), tenant=tenant, key_public_id="abcdefghij", model="smart",
        messages=b"[]", body=b"{}", created_at=at, expires_at=clock.now() + timedelta(days=9),
    )  # fmt: skip


def fill(tenant: Tenant, count: int = 1) -> None:
    """Store old things, and a younger one of each kind."""
    for at in (*[OLD] * count, CUT):
        kept_rows.run(kept_rows.response(tenant, created_at=at))
        completion(tenant, at)
        Conversation.objects.filter(pk=kept_rows.conversation(tenant, "Hi").pk).update(
            created_at=at
        )


def left() -> list[int]:
    return [kind._default_manager.count() for kind in STORED]


def run() -> None:
    for _ in running.run_tasks():
        pass


def shown(person: Client, task: LongTask) -> tuple[str, str]:
    task.refresh_from_db()
    return task.state, text(person.get(url(task, "change")))


def begin(by: str, person: Client, tenant: Tenant) -> LongTask:
    match by:
        case "api":
            asked = {"tenant": tenant.pk, "before": CUT.isoformat()}
            assert of_operator().post("purges", asked).status_code == 201
        case "command":
            answer("start_purge", "acme", "--before", "2026-04-01")
        case "page":
            sent = {"before": "2026-04-01", "kinds": list(purging.KINDS)}
            assert person.post("/console/purge/?tenant=acme", sent).status_code == 302
    return LongTask.objects.latest("pk")


def confirm(by: str, person: Client, task: LongTask) -> None:
    match by:
        case "api":
            assert of_operator().post(f"tasks/{task.pk}/confirm").json()["state"] == "queued"
        case "command":
            answer("confirm_task", str(task.pk))
        case "page":
            assert do(person, task, "delete_stored").status_code == 302


@cases("by", ["api", "command", "page"])
def test_it_tells_how_much_waits_and_deletes_what_is_confirmed(
    by: str, tenant: Tenant, person: Client
):
    for kind in STORED:
        kind._default_manager.all().delete()
    fill(tenant)
    running_one = kept_rows.response(tenant, created_at=OLD, status="in_progress", items=0)
    before = left()
    task = begin(by, person, tenant)
    run()
    state, page = shown(person, task)
    assert (state, left()) == ("waiting", before)
    assert "1 response, 1 conversation and 1 chat completion would be deleted" in page

    confirm(by, person, task)
    run()
    state, page = shown(person, task)
    assert "1 response, 1 conversation and 1 chat completion were deleted." in page
    assert (state, task.done, task.expected) == ("done", 3, 3)
    assert StoredResponse.objects.filter(pk=running_one.pk).exists()
    running_one.delete()
    assert left() == [1, 1, 2, 1, 1]
    chain.join_pending()
    told = AuditEvent.objects.filter(object_id=str(task.pk), tenant_id=tenant.pk)
    assert list(told.order_by("sequence").values_list("action", flat=True)) == [
        *("task.asked", "task.confirmed", "stored.purged")
    ]


@pytest.mark.persistence
def test_it_goes_on_where_a_killed_process_left_it_and_touches_nobody_else(
    tenant: Tenant, person: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 2)
    other = Tenant.objects.create(slug="other", name="Other")
    fill(tenant, 5)
    fill(other)
    task = purging.ask(access_as(tenant, "admin"), tenant, CUT, ["response", "conversation"])
    run()
    asking.confirm(access_as(tenant, "admin"), task)
    for runner in ("first", "second", "third"):
        running.take_step(task.pk, runner)
        LongTask.objects.update(lease_until=OLD)
    task.refresh_from_db()
    assert "5 of 10 are deleted." in purge_words.running(task)
    run()

    state, page = shown(person, task)
    assert state == "done"
    assert "5 responses and 5 conversations were deleted." in page  # in this order on any database
    assert task.result["deleted"] == {"response": 5, "conversation": 5}
    assert StoredResponse.objects.filter(tenant=tenant).count() == 1
    assert StoredCompletion.objects.filter(tenant=tenant).count() == 6
    assert StoredResponse.objects.filter(tenant=other).count() == 2


def test_what_is_cancelled_deletes_no_more_and_says_what_it_had(
    tenant: Tenant, person: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 1)
    fill(tenant, 2)
    task = purging.ask(OPERATOR, tenant, CUT, ["response"])
    run()
    asking.confirm(OPERATOR, task)
    running.take_step(task.pk, "first")
    asking.discard(OPERATOR, task)
    run()
    assert "It was cancelled. 1 response had been deleted by then." in shown(person, task)[1]
    assert StoredResponse.objects.count() == 2
    nothing = purging.ask(OPERATOR, tenant, OLD, ["response"])
    run()
    state, page = shown(person, nothing)
    assert state == "done"
    assert "There was nothing to delete" in page


def test_only_who_may_delete_responses_asks_confirms_and_cancels(tenant: Tenant):
    viewer: Access = access_as(tenant, "viewer")
    with pytest.raises(PermissionDenied):
        purging.ask(viewer, tenant, CUT, ["response"])
    task = purging.ask(access_as(tenant, "admin"), tenant, CUT, ["response"])
    fill(tenant)
    run()
    for refused in (asking.confirm, asking.discard):
        with pytest.raises(PermissionDenied):
            refused(viewer, task)
    api: Api = of_member("viewer", tenant)
    assert api.get(f"tasks/{task.pk}").json()["kind"] == "purge"  # they see that it is done
    assert api.post(f"tasks/{task.pk}/confirm").status_code == 403
    assert TaskRows().one(OPERATOR, str(task.pk)).state == "waiting"


def test_what_is_wrong_with_a_purge_is_named_by_its_field(tenant: Tenant, person: Client):
    api, asked = of_operator(), {"tenant": tenant.pk, "before": CUT.isoformat()}
    for wrong, field in (
        ({"before": CUT.isoformat()}, "tenant"),
        ({"tenant": tenant.pk}, "before"),
        ({**asked, "before": "soon"}, "before"),
        ({**asked, "kinds": ["invoice"]}, "kinds"),
        ({**asked, "kinds": []}, "kinds"),
        ({**asked, "kinds": "response"}, "kinds"),
    ):
        refused = api.post("purges", wrong)
        assert (refused.status_code, list(refused.json()["errors"])) == (400, [field]), wrong
    for address, sent, told in (
        ("/console/purge/", {"before": "2026-04-01"}, "Choose a tenant"),
        ("/console/purge/?tenant=acme", {"before": "soon"}, "Give the first day that is kept."),
        ("/console/purge/?tenant=acme", {"before": "2026-04-01"}, "Choose what to delete."),
    ):
        assert told in text(person.post(address, sent))
    assert not LongTask.objects.exists()


def test_each_kind_that_can_be_purged_has_its_word():
    assert purging.KINDS.keys() == purge_words.KINDS.keys()
