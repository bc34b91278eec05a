"""The pages on stored responses and conversations show what was said, to those who may read it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock
from responses_api.admin import browsing
from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredItem,
    StoredResponse,
)
from tenants.admin import browsing as paging
from tenants.models import Membership
from tests.admin import world as worlds
from tests.admin.pages import act, assert_clean, text, url
from tests.admin.world import World
from tests.support import kept_rows

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]


def test_a_response_is_shown_with_its_items_as_json_for_people(world: World, viewer: Client):
    row = world.ours.response
    StoredItem.objects.create(
        tenant=row.tenant, response=row, side=0, position=0, item_id="msg_q", body=b'{"q":"Why?"}'
    )

    page = text(viewer.get(url(row, "change")))

    assert "&quot;note&quot;: &quot;ours answer&quot;" in page
    assert "{\n  &quot;q&quot;: &quot;Why?&quot;\n}" in page
    assert page.index("Why?") < page.index("output_text")
    assert f"?q={row.root_id}" in page


def test_a_conversation_is_shown_with_its_items_in_order(world: World, viewer: Client):
    row = kept_rows.conversation(world.ours.tenant, "first question", "second question")

    page = text(viewer.get(url(row, "change")))

    assert page.index("first question") < page.index("second question")


def test_what_was_said_cannot_become_part_of_the_page(world: World, viewer: Client):
    row = kept_rows.response(world.ours.tenant, said="<script>alert(1)</script>")

    page = text(viewer.get(url(row, "change")))

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_very_long_answers_are_cut(world: World, viewer: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(browsing, "MAX_ITEMS", 3)
    row = kept_rows.response(world.ours.tenant, said="z" * 200_000, items=5)

    page = text(viewer.get(url(row, "change")))

    assert "more characters" in page
    assert "… and more items" in page
    assert len(page) < 250_000


def test_a_body_that_is_no_json_is_shown_as_it_is(world: World, viewer: Client):
    StoredResponse.objects.filter(pk=world.ours.response.pk).update(body=b"not json \xff")

    assert "not json" in text(viewer.get(url(world.ours.response, "change")))


@pytest.mark.parametrize("model", [StoredResponse, Conversation], ids=lambda model: model.__name__)
def test_lists_read_no_bodies_and_count_no_further_than_one_pages(
    model: type[StoredResponse] | type[Conversation], world: World, viewer: Client
):
    with CaptureQueriesContext(connection) as captured:
        assert viewer.get(url(model, "changelist")).status_code == 200

    count, rows = (q["sql"] for q in captured if model._meta.db_table in q["sql"])
    assert "LIMIT 10000" in count
    assert '"body"' not in rows
    assert '"metadata"' not in rows


def test_a_list_ends_where_nobody_pages_to(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(paging, "MAX_ROWS", 3)
    for _ in range(5):
        kept_rows.response(world.ours.tenant)

    answer = operator.get(url(StoredResponse, "changelist"))

    assert answer.context["cl"].result_count == 3


@pytest.mark.parametrize("status", ["completed", "failed", "queued"])
def test_responses_are_filtered_by_status(status: str, world: World, viewer: Client):
    for number, name in enumerate(("completed", "failed", "failed", "queued")):
        kept_rows.response(world.ours.tenant, said=str(number), status=name)
    expected = StoredResponse.objects.filter(tenant=world.ours.tenant, status=status)

    answer = viewer.get(f"{url(StoredResponse, 'changelist')}?status={status}")

    assert set(answer.context["cl"].result_list) == set(expected)


@pytest.mark.parametrize(
    ("who", "question", "index"),
    [
        ("operator", "", "response_newest"),
        ("viewer", "", "response_newest_of_tenant"),
        ("operator", "?status=failed", "response_unusual"),
        ("viewer", "?status=failed", "response_unusual_of_tenant"),
    ],
)
def test_the_newest_come_out_of_an_index(
    who: str, question: str, index: str, world: World, request: pytest.FixtureRequest
):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by what is in the table, which here is little")
    client = request.getfixturevalue(who)
    with CaptureQueriesContext(connection) as captured:
        client.get(url(StoredResponse, "changelist") + question)

    [newest] = [q["sql"] for q in captured if 'ORDER BY "responses_api_storedresponse"' in q["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {newest}")
        plan = str(cursor.fetchall())
    assert f"USING INDEX {index}" in plan
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_a_chain_is_found_by_its_first_response(world: World, viewer: Client):
    first = kept_rows.response(world.ours.tenant)
    second = kept_rows.response(world.ours.tenant, after=first)

    chain = viewer.get(f"{url(StoredResponse, 'changelist')}?q={first.pk}")
    one = viewer.get(f"{url(StoredResponse, 'changelist')}?q={second.pk}")

    assert {row.pk for row in chain.context["cl"].result_list} == {first.pk, second.pk}
    assert [row.pk for row in one.context["cl"].result_list] == [second.pk]


def test_removing_a_response_takes_along_what_is_kept_of_it(world: World, admin: Client):
    row = kept_rows.response(world.ours.tenant, items=3)
    kept_rows.run(row)

    asked = admin.get(url(row, "delete"))
    answer = admin.post(url(row, "delete"), {"post": "yes"})

    assert row.pk in text(asked)
    assert answer.status_code == 302
    assert not StoredResponse.objects.filter(pk=row.pk).exists()
    assert not StoredItem.objects.filter(response_id=row.pk).exists()
    assert not Run.objects.filter(pk=row.pk).exists()
    assert not EventChunk.objects.filter(run_id=row.pk).exists()
    assert StoredItem.objects.filter(response=world.ours.response).count() == 1


def test_asking_before_removing_reads_nothing_of_what_goes_along(world: World, admin: Client):
    with CaptureQueriesContext(connection) as captured:
        admin.get(url(world.ours.response, "delete"))

    assert not any("responses_api_storeditem" in query["sql"] for query in captured)


def test_several_are_removed_at_once(world: World, admin: Client):
    more = kept_rows.response(world.ours.tenant)
    talk = world.ours.conversation

    assert (
        act(admin, StoredResponse, "delete_selected", more, world.ours.response).status_code == 200
    )
    act(admin, StoredResponse, "delete_selected", more, world.ours.response, post="yes")
    act(admin, Conversation, "delete_selected", talk, post="yes")

    assert not StoredResponse.objects.filter(tenant=world.ours.tenant).exists()
    assert not Conversation.objects.filter(tenant=world.ours.tenant).exists()
    assert not ConversationItem.objects.filter(tenant=world.ours.tenant).exists()
    assert StoredResponse.objects.filter(tenant=world.theirs.tenant).exists()
    assert Conversation.objects.filter(tenant=world.theirs.tenant).exists()


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_readers_remove_nothing(role: str, world: World):
    client = worlds.staff(role, world.ours.tenant)

    assert client.post(url(world.ours.response, "delete"), {"post": "yes"}).status_code == 403
    act(client, StoredResponse, "delete_selected", world.ours.response, post="yes")

    assert StoredResponse.objects.filter(pk=world.ours.response.pk).exists()


def test_who_is_admin_here_and_reads_there_removes_here_only(world: World, admin: Client):
    user = User.objects.get(username="admin-staff")
    Membership.objects.create(tenant=world.theirs.tenant, user=user, role="viewer")
    both = (world.ours.response, world.theirs.response)

    act(admin, StoredResponse, "delete_selected", *both, post="yes")

    assert StoredResponse.objects.filter(pk__in=[row.pk for row in both]).count() == 2


def test_a_strangers_rows_are_not_removed(world: World, admin: Client):
    for row in (world.theirs.response, world.theirs.conversation):
        assert_clean(act(admin, type(row), "delete_selected", row, post="yes"))
        assert_clean(act(admin, type(row), "delete_selected", row, post="yes", select_across="1"))
        assert type(row)._default_manager.filter(pk=row.pk).exists()


def test_nobody_writes_what_was_said(world: World, operator: Client):
    row = world.ours.response

    assert operator.post(url(row, "change"), {"status": "failed"}).status_code == 403
    assert operator.post(url(StoredResponse, "add"), {}).status_code == 403
    assert row.expires_at > clock.now()
