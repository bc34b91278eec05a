"""The console's pages of what runs, and its playground: who sees what, and what a token is given for."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock
from responses_api.models import Run
from tenants.keys import key_format, keys, play_tokens
from tenants.ledger import row_ids
from tenants.models import ApiKey, AuditEvent
from tests.console import world as worlds
from tests.console.pages import assert_clean, text
from tests.console.world import CANARY, Side, World
from tests.plugins.cases import cases
from tests.support import kept_rows, usage_rows

pytestmark = pytest.mark.django_db

IN_FLIGHT = "/console/in-flight/"
BACKGROUND = "/console/background/"
PLAYGROUND = "/console/playground/"
TOKEN = "/console/playground/token/"
MOST_QUERIES = 12


def queued(side: Side) -> Run:
    """A response of this side that waits to be made."""
    row = kept_rows.response(side.tenant, status="queued", background=True, model=side.alias.name)
    return kept_rows.run(row)


def few_queries(client: Client, address: str) -> Any:
    client.get(address)  # what a process reads once
    with CaptureQueriesContext(connection) as queries:
        page = client.get(address)
    assert page.status_code == 200, page
    assert len(queries) <= MOST_QUERIES, [each["sql"] for each in queries]
    return page


def test_everybody_who_sees_usage_sees_what_runs(world: World, viewer: Client, operator: Client):
    for client in (viewer, operator):
        page = few_queries(client, IN_FLIGHT)
        assert "Nothing is running." in text(page)
    assert viewer.get(f"{IN_FLIGHT}?tenant={CANARY}").status_code == 404
    assert viewer.get(f"{IN_FLIGHT}?tenant=ours").status_code == 200
    assert operator.post(IN_FLIGHT).status_code == 405


def test_what_does_not_run_any_more_is_said_to_have_ended(world: World, developer: Client):
    address = f"{IN_FLIGHT}req_{'0' * 32}/stop/"
    for answer in (developer.get(address, follow=True), developer.post(address, follow=True)):
        assert answer.redirect_chain == [(f"{IN_FLIGHT}?", 302)]
        assert "not running any more" in text(answer)


def test_ones_own_responses_in_the_background_are_listed_and_cancelled(
    world: World, viewer: Client, developer: Client
):
    ours, theirs = queued(world.ours), queued(world.theirs)
    for client in (viewer, developer):
        page = few_queries(client, BACKGROUND)
        assert ours.pk in text(page)
        assert_clean(page)
    address = f"{BACKGROUND}{ours.pk}/cancel/"
    assert address not in text(viewer.get(BACKGROUND))
    assert "takes the right" in text(viewer.post(address, follow=True))
    assert Run.objects.get(pk=ours.pk).status == "queued"

    assert address in text(developer.get(BACKGROUND))
    assert "Cancel this response" in text(developer.get(address))
    assert Run.objects.get(pk=ours.pk).status == "queued"
    assert "The response is cancelled." in text(developer.post(address, follow=True))
    assert Run.objects.get(pk=ours.pk).status == "cancelled"
    assert ours.pk not in text(developer.get(BACKGROUND))
    event = AuditEvent.objects.get(action="response.cancelled")
    assert (event.object_id, event.actor_name) == (ours.pk, "developer-staff")

    strange = developer.post(f"{BACKGROUND}{theirs.pk}/cancel/", follow=True)
    assert "not being made any more" in text(strange)
    assert Run.objects.get(pk=theirs.pk).status == "queued"


@pytest.mark.persistence
def test_an_operator_sees_the_responses_of_all_tenants_or_of_one(world: World, operator: Client):
    ours, theirs = queued(world.ours), queued(world.theirs)
    both = text(few_queries(operator, BACKGROUND))
    assert ours.pk in both
    assert theirs.pk in both
    one = text(operator.get(f"{BACKGROUND}?tenant=ours"))
    assert ours.pk in one
    assert theirs.pk not in one


def test_unfinished_runs_are_asked_for_as_their_index_has_them(world: World, viewer: Client):
    """SQLite uses a partial index only where its condition is spelled out."""
    with CaptureQueriesContext(connection) as queries:
        viewer.get(BACKGROUND)
    asked = [each["sql"] for each in queries if "FROM responses_api_run" in each["sql"]]
    assert len(asked) == 1
    assert "WHERE status IN ('queued', 'in_progress')" in asked[0]


# The playground


@cases("role", ["owner", "admin", "developer", "billing", "viewer"])
def test_whoever_may_change_keys_has_a_playground(world: World, role: str):
    client = worlds.staff(role, world.ours.tenant)
    is_open = role in {"owner", "admin", "developer"}
    assert client.get(PLAYGROUND).status_code == (200 if is_open else 403)
    answer = client.post(TOKEN, {"key": world.ours.key.public_id})
    assert answer.status_code == (200 if is_open else 403)


def test_it_offers_ones_own_keys_and_their_aliases(world: World, developer: Client):
    page = few_queries(developer, PLAYGROUND)
    assert world.ours.key.public_id in text(page)
    assert "ours-alias" in text(page)
    assert_clean(page)
    keys.revoke(world.ours.key)
    assert "There is no active key that you may change." in text(developer.get(PLAYGROUND))


def test_a_token_is_for_one_key_and_told_once(world: World, developer: Client):
    answer = developer.post(TOKEN, {"key": world.ours.key.public_id})
    token = play_tokens.read(answer.json()["token"])
    assert token is not None
    assert (token.key_public_id, token.expires_at) == (
        world.ours.key.public_id,
        answer.json()["expires_at"],
    )
    assert "no-store" in answer["cache-control"]
    assert not key_format.is_well_formed(answer.json()["token"])
    event = AuditEvent.objects.get(action="playground.opened")
    assert (event.object_id, event.actor_name) == (str(world.ours.key.pk), "developer-staff")
    assert answer.json()["token"][-64:] not in f"{event.changes}{event.details}"
    assert developer.get(TOKEN).status_code == 405


def test_no_token_is_given_for_a_key_of_another_tenant_or_for_none(world: World, developer: Client):
    keys.revoke(world.ours.key)
    given = (world.theirs.key.public_id, "aaaaaaaaaa", "", "\0", world.ours.key.public_id)
    answers = [developer.post(TOKEN, {"key": each}) for each in given]
    assert {answer.status_code for answer in answers} == {404}
    assert not AuditEvent.objects.filter(action="playground.opened").exists()


def test_a_token_is_given_to_the_consoles_own_pages_only(world: World):
    person = worlds.staff("owner", world.ours.tenant)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = person.cookies
    assert strict.post(TOKEN, {"key": world.ours.key.public_id}).status_code == 403


def test_a_stored_response_and_a_request_are_opened_with_their_key_and_alias(
    world: World, developer: Client
):
    key = world.ours.key
    response = kept_rows.response(world.ours.tenant, model="ours-alias")
    type(response).objects.filter(pk=response.pk).update(key_public_id=key.public_id)
    page = text(developer.get(f"{PLAYGROUND}?previous_response_id={response.pk}"))
    assert f'data-continues="{response.pk}"' in page
    assert "<option selected>ours-alias</option>" in page

    row = usage_rows.usage(
        world.ours.tenant, clock.now(), key_id=key.pk, route="chat", alias="ours-alias"
    )
    request_id = row_ids.request_id_of(row.pk)
    page = text(developer.get(f"{PLAYGROUND}?request={request_id}"))
    assert '<option value="chat" selected>' in page
    assert "<option selected>ours-alias</option>" in page


def test_what_cannot_be_opened_is_said_and_nothing_of_others(world: World, developer: Client):
    theirs = world.theirs
    for query, sentence in (
        (f"previous_response_id={theirs.response.pk}", "There is no stored response"),
        ("previous_response_id=nothing%00", "There is no stored response"),
        (f"request={row_ids.request_id_of(theirs.usage.pk)}", "There is no request"),
        ("request=req_zz", "There is no request"),
        (f"key={theirs.key.public_id}", "There is no active key"),
        ("alias=unknown", "may not use the alias unknown"),
    ):
        page = developer.get(f"{PLAYGROUND}?{query}")
        assert page.status_code == 200, query
        assert sentence in text(page), query
        assert_clean(page)
    assert ApiKey.objects.filter(pk=theirs.key.pk).exists()
