"""Stored responses, conversations and deliveries are listed as logs: bounded, by cursor, scoped, recorded."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock, ids
from responses_api.models import ConversationItem, StoredItem, StoredResponse, WebhookDelivery
from responses_api.reports import kept_log
from responses_api.webhooks import events
from tenants.models import AuditEvent, Tenant
from tests.console import world as worlds
from tests.console.pages import assert_clean, text, url
from tests.console.world import World
from tests.support import kept_rows

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

LISTS = ("/console/responses/", "/console/conversations/", "/console/webhook-deliveries/")


def ask(row: StoredResponse, said: str, position: int = 0, role: str = "user") -> None:
    """Give a response an item of its input."""
    content = [{"type": "input_text", "text": said}]
    StoredItem.objects.create(
        tenant=row.tenant,
        response=row,
        side=0,
        position=position,
        item_id=ids.item_id("msg"),
        body=orjson.dumps({"type": "message", "role": role, "content": content}),
    )


def followed(client: Client, address: str, rel: str) -> Any:
    """Follow a page's link to the next one; None where there is none."""
    page = text(client.get(address))
    found = re.search(rf'<a rel="{rel}" href="([^"]+)"', page)
    base = address.partition("?")[0]
    return base + found[1].replace("&amp;", "&") if found else None


def ids_on(client: Client, address: str) -> list[str]:
    return [each["id"] for each in client.get(address).context["rows"]]


def fill(world: World, number: int) -> list[str]:
    """Store responses of our tenant, one a second; return their ids, newest first."""
    at, made = clock.now() - timedelta(hours=1), []
    for place in range(number):
        row = kept_rows.response(
            world.ours.tenant, model=f"m{place % 3}", created_at=at + timedelta(seconds=place)
        )
        made.append(row.pk)
    StoredResponse.objects.filter(pk=world.ours.response.pk).delete()
    return made[::-1]


def test_pages_follow_one_another_both_ways_whatever_comes_meanwhile(world: World, viewer: Client):
    expected = fill(world, 120)
    base = LISTS[0]

    first = ids_on(viewer, base)
    older = followed(viewer, base, "next")
    kept_rows.response(world.ours.tenant)  # moves nothing
    second = ids_on(viewer, older)
    last = followed(viewer, older, "next")

    assert first + second + ids_on(viewer, last) == expected
    assert followed(viewer, last, "next") is None
    assert ids_on(viewer, followed(viewer, last, "prev")) == second
    assert followed(viewer, base, "prev") is None


def test_somebody_of_two_tenants_sees_both_in_order_and_nothing_of_a_third(world: World):
    third = Tenant.objects.create(slug="third", name="Third")
    kept_rows.response(third)
    client = worlds.staff("viewer", world.ours.tenant, world.theirs.tenant)
    at = clock.now() - timedelta(hours=1)
    expected: list[str] = []
    StoredResponse.objects.filter(tenant__in=(world.ours.tenant, world.theirs.tenant)).delete()
    for place in range(120):
        side = world.ours if place % 3 else world.theirs
        made = kept_rows.response(side.tenant, created_at=at + timedelta(seconds=place), items=0)
        expected.insert(0, made.pk)

    found, address = [], LISTS[0]
    while address:
        found += ids_on(client, address)
        last, address = address, followed(client, address, "next")

    assert found == expected
    assert ids_on(client, followed(client, last, "prev")) == expected[50:100]


def test_filters_look_through_a_part_at_a_time(
    world: World, viewer: Client, monkeypatch: pytest.MonkeyPatch
):
    expected = fill(world, 30)
    monkeypatch.setattr(kept_log, "LOOKED_THROUGH", 4)
    address = f"{LISTS[0]}?alias=m1"
    found, answer = [], viewer.get(address)
    assert 0 < len(answer.context["rows"]) < 10
    while address:
        found += ids_on(viewer, address)
        address = followed(viewer, address, "next")

    assert found == [each for place, each in enumerate(expected) if (29 - place) % 3 == 1]
    assert "go on with Older" in text(viewer.get(f"{LISTS[0]}?key=nokey"))
    assert ids_on(viewer, f"{LISTS[0]}?status=failed") == []
    assert ids_on(viewer, f"{LISTS[0]}?status=nonsense&key=%00") == []


def test_lists_take_few_queries_and_are_light(world: World, operator: Client, viewer: Client):
    fill(world, 60)
    for number in range(60):
        kept_rows.conversation(world.ours.tenant, f"question {number}")
        events.enqueue(world.ours.tenant.pk, f"resp_{number}", "completed")
    for client, rest in ((operator, ""), (operator, "?tenant=ours"), (viewer, "?status=completed")):
        for base in LISTS:
            with CaptureQueriesContext(connection) as captured:
                page = client.get(f"{base}{rest}")
            told = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
            assert len(told) <= 12, "\n".join(sql[:160] for sql in told)
            assert not any("OFFSET" in sql for sql in told)
            assert not any("COUNT(*)" in sql for sql in told)
            assert len(page.content) < 150_000


def test_newest_rows_come_out_of_an_index(world: World, operator: Client, viewer: Client):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by what is in the table, which here is little")
    for client, scope in ((operator, "?"), (viewer, "?")):
        for base, table in zip(
            LISTS, ("storedresponse", "conversation", "webhookdelivery"), strict=True
        ):
            with CaptureQueriesContext(connection) as captured:
                client.get(f"{base}{scope}before=5ffffffffffff-{ids.uuid7()}")
            name = f"responses_api_{table}"
            [sql] = [q["sql"] for q in captured if f'FROM "{name}"' in q["sql"]]
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
                plan = str(cursor.fetchall())
            assert "USE TEMP B-TREE FOR ORDER BY" not in plan, (base, plan)
            assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", ""), (base, plan)


def test_first_words_are_text_of_one_tenant_and_that_they_are_read_is_recorded(
    world: World, operator: Client, viewer: Client
):
    row = kept_rows.response(world.ours.tenant)
    ask(row, "You are a helper.", 0, role="developer")
    ask(row, '<script>alert("1")</script> Why is\nthe sky blue? ' + "x" * 5_000, 1)
    long = kept_rows.response(world.ours.tenant)
    ask(long, "\N{WATERMELON}" * 3_000)
    talk = kept_rows.conversation(world.ours.tenant, "first question", "second")
    item = ConversationItem.objects.get(conversation=talk, position=1)
    item.delete()

    page = viewer.get(LISTS[0])
    shown = {each["id"]: each["start"] for each in page.context["rows"]}

    assert shown[row.pk].words.startswith('<script>alert("1")</script> Why is the sky blue? xxx')
    assert len(shown[row.pk].words) == 121
    assert shown[row.pk].items == 3
    assert shown[long.pk].words.startswith("\N{WATERMELON}" * 100)
    assert "<script>alert" not in text(page)
    talks = {e["id"]: e["start"] for e in viewer.get(LISTS[1]).context["rows"]}
    assert (talks[talk.pk].words, talks[talk.pk].items) == ("first question", 1)
    told = AuditEvent.objects.filter(action="response.listed")
    assert [each.tenant_id for each in told] == [world.ours.tenant.pk]
    assert AuditEvent.objects.filter(action="conversation.listed").count() == 1

    everybody = text(operator.get(LISTS[0]))
    assert "Why is" not in everybody
    assert told.count() == 1
    operator.get(f"{LISTS[0]}?tenant=zzcanary")
    assert told.filter(tenant_id=world.theirs.tenant.pk).count() == 1


def test_what_cannot_be_recorded_is_not_listed(world: World, viewer: Client, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the log cannot be written")

    row = kept_rows.response(world.ours.tenant)
    ask(row, "a secret question")
    monkeypatch.setattr("tenants.audit.events.record", fail)
    viewer.raise_request_exception = False
    answer = viewer.get(LISTS[0])
    assert answer.status_code == 500
    assert "a secret question" not in text(answer)


def test_places_and_endpoints_of_others_lead_nowhere(world: World, viewer: Client):
    strange = (
        f"before=6ffffffffffff-{world.theirs.response.pk}",
        "before=zz-resp_1",
        "before=5ffffffffffff-\0",
        f"after=0-{world.theirs.delivery.pk}",
        f"endpoint={world.theirs.endpoint.pk}",
        "endpoint=x&before=ffffffffffffff-1",
        "before=ffffffffffffff-1",
    )
    for base in LISTS:
        for question in strange:
            answer = viewer.get(f"{base}?{question}")
            assert answer.status_code == 200
            assert_clean(answer)
    theirs = ids_on(viewer, f"{LISTS[2]}?endpoint={world.theirs.endpoint.pk}")
    assert theirs == []


def test_deliveries_are_listed_with_their_state_and_by_endpoint(world: World, viewer: Client):
    row = world.ours.delivery
    WebhookDelivery.objects.filter(pk=row.pk).update(
        state="given_up", attempts=10, last_status=503, last_error="<b>The endpoint answered 503."
    )
    address = f"{LISTS[2]}?endpoint={world.ours.endpoint.pk}"

    page = text(viewer.get(address))

    assert "given up" in page
    assert "HTTP 503" in page
    assert "&lt;b&gt;The endpoint" in page
    assert ids_on(viewer, f"{address}&status=given_up") == [row.pk]
    assert ids_on(viewer, f"{address}&status=pending") == []
    assert url(row, "change") in page


def test_only_who_may_do_something_with_several_is_led_to_choosing_them(
    world: World, viewer: Client, admin: Client
):
    for base in LISTS:
        assert "Select several" in text(admin.get(base))
        assert "Select several" not in text(viewer.get(base))
