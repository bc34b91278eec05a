"""The console's audit log: who sees which events, what it finds, and what in the console is recorded."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock
from routing.models import Provider
from tenants.audit import chain, checkpoints, events
from tenants.models import AuditChain, AuditEvent, CustomRole, Membership, Tenant
from tests.console import world as worlds
from tests.console.pages import act, assert_clean, do, key_form, text, url
from tests.console.world import CANARY, World

pytestmark = pytest.mark.django_db

LIST = "/console/tenants/auditevent/"
EXPORT = f"{LIST}export/"


def told(action: str) -> list[tuple[Any, ...]]:
    rows = AuditEvent.objects.filter(action=action).order_by("id")
    return list(rows.values_list("tenant", "actor_name", "object_id"))


def exported(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def test_members_see_their_tenants_log_and_operators_all(world: World, operator: Client):
    viewer = worlds.staff("viewer", world.ours.tenant)
    Provider.objects.create(name="plat-added", protocol="chat", base_url="https://p.example/v1")
    page = viewer.get(LIST)
    assert_clean(page)
    assert "ours key" in text(page)
    assert "plat-added" not in text(page)
    assert CANARY in text(operator.get(LIST)).lower()
    assert "plat-added" in text(operator.get(f"{LIST}?action=provider.created"))

    platforms = AuditEvent.objects.filter(tenant=None).latest("id")
    for row in (world.theirs.event, platforms):
        assert viewer.get(url(row, "change")).status_code == 404
        assert operator.get(url(row, "change")).status_code == 200


def test_nobody_adds_changes_or_deletes_an_event(world: World, operator: Client):
    row = world.ours.event
    assert operator.get(url(AuditEvent, "add")).status_code == 403
    assert operator.post(url(row, "change"), {"action": "x"}).status_code == 403
    assert operator.post(url(row, "delete"), {"post": "yes"}).status_code == 403
    act(operator, AuditEvent, "delete_selected", row, post="yes")
    assert AuditEvent.objects.filter(pk=row.pk).exists()


def test_the_log_is_found_by_action_actor_object_and_day(world: World, operator: Client):
    key = world.ours.key
    do(operator, key, "revoke", reason="lost")

    today, tomorrow = clock.now().date(), clock.now().replace(year=2999).date()
    (row,) = AuditEvent.objects.filter(action="api_key.changed", object_id=str(key.pk))
    link = f"/auditevent/{row.pk}/"
    for query in (
        *("action=api_key.changed", "actor=operator", f"object={key.pk}", f"q={row.pk}"),
        *(f"from={today}", f"to={today}", f"tenant__id__exact={key.tenant_id}"),
        f"action=api_key.changed&actor=operator&object={key.pk}&from={today}",
    ):
        assert link in text(operator.get(f"{LIST}?{query}")), query
    for query in (
        *("action=api_key.deleted", "actor=nobody", "object=none", f"from={tomorrow}"),
        *("to=1999-01-01", "q=none", f"tenant__id__exact={world.theirs.tenant.pk}"),
    ):
        assert link not in text(operator.get(f"{LIST}?{query}")), query

    shown = text(operator.get(url(row, "change")))
    assert "revoked_reason" in shown
    assert "lost" in shown


def test_the_list_asks_a_few_queries_along_indexes(world: World, operator: Client):
    operator.get(LIST)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        operator.get(f"{LIST}?action=api_key.created")
    assert len(asked) <= 12


def test_an_export_holds_what_its_reader_may_see_and_is_recorded(world: World, operator: Client):
    developer = worlds.staff("developer", world.ours.tenant)

    mine = exported(developer.get(EXPORT))

    assert {line["tenant"] for line in mine} == {world.ours.tenant.pk}
    assert CANARY not in json.dumps(mine).lower()
    for line in mine:
        found = line.pop("hash")
        canonical = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(canonical.encode()).hexdigest() == found
    assert told("audit.exported") == [(world.ours.tenant.pk, "developer-staff", "")]
    everything = exported(operator.get(EXPORT))
    assert {line["tenant"] for line in everything} > {world.ours.tenant.pk, None}
    assert worlds.staff("nobody").get(EXPORT, follow=True).status_code == 403
    assert Client().get(EXPORT).status_code == 302


def test_an_export_is_streamed_under_asgi(world: World):
    """Django by itself would read all of it before it sends anything."""
    chain.join_pending()
    user = User.objects.create_user("viewer-staff", is_staff=True)
    Membership.objects.create(tenant=world.ours.tenant, user=user, role="viewer")
    client = AsyncClient()
    client.force_login(user)  # the console's sessions are synchronous

    async def export() -> list[bytes]:
        response: Any = await client.get(EXPORT)
        assert response.is_async
        return [part async for part in response.streaming_content]

    body = b"".join(async_to_sync(export)())
    assert {json.loads(line)["tenant"] for line in body.splitlines()} == {world.ours.tenant.pk}


def test_reading_and_deleting_what_was_said_is_recorded(world: World, admin: Client):
    response, conversation = world.ours.response, world.ours.conversation
    for row in (response, conversation):
        admin.get(url(type(row), "changelist"))
    assert told("response.read") == told("conversation.read") == []

    for row in (response, conversation):
        assert admin.get(url(row, "change")).status_code == 200
        assert admin.get(url(row, "delete")).status_code == 200
    ours = (world.ours.tenant.pk, "admin-staff")
    assert told("response.read") == [(*ours, response.pk)]
    assert told("conversation.read") == [(*ours, conversation.pk)]

    admin.post(url(response, "delete"), {"post": "yes"})
    act(admin, type(conversation), "delete_selected", conversation, post="yes")
    assert told("response.deleted") == [(*ours, response.pk)]
    assert told("conversation.deleted") == [(*ours, conversation.pk)]


def test_what_one_may_not_read_is_not_recorded_as_read(world: World):
    billing = worlds.staff("billing", world.ours.tenant)
    for row in (world.ours.response, world.theirs.response):
        assert billing.get(url(row, "change")).status_code in {403, 404}
    assert told("response.read") == []


def test_what_cannot_be_recorded_is_not_shown(world: World, admin: Client, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the log cannot be written")

    monkeypatch.setattr(events, "record", fail)
    admin.raise_request_exception = False
    page = admin.get(url(world.ours.response, "change"))
    assert page.status_code == 500
    assert "ours answer" not in text(page)


def test_secrets_that_are_shown_are_recorded_and_not_kept(world: World, admin: Client):
    page = admin.post(url(type(world.ours.key), "add"), key_form())
    key = type(world.ours.key).objects.get(name="new key")
    do(admin, key, "rotate")
    do(admin, world.ours.endpoint, "rotate")

    ours = (world.ours.tenant.pk, "admin-staff")
    assert told("api_key.secret_shown") == [(*ours, str(key.pk))] * 2
    assert told("webhook_endpoint.secret_shown") == [(*ours, str(world.ours.endpoint.pk))]
    assert page.context["secret"] not in str(list(AuditEvent.objects.values()))


def test_an_invoice_that_is_taken_home_is_recorded(world: World, admin: Client):
    admin.get(f"{url(type(world.ours.invoice), 'changelist')}{world.ours.invoice.pk}/document.pdf")
    assert told("invoice.exported") == [
        (world.ours.tenant.pk, "admin-staff", str(world.ours.invoice.pk))
    ]


def test_a_page_that_changes_a_row_records_it_with_person_and_address(world: World):
    user = User.objects.create_user("olga", is_staff=True)
    Membership.objects.create(tenant=world.ours.tenant, user=user, role="owner")
    client = worlds.signed_in(user)
    client.post(
        url(world.ours.tenant, "change"),
        {"name": "renamed", "time_zone": "UTC", "retention_days": "30"},
        REMOTE_ADDR="192.0.2.9",
    )

    row = AuditEvent.objects.filter(action="tenant.changed").latest("id")
    assert (row.actor_kind, row.actor_name, row.address) == ("person", "olga", "192.0.2.9")
    assert json.loads(row.changes)["name"] == ["ours tenant", "renamed"]
    assert Tenant.objects.get(pk=world.ours.tenant.pk).name == "renamed"


def test_the_list_tells_what_changed_and_where_the_chain_was_last_signed(
    world: World, operator: Client
):
    chain.join_pending()
    for end in AuditChain.objects.filter(last_sequence__gt=0):
        checkpoints.sign(end)
    tenant = world.ours.tenant
    tenant.name = "<b>Bold</b>"
    tenant.save()

    with CaptureQueriesContext(connection) as asked:
        page = text(operator.get(f"{LIST}?tenant={tenant.slug}"))
    assert len(asked) <= 12
    assert "ours tenant → &lt;b&gt;Bold&lt;/b&gt;" in page
    assert "The chain was last signed at" in page
    viewer = worlds.staff("viewer", tenant)
    assert "The chain was last signed at" in text(viewer.get(f"{LIST}?tenant={tenant.slug}"))


def test_the_history_of_a_row_is_what_the_log_has_of_it_for_who_may_read_the_log(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    key.name = "<b>Bold</b>"
    key.save()
    viewer = worlds.staff("viewer", tenant)
    page = text(viewer.get(url(key, "history")))
    assert "api_key.changed" in page
    assert "ours key → &lt;b&gt;Bold&lt;/b&gt;" in page
    assert "api_key.changed" not in text(viewer.get(url(world.ours.budget, "history")))

    role = CustomRole.objects.create(tenant=tenant, name="keys", permissions=["keys.view"])
    Membership.objects.filter(user__username="viewer-staff").update(role="", custom_role=role)
    blind = text(viewer.get(url(key, "history")))
    assert "api_key.changed" not in blind
    assert "Nothing is known of it" in blind


def test_rows_that_nobody_changes_have_no_history_and_titles_that_can_be_said(
    world: World, operator: Client
):
    for row, has in ((world.ours.usage, False), (world.ours.event, False), (world.ours.key, True)):
        page = text(operator.get(url(row, "change")))
        assert (f'href="{url(row, "history")}' in page) is has
    call = world.ours.usage
    title = f"<h1>{call.alias}, {call.opened_at:%Y-%m-%d %H:%M:%S} UTC</h1>"
    assert title in text(operator.get(url(call, "change")))
