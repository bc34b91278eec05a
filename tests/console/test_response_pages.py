"""The pages on stored responses and conversations show what was said, to those who may read it."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway_project.lib import clock
from responses_api.admin import talk
from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredItem,
    StoredResponse,
)
from responses_api.reports import chain_tree
from tenants.admin import browsing as paging
from tenants.ledger import row_ids
from tenants.models import AuditEvent, Membership
from tests.console import world as worlds
from tests.console.pages import act, action_address, assert_clean, do, text, url
from tests.console.world import World
from tests.support import kept_rows, usage_rows

pytestmark = pytest.mark.django_db


def test_a_response_is_shown_with_its_items_as_json_for_people(world: World, viewer: Client):
    row = world.ours.response
    StoredItem.objects.create(
        tenant=row.tenant, response=row, side=0, position=0, item_id="msg_q", body=b'{"q":"Why?"}'
    )

    page = text(viewer.get(url(row, "change")))

    assert "&quot;note&quot;: &quot;ours answer&quot;" in page
    assert "{\n  &quot;q&quot;: &quot;Why?&quot;\n}" in page
    assert page.index("Why?") < page.index("output_text")


def test_a_conversation_is_shown_with_its_items_in_order(world: World, viewer: Client):
    row = kept_rows.conversation(world.ours.tenant, "first question", "second question")

    page = text(viewer.get(url(row, "change")))

    assert page.index("first question") < page.index("second question")


def test_what_was_said_cannot_become_part_of_the_page(world: World, viewer: Client):
    row = kept_rows.response(world.ours.tenant, said="<script>alert(1)</script>")

    page = text(viewer.get(url(row, "change")))

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_every_kind_of_item_is_text_and_nothing_is_fetched(world: World, viewer: Client):
    row = world.ours.response
    image = {"type": "input_image", "image_url": "https://spy.example/pixel.png"}
    items = (
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Look"}, image],
        },
        {"role": "user", "content": "<img src=https://spy.example/2.png>"},
        {"type": "function_call", "name": "look_up", "arguments": '{"city":"Berlin"}'},
        {"type": "function_call_output", "output": "<b>rain</b>"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I think."}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}],
        },
        {"type": "<i>unheard</i>", "content": {"a": [1]}},
        {"type": "message", "role": 7, "content": [3, {"type": None}]},
    )
    for place, item in enumerate(items):
        StoredItem.objects.create(
            tenant=row.tenant,
            response=row,
            side=0,
            position=place,
            item_id=f"i{place}",
            body=orjson.dumps(item),
        )

    answer = viewer.get(url(row, "change"))
    page, shown = text(answer), answer.context["talk"].items

    assert [each.text for each in shown[:6]] == [
        "Look\n[input_image : not shown]",
        "<img src=https://spy.example/2.png>",
        'look_up({"city":"Berlin"})',
        "<b>rain</b>",
        "I think.",
        "No.",
    ]
    assert [str(each.speaker) for each in shown[:4]] == ["User", "User", "Tool call", "Tool result"]
    for planted in (
        "<img src=https",
        'src="https://spy',
        'href="https://spy',
        "<b>rain",
        "<i>unheard",
    ):
        assert planted not in page


@pytest.mark.persistence
def test_a_chain_is_a_tree_with_forks_within_the_tenant(world: World, viewer: Client):
    at = clock.now()
    first = kept_rows.response(world.ours.tenant, created_at=at)
    second = kept_rows.response(
        world.ours.tenant, after=first, created_at=at + timedelta(seconds=1)
    )
    left = kept_rows.response(world.ours.tenant, after=second, created_at=at + timedelta(seconds=2))
    right = kept_rows.response(
        world.ours.tenant, after=second, created_at=at + timedelta(seconds=3)
    )
    below = kept_rows.response(world.ours.tenant, after=left, created_at=at + timedelta(seconds=4))
    stranger = kept_rows.response(world.theirs.tenant, after=right)
    lost = kept_rows.response(world.ours.tenant, after=right, created_at=at + timedelta(seconds=5))
    StoredResponse.objects.filter(pk=lost.pk).update(parent_id="resp_gone")

    answer = viewer.get(url(left, "change"))
    tree = [(each["told"].id, each["told"].level) for each in answer.context["tree"]]

    assert tree == [
        (first.pk, 0), (second.pk, 0), (left.pk, 1), (below.pk, 1), (right.pk, 1), (lost.pk, 0),
    ]  # fmt: skip
    assert [e["told"].id for e in answer.context["tree"] if e["is_here"]] == [left.pk]
    assert {e["told"].id for e in answer.context["tree"] if e["told"].is_fork} == {
        left.pk,
        right.pk,
    }
    assert stranger.pk not in text(answer)


@pytest.mark.persistence
def test_a_chain_that_is_too_large_shows_the_way_to_the_response(
    world: World, viewer: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chain_tree, "MOST_NODES", 4)
    first = last = kept_rows.response(world.ours.tenant)
    for _ in range(8):
        kept_rows.response(world.ours.tenant, after=first)
    way = []
    for _ in range(6):
        last = kept_rows.response(world.ours.tenant, after=last)
        way.append(last.pk)

    with CaptureQueriesContext(connection) as captured:
        answer = viewer.get(url(last, "change"))

    assert {each["told"].id for each in answer.context["tree"]} == set(way[-4:])
    assert "those are shown that lead to this one" in text(answer)
    assert len([q for q in captured if "SAVEPOINT" not in q["sql"]]) <= 12


@pytest.mark.persistence
def test_a_long_chain_and_one_that_goes_in_a_circle_are_shown(world: World, viewer: Client):
    first = last = kept_rows.response(world.ours.tenant)
    for _ in range(400):
        last = kept_rows.response(world.ours.tenant, after=last, items=0)
    assert len(viewer.get(url(last, "change")).context["tree"]) == 401

    StoredResponse.objects.filter(pk=first.pk).update(parent_id=last.pk)
    assert viewer.get(url(last, "change")).status_code == 200


def test_a_response_leads_to_its_request_and_to_the_playground(
    world: World, viewer: Client, developer: Client
):
    at, key = clock.now() - timedelta(minutes=5), world.ours.key
    call = usage_rows.usage(
        world.ours.tenant,
        at,
        key_id=key.pk,
        key_public_id=key.public_id,
        alias="ours-model",
        duration_ms=2_000,
    )
    row = kept_rows.response(
        world.ours.tenant, model="ours-model", created_at=at + timedelta(seconds=2)
    )
    StoredResponse.objects.filter(pk=row.pk).update(key_public_id=key.public_id)

    page = text(developer.get(url(row, "change")))

    assert reverse("admin:request", args=[row_ids.request_id_of(call.pk)]) in page
    assert f"playground/?previous_response_id={row.pk}" in page
    assert "playground/?previous" not in text(viewer.get(url(row, "change")))
    later = kept_rows.response(
        world.ours.tenant, model="ours-model", created_at=at + timedelta(minutes=2)
    )
    assert "Its request" not in text(developer.get(url(later, "change")))


def test_deleting_says_what_goes_along_and_is_recorded(world: World, admin: Client, viewer: Client):
    row, talk_row = world.ours.response, world.ours.conversation

    asked = text(admin.get(action_address(row, "remove")))
    assert "events of its run" in asked
    assert "cannot be continued any more" in asked
    assert do(viewer, row, "remove").status_code == 403
    assert StoredResponse.objects.filter(pk=row.pk).exists()

    answers = [do(admin, row, "remove"), do(admin, talk_row, "remove")]

    assert [each["location"] for each in answers] == [
        "/console/responses/",
        "/console/conversations/",
    ]
    assert not StoredResponse.objects.filter(pk=row.pk).exists()
    assert not StoredItem.objects.filter(response_id=row.pk).exists()
    assert not ConversationItem.objects.filter(conversation_id=talk_row.pk).exists()
    for action, gone in (("response.deleted", row), ("conversation.deleted", talk_row)):
        assert AuditEvent.objects.get(action=action).object_id == gone.pk
    assert do(admin, world.theirs.response, "remove").status_code == 404


def test_very_long_answers_are_cut(world: World, viewer: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(talk, "MAX_ITEMS", 3)
    row = kept_rows.response(world.ours.tenant, said="z" * 200_000, items=5)

    page = text(viewer.get(url(row, "change")))

    assert "more characters" in page
    assert "… and more items" in page
    assert len(page) < 250_000


def test_a_body_that_is_no_json_is_shown_as_it_is(world: World, viewer: Client):
    StoredResponse.objects.filter(pk=world.ours.response.pk).update(body=b"not json \xff")

    assert "not json" in text(viewer.get(url(world.ours.response, "change")))


@pytest.mark.persistence
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


@pytest.mark.persistence
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


@pytest.mark.persistence
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


@pytest.mark.persistence
def test_a_chain_is_found_by_its_first_response(world: World, viewer: Client):
    first = kept_rows.response(world.ours.tenant)
    second = kept_rows.response(world.ours.tenant, after=first)

    chain = viewer.get(f"{url(StoredResponse, 'changelist')}?q={first.pk}")
    one = viewer.get(f"{url(StoredResponse, 'changelist')}?q={second.pk}")

    assert {row.pk for row in chain.context["cl"].result_list} == {first.pk, second.pk}
    assert [row.pk for row in one.context["cl"].result_list] == [second.pk]


@pytest.mark.persistence
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


@pytest.mark.persistence
def test_asking_before_removing_reads_nothing_of_what_goes_along(world: World, admin: Client):
    with CaptureQueriesContext(connection) as captured:
        admin.get(url(world.ours.response, "delete"))

    assert not any("responses_api_storeditem" in query["sql"] for query in captured)


@pytest.mark.persistence
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
